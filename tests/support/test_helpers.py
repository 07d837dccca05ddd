"""The fake server, the proxy and the fixtures: faults tests rely on have to happen."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import AsyncIterator

import pytest
from nats.embedded import Server

from support.fake_server import FakeConnection, FakeServer
from support.proxy import Proxy

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@contextlib.asynccontextmanager
async def dial(port: int) -> AsyncIterator[Streams]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def ping(streams: Streams) -> float:
    """Send a PING and return the seconds until the PONG."""
    reader, writer = streams
    start = time.monotonic()
    writer.write(b"PING\r\n")
    assert await asyncio.wait_for(reader.readline(), 5) == b"PONG\r\n"
    return time.monotonic() - start


async def join(streams: Streams) -> None:
    reader, writer = streams
    assert (await reader.readline()).startswith(b"INFO {")
    writer.write(b'CONNECT {"verbose":false}\r\n')
    await ping(streams)


def test_loops(request: pytest.FixtureRequest) -> None:
    assert "asyncio" not in request.node.name


async def test_each_loop_is_used(request: pytest.FixtureRequest) -> None:
    module = type(asyncio.get_running_loop()).__module__
    expected = "uvloop" if "[uvloop]" in request.node.name else "asyncio"
    assert module.split(".")[0] == expected


async def test_closed_port_refuses(closed_port: int) -> None:
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", closed_port)


async def test_fake_server_lets_clients_in() -> None:
    async with FakeServer() as server:
        async with dial(server.port) as streams:
            await join(streams)
            streams[1].write(b"PUB a 4\r\nPING\r\nHPUB b 12 14\r\nNATS/1.0\r\n\r\nhi\r\n")
            await ping(streams)
            connection = await server.wait_connections(1)
        assert connection.connect_options == {"verbose": False}
        assert [line.split()[0] for line in connection.lines] == [
            *(b"CONNECT", b"PING", b"PUB", b"HPUB", b"PING")
        ]


async def test_fake_server_follows_the_script() -> None:
    async def handler(client: FakeConnection) -> None:
        await client.handshake(max_payload=7)
        assert await client.expect(b"SUB") == b"SUB a 1"
        await client.send_message("a", 1, b"hello", reply="r")
        assert await client.expect_publish() == ("r", b"", b"bye")
        await client.write_slowly(b"-ERR 'x'\r\n")

    async with FakeServer(handler) as server, dial(server.port) as streams:
        reader, writer = streams
        assert b'"max_payload": 7' in await reader.readline()
        writer.write(b"CONNECT {}\r\nPING\r\nSUB a 1\r\n")
        assert await reader.readexactly(6) == b"PONG\r\n"
        assert await reader.readexactly(20) == b"MSG a 1 r 5\r\nhello\r\n"
        writer.write(b"PUB r 3\r\nbye\r\n")
        assert await reader.read() == b"-ERR 'x'\r\n"


async def test_fake_server_reports_a_failed_script() -> None:
    async def handler(client: FakeConnection) -> None:
        await client.expect(b"HELLO")

    async def body() -> None:
        async with FakeServer(handler) as server, dial(server.port) as (reader, writer):
            writer.write(b"PING\r\n")
            assert await reader.read() == b""

    with pytest.raises(AssertionError, match="expected b'HELLO', got b'PING'"):
        await body()


async def test_fake_server_ends_with_clients_connected() -> None:
    async with contextlib.AsyncExitStack() as stack:
        async with FakeServer() as server:
            streams = await stack.enter_async_context(dial(server.port))
            await join(streams)
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(streams[0].read(), 5) == b""


async def test_proxy_forwards(server: Server) -> None:
    async with Proxy(server.url) as proxy, dial(proxy.port) as streams:
        await join(streams)
        assert proxy.accepted == proxy.open_connections == 1
        assert proxy.bytes_to_server > 0
        payload = bytes(500_000)
        streams[1].write(b"SUB a 1\r\nPUB a 500000\r\n" + payload + b"\r\n")
        assert await streams[0].readline() == b"MSG a 1 500000\r\n"
        assert await streams[0].readexactly(500_000) == payload
        assert proxy.bytes_to_client > 500_000


async def test_proxy_passes_on_the_servers_last_words() -> None:
    async def handler(client: FakeConnection) -> None:
        await client.write(b"x" * 300_000 + b"-ERR 'gone'\r\n")

    async with (
        FakeServer(handler) as server,
        Proxy(server.url, chop=1000) as proxy,
        dial(proxy.port) as (reader, _),
    ):
        data = await asyncio.wait_for(reader.read(-1), 10)
        assert len(data) == 300_013
        assert data.endswith(b"-ERR 'gone'\r\n")


async def test_proxy_delays(server: Server) -> None:
    async with Proxy(server.url) as proxy, dial(proxy.port) as streams:
        await join(streams)
        proxy.delay = 0.05
        # A little less: the two clocks don't tick together.
        assert await ping(streams) >= 0.09


async def test_proxy_stalls(server: Server) -> None:
    async with Proxy(server.url) as proxy, dial(proxy.port) as streams:
        await join(streams)
        proxy.stall()
        pinging = asyncio.ensure_future(ping(streams))
        done, _ = await asyncio.wait([pinging], timeout=0.1)
        assert not done
        proxy.resume()
        assert await pinging >= 0.09


async def test_proxy_cuts(server: Server) -> None:
    async with Proxy(server.url) as proxy:
        async with dial(proxy.port) as streams:
            await join(streams)
            proxy.cut()
            with pytest.raises(ConnectionResetError):
                assert await asyncio.wait_for(streams[0].read(), 5) == b""
        proxy.refuse = True
        async with dial(proxy.port) as (reader, _):
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.wait_for(reader.read(), 5) == b""
        proxy.refuse = False
        async with dial(proxy.port) as streams:
            await join(streams)
        assert proxy.accepted == 3


async def test_proxy_cuts_connections_that_end(server: Server) -> None:
    async with Proxy(server.url) as proxy, dial(proxy.port) as streams:
        await join(streams)
        while proxy.open_connections:
            proxy.cut()
            await asyncio.sleep(0)
        assert proxy.ended == 1


async def test_proxy_cuts_after_some_bytes(server: Server) -> None:
    async with Proxy(server.url, cut_after=10) as proxy, dial(proxy.port) as (reader, _):
        assert await asyncio.wait_for(reader.read(), 5) == b'INFO {"ser'


async def test_proxy_chops() -> None:
    async with (
        FakeServer(lambda client: client.write(b"0123456789")) as server,
        Proxy(server.url, chop=3) as proxy,
        dial(proxy.port) as (reader, _),
    ):
        pieces: list[bytes] = []
        while piece := await asyncio.wait_for(reader.read(100), 5):
            pieces.append(piece)
        assert b"".join(pieces) == b"0123456789"
        assert len(pieces) > 1


async def test_proxy_without_a_server(closed_port: int) -> None:
    async with (
        Proxy(f"nats://127.0.0.1:{closed_port}") as proxy,
        dial(proxy.port) as (reader, _),
    ):
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_fake_server_retrieves_how_connections_ended() -> None:
    async def greet(client: FakeConnection) -> None:
        await client.send_info()
        await client.wait_closed()

    async with FakeServer(greet) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
        connection = await server.wait_connections(1)
        end = connection.writer._protocol._get_close_waiter(connection.writer)  # type: ignore[attr-defined]
        # A reset instead of an orderly end.
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        await asyncio.wait([end], timeout=10)
        # Not yet: only the future knows, and would tell the loop.
        assert end._log_traceback
    assert not end._log_traceback
    assert isinstance(end.exception(), ConnectionResetError)
