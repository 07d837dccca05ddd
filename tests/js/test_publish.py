"""Publishing to streams with a real server: acknowledgements, refusals, and what is left behind."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from nats import errors
from nats.aio.client import Client
from nats.embedded import Server
from nats.js import api
from nats.js import errors as js_errors
from support.connecting import Connect
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")

TURNS = range(12)


async def begin(connect: Connect, **config: Any) -> tuple[Any, Any]:
    """A client and its context, with the stream S of the subjects below `s`."""
    nc = await connect()
    js = nc.jetstream()
    await js.add_stream(name="S", subjects=["s.>"], **{"storage": "memory", **config})
    return nc, js


async def assert_nothing_waits(nc: Any) -> None:
    await eventually(lambda: nc._core.census()[:2] == (0, 0), f"{nc._core.census()}")


# Acknowledgements


async def test_acknowledgements(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect)
    first = await js.publish("s.a", b"one")
    assert isinstance(first, api.PubAck)
    assert (first.stream, first.seq, first.duplicate, first.domain) == ("S", 1, None, None)
    second = await js.publish("s.b", b"two", headers={"A": "b"}, stream="S", timeout=3)
    assert second.seq == 2
    assert (await js.publish("s.c")).seq == 3
    stored = [await js.get_msg("S", seq) for seq in (1, 2, 3)]
    assert [(msg.subject, msg.data or b"") for msg in stored] == [
        ("s.a", b"one"),
        ("s.b", b"two"),
        ("s.c", b""),
    ]
    assert stored[1].headers == {"A": "b", "Nats-Expected-Stream": "S"}
    await assert_nothing_waits(nc)


async def test_the_domain_is_in_the_acknowledgement(connect: Connect) -> None:
    with Server(jetstream=True, config="jetstream { domain: hub }") as server:
        nc = await connect(server)
        js = nc.jetstream(domain="hub")
        await js.add_stream(name="S", subjects=["s"], storage="memory")
        ack = await js.publish("s", b"x")
        assert (ack.stream, ack.seq, ack.domain) == ("S", 1, "hub")


async def test_duplicates_are_stored_once(js_server: Server, connect: Connect) -> None:
    _, js = await begin(connect)
    acks = [await js.publish("s.a", b"x", headers={"Nats-Msg-Id": key}) for key in "aaba"]
    assert [(ack.seq, ack.duplicate) for ack in acks] == [
        (1, None),
        (1, True),
        (2, None),
        (1, True),
    ]
    assert (await js.stream_info("S")).state.messages == 2


async def test_many_at_once_get_their_own(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect)
    acks = await within(
        asyncio.gather(*(js.publish(f"s.{number}", b"%d" % number) for number in range(500)))
    )
    assert sorted(ack.seq for ack in acks) == list(range(1, 501))
    for number in (0, 77, 499):
        assert (await js.get_msg("S", acks[number].seq)).data == b"%d" % number
    assert js.publish_async_pending() == 0
    await assert_nothing_waits(nc)


async def test_time_to_live(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect, allow_msg_ttl=True)
    headers = {"A": "b"}
    start = time.monotonic()
    ack = await js.publish("s.a", b"x", msg_ttl=1.9, headers=headers)
    await js.publish("s.a", b"stays")
    # The caller's own dict gets what the parameters add, as in nats-py.
    assert headers == {"A": "b", "Nats-TTL": "1"}
    assert (await js.get_msg("S", ack.seq)).headers["Nats-TTL"] == "1"
    messages = 2
    while messages == 2:
        await asyncio.sleep(0.05)
        messages = (await within(js.stream_info("S"))).state.messages
    assert time.monotonic() - start > 0.9, "gone too early"
    assert messages == 1
    with pytest.raises(js_errors.NotFoundError):
        await js.get_msg("S", ack.seq)
    await assert_nothing_waits(nc)


# Refusals


async def test_expectations(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect)
    await js.publish("s.a", b"1", headers={"Nats-Msg-Id": "one"})
    await js.publish("s.b", b"2", headers={"Nats-Msg-Id": "two"})
    holding = {
        "Nats-Expected-Stream": "S",
        "Nats-Expected-Last-Msg-Id": "two",
        "Nats-Expected-Last-Sequence": "2",
        "Nats-Expected-Last-Subject-Sequence": "1",
    }
    wrong: list[tuple[dict[str, str], int]] = [
        ({"Nats-Expected-Stream": "T"}, 10060),
        ({"Nats-Expected-Last-Msg-Id": "one"}, 10070),
        ({"Nats-Expected-Last-Sequence": "1"}, 10071),
        ({"Nats-Expected-Last-Subject-Sequence": "2"}, 10071),
        ({"Nats-Expected-Last-Subject-Sequence": "0"}, 10071),
    ]
    for headers, err_code in wrong:
        with pytest.raises(js_errors.BadRequestError) as caught:
            await js.publish("s.a", b"x", headers=headers)
        assert caught.value.err_code == err_code
        assert caught.value.code == 400
    with pytest.raises(js_errors.BadRequestError) as caught:
        await js.publish("s.a", b"x", stream="T")
    assert caught.value.err_code == 10060
    assert (await js.publish("s.a", b"3", headers=holding)).seq == 3
    assert (await js.stream_info("S")).state.messages == 3
    await assert_nothing_waits(nc)


async def test_no_stream(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect)
    for _ in range(3):
        with pytest.raises(js_errors.NoStreamResponseError, match="no response from stream"):
            await js.publish("nobody.stores.this", b"x")
    await assert_nothing_waits(nc)
    assert (await js.publish("s.a", b"x")).seq == 1


async def test_refused_by_the_stream(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect, max_msgs=1, discard="new", max_msg_size=100)
    with pytest.raises(js_errors.BadRequestError) as caught:
        await js.publish("s.a", bytes(200))
    assert caught.value.err_code == 10054
    await js.publish("s.a", b"x")
    with pytest.raises(js_errors.APIError) as full:
        await js.publish("s.a", b"y")
    assert full.value.err_code == 10077
    assert "maximum messages exceeded" in str(full.value)
    await assert_nothing_waits(nc)


async def test_refused_before_it_is_sent(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect)
    await js.publish("s.a", b"1")
    for subject, payload, error in (
        ("", b"", errors.BadSubjectError),
        ("s. a", b"", errors.BadSubjectError),
        ("s.a", bytes(nc.max_payload + 1), errors.MaxPayloadError),
    ):
        with pytest.raises(error):
            await js.publish(subject, payload)
    with pytest.raises(TypeError):
        await js.publish("s.a", "text")
    await assert_nothing_waits(nc)
    assert (await js.publish("s.a", b"2")).seq == 2


async def test_no_jetstream(server: Server, connect: Connect) -> None:
    nc = await connect()
    with pytest.raises(js_errors.NoStreamResponseError):
        await nc.jetstream().publish("s.a", b"x")


# Time


async def test_timeouts(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect)
    hasty = nc.jetstream(timeout=0.05)
    await hasty.publish("s.a", b"1", timeout=5)
    js_server.pause()
    loop = asyncio.get_running_loop()
    start = loop.time()
    with pytest.raises(errors.TimeoutError):
        await within(hasty.publish("s.a", b"2"))
    with pytest.raises(errors.TimeoutError):
        await within(js.publish("s.a", b"3", timeout=0.1))
    assert loop.time() - start > 0.14
    assert nc._core.census()[:2] == (0, 0)
    js_server.resume()
    # The late acknowledgements are nobody's.
    assert (await js.publish("s.a", b"4")).seq == 4
    assert nc._core.census()[:2] == (0, 0)


async def test_closed_while_waiting(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect)
    await js.publish("s.a", b"1")
    js_server.pause()
    publishing = asyncio.ensure_future(js.publish("s.a", b"2", timeout=1))
    await asyncio.sleep(0)
    await within(nc.close())
    js_server.resume()
    with pytest.raises((errors.TimeoutError, errors.ConnectionClosedError)):
        await within(publishing)
    with pytest.raises(errors.ConnectionClosedError):
        await js.publish("s.a", b"3")
    assert nc._core.census()[0] == 0


async def test_buffered_while_reconnecting(js_server: Server, connect: Connect) -> None:
    events = Events()
    nc = await connect(max_reconnect_attempts=-1, **events.callbacks, **EAGER)
    js = nc.jetstream()
    await js.add_stream(name="S", subjects=["s"], storage="file")
    await js.publish("s", b"1")
    await js_server.akill()
    await events.wait("disconnected")
    publishing = [asyncio.ensure_future(js.publish("s", b"x", timeout=20)) for _ in range(20)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in publishing)
    await js_server.astart()
    acks = await within(asyncio.gather(*publishing), 20)
    assert [ack.seq for ack in acks] == list(range(2, 22))
    await assert_nothing_waits(nc)


# Cancellation


async def test_cancelled(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect)
    await js.publish("s.a", b"first")
    census, tasks = nc._core.census(), asyncio.all_tasks()
    for turns in TURNS:
        task = asyncio.ensure_future(js.publish("s.a", b"%d" % turns))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=2)
        assert task.done()
        assert task.cancelled() or task.exception() is None
    js_server.pause()
    publishing = [asyncio.ensure_future(js.publish("s.a", b"x")) for _ in range(50)]
    await eventually(lambda: nc._core.census()[0] == 50)
    for task in publishing:
        task.cancel()
    await asyncio.wait(publishing, timeout=2)
    assert all(task.cancelled() for task in publishing)
    assert nc._core.census() == census
    js_server.resume()
    await within(nc.flush())
    assert (await js.publish("s.a", b"last")).seq > 50
    assert nc._core.census() == census
    await eventually(lambda: asyncio.all_tasks() <= tasks)


async def test_cancelled_first_publish(js_server: Server, connect: Connect) -> None:
    """The first one also subscribes to the inbox of the acknowledgements."""
    manager = (await connect()).jetstream()
    await manager.add_stream(name="S", subjects=["s"], storage="memory")
    for turns in range(6):
        nc = await connect()
        js = nc.jetstream()
        task = asyncio.ensure_future(js.publish("s", b"x"))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=2)
        assert (await within(js.publish("s", b"y"))).stream == "S"
        assert nc._core.census()[:2] == (0, 0)
        await nc.close()


# Methods of the application's own in the place of the client's


class Recorder:
    """Notes the subjects of calls that it passes on."""

    def __init__(self, real: Any) -> None:
        self.real = real
        self.subjects: list[str] = []

    async def __call__(self, subject: str, *args: Any, **kwargs: Any) -> Any:
        self.subjects.append(subject)
        return await self.real(subject, *args, **kwargs)


@pytest.mark.parametrize("late", [False, True], ids=["before", "after the first"])
async def test_request_replaced_on_the_instance(
    js_server: Server, connect: Connect, late: bool
) -> None:
    nc, js = await begin(connect)
    if late:
        await js.publish("s.a", b"0")
    recorder = nc.request = Recorder(nc.request)
    assert (await js.publish("s.a", b"x")).seq == 1 + late
    assert recorder.subjects == ["s.a"]
    with pytest.raises(js_errors.NoStreamResponseError):
        await js.publish("none", b"x")
    with pytest.raises(js_errors.BadRequestError) as caught:
        await js.publish("s.a", b"x", stream="T")
    assert caught.value.err_code == 10060
    del nc.request
    assert (await js.publish("s.a", b"x")).seq == 2 + late
    assert len(recorder.subjects) == 3


async def test_request_replaced_on_the_class(
    js_server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, js = await begin(connect)
    await js.publish("s.a", b"0")
    seen: list[tuple[str, bytes, Any]] = []
    real = Client.request

    async def request(self: Any, subject: str, payload: bytes = b"", **options: Any) -> Any:
        seen.append((subject, payload, options.get("headers")))
        return await real(self, subject, payload, **options)

    monkeypatch.setattr(Client, "request", request)
    assert (await js.publish("s.a", b"x", stream="S")).seq == 2
    assert seen == [("s.a", b"x", {"Nats-Expected-Stream": "S"})]


async def test_request_that_answers_itself(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect)

    async def request(subject: str, payload: bytes, **options: Any) -> Any:
        answer = {"stream": "MADE_UP", "seq": 7, "duplicate": True, "domain": "d"}
        return nc.msg_class(_client=nc, subject=subject, data=json.dumps(answer).encode())

    nc.request = request
    ack = await js.publish("s.a", b"x")
    assert (ack.stream, ack.seq, ack.duplicate, ack.domain) == ("MADE_UP", 7, True, "d")


async def test_publish_replaced(
    js_server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    nc, js = await begin(connect)
    await js.publish("s.a", b"0")
    recorder = nc.publish = Recorder(nc.publish)
    assert (await js.publish("s.a", b"x")).seq == 2
    assert (await (await js.publish_async("s.a", b"x"))).seq == 3
    assert recorder.subjects == ["s.a", "s.a"]
    del nc.publish

    seen: list[str] = []
    real = Client.publish

    async def publish(self: Any, subject: str, *args: Any, **options: Any) -> None:
        seen.append(subject)
        await real(self, subject, *args, **options)

    monkeypatch.setattr(Client, "publish", publish)
    assert (await js.publish("s.a", b"x")).seq == 4
    assert (await (await js.publish_async("s.a", b"x"))).seq == 5
    assert seen == ["s.a", "s.a"]
    assert js.publish_async_pending() == 0
    await assert_nothing_waits(nc)


async def test_publish_that_fails(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect)
    await js.publish("s.a", b"0")

    async def publish(*args: Any, **options: Any) -> None:
        raise RuntimeError("not today")

    nc.publish = publish
    for _ in range(3):
        with pytest.raises(RuntimeError, match="not today"):
            await js.publish("s.a", b"x")
        with pytest.raises(RuntimeError, match="not today"):
            await js.publish_async("s.a", b"x")
    assert js.publish_async_pending() == 0
    await assert_nothing_waits(nc)
