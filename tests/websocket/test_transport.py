"""`WebSocketTransport`, the class that nats-py's users may drive themselves."""

from __future__ import annotations

import asyncio
import ssl
from urllib.parse import urlparse

import pytest
from nats import errors
from nats.aio.transport import WebSocketTransport
from nats.embedded import Server
from support.fake_server import FakeServer
from support.tls import Certificates
from support.waiting import within
from support.ws_fake import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    FramedConnection,
    websocket,
    ws_url,
)
from support.ws_server import PLAIN, secure, secure_url_of, url_of


async def talk(transport: WebSocketTransport) -> None:
    """CONNECT and PING, one message to itself, and the end."""
    assert (await within(transport.readline())).startswith(b"INFO ")
    transport.write(b'CONNECT {"verbose": false}\r\n')
    transport.writelines([b"SUB a 1\r\n", b"PUB a 2\r\nhi\r\n", b"PING\r\n"])
    await transport.drain()
    received = b""
    while not received.endswith(b"PONG\r\n"):
        received += await within(transport.read(1))
    assert received == b"MSG a 1 2\r\nhi\r\nPONG\r\n"
    assert not transport.at_eof()
    transport.close()
    await within(transport.wait_closed())
    assert transport.at_eof()
    assert not transport


async def test_plain() -> None:
    async with Server(config=PLAIN) as server:
        transport = WebSocketTransport()
        assert transport
        uri = urlparse(url_of(server))
        await transport.connect(uri, 32768, 5)
        with pytest.raises(errors.ProtocolError):
            await transport.connect_tls(
                urlparse(url_of(server)),
                ssl.create_default_context(),
                buffer_size=32768,
                connect_timeout=5,
            )
        await talk(transport)


async def test_tls(certificates: Certificates) -> None:
    async with Server(config=secure(certificates, "localhost")) as server:
        uri = urlparse(secure_url_of(server))
        for target in (uri, uri.geturl()):
            transport = WebSocketTransport()
            for _ in range(2):
                await transport.connect_tls(target, certificates.context(), 32768, 5)
            await talk(transport)


async def test_headers_pings_and_the_end() -> None:
    @websocket
    async def handler(client: FramedConnection) -> None:
        await client.accept()
        assert client.header("x-a") == ["b", "c"]
        await client.send(b"one", PING)
        assert await client.read_frame() == (PONG, b"one")
        await client.send(b"tw", fin=False)
        await client.send(b"o", CONTINUATION)
        assert await client.read_frame() == (BINARY, b"three")
        await client.send(b"", CLOSE)
        assert (await client.read_frame())[0] == CLOSE

    async with FakeServer(handler) as server:
        transport = WebSocketTransport(ws_headers={"X-A": ["b", "c"]})
        await transport.connect(urlparse(ws_url(server)), 32768, 5)
        assert await within(transport.readline()) == b"two"
        transport.write(b"three")
        await transport.drain()
        assert await within(transport.readline()) == b""
        assert transport.at_eof()
        transport.write(b"four")
        with pytest.raises(ConnectionResetError):
            await transport.drain()
        transport.close()
        await within(transport.wait_closed())


async def test_failures() -> None:
    @websocket
    async def handler(client: FramedConnection) -> None:
        if client.index == 0:
            await client.accept(Upgrade="h2c")
        elif client.index == 1:
            await client.read_request()
        elif client.index == 2:
            await client.accept()
            await client.send(b"", CONTINUATION)
        await client.client.wait_closed()

    async with FakeServer(handler) as server:
        uri = urlparse(ws_url(server))
        with pytest.raises(ConnectionError, match="handshake failed"):
            await WebSocketTransport().connect(uri, 32768, 5)
        with pytest.raises(asyncio.TimeoutError):
            await WebSocketTransport().connect(uri, 32768, 1)
        transport = WebSocketTransport()

        # The frame may come along with the answer.
        async def connect_and_read() -> None:
            await transport.connect(uri, 32768, 5)
            await within(transport.readline())

        with pytest.raises(ConnectionError, match="websocket error"):
            await connect_and_read()
        transport.close()
        await within(transport.wait_closed())
