"""WebSocket, byte by byte: what is sent, what is understood, and what ends a connection."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
from collections.abc import AsyncIterator
from typing import Any

import nats
import pytest
from conftest import Connect
from fake_server import FakeConnection, FakeServer
from nats import errors
from nats.embedded import Server
from proxy import Proxy
from waiting import EAGER, Events, eventually, within
from ws_fake import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    FramedConnection,
    frame,
    websocket,
    ws_url,
)

pytestmark = pytest.mark.usefixtures("driver")

ONCE: dict[str, Any] = {
    "max_reconnect_attempts": 1,
    "reconnect_time_wait": 0.01,
    "connect_timeout": 0.5,
}


@pytest.fixture(autouse=True)
async def trouble() -> AsyncIterator[list[dict[str, Any]]]:
    """What the event loop is told of: nothing, not even of futures that nobody asked."""
    found: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context))
    yield found
    gc.collect()
    await asyncio.sleep(0)
    assert found == []


@websocket
async def admit_and_serve(client: FramedConnection) -> None:
    await client.accept()
    await client.handshake()
    await client.serve()


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
    requests: list[FramedConnection] = []

    @websocket
    async def handler(client: FramedConnection) -> None:
        requests.append(client)
        await client.accept()
        await client.handshake()
        await client.serve()

    async with FakeServer(handler) as server:
        nc = await nats.connect(ws_url(server), ws_connection_headers={"Host": "nats.example"})
        await nc.close()
    assert requests[0].header("host") == ["nats.example"]


@pytest.mark.parametrize("headers", [{"A\r\nB": "c"}, {"A": "b\r\nC: d"}, {"A b": "c"}])
async def test_headers_that_are_none_are_refused(headers: dict[str, str]) -> None:
    events = Events()
    async with FakeServer() as server:
        with pytest.raises(errors.NoServersError):
            await nats.connect(
                ws_url(server), ws_connection_headers=headers, **events.callbacks, **ONCE
            )
        assert server.connections == []
    assert {type(error) for error in events.errors} == {ValueError}


async def test_a_proxy_with_a_path_prefix(connect: Connect) -> None:
    """One that looks at the request and passes the rest on, as nginx does."""
    config = 'websocket { host: "127.0.0.1", port: -1, no_tls: true }'
    async with Server(config=config) as server:
        address = server.listeners["websocket"][0].removeprefix("ws://")
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


# Frames.


async def received_by(connect: Connect, data: bytes, expected: list[bytes]) -> None:
    """Sends bytes to a client with one subscription, which has to receive these payloads."""

    @websocket
    async def handler(client: FramedConnection) -> None:
        await client.admit()
        await client.client.write(data)
        await client.serve()

    async with FakeServer(handler) as server:
        nc = await connect(ws_url(server))
        sub = await nc.subscribe("a")
        await within(nc.flush())
        for payload in expected:
            assert (await sub.next_msg(5)).data == payload
        assert await within(nc.rtt()) > 0
        await nc.close()


def message(payload: bytes) -> bytes:
    return b"MSG a 1 %d\r\n%b\r\n" % (len(payload), payload)


async def test_frames_and_messages_need_not_match(connect: Connect) -> None:
    stream = b"".join(message(b"%d" % number) for number in range(300))
    data = b"".join(frame(stream[start : start + 7]) for start in range(0, len(stream), 7))
    await received_by(connect, data, [b"%d" % number for number in range(300)])
    await received_by(connect, frame(stream), [b"%d" % number for number in range(300)])


async def test_fragmented_frames(connect: Connect) -> None:
    payload = bytes(range(256)) * 4000
    stream = message(payload)
    third = len(stream) // 3
    data = (
        frame(stream[:third], fin=False)
        # Control frames may come in between.
        + frame(b"", PING)
        + frame(stream[third : 2 * third], CONTINUATION, fin=False)
        + frame(b"", CONTINUATION, fin=False)
        + frame(stream[2 * third :], CONTINUATION)
        + frame(b"")
        + frame(message(b"next"))
    )

    @websocket
    async def handler(client: FramedConnection) -> None:
        await client.admit()
        await client.client.write(data)
        assert await client.read_frame() == (PONG, b"")
        await client.serve()

    async with FakeServer(handler) as server:
        nc = await connect(ws_url(server))
        sub = await nc.subscribe("a")
        await within(nc.flush())
        assert (await sub.next_msg(5)).data == payload
        assert (await sub.next_msg(5)).data == b"next"
        await nc.close()


async def test_pings_are_answered(connect: Connect) -> None:
    answered = asyncio.Event()

    @websocket
    async def handler(client: FramedConnection) -> None:
        await client.accept()
        await client.handshake()
        await client.send(b"abc", PING)
        assert await client.read_frame() == (PONG, b"abc")
        await client.send(b"unasked", PONG)
        answered.set()
        await client.serve()

    async with FakeServer(handler) as server:
        nc = await connect(ws_url(server))
        await within(answered.wait())
        assert await within(nc.rtt()) > 0
        await nc.close()


async def test_every_frame_is_masked_with_a_key_of_its_own(connect: Connect) -> None:
    keys: list[bytes] = []

    async def handler(client: FakeConnection) -> None:
        framed = FramedConnection(client)
        await framed.accept()
        await framed.handshake()
        while len(keys) < 20:
            first, second = await client.reader.readexactly(2)
            assert (first, second & 0x80) == (0x82, 0x80)
            keys.append(await client.reader.readexactly(4))
            await client.reader.readexactly(second & 0x7F)
            await framed.send(b"PONG\r\n")

    async with FakeServer(handler) as server:
        nc = await connect(ws_url(server), allow_reconnect=False)
        for _ in range(20):
            await within(nc.flush())
        await nc.close()
    assert len(set(keys)) > 15


async def test_closing_says_good_bye(connect: Connect) -> None:
    frames: list[tuple[int, bytes]] = []

    @websocket
    async def handler(client: FramedConnection) -> None:
        await client.accept()
        await client.handshake()
        while True:
            frames.append(await client.read_frame())

    async with FakeServer(handler) as server:
        nc = await connect(ws_url(server))
        await nc.publish("a", b"last")
        await nc.close()
        await eventually(lambda: frames and frames[-1][0] == CLOSE, "a close frame comes")
    assert frames[0] == (BINARY, b"PUB a 4\r\nlast\r\n")
    assert len(frames) == 2


@pytest.mark.parametrize(
    "data",
    [
        frame(b"hello", TEXT),
        frame(b"\x03\xe8bye", CLOSE),
        frame(b"", CLOSE),
        frame(b"x", CLOSE),
        frame(b"PONG\r\n", mask=b"abcd"),
        frame(b"", BINARY, size=1 << 62),
        frame(b"", BINARY, size=(1 << 28) + 1),
        frame(b"PONG\r\n", CONTINUATION),
        frame(b"a", fin=False) + frame(b"b"),
        frame(b"a" * 126, PING),
        frame(b"a", PING, fin=False),
        frame(b"a", 3),
        b"\xf2\x00",
        frame(b"garbage in a frame\r\n"),
    ],
    ids=[
        *("text", "close", "close without code", "close with half a code", "masked"),
        *("announces exabytes", "announces too much", "nothing to continue", "not continued"),
        *("long ping", "fragmented ping", "unknown opcode", "reserved bits", "not NATS"),
    ],
)
async def test_what_ends_a_connection(connect: Connect, data: bytes) -> None:
    """The client connects anew, and what came before it counts."""

    @websocket
    async def handler(client: FramedConnection) -> None:
        if client.index > 0:
            await client.admit()
            await client.send(message(b"second"))
            await client.serve()
        await client.admit()
        await client.client.write(frame(message(b"first")) + data)
        await client.client.wait_closed()

    events = Events()
    async with FakeServer(handler) as server:
        nc = await connect(ws_url(server), **events.callbacks, **EAGER)
        sub = await nc.subscribe("a")
        await within(nc.flush())
        assert (await sub.next_msg(5)).data == b"first"
        assert (await sub.next_msg(5)).data == b"second"
        assert events.names[0] == "disconnected"
        await nc.close()


async def test_the_reason_is_kept(connect: Connect) -> None:
    @websocket
    async def handler(client: FramedConnection) -> None:
        await client.accept()
        await client.handshake()
        await client.send(b"a", CONTINUATION)
        await client.client.wait_closed()

    events = Events()
    async with FakeServer(handler) as server:
        nc = await connect(ws_url(server), allow_reconnect=False, **events.callbacks)
        await events.wait("closed")
        assert isinstance(nc.last_error, ConnectionError)
        assert "websocket error" in str(nc.last_error)


async def test_a_server_that_falls_silent_is_left(connect: Connect) -> None:
    @websocket
    async def handler(client: FramedConnection) -> None:
        await client.accept()
        await client.handshake()
        if client.index == 0:
            await client.client.wait_closed()
        await client.serve()

    events = Events()
    async with FakeServer(handler) as server:
        nc = await connect(
            ws_url(server), ping_interval=0.05, max_outstanding_pings=2, **events.callbacks, **EAGER
        )
        await events.wait("reconnected")
        await nc.close()


async def test_a_long_request_that_waits_in_the_transport(connect: Connect) -> None:
    """Writing pauses before the WebSocket is open: that is no other connection's business."""
    async with FakeServer(admit_and_serve) as server, Proxy(server.url) as proxy:
        proxy.stall()
        headers = {f"X-{number}": "x" * 60_000 for number in range(100)}
        connecting = asyncio.ensure_future(
            connect(
                f"ws://127.0.0.1:{proxy.port}", ws_connection_headers=headers, connect_timeout=20
            )
        )
        await eventually(lambda: proxy.accepted, "the proxy is reached")
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
