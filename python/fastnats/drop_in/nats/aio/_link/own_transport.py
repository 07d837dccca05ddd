"""A WebSocket transport that an application has put in the place of ours.

Programs written for nats-py assign a class of their own to `nats.aio.client.WebSocketTransport`,
for what its transport doesn't do.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Any, Optional
from urllib.parse import ParseResult

from nats._core import Connection

from .._types import DEFAULT_BUFFER_SIZE
from ..transport import WebSocketTransport
from .asyncio import AsyncioDriver, WireProtocol

# Bytes that may wait for the transport before the core holds back.
_HIGH_WATER = 64 * 1024


class OwnTransportDriver(AsyncioDriver):
    """Carries the bytes over a transport with nats-py's interface."""

    def __init__(
        self,
        core: Connection,
        transport: WebSocketTransport,
        context: Optional[ssl.SSLContext],
        connect_timeout: float,
    ) -> None:
        """
        :param context: for TLS, if there is to be any.
        :param connect_timeout: seconds.
        """
        super().__init__(core)
        self._own = transport
        self._context = context
        self._connect_timeout = connect_timeout

    async def open(self, uri: ParseResult) -> None:
        """Connects; raises what the transport raises."""
        limits: dict[str, Any] = {
            "buffer_size": DEFAULT_BUFFER_SIZE,
            "connect_timeout": self._connect_timeout,
        }
        try:
            if self._context is None:
                await self._own.connect(uri, **limits)
            else:
                await self._own.connect_tls(uri, ssl_context=self._context, **limits)
        except BaseException:
            # Cancelled, it may be half open.
            with contextlib.suppress(Exception):
                self._own.close()
            raise
        outlet = _Outlet(self._core, self._own, self._protocol)
        self._transport = outlet
        self._protocol.connection_made(outlet)


class _Outlet(asyncio.Transport):
    """What the core writes to: one task sends that, another one reads."""

    def __init__(self, core: Connection, own: WebSocketTransport, protocol: WireProtocol) -> None:
        super().__init__()
        self._core = core
        self._own = own
        self._protocol = protocol
        self._unsent = 0
        self._wake = asyncio.Event()
        self._is_closing = False
        loop = asyncio.get_running_loop()
        self._writing = loop.create_task(self._write())
        self._reading = loop.create_task(self._read())

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._is_closing:
            return
        self._own.write(bytes(data))
        self._unsent += len(data)
        if self._unsent > _HIGH_WATER:
            self._core.set_writable(False)
        self._wake.set()

    def close(self) -> None:
        """Sends what is left, then closes."""
        self._is_closing = True
        self._reading.cancel()
        self._wake.set()

    def abort(self) -> None:
        self._is_closing = True
        self._reading.cancel()
        self._writing.cancel()

    async def _read(self) -> None:
        """Passes on what comes, until the end."""
        failure: Optional[Exception] = None
        try:
            while True:
                data = await self._own.read(DEFAULT_BUFFER_SIZE)
                if data:
                    self._protocol.data_received(data)
                elif self._own.at_eof():
                    break
                else:
                    # An empty frame; the loop must not stand still for a flood of them.
                    await asyncio.sleep(0)
        except Exception as error:
            failure = error
        self._end(failure)

    async def _write(self) -> None:
        try:
            while not self._is_closing or self._unsent:
                await self._wake.wait()
                self._wake.clear()
                taken = self._unsent
                await self._own.drain()
                self._unsent -= taken
                if not self._is_closing:
                    self._core.set_writable(True)
        except Exception as error:
            self._end(error)
        finally:
            # What the application's transport says at its end is of no use to anybody.
            with contextlib.suppress(Exception):
                self._own.close()
                await self._own.wait_closed()
            self._protocol.closed.set()

    def _end(self, failure: Optional[Exception]) -> None:
        if not self._is_closing:
            self._protocol.connection_lost(failure)
