"""The server's end of WebSocket connections, frame by frame, on top of ``FakeServer``.

::

    @websocket
    async def handler(client: FramedConnection) -> None:
        await client.accept()
        await client.handshake()
        await client.send(b"MSG foo 1 3\\r\\nabc\\r\\n")

    async with FakeServer(handler) as server:
        nc = await nats.connect(ws_url(server))
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import Any

from support.fake_server import READ_TIMEOUT, ClientGone, FakeConnection, FakeServer, Handler
from support.waiting import within

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def ws_url(server: FakeServer, path: str = "", user: str = "") -> str:
    return f"ws://{user}{server.address}{path}"


def accept_key(key: str) -> str:
    """What answers a request's ``Sec-WebSocket-Key``."""
    return base64.b64encode(hashlib.sha1(key.encode() + GUID).digest()).decode()


def frame(
    payload: bytes, opcode: int = BINARY, *, fin: bool = True, mask: bytes = b"", size: int = -1
) -> bytes:
    """One frame; ``size`` is what it announces, if that isn't the truth."""
    size = len(payload) if size < 0 else size
    masked = 0x80 if mask else 0
    head = bytes([(0x80 if fin else 0) | opcode])
    if size < 126:
        head += bytes([masked | size])
    elif size < 1 << 16:
        head += bytes([masked | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([masked | 127]) + size.to_bytes(8, "big")
    return (
        head + mask + bytes(byte ^ mask[i % 4] if mask else byte for i, byte in enumerate(payload))
    )


class FramedConnection:
    """A client that speaks WebSocket, or says so."""

    def __init__(self, client: FakeConnection) -> None:
        self.client = client
        self.request_line = ""
        self.headers: list[tuple[str, str]] = []
        """Of the request, in its order, names in lower case."""
        self._content = b""

    @property
    def index(self) -> int:
        return self.client.index

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    async def read_request(self) -> None:
        head = await within(self.client.reader.readuntil(b"\r\n\r\n"), READ_TIMEOUT)
        self.request_line, *lines = head.decode().removesuffix("\r\n\r\n").split("\r\n")
        parts = [line.partition(": ") for line in lines]
        self.headers = [(name.lower(), value) for name, _, value in parts]

    def answer(self, status: str = "101 Switching Protocols", **changes: str) -> bytes:
        """The head of an answer that opens the WebSocket unless it is changed."""
        (key,) = self.header("sec-websocket-key")
        headers = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Accept": accept_key(key),
            **{name.replace("_", "-"): value for name, value in changes.items()},
        }
        lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode()

    async def accept(self, **changes: str) -> None:
        await self.read_request()
        await self.client.write(self.answer(**changes))

    async def send(self, payload: bytes, opcode: int = BINARY, **details: Any) -> None:
        await self.client.write(frame(payload, opcode, **details))

    async def read_frame(self) -> tuple[int, bytes]:
        """Opcode and payload of the next frame, which has to be whole and masked."""
        read = self.client.reader.readexactly
        first, second = await within(read(2), READ_TIMEOUT)
        assert first & 0x80, "fragmented"
        assert second & 0x80, "not masked"
        size = second & 0x7F
        if size >= 126:
            size = int.from_bytes(await within(read(2 if size == 126 else 8)), "big")
        mask = await within(read(4))
        payload = await within(read(size), READ_TIMEOUT)
        # As one number: byte by byte takes seconds for megabytes.
        key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
        return first & 0x0F, (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")

    async def read_line(self) -> bytes:
        """The next protocol line in binary frames, without its end."""
        while b"\r\n" not in self._content:
            opcode, payload = await self.read_frame()
            if opcode == CLOSE:
                raise ClientGone("the client has said good-bye")
            assert opcode == BINARY, opcode
            self._content += payload
        line, _, self._content = self._content.partition(b"\r\n")
        return line

    async def expect(self, prefix: bytes) -> bytes:
        line = await self.read_line()
        assert line.startswith(prefix), f"expected {prefix!r}, got {line!r}"
        return line

    async def send_info(self, **changes: Any) -> None:
        info = {**self.client.server.info, **changes}
        await self.send(b"INFO " + json.dumps(info).encode() + b"\r\n")

    async def handshake(self, **info: Any) -> dict[str, Any]:
        """NATS' own, inside the WebSocket; what CONNECT had."""
        await self.send_info(**info)
        connect = await self.expect(b"CONNECT ")
        await self.expect(b"PING")
        await self.send(b"PONG\r\n")
        options: dict[str, Any] = json.loads(connect.removeprefix(b"CONNECT "))
        return options

    async def admit(self) -> None:
        """Let a client in that subscribes and flushes."""
        await self.accept()
        await self.handshake()
        await self.expect(b"SUB ")
        await self.expect(b"PING")
        await self.send(b"PONG\r\n")

    async def serve(self) -> None:
        """Answer PINGs until the client goes away; publications are not understood."""
        while True:
            if await self.read_line() == b"PING":
                await self.send(b"PONG\r\n")


def websocket(handler: Callable[[FramedConnection], Awaitable[None]]) -> Handler:
    """A handler for ``FakeServer``."""

    async def wrapped(client: FakeConnection) -> None:
        try:
            await handler(FramedConnection(client))
        except EOFError:
            # The client has gone while the script wanted to read.
            pass

    return wrapped


@websocket
async def admit_and_serve(client: FramedConnection) -> None:
    await client.accept()
    await client.handshake()
    await client.serve()
