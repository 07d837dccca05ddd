"""A connection whose bytes a transport of the event loop moves, in TLS or not."""

from __future__ import annotations

import asyncio
import errno
import ssl
from typing import Optional
from urllib.parse import ParseResult

from nats import errors
from nats._core import Connection

# A peer that takes nothing more is left after so many seconds.
_LINGER = 2.0


class AsyncioDriver:
    """A transport of the event loop."""

    def __init__(self, core: Connection, clear_lines: Optional[int] = None) -> None:
        """
        :param clear_lines: how many lines to read before TLS starts; all if `None`.
        """
        self._core = core
        self._loop = asyncio.get_running_loop()
        self._clear_lines = clear_lines
        self._transport: Optional[asyncio.Transport] = None
        self._protocol = WireProtocol(core)
        self._is_closing = False

    @property
    def epoch(self) -> int:
        """Marks the events of this connection."""
        return self._protocol.epoch

    @property
    def failure(self) -> Optional[OSError]:
        """What a layer between the server and us has reported as the end of the connection."""
        return self._protocol.failure

    async def open(self, uri: ParseResult) -> None:
        """As `TokioDriver.open`."""
        if self._clear_lines is not None:
            self._protocol = _ClearProtocol(self._core, self._clear_lines)
        self._transport, _ = await asyncio.get_running_loop().create_connection(
            lambda: self._protocol, uri.hostname or "", uri.port or 0
        )

    async def start_tls(self, context: ssl.SSLContext, server_hostname: str) -> None:
        """Goes over to TLS on the open connection.

        :raises ssl.SSLError: the handshake fails; `ssl.SSLCertVerificationError` if the
            certificate can't be trusted.
        """
        assert self._transport
        protocol = WireProtocol(self._core)
        # What came in the clear may be anybody's. Nothing more does: the transport is TLS's
        # before this coroutine first waits.
        self._core.clear_events()
        clear, self._transport = self._transport, None
        try:
            transport = await asyncio.get_running_loop().start_tls(
                clear, protocol, context, server_hostname=server_hostname
            )
        except BaseException:
            # Nobody is told any more when it is closed.
            clear.abort()
            raise
        if transport is None:
            raise ConnectionResetError(errno.ECONNRESET, "connection lost during the handshake")
        self._transport, self._protocol = transport, protocol
        # With an epoch and a parser of its own.
        protocol.connection_made(transport)

    def close(self, graceful: bool) -> None:
        transport, self._transport = self._transport, None
        try:
            self._core.drop_link()
        except RuntimeError:
            if not self._loop.is_closed():
                raise
        # After a fork the transport is the parent's, and nobody's after the end of its loop.
        if transport is None or not self._core.in_own_process() or self._loop.is_closed():
            return
        if graceful:
            self._is_closing = True
            self._protocol.abort_later(transport)
        else:
            transport.abort()

    async def wait_closed(self) -> None:
        """After a graceful `close`: the transport has sent what it held, or was given up."""
        if self._is_closing:
            closed = asyncio.get_running_loop().create_task(self._protocol.closed.wait())
            await asyncio.wait({closed}, timeout=_LINGER + 1)
            closed.cancel()


class WireProtocol(asyncio.Protocol):
    """Passes what a transport reports on to the core.

    What TLS reports before its transport is in service waits for that: a server that begins may
    have sent its INFO with the end of the handshake, or hung up.
    """

    def __init__(self, core: Connection) -> None:
        self._core = core
        self.epoch = 0
        self.failure: Optional[OSError] = None
        self.closed = asyncio.Event()
        self._giving_up: Optional[asyncio.TimerHandle] = None
        self._early = bytearray()
        self._is_lost_early = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        try:
            self.epoch = self._core.use_transport(transport)
        except errors.ConnectionClosedError:
            # Closed while the connection was being made.
            transport.abort()  # type: ignore[attr-defined]
            return
        if self._early:
            self._core.feed(self.epoch, bytes(self._early))
            self._early.clear()
        if self._is_lost_early:
            self._core.lost(self.epoch, errno.ECONNRESET if self.failure else None)

    def data_received(self, data: bytes) -> None:
        if self.epoch:
            self._core.feed(self.epoch, data)
        else:
            self._early += data

    def connection_lost(self, exc: Optional[Exception]) -> None:
        self.closed.set()
        if self._giving_up is not None:
            # Transports of asyncio that have closed can't be aborted any more.
            self._giving_up.cancel()
        number = None
        if isinstance(exc, ssl.SSLError):
            # Its number is OpenSSL's, not the system's.
            self.failure = exc
            number = errno.ECONNRESET
        elif exc is not None:
            number = getattr(exc, "errno", None) or errno.ECONNRESET
        if self.epoch:
            self._core.lost(self.epoch, number)
        else:
            self._is_lost_early = True

    def abort_later(self, transport: asyncio.Transport) -> None:
        """Gives the transport up if it doesn't close in time."""
        if not self.closed.is_set():
            loop = asyncio.get_running_loop()
            self._giving_up = loop.call_later(_LINGER, transport.abort)

    def pause_writing(self) -> None:
        self._core.set_writable(False)

    def resume_writing(self) -> None:
        self._core.set_writable(True)


class _ClearProtocol(WireProtocol):
    """What a server says before TLS: a few lines, and nothing that is sent along with them.

    Whoever can write into the connection could otherwise have messages delivered.
    """

    def __init__(self, core: Connection, lines: int) -> None:
        super().__init__(core)
        self._lines = lines

    def data_received(self, data: bytes) -> None:
        while data and self._lines > 0:
            line, end, data = data.partition(b"\n")
            self._lines -= len(end)
            super().data_received(line + end)
