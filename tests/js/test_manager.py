"""JetStreamManager with a real server: what its requests do, and what it makes of the answers."""

from __future__ import annotations

import asyncio
import datetime
import json
from typing import Any

import pytest
from nats import errors as core_errors
from nats.embedded import Server
from nats.js import api, errors
from nats.js.manager import JetStreamManager
from support.connecting import Connect

TIMEOUT = 30.0


async def manage(connect: Connect, **options: Any) -> tuple[Any, JetStreamManager]:
    nc = await connect()
    return nc, JetStreamManager(nc, **options)


async def store(nc: Any, subject: str, payload: bytes, **headers: str) -> int:
    """Publish to a stream and return the sequence."""
    reply = await nc.request(subject, payload, timeout=TIMEOUT, headers=headers or None)
    seq: int = json.loads(reply.data)["seq"]
    return seq


# Streams


async def test_stream_from_creation_to_deletion(js_server: Server, connect: Connect) -> None:
    _, jsm = await manage(connect)
    made = await jsm.add_stream(name="S", subjects=["s.*"], max_age=9e9, storage="memory")
    assert isinstance(made, api.StreamInfo)
    assert made.did_create is True
    assert made.config.max_age == 9e9
    assert made.config.storage == api.StorageType.MEMORY
    assert made.config.retention == "limits"
    assert made.state.messages == 0
    assert made.created is not None
    age = datetime.datetime.now(datetime.timezone.utc) - made.created
    assert abs(age) < datetime.timedelta(minutes=1)

    # What the server answered can be sent back, changed.
    made.config.max_msgs = 10
    changed = await jsm.update_stream(made.config, subjects=["s.*", "t"])
    assert (changed.config.max_msgs, changed.config.subjects) == (10, ["s.*", "t"])
    assert changed.config.max_age == 9e9

    info = await jsm.stream_info("S")
    assert info.config == changed.config
    assert await jsm.find_stream_name_by_subject("t") == "S"
    assert await jsm.delete_stream("S") is True
    with pytest.raises(errors.NotFoundError) as caught:
        await jsm.stream_info("S")
    assert (caught.value.code, caught.value.err_code) == (404, 10059)
    assert str(caught.value) == (
        "nats: NotFoundError: code=404 err_code=10059 description='stream not found' (stream 'S')"
    )


async def test_configuration_object_with_changes(js_server: Server, connect: Connect) -> None:
    _, jsm = await manage(connect)
    config = api.StreamConfig()
    config.name = "A"
    config.retention = api.RetentionPolicy.WORK_QUEUE
    first = await jsm.add_stream(config, subjects=["a"])
    second = await jsm.add_stream(config, name="B", subjects=["b"])
    assert (first.config.name, second.config.name) == ("A", "B")
    assert second.config.retention == api.RetentionPolicy.WORK_QUEUE
    assert (config.name, config.subjects) == ("A", None)
    again = await jsm.add_stream(config, subjects=["a"])
    assert again.created == first.created


@pytest.mark.parametrize("max_age", [0.1, 4.1, 3600, 2 / 3, 86400.5, 9_223_372_036])
async def test_ages_come_back(js_server: Server, connect: Connect, max_age: float) -> None:
    _, jsm = await manage(connect)
    info = await jsm.add_stream(name="S", max_age=max_age, duplicate_window=0.1)
    assert info.config.max_age == pytest.approx(max_age, abs=1e-9)
    # The same configuration, to the nanosecond, or this would be refused.
    await jsm.add_stream(info.config)
    await jsm.add_stream(name="S", max_age=max_age, duplicate_window=0.1)


async def test_the_longest_age_there_is(js_server: Server, connect: Connect) -> None:
    nc, jsm = await manage(connect)
    request = json.dumps({"name": "S", "max_age": 2**63 - 1}).encode()
    await nc.request("$JS.API.STREAM.CREATE.S", request, timeout=TIMEOUT)
    info = await jsm.stream_info("S")
    await jsm.update_stream(info.config, description="changed")
    reply = await nc.request("$JS.API.STREAM.INFO.S", timeout=TIMEOUT)
    assert json.loads(reply.data)["config"]["max_age"] == 2**63 - 1
    with pytest.raises(errors.BadRequestError):
        await jsm.update_stream(info.config, max_age=1e10)


async def test_refusals(js_server: Server, connect: Connect) -> None:
    _, jsm = await manage(connect)
    await jsm.add_stream(name="S", subjects=["s"])
    with pytest.raises(errors.BadRequestError) as caught:
        await jsm.add_stream(name="T", subjects=["s"])
    assert caught.value.err_code == 10065
    with pytest.raises(errors.BadRequestError) as caught:
        await jsm.add_stream(name="S", subjects=["other"])
    assert caught.value.err_code == 10058
    for refused in (jsm.delete_stream("N"), jsm.purge_stream("N"), jsm.consumers_info("N")):
        with pytest.raises(errors.NotFoundError):
            await refused
    with pytest.raises(errors.NotFoundError) as missing:
        await jsm.find_stream_name_by_subject("nobody.stores.this")
    assert missing.value.code == 404
    with pytest.raises(TypeError, match="no_such_option"):
        await jsm.add_stream(name="U", no_such_option=1)


