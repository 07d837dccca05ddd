"""Servers that send without end: what they can't do is hang the client or fill its memory."""

from __future__ import annotations

import asyncio

import pytest
from nats import errors
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.flooding import MB, PATIENCE, SLACK, flood, memory
from support.scripted import admit, payloads, subscribed, subscriber
from support.waiting import EAGER, Events, eventually, within

pytestmark = [pytest.mark.usefixtures("driver"), pytest.mark.timeout(400)]


@pytest.mark.parametrize(
    "line",
    [b"INFO {}\r\n", b"PONG\r\n", b"-ERR 'permissions violation x'\r\n", b"+OK\r\nPONG\r\n"],
    ids=["INFO", "PONG", "-ERR", "+OK and PONG"],
)
async def test_flood_of_events_that_are_not_handled(connect: Connect, line: bytes) -> None:
    """While the loop's task is busy with one, the others pile up, but not for ever."""
    entered, given_up, release = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        if client.index == 0:
            await client.write(b"-ERR 'permissions violation'\r\n")
            await entered.wait()
            flooding = asyncio.ensure_future(flood(client, line, 100 * MB))
            # By the client, which has had enough.
            await client.wait_closed(PATIENCE)
            given_up.set()
            flooding.cancel()
            await asyncio.wait({flooding})
            return
        await client.serve()

    async def error_cb(error: Exception) -> None:
        entered.set()
        await release.wait()

    async with FakeServer(handler) as server:
        events = Events()
        nc = await connect(server, **{**events.callbacks, "error_cb": error_cb}, **EAGER)
        await within(entered.wait())
        before = memory()
        await within(given_up.wait(), PATIENCE)
        assert memory() - before < SLACK
        release.set()
        await events.wait("reconnected", seconds=PATIENCE)
        await within(nc.flush())
        assert memory() - before < SLACK
        await nc.close()


async def test_flood_of_ok_is_harmless(connect: Connect) -> None:
    """It is what a verbose server says to every message."""

    async def handler(client: FakeConnection) -> None:
        await admit(client)
        await flood(client, b"+OK\r\n", 20 * MB)
        await client.write(b"MSG a 1 3\r\none\r\n")
        await client.serve()

    async with subscriber(connect, handler) as (nc, sub, events):
        assert (await sub.next_msg(PATIENCE)).data == b"one"
        await within(nc.flush())
        assert (events.names, events.errors) == ([], [])


async def test_pings_of_a_server_that_does_not_read(connect: Connect) -> None:
    """Answers are kept in a bounded amount, and the connection goes on when it reads again."""
    count = 30 * MB // len(b"PING\r\n")
    received = asyncio.Event()
    answers = bytearray()

    async def handler(client: FakeConnection) -> None:
        await admit(client)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await flood(client, b"PING\r\n", 30 * MB)
        await client.write(b"MSG a 1 3\r\none\r\n")
        await received.wait()
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        while not answers.endswith(b"PING\r\n"):
            answers.extend(await client.reader.read(65536))
        await client.write(b"PONG\r\n")
        await client.serve()

    async with subscriber(connect, handler) as (nc, sub, _):
        before = memory()
        assert (await sub.next_msg(PATIENCE)).data == b"one"
        assert nc.pending_data_size < MB
        assert memory() - before < SLACK
        received.set()
        await within(nc.flush())
        assert 0 < answers.count(b"PONG\r\n") < count


async def test_replies_that_nobody_asked_for(connect: Connect) -> None:
    """They are gone as soon as the loop has seen them."""

    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        _, subject, sid = (await client.expect(b"SUB _INBOX")).split()
        await client.expect_publish()
        reply = client.lines[-1].split()[2]
        stray = subject.rstrip(b"*") + b"stray"
        await flood(client, b"MSG %s %s 1000\r\n%s\r\n" % (stray, sid, b"x" * 1000), 100 * MB)
        await client.write(b"MSG %s %s 2\r\nok\r\n" % (reply, sid))
        await client.serve()

    async with FakeServer(handler) as server:
        nc = await connect(server)
        before = memory()
        assert (await within(nc.request("service", b"x", timeout=PATIENCE), PATIENCE)).data == b"ok"
        assert memory() - before < SLACK
        await nc.close()


