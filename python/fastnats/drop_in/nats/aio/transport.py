"""Byte transports with nats-py's interface, for code that subclasses or uses them directly.

The client itself moves its bytes in the native core and doesn't use these.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import errno
import ssl
from typing import Optional, Union
from urllib.parse import ParseResult, urlparse

from nats._core import WebSocketCodec
from nats.errors import ProtocolError

__all__ = ["ProtocolError", "TcpTransport", "Transport", "WebSocketTransport", "asyncio"]

_READ_SIZE = 65536


class Transport(abc.ABC):
    """What a byte transport has to offer."""

    @abc.abstractmethod
    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        """Connects in plain.

        :param uri: where to.
        :param buffer_size: how many bytes are read ahead at most.
        :param connect_timeout: seconds.
        """

    @abc.abstractmethod
    async def connect_tls(
        self,
        uri: Union[str, ParseResult],
        ssl_context: ssl.SSLContext,
        buffer_size: int,
        connect_timeout: int,
    ) -> None:
        """Connects, or upgrades the connection, with TLS.

        :param uri: where to, or of an upgrade the host name alone, for its certificate.
        :param ssl_context: what the server has to prove.
        :param buffer_size: how many bytes are read ahead at most.
        :param connect_timeout: seconds.
        """

    @abc.abstractmethod
    def write(self, payload: bytes) -> None:
        """Queues ``payload``; `drain` sends it."""

    @abc.abstractmethod
    def writelines(self, payload: list[bytes]) -> None:
        """Queues the pieces of ``payload``."""

    @abc.abstractmethod
    async def read(self, buffer_size: int) -> bytes:
        """Reads up to ``buffer_size`` bytes; empty at the end."""

    @abc.abstractmethod
    async def readline(self) -> bytes:
        """Reads one line, or one frame of a framed transport."""

    @abc.abstractmethod
    async def drain(self) -> None:
        """Sends what is queued."""

    @abc.abstractmethod
    async def wait_closed(self) -> None:
        """Waits until the connection is closed."""

    @abc.abstractmethod
    def close(self) -> None:
        """Closes the connection."""

    @abc.abstractmethod
    def at_eof(self) -> bool:
        """Whether the peer has closed and everything is read."""

    @abc.abstractmethod
    def __bool__(self) -> bool:
        """Whether the transport has been connected."""


class TcpTransport(Transport):
    """TCP by asyncio streams."""

    def __init__(self) -> None:
        self._io_reader: Optional[asyncio.StreamReader] = None
        self._io_writer: Optional[asyncio.StreamWriter] = None
        # Keeps the plain stream alive while TLS runs on top of it.
        self._bare_io_writer: Optional[asyncio.StreamWriter] = None

    def _reader(self) -> asyncio.StreamReader:
        if self._io_reader is None:
            raise AssertionError(f"{type(self).__name__}.connect must be called first")
        return self._io_reader

    def _writer(self) -> asyncio.StreamWriter:
        if self._io_writer is None:
            raise AssertionError(f"{type(self).__name__}.connect must be called first")
        return self._io_writer

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        self._io_reader, self._io_writer = await asyncio.wait_for(
            asyncio.open_connection(host=uri.hostname, port=uri.port, limit=buffer_size),
            connect_timeout,
        )
        self._bare_io_writer = self._io_writer

    async def connect_tls(
        self,
        uri: Union[str, ParseResult],
        ssl_context: ssl.SSLContext,
        buffer_size: int,
        connect_timeout: int,
    ) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport = await asyncio.wait_for(
            loop.start_tls(
                self._writer().transport,
                protocol,
                ssl_context,
                server_hostname=uri if isinstance(uri, str) else uri.hostname,
            ),
            connect_timeout,
        )
        assert transport is not None
        self._io_reader = reader
        self._io_writer = asyncio.StreamWriter(transport, protocol, reader, loop)

    def write(self, payload: bytes) -> None:
        self._writer().write(payload)

    def writelines(self, payload: list[bytes]) -> None:
        self._writer().writelines(payload)

    async def read(self, buffer_size: int) -> bytes:
        return await self._reader().read(buffer_size)

    async def readline(self) -> bytes:
        return await self._reader().readline()

    async def drain(self) -> None:
        await self._writer().drain()

    async def wait_closed(self) -> None:
        if self._io_writer is not None:
            await self._io_writer.wait_closed()

    def close(self) -> None:
        if self._io_writer is not None:
            self._io_writer.close()

    def at_eof(self) -> bool:
        return self._io_reader is None or self._io_reader.at_eof()

    def __bool__(self) -> bool:
        return self._io_writer is not None and self._io_reader is not None


class WebSocketTransport(Transport):
    """WebSocket by asyncio streams; a line is whatever content has arrived at once."""

    def __init__(self, ws_headers: Optional[dict[str, list[str]]] = None) -> None:
        """``ws_headers`` go with the request, values or lists of values by their names."""
        self._headers = ws_headers
        self._codec: Optional[WebSocketCodec] = None
        self._io_reader: Optional[asyncio.StreamReader] = None
        self._io_writer: Optional[asyncio.StreamWriter] = None
        self._using_tls = False
        self._pending: list[bytes] = []
        # What has come along with the end of the handshake.
        self._content = b""
        self._is_over = False

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        """:raises ConnectionError: the server doesn't take it for a WebSocket."""
        await asyncio.wait_for(self._open(uri, None, buffer_size), connect_timeout)

    async def connect_tls(
        self,
        uri: Union[str, ParseResult],
        ssl_context: ssl.SSLContext,
        buffer_size: int,
        connect_timeout: int,
    ) -> None:
        """:raises nats.errors.ProtocolError: it is connected in plain already."""
        if not self.at_eof():
            if self._using_tls:
                return
            raise ProtocolError("ws: cannot upgrade to TLS")
        target = urlparse(uri) if isinstance(uri, str) else uri
        await asyncio.wait_for(self._open(target, ssl_context, buffer_size), connect_timeout)

    async def _open(
        self, uri: ParseResult, context: Optional[ssl.SSLContext], buffer_size: int
    ) -> None:
        from ._link.websocket import make_codec, port_of

        codec = make_codec(uri, self._headers)
        reader, writer = await asyncio.open_connection(
            uri.hostname, port_of(uri), ssl=context, limit=buffer_size
        )
        try:
            writer.write(codec.output())
            while not codec.is_open:
                data = await reader.read(buffer_size)
                self._content = codec.receive(data)
                if codec.is_closed or not data:
                    raise codec.failure or ConnectionResetError(
                        errno.ECONNRESET, "connection lost during the handshake"
                    )
            writer.write(codec.output())
        except BaseException:
            writer.transport.abort()
            raise
        self._codec, self._io_reader, self._io_writer = codec, reader, writer
        self._using_tls = context is not None

    def _connected(self) -> tuple[WebSocketCodec, asyncio.StreamReader, asyncio.StreamWriter]:
        if self._codec is None or self._io_reader is None or self._io_writer is None:
            raise AssertionError(f"{type(self).__name__}.connect must be called first")
        return self._codec, self._io_reader, self._io_writer

    def write(self, payload: bytes) -> None:
        self._pending.append(payload)

    def writelines(self, payload: list[bytes]) -> None:
        self._pending.extend(payload)

    async def read(self, buffer_size: int) -> bytes:
        """As `readline`, however many bytes ``buffer_size`` is."""
        return await self.readline()

    async def readline(self) -> bytes:
        """The content of the next frames; empty at the end.

        :raises ConnectionError: the server breaks the protocol.
        """
        codec, reader, writer = self._connected()
        while not self._content and codec.is_open:
            data = await reader.read(_READ_SIZE)
            if not data:
                codec.close()
                break
            self._content = codec.receive(data)
            if answer := codec.output():
                writer.write(answer)
                # Reading waits for a server that doesn't read; how a connection ends, it tells.
                with contextlib.suppress(OSError):
                    await writer.drain()
        content, self._content = self._content, b""
        if not content and codec.failure is not None:
            raise codec.failure
        return content

    async def drain(self) -> None:
        """:raises ConnectionResetError: the WebSocket is closed."""
        codec, _, writer = self._connected()
        pending, self._pending = self._pending, []
        for payload in pending:
            if not codec.is_open:
                raise ConnectionResetError(errno.ECONNRESET, "the WebSocket is closed")
            codec.send(payload)
            writer.write(codec.output())
        await writer.drain()

    def close(self) -> None:
        if self._codec is None or self._io_writer is None:
            return
        if self._codec.is_open:
            self._codec.close()
            self._io_writer.write(self._codec.output())
        self._io_writer.close()

    async def wait_closed(self) -> None:
        self._is_over = True
        if self._io_writer is not None:
            # What the server still had to say doesn't matter; TLS calls it an error.
            with contextlib.suppress(OSError):
                await self._io_writer.wait_closed()

    def at_eof(self) -> bool:
        return self._codec is None or not (self._codec.is_open or self._content)

    def __bool__(self) -> bool:
        """As in nats-py: true from the beginning, until `wait_closed`."""
        return not self._is_over
