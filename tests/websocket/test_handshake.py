"""The beginning of a WebSocket, byte by byte: the request, and servers that are none."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from typing import Any

import nats
import pytest
from nats import errors
from nats.embedded import Server
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.waiting import Events, within
from support.ws_fake import (
    CLOSE,
    FramedConnection,
    frame,
    websocket,
    ws_url,
)
from support.ws_server import PLAIN, url_of

pytestmark = pytest.mark.usefixtures("driver", "quiet_loop")

ONCE: dict[str, Any] = {
    "max_reconnect_attempts": 1,
    "reconnect_time_wait": 0.01,
    "connect_timeout": 0.5,
}


# The request.


async def request_of(path: str = "", user: str = "", **options: Any) -> FramedConnection:
    """The request that a client sends."""
    requests: list[FramedConnection] = []

    @websocket
    async def handler(client: FramedConnection) -> None:
        requests.append(client)
        await client.accept()
        await client.handshake()
        await client.serve()

    async with FakeServer(handler) as server:
        nc = await nats.connect(ws_url(server, path, user), **options)
        await nc.close()
    (request,) = requests
    if "Host" not in options.get("ws_connection_headers", {}):
        assert request.header("host") == [f"{server.host}:{server.port}"]
    return request


async def test_a_request() -> None:
    request = await request_of()
    assert request.request_line == "GET / HTTP/1.1"
    assert request.header("upgrade") == ["websocket"]
    assert request.header("connection") == ["Upgrade"]
    assert request.header("sec-websocket-version") == ["13"]
    (key,) = request.header("sec-websocket-key")
    assert len(base64.b64decode(key)) == 16
    assert request.header("authorization") == []


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/", "/"),
        ("/proxy/nats?x=1", "/proxy/nats?x=1"),
        ("?x=1&y=a%20b", "/?x=1&y=a%20b"),
        ("/a b/ü#part", "/a%20b/%C3%BC"),
    ],
)
async def test_paths_are_kept(path: str, sent: str) -> None:
    assert (await request_of(path)).request_line == f"GET {sent} HTTP/1.1"


async def test_headers_are_values_or_lists_of_values() -> None:
    headers = {"X-One": "1", "X-Many": ["a", "b"], "X-Other": 7, "Cookie": ["c=d"]}
    request = await request_of(ws_connection_headers=headers)
    assert request.header("x-one") == ["1"]
    assert request.header("x-many") == ["a", "b"]
    assert request.header("cookie") == ["c=d"]
    # As nats-py does.
    assert request.header("x-other") == []


async def test_the_user_is_in_a_header_and_nowhere_else() -> None:
    request = await request_of("/path", "joe:s%25cret@")
    token = base64.b64encode(b"joe:s%cret").decode()
    assert request.request_line == "GET /path HTTP/1.1"
    assert request.header("authorization") == [f"Basic {token}"]
    assert not any("s%25cret" in value for _, value in request.headers)


async def test_a_header_of_ones_own_wins_over_the_url() -> None:
    headers = {"authorization": "Bearer abc"}
    request = await request_of("", "joe:pass@", ws_connection_headers=headers)
    assert request.header("authorization") == ["Bearer abc"]


async def test_a_host_of_ones_own() -> None:
    request = await request_of(ws_connection_headers={"Host": "nats.example"})
    assert request.header("host") == ["nats.example"]


@pytest.mark.parametrize("headers", [{"A\r\nB": "c"}, {"A": "b\r\nC: d"}, {"A b": "c"}])
async def test_headers_that_are_none_are_refused(headers: dict[str, str]) -> None:
    events = Events()
    async with FakeServer() as server:
        # At once: they would be none the next time, too.
        with pytest.raises(ValueError, match="header") as refused:
            await nats.connect(
                ws_url(server), ws_connection_headers=headers, **events.callbacks, **ONCE
            )
        assert server.connections == []
    assert events.errors == [refused.value]


async def test_a_proxy_with_a_path_prefix(connect: Connect) -> None:
    """One that looks at the request and passes the rest on, as nginx does."""
    async with Server(config=PLAIN) as server:
        address = url_of(server).removeprefix("ws://")
        async with FakeServer(_prefix_proxy("/proxy/nats", address)) as proxy:
            nc = await connect(ws_url(proxy, "/proxy/nats/"))
            sub = await nc.subscribe("a")
            await nc.publish("a", bytes(500_000))
            assert (await sub.next_msg(5)).data == bytes(500_000)
            events = Events()
            with pytest.raises(errors.NoServersError):
                await nats.connect(ws_url(proxy, "/elsewhere"), **events.callbacks, **ONCE)
            assert "404" in str(events.errors[0])
            # The connection goes through the proxy: it has to end first.
            await nc.close()


def _prefix_proxy(prefix: str, target: str) -> Any:
    host, _, port = target.rpartition(":")

    async def handler(client: FakeConnection) -> None:
        head = await client.reader.readuntil(b"\r\n\r\n")
        if not head.startswith(f"GET {prefix}/".encode()):
            await client.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            return
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(head.replace(f"GET {prefix}".encode(), b"GET ", 1))

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                while data := await source.read(65536):
                    sink.write(data)
                    await sink.drain()
            sink.close()

        try:
            await asyncio.gather(pump(client.reader, writer), pump(reader, client.writer))
        finally:
            writer.transport.abort()

    return handler


# Servers that are none.


async def refused_by(handler: Any) -> list[Exception]:
    """The errors of a client that meets such a server."""
    events = Events()
    async with FakeServer(handler) as server:
        with pytest.raises(errors.NoServersError):
            await within(nats.connect(ws_url(server), **events.callbacks, **ONCE))
        assert len(server.connections) == 2
    assert events.errors
    assert events.count("closed") == 0
    return events.errors


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "404"),
        (b"HTTP/1.1 301 Moved\r\nLocation: ws://127.0.0.1:1/\r\n\r\n", "301"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "200"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "websocket handshake failed"),
        (b'INFO {"server_id": "X"}\r\n', "websocket handshake failed"),
        (b"\x00\xff" * 100, "websocket handshake failed"),
        (b"HTTP/1.1 101 " + b"x" * 70_000, "websocket handshake failed"),
    ],
    ids=["404", "301", "200", "bare 101", "INFO", "garbage", "endless"],
)
async def test_servers_that_do_not_speak_websocket(answer: bytes, text: str) -> None:
    async def handler(client: FakeConnection) -> None:
        await client.write(answer)
        await client.wait_closed()

    for error in await refused_by(handler):
        assert isinstance(error, ConnectionError)
        assert text in str(error)


@pytest.mark.parametrize(
    "changes",
    [
        {"Sec_WebSocket_Accept": "bm8="},
        {"Upgrade": "h2c"},
        {"Connection": "close"},
        {"Sec_WebSocket_Protocol": "chat"},
    ],
    ids=lambda changes: next(iter(changes)),
)
async def test_answers_that_are_wrong(changes: dict[str, str]) -> None:
    @websocket
    async def handler(client: FramedConnection) -> None:
        await client.accept(**changes)
        await client.client.wait_closed()

    for error in await refused_by(handler):
        assert isinstance(error, ConnectionError)


async def test_a_port_of_the_plain_protocol(server: Server) -> None:
    events = Events()
    with pytest.raises(errors.NoServersError):
        await within(nats.connect(server.url.replace("nats:", "ws:"), **events.callbacks, **ONCE))
    assert all(isinstance(error, ConnectionError) for error in events.errors)


async def test_silence_ends_with_connect_timeout() -> None:
    async def handler(client: FakeConnection) -> None:
        # The client has to hang up.
        await client.wait_closed()

    for error in await refused_by(handler):
        assert isinstance(error, asyncio.TimeoutError)


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 101 Switching"])
async def test_hanging_up_during_the_handshake(sent: bytes) -> None:
    @websocket
    async def handler(client: FramedConnection) -> None:
        await client.read_request()
        await client.client.write(sent)

    for error in await refused_by(handler):
        assert isinstance(error, ConnectionError)


async def test_hanging_up_with_the_answer() -> None:
    """The WebSocket ends before anything was said in it."""

    @websocket
    async def handler(client: FramedConnection) -> None:
        await client.read_request()
        await client.client.write(client.answer() + frame(b"\x03\xe8", CLOSE))
        await client.client.wait_closed()

    for error in await refused_by(handler):
        assert isinstance(error, (OSError, errors.Error))


async def test_an_open_websocket_without_info() -> None:
    @websocket
    async def handler(client: FramedConnection) -> None:
        await client.accept()
        await client.client.wait_closed()

    for error in await refused_by(handler):
        assert isinstance(error, asyncio.TimeoutError)


async def test_a_cancelled_connect_leaves_nothing_behind() -> None:
    async def handler(client: FakeConnection) -> None:
        await client.wait_closed()

    for seconds in (0, 0.001, 0.1):
        async with FakeServer(handler) as server:
            connecting = asyncio.ensure_future(nats.connect(ws_url(server)))
            await asyncio.sleep(seconds)
            connecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await connecting
            # The script, which waits for the end of each connection, reports that none came.


async def test_an_answer_in_pieces_along_with_the_first_frame(connect: Connect) -> None:
    """However the bytes are cut, they mean the same."""

    @websocket
    async def handler(client: FramedConnection) -> None:
        await client.read_request()
        info = b'INFO {"server_id": "X", "max_payload": 1000000, "proto": 1}\r\n'
        await client.client.write_slowly(client.answer() + frame(info))
        await client.expect(b"CONNECT ")
        await client.expect(b"PING")
        await client.client.write_slowly(frame(b"PONG\r\n"))
        await client.serve()

    async with FakeServer(handler) as server:
        nc = await connect(ws_url(server), connect_timeout=20)
        assert nc.is_connected
        await nc.close()
