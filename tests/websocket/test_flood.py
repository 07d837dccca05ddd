"""Servers that mean it ill, over WebSocket: memory stays as it is, and nothing hangs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any
from urllib.parse import urlparse

import pytest
from nats.aio.transport import WebSocketTransport
from support.connecting import Connect
from support.fake_server import FakeServer
from support.flooding import PATIENCE, memory
from support.waiting import EAGER, Events, eventually, within
from support.ws_fake import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    FramedConnection,
    frame,
    websocket,
    ws_url,
)

pytestmark = [pytest.mark.usefixtures("driver", "quiet_loop"), pytest.mark.timeout(400)]

MB = 1 << 20
# What a client may grow by while it is flooded: buffers of both ends.
SLACK = 48 * MB
# Where a transport of the event loop stops those who write, and what the last of them may add.
FULL = 64 * 1024 + 4096

PINGS = {"empty": b"", "short": b"ping", "longest": bytes(125)}


def chunk_of(data: bytes) -> bytes:
    return data * max(1, 262_144 // len(data))


def unsent(nc: Any) -> int:
    """Bytes that a client's transport keeps because the server doesn't take them."""
    size: int = nc._fastnats.link._transport.get_write_buffer_size()
    return size


def keep_little(writer: asyncio.StreamWriter, option: int) -> None:
    """Have the system keep no more than it must on a connection."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, option, 4096)


def pause_reading(client: FramedConnection) -> None:
    client.client.writer.transport.pause_reading()  # type: ignore[attr-defined]


def resume_reading(client: FramedConnection) -> None:
    client.client.writer.transport.resume_reading()  # type: ignore[attr-defined]


