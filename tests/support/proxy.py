"""A TCP proxy that spoils the connections going through it.

::

    async with Proxy(server.url) as proxy:
        nc = await nats.connect(proxy.url)
        proxy.stall()
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from urllib.parse import urlsplit

from support.listener import Listener

CHUNK = 65536
LINGER = 1.0


class Proxy(Listener):
    """Forwards bytes between clients and one server.

    The settings may be changed at any time and hold for all connections, old and new.
    """

    def __init__(
        self,
        target: str,
        *,
        delay: float = 0.0,
        chop: int | None = None,
        cut_after: int | None = None,
        cut_after_sent: int | None = None,
        port: int = 0,
    ) -> None:
        """Describe the proxy.

        Args:
            target: URL of the server, ``nats://HOST:PORT``.
            delay: Seconds each piece of data is held back in either direction, one by one.
            chop: Send at most so many bytes with one write, each in a packet of its own.
            cut_after: Cut a connection when it has sent so many bytes to the client.
            cut_after_sent: Cut a connection when it has sent so many bytes to the server.
            port: Where to listen on 127.0.0.1; 0 picks a free port.
        """
        super().__init__(port=port)
        parts = urlsplit(target)
        assert parts.hostname is not None
        assert parts.port is not None
        self.target = (parts.hostname, parts.port)
        self.delay = delay
        self.chop = chop
        self.cut_after = cut_after
        self.cut_after_sent = cut_after_sent
        self.refuse = False
        """Close new connections at once."""
        self.accepted = 0
        """Connections accepted so far, refused ones included."""
        self.ended = 0
        """Connections that are over."""
        self.forget_next = 0
        """So many of the connections to come are taken and carry nothing."""
        self.bytes_to_server = 0
        self.bytes_to_client = 0
        self._forgotten: set[int] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._transports: set[asyncio.WriteTransport] = set()

    @property
    def url(self) -> str:
        """The URL clients connect to."""
        return f"nats://{self.host}:{self.port}"

    @property
    def open_connections(self) -> int:
        """Clients connected through the proxy right now."""
        return len(self._tasks)

    def stall(self) -> None:
        """Stop reading and writing; connections stay open and their buffers fill up."""
        self._flowing.clear()

    def resume(self) -> None:
        """End ``stall``."""
        self._flowing.set()

    def forget(self) -> None:
        """Lose what the present connections carry from now on; both ends stay open, as when a
        router in between has forgotten them."""
        self._forgotten.update(range(1, self.accepted + 1))

    def cut(self) -> None:
        """Reset all connections."""
        for transport in list(self._transports):
            _reset(transport)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward what a client sends to the server, and back, until either end closes."""
        self.accepted += 1
        number = self.accepted
        if self.forget_next > 0:
            self.forget_next -= 1
            self._forgotten.add(number)
        if self.refuse:
            _reset(writer.transport)
            return
        transports = {writer.transport}
        try:
            server_reader, server_writer = await asyncio.open_connection(*self.target)
            transports.add(server_writer.transport)
            self._transports |= transports
            await self._forward(number, reader, writer, server_reader, server_writer)
        except (ConnectionError, asyncio.CancelledError):
            # Cancellation is swallowed: the stream protocol reports it as an error otherwise.
            pass
        finally:
            self.ended += 1
            self._transports -= transports
            for transport in transports:
                transport.abort()

    async def _forward(
        self,
        number: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        server_reader: asyncio.StreamReader,
        server_writer: asyncio.StreamWriter,
    ) -> None:
        pumps = [
            asyncio.ensure_future(self._pump(number, reader, server_writer, to_client=False)),
            asyncio.ensure_future(self._pump(number, server_reader, writer, to_client=True)),
        ]
        try:
            # Both ends close when either does: NATS knows no half-closed connections.
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        # What was forwarded last, such as an error and a goodbye, still has to arrive.
        for end in (writer, server_writer):
            end.close()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(end.wait_closed(), LINGER)

    async def _pump(
        self,
        number: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        to_client: bool,
    ) -> None:
        sent = 0
        while True:
            await self._flowing.wait()
            data = await reader.read(CHUNK)
            if not data:
                return
            if number in self._forgotten:
                continue
            if self.delay:
                await asyncio.sleep(self.delay)
            size = self.chop or len(data)
            for start in range(0, len(data), size):
                await self._flowing.wait()
                piece = data[start : start + size]
                limit = self.cut_after if to_client else self.cut_after_sent
                if limit is not None:
                    piece = piece[: max(0, limit - sent)]
                writer.write(piece)
                await writer.drain()
                sent += len(piece)
                if to_client:
                    self.bytes_to_client += len(piece)
                else:
                    self.bytes_to_server += len(piece)
                if limit is not None and sent >= limit:
                    return
                if self.chop:
                    # A turn of the loop apart, so that the pieces are not sent as one.
                    await asyncio.sleep(0)


def _reset(transport: asyncio.WriteTransport) -> None:
    sock = transport.get_extra_info("socket")
    # One that is closing has sent its FIN, and its descriptor may be gone.
    if sock is not None and not transport.is_closing():
        # An RST instead of a FIN: what the peer sees when a machine or its network goes away.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    transport.abort()
