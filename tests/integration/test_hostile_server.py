"""Servers that mean it ill: what they can't do is hang the client or fill its memory."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

import psutil
import pytest
from conftest import Connect
from fake_server import FakeConnection, FakeServer
from nats import errors
from nats.aio.client import Client
from scripted import TIMEOUT, admit, payloads, subscribed
from waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")

MB = 1 << 20

# What a client may grow by while it is flooded: buffers of both ends and the limits of the core.
SLACK = 64 * MB


def memory() -> int:
    return psutil.Process(os.getpid()).memory_info().rss


async def flood(client: FakeConnection, data: bytes, total: int) -> None:
    """Send ``data`` over and over until the client goes away or ``total`` bytes are sent."""
    chunk = data * max(1, 262_144 // len(data))
    for _ in range(total // len(chunk)):
        await client.write(chunk)


# INFO


def hostile_info() -> list[Any]:
    cases = {
        "nesting": b"[" * 500_000,
        "nested objects": b'{"a":' * 100_000,
        "closed nesting": b'{"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
        "huge number": b'{"max_payload": ' + b"9" * 4000 + b"}",
        "number of 500 kB": b'{"max_payload": ' + b"9" * 500_000 + b"}",
        "infinity": b'{"max_payload": 1e999}',
        "NaN": b'{"max_payload": NaN}',
        "null": b'{"max_payload": null}',
        "list": b'{"max_payload": [1]}',
        "text": b'{"max_payload": "much"}',
        "negative": b'{"max_payload": -1}',
        "urls as text": b'{"connect_urls": "127.0.0.1:1"}',
        "urls as object": b'{"connect_urls": {"a": 1}}',
        "version": b'{"version": {"a": 1}}',
        "nonce": b'{"nonce": [1, 2]}',
        "client_ip": b'{"client_ip": 5}',
        "NUL": b'{"server_id": "\x00"}',
        "surrogate": b'"\xed\xa0\x80"',
    }
    return [pytest.param(data, id=name) for name, data in cases.items()]


@pytest.mark.parametrize("info", hostile_info())
async def test_hostile_info_is_refused(info: bytes) -> None:
    async def handler(client: FakeConnection) -> None:
        await client.write(b"INFO " + info + b"\r\n")
        await client.wait_closed()

    async with FakeServer(handler) as server:
        nc = Client()
        events = Events()
        with pytest.raises(errors.Error, match="nats: info message, json parse error"):
            await within(nc.connect(server.url, allow_reconnect=False, **events.callbacks), 5)
        assert not nc.is_connected
        assert nc.max_payload == 1048576
        await within(nc.close())


@pytest.mark.parametrize("info", hostile_info())
async def test_hostile_info_later_changes_nothing(
    connect: Connect, info: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async def handler(client: FakeConnection) -> None:
        await admit(client)
        await client.write(b"INFO " + info + b"\r\nMSG a 1 3\r\none\r\n")
        await client.serve()

    async with FakeServer(handler) as server:
        events = Events()
        nc = await connect(server, **events.callbacks)
        sub = await subscribed(nc)
        assert await payloads(sub, 1) == [b"one"]
        await within(nc.flush())
        assert "nats: encountered error" in caplog.text
        assert nc.is_connected
        assert len(nc.servers) == 1
        assert nc.max_payload == 1048576
        await nc.close()


async def test_info_with_a_million_urls(connect: Connect) -> None:
    """The line is too long."""

    async def handler(client: FakeConnection) -> None:
        if client.index == 0:
            await admit(client)
            try:
                await client.write(b'INFO {"connect_urls": [' + b'"10.0.0.1:1",' * 1_000_000)
            finally:
                await client.wait_closed()
            return
        await client.handshake()
        await client.serve()

    async with FakeServer(handler) as server:
        events = Events()
        nc = await connect(server, **events.callbacks, **EAGER)
        await subscribed(nc)
        await events.wait("reconnected")
        assert len(nc.servers) == 1
        await nc.close()


async def test_the_pool_takes_so_many_servers_and_no_more(connect: Connect) -> None:
    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        for number in range(4):
            await client.send_info(
                connect_urls=[f"10.{number}.{n >> 8}.{n & 255}:1" for n in range(5000)]
            )
        await client.serve()

    async with FakeServer(handler) as server:
        events = Events()
        nc = await connect(server, **events.callbacks)
        await events.wait("discovered")
        await within(nc.flush())
        assert len(nc.discovered_servers) == 1000
        await nc.close()


async def test_urls_that_are_none_are_left_out(connect: Connect) -> None:
    urls = ["127.0.0.1:1", 7, None, ["a"], "[::1", "127.0.0.1:1", "127.0.0.1:2", "\x00", ""]

    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        await client.send_info(connect_urls=urls)
        await client.serve()

    async with FakeServer(handler) as server:
        events = Events()
        nc = await connect(server, **events.callbacks)
        await events.wait("discovered")
        netlocs = [url.netloc for url in nc.discovered_servers]
        assert {"127.0.0.1:1", "127.0.0.1:2"} <= set(netlocs)
        assert len(netlocs) == len(set(netlocs)) <= 4
        await nc.close()


async def test_a_server_that_never_ends_the_handshake(connect: Connect) -> None:
    """Each answer comes in time, the right one never does."""

    async def handler(client: FakeConnection) -> None:
        await client.send_info()
        await client.expect(b"CONNECT ")
        for _ in range(1000):
            await client.write(b"INFO {}\r\n+OK\r\n")
            await asyncio.sleep(0.05)

    async with FakeServer(handler) as server:
        nc = Client()
        events = Events()
        with pytest.raises(asyncio.TimeoutError):
            await within(
                nc.connect(
                    server.url, allow_reconnect=False, connect_timeout=0.5, **events.callbacks
                ),
                5,
            )
        assert not nc.is_connected


# Floods


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
            await client.wait_closed(30)
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
        await within(given_up.wait(), 30)
        assert memory() - before < SLACK
        release.set()
        await events.wait("reconnected", seconds=30)
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

    async with FakeServer(handler) as server:
        events = Events()
        nc = await connect(server, **events.callbacks)
        sub = await subscribed(nc)
        assert (await sub.next_msg(30)).data == b"one"
        await within(nc.flush())
        assert (events.names, events.errors) == ([], [])
        await nc.close()


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

    async with FakeServer(handler) as server:
        nc = await connect(server)
        sub = await subscribed(nc)
        before = memory()
        assert (await sub.next_msg(30)).data == b"one"
        assert nc.pending_data_size < MB
        assert memory() - before < SLACK
        received.set()
        await within(nc.flush())
        assert 0 < answers.count(b"PONG\r\n") < count
        await nc.close()


async def test_replies_that_nobody_asked_for(connect: Connect) -> None:
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
        assert (await within(nc.request("service", b"x", timeout=30), 30)).data == b"ok"
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

    async with FakeServer(handler) as server:
        nc = await connect(server)
        sub = await subscribed(nc)
        before = memory()
        await nc.flush(timeout=50)
        assert sub.pending_msgs == count
        assert memory() - before < 2 * SLACK, f"{count} messages of one byte"
        assert await payloads(sub, count) == [b"x"] * count
        await nc.close()


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
        flush = asyncio.create_task(nc.flush(timeout=50))
        await eventually(lambda: nc.stats["in_msgs"] == count, "all arrived", 50)
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
        await nc.flush(timeout=50)
        # 16 MB of them, whatever the limit for payloads.
        assert sub.pending_msgs <= 40
        assert sub.pending_bytes == 0
        assert memory() - before < SLACK
        if kind == "headers":
            assert isinstance(await events.wait_error(), errors.SlowConsumerError)
        await nc.close()


# Lines without an end


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


async def test_a_line_that_never_ends_instead_of_info() -> None:
    async def handler(client: FakeConnection) -> None:
        await client.write(b"INFO ")
        await flood(client, b"[", 200 * MB)

    async with FakeServer(handler) as server:
        nc = Client()
        before = memory()
        with pytest.raises(errors.Error):
            await within(nc.connect(server.url, allow_reconnect=False, error_cb=_ignore))
        assert memory() - before < SLACK


async def _ignore(error: Exception) -> None:
    pass


# Sizes


@pytest.mark.parametrize(
    "line",
    [
        b"MSG a 1 00000000000000000000000000000000000000000000000000002\r\nok\r\n",
        b"MSG a 00000000000000000000000000001 2\r\nok\r\n",
        b"HMSG a 1 0 2\r\nok\r\n",
    ],
    ids=["zeros in front of a size", "zeros in front of a sid", "no headers"],
)
async def test_odd_but_sound_numbers(connect: Connect, line: bytes) -> None:
    await _expect_message(connect, line, b"ok")


async def test_a_payload_over_the_max_payload_that_was_announced(connect: Connect) -> None:
    """It limits what clients send; a server may deliver what it had stored before."""
    payload = b"x" * (3 * MB)
    await _expect_message(connect, b"MSG a 1 %d\r\n%s\r\n" % (len(payload), payload), payload)


async def test_subjects_with_odd_bytes(connect: Connect) -> None:
    for subject in (b"a\x00b", b"\x01", b"a" * 100_000):
        await _expect_message(connect, b"MSG " + subject + b" 1 2\r\nok\r\n", b"ok")


async def _expect_message(connect: Connect, data: bytes, payload: bytes) -> None:
    async def handler(client: FakeConnection) -> None:
        await admit(client)
        await client.write(data)
        await client.serve()

    async with FakeServer(handler) as server:
        nc = await connect(server)
        sub = await subscribed(nc)
        assert (await sub.next_msg(TIMEOUT)).data == payload
        await within(nc.flush())
        await nc.close()


@pytest.mark.parametrize(
    "line",
    [
        b"MSG a 18446744073709551616 1\r\nx\r\n",
        b"MSG a 1 9223372036854775808\r\nx\r\n",
        b"MSG a 1 1073741825\r\nx\r\n",
        b"HMSG a 1 18446744073709551615 18446744073709551615\r\nx\r\n",
        b"HMSG a 1 18446744073709551616 1\r\nx\r\n",
        b"HMSG a 1 -1 1\r\nx\r\n",
        b"HMSG a 1 2 1\r\nx\r\n",
    ],
)
async def test_sizes_that_cannot_be(connect: Connect, line: bytes) -> None:
    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        await client.expect(b"SUB ")
        await client.write(line)
        await client.wait_closed()

    async with FakeServer(handler) as server:
        events = Events()
        nc = await connect(server, allow_reconnect=False, **events.callbacks)
        await nc.subscribe("a")
        await events.wait("closed")
        assert isinstance(nc.last_error, errors.ProtocolError)


# Answers of JetStream


def hostile_answers() -> list[Any]:
    cases = {
        "nesting": b"[" * 200_000,
        "nested objects": b'{"error":' * 100_000,
        "number": b'{"stream":"s","seq":' + b"9" * 10_000 + b"}",
        "negative": b'{"stream":"s","seq":-1}',
        "not JSON": b"\x00\xff",
        "null": b"null",
        "empty": b"",
        "error of another kind": b'{"error": 5}',
        "code of another kind": b'{"error": {"code": "x", "err_code": [1]}}',
    }
    return [pytest.param(data, id=name) for name, data in cases.items()]


Ask = Callable[[Any], Awaitable[Any]]


@pytest.mark.parametrize("answer", hostile_answers())
@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda js: js.publish("s", b"", timeout=5), id="publish"),
        pytest.param(lambda js: js.stream_info("s"), id="stream_info"),
        pytest.param(lambda js: js.account_info(), id="account_info"),
    ],
)
async def test_hostile_answers_of_jetstream(connect: Connect, ask: Ask, answer: bytes) -> None:
    """Some exception, or a result as far as the answer is one, and a client that goes on."""

    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        sid = (await client.expect(b"SUB ")).split()[-1].decode()
        await client.expect_publish()
        reply = client.lines[-1].split()[2].decode()
        await client.send_message(reply, sid, answer)
        await client.serve()

    async with FakeServer(handler) as server:
        nc = await connect(server)
        (outcome,) = await within(asyncio.gather(ask(nc.jetstream()), return_exceptions=True))
        assert not isinstance(outcome, asyncio.TimeoutError), "the answer was lost"
        if isinstance(outcome, BaseException):
            assert isinstance(outcome, Exception)
        await within(nc.flush())
        assert nc._core.census()[:2] == (0, 0)
        await nc.close()


async def test_headers_by_the_thousand(connect: Connect) -> None:
    block = b"NATS/1.0\r\n" + b"A: 1\r\n" * 50_000 + b"\r\n"
    data = b"HMSG a 1 %d %d\r\n%s\r\n" % (len(block), len(block), block)

    async def handler(client: FakeConnection) -> None:
        await admit(client)
        await client.write(data)
        await client.serve()

    async with FakeServer(handler) as server:
        nc = await connect(server)
        sub = await subscribed(nc)
        msg = await sub.next_msg(TIMEOUT)
        assert set(msg.headers) == {"A"}
        await nc.close()


async def test_info_is_still_taken_over(connect: Connect) -> None:
    """The checks let through what servers really say."""
    info = {
        "server_id": "N",
        "version": "2.11.0",
        "max_payload": 4096,
        "connect_urls": None,
        "nonce": None,
        "client_ip": "127.0.0.1",
        "client_id": 7,
    }

    async def handler(client: FakeConnection) -> None:
        await client.write(b"INFO " + json.dumps(info).encode() + b"\r\n")
        await client.expect(b"CONNECT ")
        await client.expect(b"PING")
        await client.write(b"PONG\r\n")
        await client.serve()

    async with FakeServer(handler) as server:
        nc = await connect(server)
        assert (nc.max_payload, nc.client_id, nc.client_ip) == (4096, 7, "127.0.0.1")
        assert nc.connected_server_version.minor == 11
        await nc.close()
