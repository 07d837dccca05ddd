"""The two ways of moving bytes, each bringing a connection up for the native core.

`TokioDriver` leaves reading and writing to the core's I/O thread. `AsyncioDriver` lets an
asyncio transport carry the bytes; the protocol work is the same native code.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Optional, Union
from urllib.parse import ParseResult

from nats import errors
from nats._core import Connection

# A peer that takes nothing more is left after so many seconds.
_LINGER = 2.0


class TokioDriver:
    """A socket owned by the core's I/O thread."""

    def __init__(self, core: Connection) -> None:
        self._core = core
        self.epoch = 0

    async def open(self, uri: ParseResult) -> None:
        """Connects; `epoch` then marks the events of this connection.

        :raises OSError: as `asyncio.loop.create_connection` does.
        """
        loop = asyncio.get_running_loop()
        addresses = await loop.getaddrinfo(uri.hostname, uri.port, type=socket.SOCK_STREAM)
        failures: list[OSError] = []
        for _, _, _, _, address in addresses:
            scope_id = int(address[3]) if len(address) == 4 else 0
            try:
                link = await self._core.dial(str(address[0]), int(address[1]), scope_id)
                self.epoch = self._core.use_link(link)
                return
            except OSError as failure:
                failures.append(failure)
        raise _combined(failures)

    def close(self, graceful: bool) -> None:
        self._core.drop_link()


class AsyncioDriver:
    """A transport of the event loop."""

    def __init__(self, core: Connection) -> None:
        self._core = core
        self.epoch = 0
        self._transport: Optional[asyncio.Transport] = None

    async def open(self, uri: ParseResult) -> None:
        """As `TokioDriver.open`."""
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_connection(
            lambda: _WireProtocol(self._core), uri.hostname or "", uri.port or 0
        )
        self._transport = transport
        self.epoch = protocol.epoch

    def close(self, graceful: bool) -> None:
        transport, self._transport = self._transport, None
        self._core.drop_link()
        # After a fork the transport is the parent's.
        if transport is None or not self._core.in_own_process():
            return
        if graceful:
            asyncio.get_running_loop().call_later(_LINGER, transport.abort)
        else:
            transport.abort()


class _WireProtocol(asyncio.Protocol):
    """Passes what a transport reports on to the core."""

    def __init__(self, core: Connection) -> None:
        self._core = core
        self.epoch = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        try:
            self.epoch = self._core.use_transport(transport)
        except errors.ConnectionClosedError:
            # Closed while the connection was being made.
            transport.abort()  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        self._core.feed(self.epoch, data)

    def connection_lost(self, exc: Optional[Exception]) -> None:
        number = None
        if exc is not None:
            number = getattr(exc, "errno", None) or errno.ECONNRESET
        self._core.lost(self.epoch, number)

    def pause_writing(self) -> None:
        self._core.set_writable(False)

    def resume_writing(self) -> None:
        self._core.set_writable(True)


Driver = Union[TokioDriver, AsyncioDriver]

DRIVERS: dict[str, Callable[[Connection], Driver]] = {
    "tokio": TokioDriver,
    "asyncio": AsyncioDriver,
}


def _combined(failures: list[OSError]) -> OSError:
    """One error for several addresses, the way asyncio puts it."""
    if not failures:
        return OSError("getaddrinfo() returned empty list")
    texts = {str(failure) for failure in failures}
    if len(texts) == 1:
        return failures[0]
    return OSError(f"Multiple exceptions: {', '.join(map(str, failures))}")
