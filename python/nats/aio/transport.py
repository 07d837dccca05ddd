"""Byte transports with nats-py's interface, for code that subclasses or uses them directly.

The client itself moves its bytes in the native core and doesn't use these.
"""

from __future__ import annotations

import abc
import asyncio
import ssl
from typing import Optional, Union
from urllib.parse import ParseResult

from nats.errors import ProtocolError

__all__ = ["ProtocolError", "TcpTransport", "Transport", "WebSocketTransport"]


class Transport(abc.ABC):
    """What a byte transport has to offer."""

    @abc.abstractmethod
    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        """Connects in plain; ``connect_timeout`` in seconds."""

    @abc.abstractmethod
    async def connect_tls(
        self,
        uri: Union[str, ParseResult],
        ssl_context: ssl.SSLContext,
        buffer_size: int,
        connect_timeout: int,
    ) -> None:
        """Connects, or upgrades the connection, with TLS."""

    @abc.abstractmethod
    def write(self, payload: bytes) -> None:
        """Queues bytes; `drain` sends them."""

    @abc.abstractmethod
    def writelines(self, payload: list[bytes]) -> None:
        """Queues several pieces."""

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
    """WebSocket; not part of this release: making one raises an error that says so."""

    def __init__(self, ws_headers: Optional[dict[str, list[str]]] = None) -> None:
        raise ImportError("nats: WebSocket connections are not supported by this release")

    async def connect(self, uri: ParseResult, buffer_size: int, connect_timeout: int) -> None:
        raise ProtocolError

    async def connect_tls(
        self,
        uri: Union[str, ParseResult],
        ssl_context: ssl.SSLContext,
        buffer_size: int,
        connect_timeout: int,
    ) -> None:
        raise ProtocolError

    def write(self, payload: bytes) -> None:
        raise ProtocolError

    def writelines(self, payload: list[bytes]) -> None:
        raise ProtocolError

    async def read(self, buffer_size: int) -> bytes:
        raise ProtocolError

    async def readline(self) -> bytes:
        raise ProtocolError

    async def drain(self) -> None:
        raise ProtocolError

    async def wait_closed(self) -> None:
        raise ProtocolError

    def close(self) -> None:
        raise ProtocolError

    def at_eof(self) -> bool:
        return True

    def __bool__(self) -> bool:
        return False
