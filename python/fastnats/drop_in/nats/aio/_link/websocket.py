"""WebSocket connections: an asyncio transport carries the frames, the core makes them."""

from __future__ import annotations

import asyncio
import base64
import errno
import ssl
from typing import Any, Optional, cast
from urllib.parse import ParseResult, quote, unquote

from nats._core import Connection, WebSocketCodec

from .asyncio import AsyncioDriver, WireProtocol
from .http_proxy import open_tunnel, proxy_of

_DEFAULT_PORTS = {"ws": 80, "wss": 443}
# What a path or a query may have without being quoted, and what is quoted already.
_SAFE = "/?:@!$&'()*+,;=-._~%"


class WebSocketDriver(AsyncioDriver):
    """A WebSocket on a transport of the event loop, in TLS if there is a context."""

    def __init__(
        self,
        core: Connection,
        headers: Any,
        context: Optional[ssl.SSLContext],
        server_hostname: str,
        proxy: Optional[str],
    ) -> None:
        """
        :param headers: what the option ``ws_connection_headers`` holds.
        :param server_hostname: whom the server's certificate has to name.
        :param proxy: what the option ``ws_proxy`` holds.
        """
        super().__init__(core)
        self._headers = headers
        self._context = context
        self._server_hostname = server_hostname
        self._proxy = proxy

    async def open(self, uri: ParseResult) -> None:
        """
        :raises OSError: as `asyncio.loop.create_connection` does; a `ConnectionError` if the
            server doesn't take it for a WebSocket.
        :raises ssl.SSLError: the TLS handshake fails.
        """
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[Optional[Exception]] = loop.create_future()
        protocol = _WebSocketProtocol(self._core, make_codec(uri, self._headers), opened)
        proxy = proxy_of(uri, port_of(uri), self._proxy)
        if proxy is None:
            transport, _ = await loop.create_connection(
                lambda: protocol,
                uri.hostname or "",
                port_of(uri),
                ssl=self._context,
                server_hostname=self._server_hostname if self._context else None,
            )
        else:
            transport = await self._open_through(proxy, uri, protocol)
        try:
            failure = await opened
            if failure is not None:
                raise failure
        except BaseException:
            transport.abort()
            raise
        self._transport, self._protocol = transport, protocol

    async def _open_through(
        self, proxy: ParseResult, uri: ParseResult, protocol: _WebSocketProtocol
    ) -> asyncio.Transport:
        """As `create_connection`, through a proxy."""
        transport: Optional[asyncio.Transport]
        transport = tunnel = await open_tunnel(proxy, uri.hostname or "", port_of(uri))
        if self._context is None:
            tunnel.set_protocol(protocol)
        else:
            try:
                transport = await asyncio.get_running_loop().start_tls(
                    tunnel, protocol, self._context, server_hostname=self._server_hostname
                )
            except BaseException:
                tunnel.abort()
                raise
            if transport is None:
                raise ConnectionResetError(errno.ECONNRESET, "connection lost during the handshake")
        protocol.connection_made(transport)
        return transport


class _WebSocketProtocol(WireProtocol):
    """Between a transport of frames and a core that knows a stream of bytes only."""

    def __init__(
        self,
        core: Connection,
        codec: WebSocketCodec,
        opened: asyncio.Future[Optional[Exception]],
    ) -> None:
        """
        :param opened: gets `None` when the WebSocket is there, or why it isn't. No exception,
            which would be reported if whoever waits is cancelled.
        """
        super().__init__(core)
        self._codec = codec
        self._opened = opened
        self._is_in_service = False
        self._is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._codec.output())

    def data_received(self, data: bytes) -> None:
        if self._opened.cancelled():
            return
        codec, transport = self._codec, self._transport
        content = codec.receive(data)
        if not self._opened.done() and (codec.is_open or content):
            self._is_in_service = True
            super().connection_made(_FramedTransport(transport, codec))
            if self._is_paused:
                super().pause_writing()
            self._opened.set_result(None)
        # A server that doesn't read is owed one answer to its PINGs, however many it sends.
        if (codec.is_closed or not self._is_paused) and (answer := codec.output()):
            transport.write(answer)
        if content:
            super().data_received(content)
        if codec.is_closed:
            self.failure = codec.failure
            self.connection_lost(self.failure)
            transport.close()

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self._codec.close()
        if self._is_in_service:
            self._is_in_service = False
            super().connection_lost(exc)
        elif not self._opened.done():
            closed = ConnectionResetError(errno.ECONNRESET, "connection lost during the handshake")
            self._opened.set_result(exc or closed)

    # Before and after, there may be another connection, which is none of our business.

    def pause_writing(self) -> None:
        self._is_paused = True
        if self._is_in_service:
            super().pause_writing()

    def resume_writing(self) -> None:
        self._is_paused = False
        # uvloop doesn't let anything be written to what is closed.
        if self._codec.is_open and (answer := self._codec.output()):
            self._transport.write(answer)
        if self._is_in_service:
            super().resume_writing()


class _FramedTransport(asyncio.BaseTransport):
    """What the core writes to."""

    def __init__(self, transport: asyncio.Transport, codec: WebSocketCodec) -> None:
        super().__init__()
        self._transport = transport
        self._codec = codec

    def write(self, data: bytes) -> None:
        if self._codec.is_open:
            self._codec.send(data)
            self._transport.write(self._codec.output())

    def close(self) -> None:
        # uvloop doesn't let anything be written to what is closed.
        if self._codec.is_open:
            self._codec.close()
            self._transport.write(self._codec.output())
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()


def make_codec(uri: ParseResult, headers: Any) -> WebSocketCodec:
    """The codec for a connection to a URL, whose user is left to a header.

    :param headers: what the option ``ws_connection_headers`` holds.
    :raises ValueError: a header can't be in a request.
    """
    address = uri.netloc.rpartition("@")[2]
    path, query = quote(uri.path or "/", safe=_SAFE), quote(uri.query, safe=_SAFE)
    url = uri._replace(netloc=address, path=path, query=query, fragment="").geturl()
    listed = _header_list(headers)
    if not any(name.lower() == "authorization" for name, _ in listed):
        listed += _authorization(uri)
    return WebSocketCodec(url, listed)


def port_of(uri: ParseResult) -> int:
    """The port of a URL, or that of its scheme."""
    return uri.port or _DEFAULT_PORTS[uri.scheme]


def _header_list(headers: Any) -> list[tuple[str, str]]:
    """A value or a list of values for each name, flattened."""
    found: list[tuple[str, str]] = []
    given: dict[str, Any] = headers or {}
    for name, values in given.items():
        if isinstance(values, str):
            found.append((name, values))
        elif isinstance(values, list):
            found.extend((name, value) for value in cast("list[str]", values))
    return found


def _authorization(uri: ParseResult) -> list[tuple[str, str]]:
    """The user of the URL, for proxies that ask for one."""
    if uri.username is None:
        return []
    user_info = f"{unquote(uri.username)}:{unquote(uri.password or '')}"
    return [("Authorization", "Basic " + base64.b64encode(user_info.encode()).decode())]