async def test_purge(js_server: Server, connect: Connect) -> None:
    nc, jsm = await manage(connect)
    await jsm.add_stream(name="S", subjects=["s.*"])
    for number in range(6):
        await store(nc, f"s.{number % 2}", b"x")

    async def left() -> dict[str, int]:
        return (await jsm.stream_info("S", subjects_filter=">")).state.subjects or {}

    assert await left() == {"s.0": 3, "s.1": 3}
    assert await jsm.purge_stream("S", subject="s.1", keep=1) is True
    assert await left() == {"s.0": 3, "s.1": 1}
    await jsm.purge_stream("S", seq=3)
    assert await left() == {"s.0": 2, "s.1": 1}
    await jsm.purge_stream("S", subject="s.1")
    assert await left() == {"s.0": 2}
    await jsm.purge_stream("S")
    assert await left() == {}
    assert (await jsm.stream_info("S")).state.subjects is None


async def test_lists_of_streams(js_server: Server, connect: Connect) -> None:
    _, jsm = await manage(connect)
    assert await jsm.streams_info() == []
    for name in "ABC":
        await jsm.add_stream(name=name)
    assert {info.config.name for info in await jsm.streams_info()} == {"A", "B", "C"}
    assert len(await jsm.streams_info(offset=2)) == 1
    streams = await jsm.streams_info_iterator(offset=1)
    assert isinstance(streams, api.StreamsListIterator)
    assert (streams.offset, streams.total) == (1, 3)
    assert [type(info) for info in streams] == [api.StreamInfo, api.StreamInfo]


async def test_account_info(js_server: Server, connect: Connect) -> None:
    _, jsm = await manage(connect)
    await jsm.add_stream(name="S")
    info = await jsm.account_info()
    assert (info.streams, info.consumers, info.tiers) == (1, 0, None)
    assert info.limits.max_streams == -1
    assert info.api.total >= 1


# Consumers


async def test_consumer_from_creation_to_deletion(js_server: Server, connect: Connect) -> None:
    _, jsm = await manage(connect)
    await jsm.add_stream(name="S", subjects=["s.*"])
    made = await jsm.add_consumer(
        "S", durable_name="C", deliver_policy="all", ack_wait=2.5, filter_subject="s.a"
    )
    assert isinstance(made, api.ConsumerInfo)
    assert (made.stream_name, made.name, made.num_pending) == ("S", "C", 0)
    assert made.config.ack_wait == 2.5
    changed = await jsm.add_consumer("S", made.config, ack_wait=7, backoff=[7, 8.5], max_deliver=3)
    assert changed.config.backoff == [7.0, 8.5]
    info = await jsm.consumer_info("S", "C", timeout=TIMEOUT)
    assert info.config == changed.config
    assert [info.name for info in await jsm.consumers_info("S")] == ["C"]
    assert await jsm.consumers_info("S", offset=1) == []
    assert await jsm.delete_consumer("S", "C") is True
    with pytest.raises(errors.NotFoundError) as caught:
        await jsm.consumer_info("S", "C")
    assert caught.value.err_code == 10014


async def test_kinds_of_consumers(js_server: Server, connect: Connect) -> None:
    _, jsm = await manage(connect)
    await jsm.add_stream(name="S", subjects=["s.*"])
    named = await jsm.add_consumer("S", name="N", filter_subject="s.a", inactive_threshold=60)
    assert (named.name, named.config.durable_name) == ("N", None)
    assert named.config.inactive_threshold == 60
    nameless = await jsm.add_consumer("S")
    assert nameless.name not in ("", "N")
    pushed = await jsm.add_consumer(
        "S",
        api.ConsumerConfig(
            name="P",
            deliver_subject="deliver",
            deliver_policy=api.DeliverPolicy.BY_START_TIME,
            opt_start_time=datetime.datetime(2024, 1, 2, tzinfo=datetime.timezone.utc),
            flow_control=True,
            idle_heartbeat=0.5,
        ),
    )
    assert pushed.config.idle_heartbeat == 0.5
    assert pushed.config.opt_start_time == datetime.datetime(
        2024, 1, 2, tzinfo=datetime.timezone.utc
    )
    assert pushed.push_bound in (None, False)


async def test_pause_and_resume(js_server: Server, connect: Connect) -> None:
    _, jsm = await manage(connect)
    await jsm.add_stream(name="S")
    await jsm.add_consumer("S", name="C")
    paused = await jsm.pause_consumer("S", "C", "2099-01-01T00:00:00Z")
    assert isinstance(paused, api.ConsumerPause)
    assert (paused.paused, paused.pause_until) == (True, "2099-01-01T00:00:00Z")
    assert (await jsm.consumer_info("S", "C")).paused is True
    assert (await jsm.resume_consumer("S", "C")).paused is False
    assert not (await jsm.consumer_info("S", "C")).paused


