"""An HTTP proxy that knows CONNECT, and notes what it is asked for."""

from __future__ import annotations

import asyncio
import contextlib

from support.listener import Listener
from support.proxy import Proxy


class HttpProxy(Listener):
    """Listens on a free port of 127.0.0.1."""

    def __init__(self, answer: bytes | None = None) -> None:
        """
        Args:
            answer: What to say to a request in place of opening a tunnel; the end if empty.
        """
        super().__init__()
        self.requests: list[bytes] = []
        """The heads of all requests."""
        self._words = answer

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A cancelled handler would be reported as an error.
        with contextlib.suppress(OSError, asyncio.CancelledError, asyncio.IncompleteReadError):
            await self._answer(reader, writer)
        writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head)
        if self._words is not None:
            writer.write(self._words)
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
        await Proxy(f"nats://127.0.0.1:{port}").serve(reader, writer)
