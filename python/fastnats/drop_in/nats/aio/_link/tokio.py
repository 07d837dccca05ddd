"""A connection whose bytes the core's I/O thread moves."""

from __future__ import annotations

import asyncio
import socket
from typing import Optional
from urllib.parse import ParseResult

from nats._core import Connection


class TokioDriver:
    """A socket owned by the core's I/O thread."""

    failure: Optional[OSError] = None

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

    async def wait_closed(self) -> None:
        """Nothing is left to be sent: `close` is called when the socket has taken everything."""


def _combined(failures: list[OSError]) -> OSError:
    """One error for several addresses, the way asyncio puts it."""
    if not failures:
        return OSError("getaddrinfo() returned empty list")
    texts = {str(failure) for failure in failures}
    if len(texts) == 1:
        return failures[0]
    return OSError(f"Multiple exceptions: {', '.join(map(str, failures))}")
