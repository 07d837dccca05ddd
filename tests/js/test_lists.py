"""Lists of streams, consumers and subjects follow the server's pages to their end."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from nats.aio.msg import Msg
from nats.embedded import Server
from support.connecting import Connect

# The server puts 256 streams or consumers, and 100 000 subjects, into one answer.
COUNT = 260
SUBJECTS = 100_003

STATE = {"messages": 0, "bytes": 0, "first_seq": 0, "last_seq": 0, "consumer_count": 0}


async def test_streams(js_server: Server, connect: Connect) -> None:
    js = (await connect()).jetstream()
    for i in range(COUNT):
        await js.add_stream(name=f"S{i:03}", subjects=[f"s.{i}"], storage="memory")
    names = [f"S{i:03}" for i in range(COUNT)]
    assert sorted(info.config.name for info in await js.streams_info()) == names
    assert sorted(info.config.name for info in await js.streams_info(offset=2)) == names[2:]
    assert len(await js.streams_info(offset=COUNT - 1)) == 1
    assert await js.streams_info(offset=COUNT) == []
    # This one is a page, as with nats-py.
    page: Any = await js.streams_info_iterator()
    assert (page.total, len(list(page))) == (COUNT, 256)


async def test_consumers(js_server: Server, connect: Connect) -> None:
    js = (await connect()).jetstream()
    await js.add_stream(name="S", subjects=["s"], storage="memory")
    for i in range(COUNT):
        await js.add_consumer("S", durable_name=f"c{i:03}", mem_storage=True)
    names = [f"c{i:03}" for i in range(COUNT)]
    assert sorted(info.name for info in await js.consumers_info("S")) == names
    assert sorted(info.name for info in await js.consumers_info("S", offset=1)) == names[1:]


async def test_subjects(js_server: Server, connect: Connect) -> None:
    nc = await connect(pending_size=64 << 20)
    js = nc.jetstream(timeout=20)
    await js.add_stream(name="S", subjects=["s.*"], storage="memory")
    for i in range(SUBJECTS - 1):
        await nc.publish(f"s.{i}", b"")
    assert (await js.publish(f"s.{SUBJECTS - 1}")).seq == SUBJECTS
    info = await js.stream_info("S", subjects_filter=">")
    assert info.state.subjects == {f"s.{i}": 1 for i in range(SUBJECTS)}
    assert (await js.stream_info("S", subjects_filter="s.7")).state.subjects == {"s.7": 1}
    assert (await js.stream_info("S", subjects_filter="t.>")).state.subjects is None
    assert (await js.stream_info("S")).state.subjects is None


async def test_what_servers_do_not_answer_for_is_told_and_skipped(
    server: Server, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """In a cluster, streams without a server are missing on their page."""
    nc = await connect()
    offsets = []

    async def answer(msg: Msg) -> None:
        offset = json.loads(msg.data)["offset"]
        offsets.append(offset)
        streams = [{"config": {"name": f"S{i}"}, "state": STATE} for i in (offset, offset + 1)]
        page: dict[str, Any] = {"total": 5, "streams": streams[: 5 - offset]}
        if offset == 2:
            page |= {"streams": streams[:1], "missing": ["S3"]}
        await msg.respond(json.dumps(page).encode())

    await nc.subscribe("$JS.API.STREAM.LIST", cb=answer)
    with caplog.at_level(logging.WARNING, "nats"):
        infos = await nc.jetstream().streams_info()
    assert [info.config.name for info in infos] == ["S0", "S1", "S2", "S4"]
    assert offsets == [0, 2, 4]
    assert "S3" in caplog.text
