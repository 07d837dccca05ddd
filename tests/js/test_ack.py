"""Acknowledging messages, and what a real server makes of it."""

from __future__ import annotations

import asyncio
import datetime
import json
import time
from typing import Any

import pytest
from nats import errors
from nats.aio.msg import Msg
from nats.embedded import Server
from nats.js import api
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.scripted import admit, subscribed
from support.waiting import eventually, within

pytestmark = pytest.mark.usefixtures("driver")


async def begin(connect: Connect, count: int = 3, **config: Any) -> tuple[Any, Any, Any]:
    """Client, context and pull subscription of a stream with messages `1`, `2`, ..."""
    nc = await connect()
    js = nc.jetstream()
    await js.add_stream(name="S", subjects=["s"], storage="memory")
    for number in range(1, count + 1):
        await js.publish("s", b"%d" % number)
    consumer = api.ConsumerConfig(**config)
    return nc, js, await js.pull_subscribe("s", "d", config=consumer)


async def floor(sub: Any) -> tuple[int, int, int]:
    """Last acknowledged sequence, unacknowledged and redelivered messages."""
    info = await sub.consumer_info()
    return info.ack_floor.stream_seq, info.num_ack_pending, info.num_redelivered


async def fetch(sub: Any, count: int, timeout: float = 5) -> list[Any]:
    msgs: list[Any] = []
    while len(msgs) < count:
        msgs += await within(sub.fetch(count - len(msgs), timeout=timeout))
    return msgs


async def test_ack(js_server: Server, connect: Connect) -> None:
    nc, _, sub = await begin(connect)
    msgs = await fetch(sub, 3)
    assert [msg.is_acked for msg in msgs] == [False] * 3
    assert await floor(sub) == (0, 3, 0)
    for number, msg in enumerate(msgs, 1):
        await msg.ack()
        assert msg.is_acked
        # The request goes behind the acknowledgement on the same connection; its effect on
        # the consumer may not.
        for _ in range(100):
            if await floor(sub) == (number, 3 - number, 0):
                break
        else:
            pytest.fail(f"{await floor(sub)} after {number} acknowledgements")
    assert nc._core.census()[0] == 0


async def test_ack_sync(js_server: Server, connect: Connect) -> None:
    _, _, sub = await begin(connect)
    for number, msg in enumerate(await fetch(sub, 3), 1):
        confirmation = await msg.ack_sync()
        assert isinstance(confirmation, Msg)
        assert msg.is_acked
        # No doubt about the order here.
        assert await floor(sub) == (number, 3 - number, 0)


async def test_ack_sync_without_an_answer(js_server: Server, connect: Connect) -> None:
    nc, _, sub = await begin(connect)
    (msg,) = await fetch(sub, 1)
    js_server.pause()
    with pytest.raises(errors.TimeoutError):
        await msg.ack_sync(timeout=0.1)
    assert not msg.is_acked
    assert nc._core.census()[:2] == (0, 0)
    js_server.resume()
    await msg.ack_sync(timeout=5)
    assert msg.is_acked


@pytest.mark.parametrize("first", ["ack", "ack_sync", "nak", "term"])
async def test_only_one_final_answer(js_server: Server, connect: Connect, first: str) -> None:
    _, _, sub = await begin(connect, count=1)
    (msg,) = await fetch(sub, 1)
    await getattr(msg, first)()
    for method in ("ack", "ack_sync", "nak", "term"):
        with pytest.raises(errors.MsgAlreadyAckdError):
            await getattr(msg, method)()
    # This one isn't final, and not refused either.
    await msg.in_progress()


async def test_progress_isnt_final(js_server: Server, connect: Connect) -> None:
    _, _, sub = await begin(connect, count=1)
    (msg,) = await fetch(sub, 1)
    for _ in range(3):
        await msg.in_progress()
        assert not msg.is_acked
    await msg.ack_sync()
    assert await floor(sub) == (1, 0, 0)


async def test_acknowledging_all_before(js_server: Server, connect: Connect) -> None:
    _, _, sub = await begin(connect, ack_policy=api.AckPolicy.ALL)
    msgs = await fetch(sub, 3)
    await msgs[1].ack_sync()
    assert await floor(sub) == (2, 1, 0)