async def test_a_thousand_small_messages_far_apart_do_not_keep_what_was_between(
    connect: Connect,
) -> None:
    """A queued message keeps its read buffer; thousands of them must not keep theirs."""
    count = 5000

    async def handler(client: FakeConnection) -> None:
        await admit(client)
        stray = b"MSG b 99 60000\r\n" + b"x" * 60_000 + b"\r\n"
        await client.expect(b"PING")
        for _ in range(count):
            await client.write(b"MSG a 1 1\r\nx\r\n" + stray)
        await client.write(b"PONG\r\n")
        await client.serve()

    async with subscriber(connect, handler) as (nc, sub, _):
        before = memory()
        await nc.flush(timeout=PATIENCE)
        assert sub.pending_msgs == count
        assert memory() - before < 2 * SLACK, f"{count} messages of one byte"
        assert await payloads(sub, count) == [b"x"] * count


async def test_dropped_payloads_are_gone(connect: Connect) -> None:
    """Reports of drops that nobody handles don't keep what was dropped."""
    count = 600
    release = asyncio.Event()

    async def handler(client: FakeConnection) -> None:
        await admit(client)
        await client.expect(b"PING")
        for _ in range(count):
            await client.write(b"MSG a 1 500000\r\n" + b"x" * 500_000 + b"\r\n")
        await client.write(b"PONG\r\n")
        await client.serve()

    async def error_cb(error: Exception) -> None:
        await release.wait()

    async with FakeServer(handler) as server:
        nc = await connect(server, error_cb=error_cb)
        sub = await nc.subscribe("a", pending_msgs_limit=1)
        await within(nc.flush())
        before = memory()
        # Its PONG waits behind the reports, so it is seen to by another count.
        flush = asyncio.create_task(nc.flush(timeout=PATIENCE))
        await eventually(lambda: nc.stats["in_msgs"] == count, "all arrived", PATIENCE)
        assert sub.pending_msgs == 1
        assert memory() - before < SLACK, f"{count} messages of 500 kB dropped"
        release.set()
        await within(flush)
        await nc.close()


@pytest.mark.parametrize("kind", ["subject", "reply", "headers"])
async def test_what_does_not_count_as_payload_is_limited_too(connect: Connect, kind: str) -> None:
    long = b"a" * 500_000
    message = {
        "subject": b"MSG " + long + b" 1 0\r\n\r\n",
        "reply": b"MSG a 1 " + long + b" 0\r\n\r\n",
        "headers": b"HMSG a 1 500000 500000\r\n" + long + b"\r\n",
    }[kind]

    async def handler(client: FakeConnection) -> None:
        await admit(client)
        await client.expect(b"PING")
        for _ in range(400):
            await client.write(message)
        await client.write(b"PONG\r\n")
        await client.serve()

    async with FakeServer(handler) as server:
        events = Events()
        nc = await connect(server, **events.callbacks)
        sub = await nc.subscribe("a", pending_bytes_limit=MB)
        await within(nc.flush())
        before = memory()
        await nc.flush(timeout=PATIENCE)
        # 16 MB of them, whatever the limit for payloads.
        assert sub.pending_msgs <= 40
        assert sub.pending_bytes == 0
        assert memory() - before < SLACK
        if kind == "headers":
            assert isinstance(await events.wait_error(), errors.SlowConsumerError)
        await nc.close()


@pytest.mark.parametrize(
    "start",
    [b"", b"MSG ", b"INFO {", b"-ERR '", b"PING", b"\x00", b"HMSG a 1 "],
    ids=["nothing", "MSG", "INFO", "-ERR", "PING", "NUL", "HMSG"],
)
async def test_a_line_that_never_ends(connect: Connect, start: bytes) -> None:
    gone = asyncio.Event()

    async def handler(client: FakeConnection) -> None:
        if client.index > 0:
            await client.handshake()
            await client.serve()
            return
        await admit(client)
        try:
            await client.write(start)
            await flood(client, b"x", 200 * MB)
        finally:
            gone.set()

    async with FakeServer(handler) as server:
        events = Events()
        nc = await connect(server, **events.callbacks, **EAGER)
        before = memory()
        await subscribed(nc)
        await within(gone.wait())
        await events.wait("reconnected")
        assert memory() - before < SLACK
        await within(nc.flush())
        await nc.close()
