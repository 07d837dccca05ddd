"""What a broken or hostile server sends, and what becomes of the good messages around it."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import psutil
import pytest
from nats import errors
from nats.aio.client import Client
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.flooding import memory
from support.scripted import TIMEOUT, admit, beginning, payloads, sending, subscribed, subscriber
from support.waiting import EAGER, Events, within

pytestmark = pytest.mark.usefixtures("driver")


def protocol_errors() -> list[Any]:
    cases = {
        "unknown operation": b"BOGUS a 1 1\r\nx\r\n",
        "lower case": b"msg a 1 1\r\nx\r\n",
        "empty line": b"\r\n",
        "binary": b"\x00\xff\xfe\x80\r\n",
        "HTTP": b"HTTP/1.1 400 Bad Request\r\n\r\n",
        "bare -ERR": b"-ERR\r\n",
        "bare INFO": b"INFO\r\n",
        "bare MSG": b"MSG\r\n",
        "no size": b"MSG a 1\r\n\r\n",
        "negative size": b"MSG a 1 -1\r\n\r\n",
        "signed size": b"MSG a 1 +1\r\nx\r\n",
        "hexadecimal size": b"MSG a 1 0x1\r\nx\r\n",
        "fraction": b"MSG a 1 1.0\r\nx\r\n",
        "digits that aren't ASCII": "MSG a 1 \u0661\r\nx\r\n".encode(),
        "size over 64 bits": b"MSG a 1 99999999999999999999999\r\nx\r\n",
        "size of 64 bits": b"MSG a 1 18446744073709551615\r\nx\r\n",
        "size of 2 GB": b"MSG a 1 2147483648\r\nx\r\n",
        "HMSG size of 2 GB": b"HMSG a 1 12 2147483648\r\nNATS/1.0\r\n\r\nx\r\n",
        "sid that isn't a number": b"MSG a one 1\r\nx\r\n",
        "negative sid": b"MSG a -1 1\r\nx\r\n",
        "too many fields": b"MSG a 1 reply more 1\r\nx\r\n",
        "size too small": b"MSG a 1 1\r\nxyz\r\n",
        "size too large": b"MSG a 1 2\r\nx\r\nMSG a 1 1\r\nx\r\n",
        "HMSG without header size": b"HMSG a 1 12\r\nNATS/1.0\r\n\r\n\r\n",
        "header size over total": b"HMSG a 1 13 12\r\nNATS/1.0\r\n\r\n\r\n",
        "header size over 64 bits": b"HMSG a 1 99999999999999999999999 12\r\nNATS/1.0\r\n\r\n\r\n",
        "endless line": b"MSG " + b"a" * (2 << 20),
    }
    return [pytest.param(data, id=name) for name, data in cases.items()]


@pytest.mark.parametrize("bad", protocol_errors())
async def test_protocol_error(connect: Connect, bad: bytes) -> None:
    async def handler(client: FakeConnection) -> None:
        if client.index == 0:
            await admit(client)
            # In one write, so that the good ones and the bad one are read together.
            await client.write(b"MSG a 1 3\r\none\r\nMSG a 1 3\r\ntwo\r\n" + bad)
            await client.wait_closed()
            return
        await _go_on(client, b"three")

    async with subscriber(connect, handler, **EAGER) as (nc, sub, events):
        assert await payloads(sub, 3) == [b"one", b"two", b"three"]
        await events.wait("reconnected")
        # As nats-py does: a protocol error isn't reported.
        assert events.names == ["disconnected", "reconnected"]
        assert events.errors == []
        assert nc.is_connected
        assert nc.stats["reconnects"] == 1
        await within(nc.flush())
        assert sub.pending_msgs == 0


async def _go_on(client: FakeConnection, payload: bytes) -> None:
    """Let a client in that has reconnected, with a message for its subscription."""
    await client.handshake()
    await client.expect(b"SUB a")
    await client.send_message("a", 1, payload)
    await client.serve()


async def test_protocol_error_without_reconnect(connect: Connect) -> None:
    async def handler(client: FakeConnection) -> None:
        await admit(client)
        await client.write(b"MSG a 1 3\r\none\r\nBOGUS\r\n")
        await client.wait_closed()

    async with FakeServer(handler) as server:
        events = Events()
        nc = await connect(server, allow_reconnect=False, **events.callbacks)
        got: list[bytes] = []

        async def callback(msg: Any) -> None:
            got.append(msg.data)

        await nc.subscribe("a", cb=callback)
        await within(nc.flush())
        await events.wait("closed")
        assert events.names == ["disconnected", "closed"]
        assert events.errors == []
        assert isinstance(nc.last_error, errors.ProtocolError)
        assert nc.is_closed
        assert got == [b"one"]


async def test_callers_do_not_hang_over_a_protocol_error(connect: Connect) -> None:
    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        if client.index == 0:
            await client.expect(b"SUB ")
            await client.expect_publish()
            await client.write(b"BOGUS\r\n")
        await client.serve()

    async with FakeServer(handler) as server:
        events = Events()
        nc = await connect(server, **events.callbacks, **EAGER)
        request = asyncio.create_task(nc.request("service", b"x", timeout=0.3))
        await events.wait("reconnected")
        with pytest.raises(errors.TimeoutError):
            await within(request)
        await within(nc.flush())
        assert nc._core.census()[:2] == (0, 0)
        await nc.close()


@pytest.mark.parametrize(
    "truncated",
    [
        b"MSG a 1 10\r\nabc",
        b"MSG a 1 3\r\nabc",
        b"MSG a 1 3\r\nabc\r",
        b"MSG a 1",
        b"HMSG a 1 12 20\r\nNATS/1.0\r\n",
        b"PIN",
        b"MSG a 1 1000000000\r\n" + b"x" * 100_000,
    ],
    ids=["payload", "line end", "half a line end", "line", "headers", "ping", "1 GB"],
)
async def test_truncated_then_eof(connect: Connect, truncated: bytes) -> None:
    async def handler(client: FakeConnection) -> None:
        if client.index == 0:
            await admit(client)
            await client.write(b"MSG a 1 3\r\none\r\n" + truncated)
            return
        await _go_on(client, b"two")

    before = memory()
    async with subscriber(connect, handler, **EAGER) as (_, sub, events):
        assert await payloads(sub, 2) == [b"one", b"two"]
        await events.wait("reconnected")
        assert events.names == ["disconnected", "reconnected"]
        assert [type(error) for error in events.errors] == [errors.UnexpectedEOF]
        assert memory() - before < 50_000_000, "allocated what was only claimed"


async def test_a_claim_is_no_allocation(connect: Connect) -> None:
    """A size below the limit that never arrives costs what has arrived, not what was said."""
    claimed = asyncio.Event()

    async def handler(client: FakeConnection) -> None:
        await admit(client)
        await client.write(b"MSG a 1 1000000000\r\n" + b"x" * 1000)
        claimed.set()
        await client.wait_closed()

    async with FakeServer(handler) as server:
        nc = await connect(server)
        process = psutil.Process()
        before = process.memory_info()
        sub = await subscribed(nc)
        await within(claimed.wait())
        with pytest.raises(errors.TimeoutError):
            await sub.next_msg(0.1)
        assert process.memory_info().vms - before.vms < 500_000_000
        assert process.memory_info().rss - before.rss < 50_000_000
        assert nc.is_connected
        await within(nc.close())


@pytest.mark.parametrize(
    ("first", "error", "text"),
    [
        (b"INFO {bad json}\r\n", errors.Error, "nats: info message, json parse error"),
        (b"INFO {\xff}\r\n", errors.Error, "nats: info message, json parse error"),
        (b"INFO \r\n", errors.Error, ""),
        (b"+OK\r\n", errors.Error, "nats: empty response from server when expecting INFO message"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", errors.Error, ""),
        (b"\x16\x03\x01\x02\x00\x01\r\n", errors.Error, ""),
        (b"\r\n", errors.Error, ""),
        (b"INFO " + b"x" * (2 << 20), errors.Error, ""),
    ],
    ids=["JSON", "UTF-8", "empty", "+OK", "HTTP", "TLS", "empty line", "endless line"],
)
async def test_first_line(first: bytes, error: type[Exception], text: str) -> None:
    async with FakeServer(beginning(first)) as server:
        events = Events()
        nc = Client()
        with pytest.raises(error) as caught:
            await within(
                nc.connect(
                    server.url, allow_reconnect=False, connect_timeout=1, **events.callbacks
                ),
                3,
            )
        assert text in str(caught.value)
        assert events.errors == [caught.value]
        assert not nc.is_connected


@pytest.mark.parametrize("partial", [b"", b'INFO {"server_id"'], ids=["nothing", "half"])
async def test_eof_instead_of_info(partial: bytes) -> None:
    async def handler(client: FakeConnection) -> None:
        await client.write(partial)

    async with FakeServer(handler) as server:
        events = Events()
        nc = Client()
        with pytest.raises(errors.Error, match="empty response from server when expecting INFO"):
            await within(nc.connect(server.url, allow_reconnect=False, **events.callbacks), 3)
        assert not nc.is_connected


@pytest.mark.parametrize(
    "partial", [b"", b'INFO {"server_id"', b"PING\r\n"], ids=["nothing", "half", "PING"]
)
async def test_silence_instead_of_info(partial: bytes) -> None:
    async with FakeServer(beginning(partial)) as server:
        nc: Any = Client()
        with pytest.raises(asyncio.TimeoutError):
            await within(nc.connect(server.url, allow_reconnect=False, connect_timeout=0.2), 3)
        assert not nc.is_connected


@pytest.mark.parametrize(
    "info",
    [
        b"[]",
        b"null",
        b"1",
        b'{"max_payload": "x"}',
        b'{"max_payload": -1}',
        b'{"max_payload": 1e9}',
        b'{"connect_urls": 1}',
        b'{"connect_urls": [1, "::bad::"]}',
        b'{"version": []}',
    ],
)
async def test_info_of_the_wrong_shape(info: bytes) -> None:
    """Whatever becomes of it, connecting comes to an end and the client can be closed."""

    async def handler(client: FakeConnection) -> None:
        await client.write(b"INFO " + info + b"\r\n")
        await client.serve()

    async with FakeServer(handler) as server:
        nc = Client()
        outcome = await within(
            asyncio.gather(
                nc.connect(server.url, allow_reconnect=False, connect_timeout=1),
                return_exceptions=True,
            ),
            3,
        )
        assert isinstance(outcome[0], Exception | None)
        assert nc.is_connected == (outcome[0] is None)
        await within(nc.close(), 3)


@pytest.mark.parametrize("info", [b"{bad", b"[]", b"null", b'{"max_payload": "x"}'])
async def test_a_bad_info_does_not_end_reconnecting(connect: Connect, info: bytes) -> None:
    async def handler(client: FakeConnection) -> None:
        if client.index == 1:
            await client.write(b"INFO " + info + b"\r\n")
            await client.wait_closed(1)
            return
        await client.handshake()
        if client.index > 0:
            await client.serve()

    async with FakeServer(handler) as server:
        events = Events()
        nc = await connect(server, max_reconnect_attempts=-1, **events.callbacks, **EAGER)
        await events.wait("reconnected", seconds=5)
        assert events.names == ["disconnected", "reconnected"]
        assert len(server.connections) == 3
        await within(nc.flush())
        await nc.close()


@pytest.mark.parametrize("info", [b"{bad json", b"{\xff}", b"[]", b"null", b'{"connect_urls": 1}'])
async def test_async_info_that_cannot_be_read(
    connect: Connect, caplog: pytest.LogCaptureFixture, info: bytes
) -> None:
    data = b"MSG a 1 3\r\none\r\nINFO " + info + b"\r\nMSG a 1 3\r\ntwo\r\n"
    caplog.set_level(logging.ERROR, "nats.aio.client")
    async with subscriber(connect, sending(data), **EAGER) as (nc, sub, events):
        assert await payloads(sub, 2) == [b"one", b"two"]
        await within(nc.flush())
        assert "nats: encountered error" in caplog.text
        assert events.names == []
        assert nc.is_connected


async def test_async_info_one_byte_at_a_time(connect: Connect) -> None:
    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        info = {**server.info, "connect_urls": ["127.0.0.1:1", "127.0.0.1:2"]}
        await client.write_slowly(b"INFO " + json.dumps(info).encode() + b"\r\n", pause=0)
        await client.serve()

    async with FakeServer(handler) as server:
        events = Events()
        nc = await connect(server, **events.callbacks)
        await events.wait("discovered")
        assert {url.port for url in nc.discovered_servers} == {1, 2}
        await nc.close()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"-ERR 'Some Thing'\r\n", "nats: some thing"),
        (b"-ERR no quotes\r\n", "nats: no quotes"),
        (b"-ERR '\xff'\r\n", "nats: \ufffd"),
    ],
)
async def test_unknown_error_closes(connect: Connect, line: bytes, expected: str) -> None:
    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        await client.write(line)
        await client.wait_closed()

    async with FakeServer(handler) as server:
        events = Events()
        nc = await connect(server, **events.callbacks, **EAGER)
        await events.wait("closed")
        assert nc.is_closed
        assert str(nc.last_error) == expected
        assert len(server.connections) == 1


async def test_invalid_utf8(connect: Connect) -> None:
    headers = b"NATS/1.0\r\nGood: yes\r\nBad: \xff\xfe\r\nN\xe4me: x\r\nNo colon\r\n\r\n"
    data = (
        b"MSG caf\xe9 1 3\r\none\r\n"
        b"MSG a 1 re\xff 3\r\ntwo\r\n"
        b"HMSG a 1 %d %d\r\n%sthree\r\n"
        b"HMSG a 1 4 8\r\n\xff\xff\xff\xfffour\r\n"
        b"HMSG a 1 0 4\r\nfive\r\n"
    ) % (len(headers), len(headers) + 5, headers)
    async with subscriber(connect, sending(data), ">") as (nc, sub, events):
        msgs = [await sub.next_msg(TIMEOUT) for _ in range(5)]
        assert [msg.data for msg in msgs] == [b"one", b"two", b"three", b"four", b"five"]
        assert [msg.subject for msg in msgs] == ["caf\ufffd", "a", "a", "a", "a"]
        assert msgs[1].reply == "re\ufffd"
        assert msgs[2].headers == {"Good": "yes", "Bad": "\ufffd\ufffd"}
        assert [msg.headers for msg in msgs[3:]] == [None, None]
        await within(nc.flush())
        assert (events.names, events.errors) == ([], [])