async def test_nak(js_server: Server, connect: Connect) -> None:
    _, _, sub = await begin(connect, count=2, ack_wait=30)
    first, second = await fetch(sub, 2)
    await first.nak()
    await second.ack_sync()
    (again,) = await fetch(sub, 1)
    assert again.data == b"1"
    assert again.metadata.num_delivered == 2
    assert again.metadata.sequence.consumer == 3
    assert not again.is_acked
    await again.ack_sync()
    assert await floor(sub) == (2, 0, 0)


@pytest.mark.parametrize("delay", [0.4, 1])
async def test_nak_with_delay(js_server: Server, connect: Connect, delay: float) -> None:
    _, _, sub = await begin(connect, count=1, ack_wait=30)
    (msg,) = await fetch(sub, 1)
    start = time.monotonic()
    await msg.nak(delay=delay)
    (again,) = await fetch(sub, 1)
    assert delay - 0.05 < time.monotonic() - start < 20
    assert (again.data, again.metadata.num_delivered) == (b"1", 2)


@pytest.mark.parametrize(
    ("delay", "nanoseconds"), [(4.1, 4_100_000_000), (1.001, 1_001_000_000), (3, 3_000_000_000)]
)
async def test_the_delay_is_exact(
    js_server: Server, connect: Connect, delay: float, nanoseconds: int
) -> None:
    nc, _, sub = await begin(connect, count=1, ack_wait=30)
    (msg,) = await fetch(sub, 1)
    answers = await nc.subscribe("$JS.ACK.>")
    await msg.nak(delay=delay)
    answer = await answers.next_msg(timeout=5)
    assert json.loads(answer.data.removeprefix(b"-NAK")) == {"delay": nanoseconds}


async def test_without_an_answer_it_comes_again(js_server: Server, connect: Connect) -> None:
    _, _, sub = await begin(connect, count=1, ack_wait=0.3, max_deliver=3)
    start = time.monotonic()
    for delivered in (1, 2, 3):
        (msg,) = await fetch(sub, 1)
        assert msg.metadata.num_delivered == delivered
    assert time.monotonic() - start > 0.55
    with pytest.raises(errors.TimeoutError):
        await sub.fetch(1, timeout=0.6)


async def test_progress_extends_the_time(js_server: Server, connect: Connect) -> None:
    _, _, sub = await begin(connect, count=1, ack_wait=2)
    (msg,) = await fetch(sub, 1)
    waiting = asyncio.ensure_future(sub.fetch(1, timeout=30))
    start = time.monotonic()
    while time.monotonic() - start < 3:
        await msg.in_progress()
        done, _ = await asyncio.wait([waiting], timeout=0.1)
        assert not done, "delivered again though somebody works on it"
    stopped = time.monotonic()
    (again,) = await within(waiting, 25)
    assert time.monotonic() - stopped > 1
    assert again.metadata.num_delivered == 2
    await again.ack_sync()
    assert await floor(sub) == (1, 0, 0)


async def test_term(js_server: Server, connect: Connect) -> None:
    nc, _, sub = await begin(connect, count=2, ack_wait=0.2)
    advisories = await nc.subscribe("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.S.d")
    first, second = await fetch(sub, 2)
    await first.term()
    await second.ack_sync()
    assert b'"stream_seq":1' in (await advisories.next_msg(5)).data
    with pytest.raises(errors.TimeoutError):
        await sub.fetch(1, timeout=0.5)
    assert await floor(sub) == (2, 0, 0)


async def test_on_the_way_out(js_server: Server, connect: Connect) -> None:
    """Acknowledgements are publications: they are sent before the connection is closed."""
    nc, _, sub = await begin(connect, count=100)
    observer = (await connect()).jetstream()
    for msg in await fetch(sub, 100):
        await msg.ack()
    await nc.drain()
    for _ in range(200):
        info = await observer.consumer_info("S", "d")
        if info.num_ack_pending == 0:
            break
    assert (info.num_ack_pending, info.ack_floor.stream_seq) == (0, 100)


async def test_of_a_closed_client(js_server: Server, connect: Connect) -> None:
    nc, _, sub = await begin(connect, count=1)
    (msg,) = await fetch(sub, 1)
    await nc.close()
    for method in ("ack", "ack_sync", "nak", "term", "in_progress"):
        with pytest.raises(errors.ConnectionClosedError):
            await getattr(msg, method)()
    assert not msg.is_acked
    assert msg.metadata.stream == "S"


# Messages of other kinds


