"""WebSocket connections: an asyncio transport carries the frames, the core makes them."""

from __future__ import annotations

import asyncio
import base64
import errno
import ssl
from typing import Any, Optional, cast
from urllib.parse import ParseResult, unquote

from nats._core import Connection, WebSocketCodec

from ._drivers import AsyncioDriver, WireProtocol

_DEFAULT_PORTS = {"ws": 80, "wss": 443}


class WebSocketDriver(AsyncioDriver):
    """A WebSocket on a transport of the event loop, in TLS if there is a context."""

    def __init__(
        self,
        core: Connection,
        headers: Any,
        context: Optional[ssl.SSLContext],
        server_hostname: str,
    ) -> None:
        """
        :param headers: what the option ``ws_connection_headers`` holds.
        :param server_hostname: whom the server's certificate has to name.
        """
        super().__init__(core)
        self._headers = _header_list(headers)
        self._context = context
        self._server_hostname = server_hostname

    async def open(self, uri: ParseResult) -> None:
        """
        :raises OSError: as `asyncio.loop.create_connection` does; a `ConnectionError` if the
            server doesn't take it for a WebSocket.
        :raises ssl.SSLError: the TLS handshake fails.
        """
        loop = asyncio.get_running_loop()
        address = uri.netloc.rpartition("@")[2]
        url = uri._replace(netloc=address).geturl()
        headers = [*_authorization(uri), *self._headers]
        opened: asyncio.Future[None] = loop.create_future()
        protocol = _WebSocketProtocol(self._core, WebSocketCodec(url, headers), opened)
        self._protocol = protocol
        transport, _ = await loop.create_connection(
            lambda: protocol,
            uri.hostname or "",
            uri.port or _DEFAULT_PORTS[uri.scheme],
            ssl=self._context,
            server_hostname=self._server_hostname if self._context else None,
        )
        try:
            await opened
        except BaseException:
            transport.abort()
            raise
        self._transport = transport


class _WebSocketProtocol(WireProtocol):
    """Between a transport of frames and a core that knows a stream of bytes only."""

    def __init__(
        self, core: Connection, codec: WebSocketCodec, opened: asyncio.Future[None]
    ) -> None:
        super().__init__(core)
        self._codec = codec
        self._opened = opened

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._codec.output())

    def data_received(self, data: bytes) -> None:
        if self._opened.cancelled():
            return
        codec, transport = self._codec, self._transport
        try:
            content = codec.receive(data)
        except ConnectionError as failure:
            transport.abort()
            self._fail(failure)
            return
        if not self._opened.done() and codec.is_open:
            super().connection_made(_FramedTransport(transport, codec))
            self._opened.set_result(None)
        if answer := codec.output():
            transport.write(answer)
        if content:
            super().data_received(content)
        if self._opened.done() and not codec.is_open:
            transport.close()

    def connection_lost(self, exc: Optional[Exception]) -> None:
        if self._opened.done():
            super().connection_lost(exc)
        else:
            closed = ConnectionResetError(errno.ECONNRESET, "connection lost during the handshake")
            self._fail(exc or closed)

    def _fail(self, failure: Exception) -> None:
        if self._opened.done():
            super().connection_lost(failure)
        else:
            self._opened.set_exception(failure)


class _FramedTransport(asyncio.BaseTransport):
    """What the core writes to."""

    def __init__(self, transport: asyncio.Transport, codec: WebSocketCodec) -> None:
        super().__init__()
        self._transport = transport
        self._codec = codec

    def write(self, data: bytes) -> None:
        codec = self._codec
        if codec.is_open:
            codec.send(data)
            self._transport.write(codec.output())

    def close(self) -> None:
        self._codec.close()
        self._transport.write(self._codec.output())
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()


def _header_list(headers: Any) -> list[tuple[str, str]]:
    """A value or a list of values for each name, flattened."""
    found: list[tuple[str, str]] = []
    for name, values in (headers or {}).items():
        if isinstance(values, str):
            found.append((name, values))
        elif isinstance(values, list):
            found.extend((name, value) for value in values)
    return found


def _authorization(uri: ParseResult) -> list[tuple[str, str]]:
    """The user of the URL, for proxies that ask for one."""
    if uri.username is None:
        return []
    user_info = f"{unquote(uri.username)}:{unquote(uri.password or '')}"
    return [("Authorization", "Basic " + base64.b64encode(user_info.encode()).decode())]
