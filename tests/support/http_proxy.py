"""An HTTP proxy that knows CONNECT, and notes what it is asked for."""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType

from support.proxy import Proxy


class HttpProxy:
    """Listens on a free port of 127.0.0.1."""

    def __init__(self, answer: bytes | None = None) -> None:
        """
        Args:
            answer: What to say to a request in place of opening a tunnel; the end if empty.
        """
        self.port = 0
        self.requests: list[bytes] = []
        """The heads of all requests."""
        self._answer = answer
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> HttpProxy:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # A cancelled handler would be reported as an error.
        with contextlib.suppress(OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
            await self._serve(reader, writer)
        writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head)
        if self._answer is not None:
            writer.write(self._answer)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            return
        method, target, _ = head.split(b" ", 2)
        assert method == b"CONNECT"
        host, _, port = target.decode().rpartition(":")
        # Names of other machines, too, are those of this one.
        assert host in ("127.0.0.1", "localhost") or host.endswith(".example")
        writer.write(b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n")
        await Proxy(f"nats://127.0.0.1:{port}").carry(reader, writer)