class Deaf:
    """A server that floods a client with PINGs and reads nothing before it may."""

    def __init__(self, payload: bytes, *, waits_for_output: bool) -> None:
        self.payload = payload
        self.may_flood = asyncio.Event()
        self.may_read = asyncio.Event()
        self.answers: list[bytes] = []
        self.published = 0
        self.sent = 0
        if not waits_for_output:
            self.may_flood.set()

    async def __call__(self, client: FramedConnection) -> None:
        await client.admit()
        pause_reading(client)
        await self.may_flood.wait()
        await self.flood(client)
        await client.send(b"MSG a 1 3\r\none\r\n")
        await self.may_read.wait()
        resume_reading(client)
        await client.send(b"latest", PING)
        content = b""
        while not (content.endswith(b"PING\r\n") and b"latest" in self.answers):
            opcode, payload = await client.read_frame()
            if opcode == PONG:
                self.answers.append(payload)
            else:
                assert opcode == BINARY
                content = (content + payload)[-100:]
                self.published += len(payload)
        await client.send(b"PONG\r\n")
        await client.serve()

    async def flood(self, client: FramedConnection) -> None:
        ping = frame(self.payload, PING)
        chunk = chunk_of(ping)
        for _ in range(20 * MB // len(chunk)):
            await client.client.write(chunk)
            self.sent += len(chunk) // len(ping)
        # In small pieces, each of which is read by itself as a rule.
        for _ in range(3000):
            await client.client.write(ping)
            await asyncio.sleep(0)


@pytest.mark.parametrize("payload", PINGS.values(), ids=PINGS)
async def test_pings_of_a_server_that_does_not_read(connect: Connect, payload: bytes) -> None:
    """One answer is owed at a time; the latest PING's comes when the server reads again."""
    script = Deaf(payload, waits_for_output=False)
    async with FakeServer(websocket(script)) as server:
        nc = await connect(ws_url(server))
        sub = await nc.subscribe("a")
        await within(nc.flush())
        before = memory()
        assert (await sub.next_msg(PATIENCE)).data == b"one"
        assert unsent(nc) <= FULL
        assert memory() - before < SLACK
        script.may_read.set()
        await within(nc.flush())
        assert 0 < len(script.answers) < script.sent
        assert script.answers[-1] == b"latest"
        await nc.close()


async def test_pings_while_output_waits(connect: Connect) -> None:
    """No answer is put behind output that the server doesn't take, and none of that is lost."""
    script = Deaf(bytes(125), waits_for_output=True)
    size, count = 64 * 1024, 400
    async with FakeServer(websocket(script)) as server:
        nc = await connect(ws_url(server), pending_size=4 * size)
        sub = await nc.subscribe("a")
        await within(nc.flush())

        async def publish() -> None:
            for _ in range(count):
                await nc.publish("data", bytes(size))

        publisher = asyncio.ensure_future(publish())
        # Above the mark at which the transport would ask for more.
        await eventually(lambda: unsent(nc) > FULL // 4, "the server takes nothing more")
        before = memory()
        script.may_flood.set()
        assert (await sub.next_msg(PATIENCE)).data == b"one"
        # The last piece of output that it was given is of 32 KiB.
        assert unsent(nc) <= FULL + 32 * 1024
        assert memory() - before < SLACK
        script.may_read.set()
        await within(publisher, PATIENCE)
        await within(nc.flush(PATIENCE), PATIENCE)
        assert script.published == count * len(b"PUB data 65536\r\n\r\n") + count * size + len(
            b"PING\r\n"
        )
        assert script.answers[-1] == b"latest"
        await nc.close()


async def test_pings_to_the_transport_of_nats_py() -> None:
    """Whoever drives `WebSocketTransport` reads no further while its answers aren't taken."""
    answers: list[bytes] = []
    ready = asyncio.Event()

    @websocket
    async def handler(client: FramedConnection) -> None:
        await client.accept()
        keep_little(client.client.writer, socket.SO_RCVBUF)
        pause_reading(client)
        await ready.wait()
        chunk = chunk_of(frame(bytes(125), PING))
        with contextlib.suppress(asyncio.TimeoutError):
            while True:
                await within(client.client.write(chunk), 1)
        resume_reading(client)
        await asyncio.gather(client.send(b"content"), collect(client))

    async def collect(client: FramedConnection) -> None:
        while True:
            opcode, payload = await client.read_frame()
            if opcode == CLOSE:
                return
            assert opcode == PONG
            answers.append(payload)

    async with FakeServer(handler) as server:
        transport = WebSocketTransport()
        await transport.connect(urlparse(ws_url(server)), 32768, 5)
        writer = transport._io_writer
        assert writer is not None
        keep_little(writer, socket.SO_SNDBUF)
        ready.set()
        before = memory()
        assert await within(transport.readline(), PATIENCE) == b"content"
        assert memory() - before < SLACK
        assert writer.transport.get_write_buffer_size() <= FULL
        await eventually(lambda: answers, "answers come")
        transport.close()
        await within(transport.wait_closed())


async def test_a_message_that_never_ends(connect: Connect) -> None:
    """Frames mean nothing in the protocol: what is in them is delivered as it comes."""
    payload = bytes(10_000)
    one = b"MSG a 1 %d\r\n%b\r\n" % (len(payload), payload)
    cut = frame(one[:5000], CONTINUATION, fin=False) + frame(one[5000:], CONTINUATION, fin=False)
    chunk = chunk_of(cut)
    chunks = 300 * MB // len(chunk)
    in_chunk = len(chunk) // len(cut)

    @websocket
    async def handler(client: FramedConnection) -> None:
        await client.admit()
        await client.send(b"", fin=False)
        for _ in range(chunks):
            await client.client.write(chunk)
        await client.client.wait_closed()

    received = 0

    async def count(msg: Any) -> None:
        nonlocal received
        received += len(msg.data)

    async with FakeServer(handler) as server:
        nc = await connect(ws_url(server))
        await nc.subscribe("a", cb=count)
        await within(nc.flush())
        before = memory()
        goal = chunks * in_chunk * len(payload)
        await eventually(lambda: received == goal, "all has come", PATIENCE)
        assert memory() - before < SLACK
        await nc.close()


@pytest.mark.parametrize(
    "data",
    [
        frame(b"", CONTINUATION, fin=False),
        frame(bytes(125), PONG),
        frame(b"+OK\r\n", CONTINUATION, fin=False),
    ],
    ids=["empty continuations", "pongs", "content without meaning"],
)
async def test_an_endless_flood_of_nothing(connect: Connect, data: bytes) -> None:
    """The client's own PING isn't answered: that ends the connection."""

    @websocket
    async def handler(client: FramedConnection) -> None:
        await client.accept()
        await client.handshake()
        if client.index > 0:
            await client.serve()
        await client.send(b"", fin=False)
        chunk = chunk_of(data)
        while True:
            await client.client.write(chunk)

    events = Events()
    async with FakeServer(handler) as server:
        nc = await connect(
            ws_url(server), ping_interval=0.2, max_outstanding_pings=2, **events.callbacks, **EAGER
        )
        before = memory()
        await events.wait("reconnected", seconds=PATIENCE)
        assert memory() - before < SLACK
        assert await within(nc.rtt()) > 0
        await nc.close()


@pytest.mark.parametrize("first", [0x89, 0x8A, 0x88], ids=["ping", "pong", "close"])
async def test_control_frames_that_announce_much_are_refused_at_once(
    connect: Connect, first: int
) -> None:
    """Not only when the last byte has come."""

    @websocket
    async def handler(client: FramedConnection) -> None:
        await client.accept()
        await client.handshake()
        if client.index == 0:
            await client.client.write(bytes([first, 127]))
            await client.client.wait_closed()
        await client.serve()

    events = Events()
    async with FakeServer(handler) as server:
        nc = await connect(ws_url(server), **events.callbacks, **EAGER)
        await events.wait("reconnected")
        await nc.close()


async def test_a_head_without_an_end_is_limited(connect: Connect) -> None:
    """Headers after headers in place of an answer."""
    sent = 0

    @websocket
    async def handler(client: FramedConnection) -> None:
        nonlocal sent
        await client.read_request()
        if client.index > 0:
            await client.client.write(client.answer())
            await client.handshake()
            await client.serve()
        await client.client.write(client.answer().removesuffix(b"\r\n"))
        while sent < 100 * MB:
            await client.client.write(b"X-More: y\r\n" * 1000)
            sent += 11_000

    events = Events()
    async with FakeServer(handler) as server:
        nc = await connect(ws_url(server), **events.callbacks, **EAGER)
        assert sent < 50 * MB
        assert isinstance(events.errors[0], ConnectionError)
        assert "websocket handshake failed" in str(events.errors[0])
        await nc.close()
