"""What servers and proxies of tests have in common: a port, and a task for each connection."""

from __future__ import annotations

import asyncio
import ssl
from types import TracebackType
from typing import TypeVar

L = TypeVar("L", bound="Listener")


class Listener:
    """Takes connections inside its ``async with`` block, and serves each in a task."""

    def __init__(
        self, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> None:
        """
        Args:
            host: The address to listen on.
            port: The port; 0 picks a free one.
            tls: Speak TLS from the first byte on.
        """
        self.host = host
        self.port = port
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection; to be overridden."""
        raise NotImplementedError

    async def stop_accepting(self) -> None:
        """Refuse new connections; the present ones go on."""
        if self._server is not None:
            self._server.close()

    async def __aenter__(self: L) -> L:
        self._server = await asyncio.start_server(self._accept, self.host, self.port, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop_accepting()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._abandon()
        assert self._server is not None
        await self._server.wait_closed()
        # The transports report their end through the loop.
        await asyncio.sleep(0)

    def _abandon(self) -> None:
        """Abort what the tasks have left open."""

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await self.serve(reader, writer)
