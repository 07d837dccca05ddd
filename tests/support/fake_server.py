"""A server that says exactly what a test wants it to say.

::

    async def handler(client: FakeConnection) -> None:
        await client.handshake(max_payload=64)
        sub = await client.expect(b"SUB ")
        await client.write(b"MSG foo 1 3\\r\\nabc\\r\\n")

    async with FakeServer(handler) as server:
        nc = await nats.connect(server.url)

The handler runs once for each connection; the connection is closed when it returns. Anything it
raises, failed assertions included, is raised again when the ``async with`` body ends, except for
the errors that only mean that the client went away.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, TypeVar

from support.listener import Listener

READ_TIMEOUT = 30.0

F = TypeVar("F", bound="FakeServer")


class ClientGone(ConnectionError):
    """The client closed the connection while the script wanted to read."""


class FakeConnection:
    """The server's end of one connection."""

    def __init__(
        self,
        server: FakeServer,
        index: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.server = server
        self.index = index
        """0 for the first connection the server accepted."""
        self.reader = reader
        self.writer = writer
        self.clear_writer = writer
        self.connect_options: dict[str, Any] = {}
        """What the client sent with CONNECT."""
        self.lines: list[bytes] = []
        """All protocol lines read, without the line end; payloads are not among them."""

    async def write(self, data: bytes) -> None:
        """Send raw bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def write_slowly(self, data: bytes, size: int = 1, pause: float = 0.001) -> None:
        """Send raw bytes ``size`` at a time, ``pause`` seconds apart."""
        for start in range(0, len(data), size):
            await self.write(data[start : start + size])
            await asyncio.sleep(pause)

    async def read_line(self, timeout: float = READ_TIMEOUT) -> bytes:
        """Return the next line without its end.

        Raises:
            ClientGone: the client closed the connection.
            TimeoutError: nothing came within ``timeout`` seconds.
        """
        line = await self._read(self.reader.readuntil(b"\r\n"), timeout)
        self.lines.append(line[:-2])
        return line[:-2]

    async def read_payload(self, size: int, timeout: float = READ_TIMEOUT) -> bytes:
        """Return ``size`` bytes and skip the line end after them; raises like ``read_line``."""
        payload = await self._read(self.reader.readexactly(size + 2), timeout)
        assert payload.endswith(b"\r\n"), payload
        return payload[:-2]

    async def expect(self, prefix: bytes, timeout: float = READ_TIMEOUT) -> bytes:
        """Return the next line, which has to start with ``prefix``; answers no PINGs."""
        line = await self.read_line(timeout)
        assert line.startswith(prefix), f"expected {prefix!r}, got {line!r}"
        return line

    async def expect_publish(self, timeout: float = READ_TIMEOUT) -> tuple[str, bytes, bytes]:
        """Return subject, header block and payload of the PUB or HPUB that has to come next."""
        line = await self.read_line(timeout)
        verb, subject, *rest = line.split(b" ")
        assert verb in (b"PUB", b"HPUB"), f"expected a publication, got {line!r}"
        body = await self.read_payload(int(rest[-1]), timeout)
        headers = int(rest[-2]) if verb == b"HPUB" else 0
        return subject.decode(), body[:headers], body[headers:]

    async def send_info(self, **changes: Any) -> None:
        """Send INFO with the server's settings and these changes."""
        await self.write(self.info(**changes))

    def info(self, **changes: Any) -> bytes:
        """The line that `send_info` sends."""
        return b"INFO " + json.dumps({**self.server.info, **changes}).encode() + b"\r\n"

    async def send_message(
        self, subject: str, sid: int | str, payload: bytes = b"", *, reply: str = ""
    ) -> None:
        """Send MSG."""
        parts = [subject, str(sid), *([reply] if reply else []), str(len(payload))]
        await self.write(f"MSG {' '.join(parts)}\r\n".encode() + payload + b"\r\n")

    async def handshake(self, **info: Any) -> None:
        """Send INFO, read CONNECT, and answer PING with PONG."""
        await self.send_info(**info)
        connect = await self.expect(b"CONNECT ")
        self.connect_options = json.loads(connect.removeprefix(b"CONNECT "))
        await self.expect(b"PING")
        await self.write(b"PONG\r\n")

    async def start_tls(self, context: ssl.SSLContext, *greeting: bytes) -> None:
        """Send the greeting in the clear, then go over to TLS."""
        loop = asyncio.get_running_loop()
        # What the client answers belongs to TLS already.
        transport: Any = self.writer.transport
        transport.pause_reading()
        await self.write(b"".join(greeting))
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport = await loop.start_tls(self.writer.transport, protocol, context, server_side=True)
        assert transport is not None
        # Kept: it would complain that nobody has closed it.
        self.clear_writer = self.writer
        self.reader = reader
        self.writer = asyncio.StreamWriter(transport, protocol, reader, loop)

    async def serve(self) -> None:
        """Answer PINGs, swallow everything else, until the client goes away.

        Publications are not delivered to anybody.
        """
        while True:
            line = await self.read_line(timeout=3600)
            if line == b"PING":
                await self.write(b"PONG\r\n")
            elif line.startswith((b"PUB ", b"HPUB ")):
                await self.read_payload(int(line.rsplit(b" ", 1)[1]))

    async def wait_closed(self, timeout: float = READ_TIMEOUT) -> None:
        """Read and forget until the client closes the connection."""

        async def drain() -> None:
            while await self.reader.read(65536):
                pass

        try:
            await asyncio.wait_for(drain(), timeout)
        except ConnectionError:
            pass

    def close(self) -> None:
        """Close in order, after what was written."""
        self.writer.close()

    def abort(self) -> None:
        """Drop the connection and whatever was not sent yet."""
        self.writer.transport.abort()

    async def _read(self, reading: Awaitable[bytes], timeout: float) -> bytes:
        try:
            return await asyncio.wait_for(reading, timeout)
        except asyncio.TimeoutError:
            raise TimeoutError(f"no data within {timeout} s after {self.lines!r}") from None
        except asyncio.IncompleteReadError as error:
            raise ClientGone(f"closed by the client after {error.partial!r}") from None


Handler = Callable[[FakeConnection], Awaitable[None]]


async def handshake_and_serve(client: FakeConnection) -> None:
    """The default handler: a server that lets clients in and ignores what they say."""
    await client.handshake()
    await client.serve()


class FakeServer(Listener):
    """Accepts connections on a free port and hands each to the handler."""

    def __init__(
        self,
        handler: Handler = handshake_and_serve,
        *,
        info: dict[str, Any] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """Describe the server.

        Args:
            handler: The script, called with each connection.
            info: Changes to the INFO that ``handshake`` and ``send_info`` send.
            host: The address to listen on.
            port: The port; 0 picks a free one.
            tls: Speak TLS from the first byte on.
        """
        super().__init__(host, port, tls)
        self.connections: list[FakeConnection] = []
        self.info: dict[str, Any] = {
            "server_id": "FAKE",
            "server_name": "fake",
            "version": "2.10.0",
            "proto": 1,
            "host": self.host,
            "headers": True,
            "max_payload": 1048576,
            **(info or {}),
        }
        self._handler = handler
        self._errors: list[BaseException] = []
        self._accepted = asyncio.Condition()

    @property
    def address(self) -> str:
        """Host and port as in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The URL clients connect to."""
        return f"{'tls' if self._tls else 'nats'}://{self.address}"

    async def wait_connections(self, count: int, timeout: float = READ_TIMEOUT) -> FakeConnection:
        """Wait until ``count`` connections have been accepted; return the last of them."""

        async def accepted() -> None:
            async with self._accepted:
                await self._accepted.wait_for(lambda: len(self.connections) >= count)

        await asyncio.wait_for(accepted(), timeout)
        return self.connections[count - 1]

    async def __aenter__(self: F) -> F:
        await super().__aenter__()
        self.info.setdefault("port", self.port)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await super().__aexit__(exc_type, exc, traceback)
        await self._retrieve_ends()
        # A body that failed did so because of the script more often than not; show both.
        if self._errors and (exc is None or isinstance(exc, Exception)):
            raise self._errors[0] from exc

    def _abandon(self) -> None:
        for connection in self.connections:
            connection.abort()

    async def _retrieve_ends(self) -> None:
        # A client that hung up with data unread leaves a ConnectionResetError in a future of the
        # stream's protocol. The protocol's finalizer takes it, but in a cycle of garbage that of
        # the future may run first, and tell the loop of an exception that nobody has retrieved.
        ends = [asyncio.ensure_future(each.writer.wait_closed()) for each in self.connections]
        # The transports report their end through the loop.
        await asyncio.sleep(0)
        # After a TLS handshake that failed the protocol never hears of the end.
        for end in ends:
            end.cancel()
        await asyncio.gather(*ends, return_exceptions=True)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = FakeConnection(self, len(self.connections), reader, writer)
        self.connections.append(connection)
        async with self._accepted:
            self._accepted.notify_all()
        try:
            await self._handler(connection)
        except ConnectionError:
            pass
        except asyncio.CancelledError:
            # Swallowed, because the stream protocol reports a cancelled handler as an error.
            pass
        except BaseException as error:
            self._errors.append(error)
        finally:
            connection.close()