async def test_reset(js_server: Server, connect: Connect) -> None:
    nc, jsm = await manage(connect)
    await jsm.add_stream(name="S", subjects=["s"])
    for _ in range(5):
        await store(nc, "s", b"x")
    await jsm.add_consumer("S", name="C", deliver_policy="by_start_sequence", opt_start_seq=3)
    reset = await jsm.reset_consumer("S", "C", seq=4)
    assert isinstance(reset, api.ConsumerReset)
    assert (reset.reset_seq, reset.info.name, reset.info.num_pending) == (4, "C", 2)
    assert (await jsm.reset_consumer("S", "C")).reset_seq == 4
    with pytest.raises(errors.ConsumerInvalidResetError) as caught:
        await jsm.reset_consumer("S", "C", seq=1)
    assert (caught.value.code, caught.value.err_code) == (400, 10204)
    assert type(caught.value.__cause__) is errors.BadRequestError


# Messages


@pytest.mark.parametrize("direct", [False, True], ids=["api", "direct"])
async def test_messages(js_server: Server, connect: Connect, direct: bool) -> None:
    nc, jsm = await manage(connect)
    await jsm.add_stream(name="S", subjects=["s.*"], allow_direct=True)
    await store(nc, "s.a", b"\x00\xff", A="1", B="two: three")
    await store(nc, "s.b", b"second")
    await store(nc, "s.a", b"")

    first = await jsm.get_msg("S", 1, direct=direct)
    assert (first.subject, first.seq, first.data) == ("s.a", 1, b"\x00\xff")
    assert first.headers is not None
    assert (first.headers["A"], first.headers["B"]) == ("1", "two: three")
    assert first.time is not None
    age = datetime.datetime.now(datetime.timezone.utc) - first.time
    assert abs(age) < datetime.timedelta(minutes=1)

    second = await jsm.get_msg("S", seq=2, direct=direct)
    assert second.data == b"second"
    if not direct:
        assert second.headers is None
    last = await jsm.get_last_msg("S", "s.a", direct=direct)
    assert (last.seq, last.data) == (3, None)
    following = await jsm.get_msg("S", seq=2, subject="s.a", next=True, direct=direct)
    assert following.seq == 3

    for missing in (
        jsm.get_msg("S", 99, direct=direct),
        jsm.get_last_msg("S", "s.none", direct=direct),
    ):
        with pytest.raises(errors.NotFoundError):
            await missing

    assert await jsm.delete_msg("S", 2) is True
    with pytest.raises(errors.NotFoundError):
        await jsm.get_msg("S", 2, direct=direct)


async def test_direct_get_where_it_is_not_allowed(js_server: Server, connect: Connect) -> None:
    nc, jsm = await manage(connect)
    await jsm.add_stream(name="S", subjects=["s"])
    await store(nc, "s", b"x")
    with pytest.raises(core_errors.NoRespondersError):
        await jsm.get_msg("S", 1, direct=True)


async def test_stored_headers_read_like_delivered_ones(js_server: Server, connect: Connect) -> None:
    nc, jsm = await manage(connect)
    sub = await nc.subscribe("s")
    await jsm.add_stream(name="S", subjects=["s"])
    block = (
        b"NATS/1.0\r\nA:  1 \r\nno colon\r\nb d: x\r\nUmlaut: \xc3\xa4\r\nBad: \xff\r\nA: 2\r\n\r\n"
    )
    frame = b"HPUB s %d %d\r\n%s\r\n" % (len(block), len(block), block)
    reader, writer = await asyncio.open_connection("127.0.0.1", js_server.port)
    await reader.readline()
    writer.write(b'CONNECT {"verbose":false,"headers":true}\r\n' + frame + b"PING\r\n")
    assert await asyncio.wait_for(reader.readline(), TIMEOUT) == b"PONG\r\n"
    writer.close()
    await writer.wait_closed()
    delivered = await sub.next_msg(TIMEOUT)
    stored = await jsm.get_msg("S", 1)
    assert stored.headers == {"A": "2", "Umlaut": "ä", "Bad": "\ufffd"}
    assert {**delivered.headers, "A": "2"} == stored.headers


# When the server doesn't help


async def test_without_jetstream(server: Server, connect: Connect) -> None:
    _, jsm = await manage(connect)
    with pytest.raises(errors.ServiceUnavailableError) as caught:
        await jsm.account_info()
    assert caught.value.code == 503


async def test_no_answer_in_time(server: Server, connect: Connect) -> None:
    nc, jsm = await manage(connect, timeout=0.05)
    await nc.subscribe("$JS.API.>")
    with pytest.raises(core_errors.TimeoutError):
        await jsm.account_info()