async def test_core_messages(js_server: Server, connect: Connect) -> None:
    nc = await connect()
    sub = await nc.subscribe("core")
    await nc.publish("core", b"x")
    msg = await sub.next_msg(5)
    for method in ("ack", "ack_sync", "nak", "term", "in_progress"):
        with pytest.raises(errors.NotJSMessageError):
            await getattr(msg, method)()
    with pytest.raises(errors.NotJSMessageError):
        msg.metadata  # noqa: B018 -- a property that raises
    assert not msg.is_acked


async def test_requests_are_answered_with_the_acknowledgement(
    js_server: Server, connect: Connect
) -> None:
    """As in nats-py: any message with a reply subject can be acknowledged."""
    nc = await connect()

    async def handler(msg: Any) -> None:
        with pytest.raises(errors.NotJSMessageError):
            msg.metadata  # noqa: B018
        await msg.ack()

    await nc.subscribe("service", cb=handler)
    assert (await nc.request("service", b"x", timeout=5)).data == b""


# Metadata


async def test_metadata(js_server: Server, connect: Connect) -> None:
    _, js, sub = await begin(connect, count=5)
    await js.delete_msg("S", 2)
    msgs = await fetch(sub, 3)
    first = msgs[0].metadata
    assert (first.stream, first.consumer) == ("S", "d")
    assert [msg.metadata.sequence.stream for msg in msgs] == [1, 3, 4]
    assert [msg.metadata.sequence.consumer for msg in msgs] == [1, 2, 3]
    assert [msg.metadata.num_pending for msg in msgs] == [3, 2, 1]
    assert first.num_delivered == 1
    assert not first.domain
    assert first.timestamp.tzinfo is datetime.timezone.utc
    age = datetime.datetime.now(datetime.timezone.utc) - first.timestamp
    assert datetime.timedelta(0) <= age < datetime.timedelta(minutes=1)
    assert msgs[0].metadata is first


async def test_metadata_with_domain(connect: Connect) -> None:
    with Server(jetstream=True, config="jetstream { domain: hub }") as server:
        nc = await connect(server)
        js = nc.jetstream(domain="hub")
        await js.add_stream(name="S", subjects=["s"], storage="memory")
        await js.publish("s", b"x")
        sub = await js.pull_subscribe("s", "d")
        (msg,) = await fetch(sub, 1)
        assert msg.metadata.stream == "S"
        assert msg.metadata.domain in (None, "", "hub")
        await msg.ack_sync()
        assert await floor(sub) == (1, 0, 0)


@pytest.mark.parametrize(
    ("reply", "domain"),
    [
        ("$JS.ACK.S.d.2.7.3.1700000000123456789.5", None),
        ("$JS.ACK._.hash.S.d.2.7.3.1700000000123456789.5", ""),
        ("$JS.ACK.hub.hash.S.d.2.7.3.1700000000123456789.5", "hub"),
        ("$JS.ACK.hub.hash.S.d.2.7.3.1700000000123456789.5.random", "hub"),
    ],
)
async def test_metadata_in_all_forms(connect: Connect, reply: str, domain: str | None) -> None:
    # No client may publish such a reply subject to a real server.
    async def handler(client: FakeConnection) -> None:
        await admit(client)
        await client.send_message("made.up", 1, b"x", reply=reply)
        await client.serve()

    async with FakeServer(handler) as server:
        nc = await connect(server)
        sub = await subscribed(nc, "made.up")
        metadata = (await sub.next_msg(5)).metadata
        await nc.close()
    assert metadata.sequence == Msg.Metadata.SequencePair(consumer=3, stream=7)
    assert (metadata.num_delivered, metadata.num_pending) == (2, 5)
    assert (metadata.stream, metadata.consumer, metadata.domain) == ("S", "d", domain)
    assert metadata.timestamp.timestamp() == pytest.approx(1700000000.123456, abs=1e-5)


async def test_the_server_s_work_queue(js_server: Server, connect: Connect) -> None:
    """An acknowledgement removes a message for good."""
    nc = await connect()
    js = nc.jetstream()
    await js.add_stream(name="W", subjects=["w"], retention="workqueue", storage="memory")
    for number in range(10):
        await js.publish("w", b"%d" % number)
    sub = await js.pull_subscribe("w", "d")
    msgs = await fetch(sub, 10)
    for msg in msgs[::2]:
        await msg.ack()
    await msgs[1].term()
    state: list[int] = []

    async def left() -> None:
        while not state or state[-1] != 4:
            state.append((await js.stream_info("W")).state.messages)

    await within(left())
    assert min(state) == 4
    await eventually(lambda: nc._core.census()[0] == 0)
