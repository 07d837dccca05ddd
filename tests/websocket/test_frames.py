"""WebSocket, byte by byte: frames that are sent, that are understood, and that end a connection."""

from __future__ import annotations

import asyncio

import pytest
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.proxy import Proxy
from support.waiting import EAGER, Events, eventually, within
from support.ws_fake import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    FramedConnection,
    admit_and_serve,
    frame,
    websocket,
    ws_url,
)

pytestmark = pytest.mark.usefixtures("driver", "quiet_loop")


async def received_by(connect: Connect, data: bytes, expected: list[bytes]) -> None:
    """Sends bytes to a client with one subscription, which has to receive these payloads."""

    @websocket
    async def handler(client: FramedConnection) -> None:
        await client.admit()
        await client.client.write(data)
        await client.serve()

    async with FakeServer(handler) as server:
        nc = await connect(ws_url(server))
        sub = await nc.subscribe("a")
        await within(nc.flush())
        for payload in expected:
            assert (await sub.next_msg(5)).data == payload
        assert await within(nc.rtt()) > 0
        await nc.close()


def message(payload: bytes) -> bytes:
    return b"MSG a 1 %d\r\n%b\r\n" % (len(payload), payload)


async def test_frames_and_messages_need_not_match(connect: Connect) -> None:
    stream = b"".join(message(b"%d" % number) for number in range(300))
    data = b"".join(frame(stream[start : start + 7]) for start in range(0, len(stream), 7))
    await received_by(connect, data, [b"%d" % number for number in range(300)])
    await received_by(connect, frame(stream), [b"%d" % number for number in range(300)])


async def test_fragmented_frames(connect: Connect) -> None:
    payload = bytes(range(256)) * 4000
    stream = message(payload)
    third = len(stream) // 3
    data = (
        frame(stream[:third], fin=False)
        # Control frames may come in between.
        + frame(b"", PING)
        + frame(stream[third : 2 * third], CONTINUATION, fin=False)
        + frame(b"", CONTINUATION, fin=False)
        + frame(stream[2 * third :], CONTINUATION)
        + frame(b"")
        + frame(message(b"next"))
    )

    @websocket
    async def handler(client: FramedConnection) -> None:
        await client.admit()
        await client.client.write(data)
        assert await client.read_frame() == (PONG, b"")
        await client.serve()

    async with FakeServer(handler) as server:
        nc = await connect(ws_url(server))
        sub = await nc.subscribe("a")
        await within(nc.flush())
        assert (await sub.next_msg(5)).data == payload
        assert (await sub.next_msg(5)).data == b"next"
        await nc.close()


async def test_pings_are_answered(connect: Connect) -> None:
    answered = asyncio.Event()

    @websocket
    async def handler(client: FramedConnection) -> None:
        await client.accept()
        await client.handshake()
        await client.send(b"abc", PING)
        assert await client.read_frame() == (PONG, b"abc")
        await client.send(b"unasked", PONG)
        answered.set()
        await client.serve()

    async with FakeServer(handler) as server:
        nc = await connect(ws_url(server))
        await within(answered.wait())
        assert await within(nc.rtt()) > 0
        await nc.close()


async def test_every_frame_is_masked_with_a_key_of_its_own(connect: Connect) -> None:
    keys: list[bytes] = []

    async def handler(client: FakeConnection) -> None:
        framed = FramedConnection(client)
        await framed.accept()
        await framed.handshake()
        while len(keys) < 20:
            first, second = await client.reader.readexactly(2)
            assert (first, second & 0x80) == (0x82, 0x80)
            keys.append(await client.reader.readexactly(4))
            await client.reader.readexactly(second & 0x7F)
            await framed.send(b"PONG\r\n")

    async with FakeServer(handler) as server:
        nc = await connect(ws_url(server), allow_reconnect=False)
        for _ in range(20):
            await within(nc.flush())
        await nc.close()
    assert len(set(keys)) > 15


async def test_closing_says_good_bye(connect: Connect) -> None:
    frames: list[tuple[int, bytes]] = []

    @websocket
    async def handler(client: FramedConnection) -> None:
        await client.accept()
        await client.handshake()
        while True:
            frames.append(await client.read_frame())

    async with FakeServer(handler) as server:
        nc = await connect(ws_url(server))
        await nc.publish("a", b"last")
        await nc.close()
        await eventually(lambda: frames and frames[-1][0] == CLOSE, "a close frame comes")
    assert frames[0] == (BINARY, b"PUB a 4\r\nlast\r\n")
    assert len(frames) == 2


@pytest.mark.parametrize(
    "data",
    [
        frame(b"hello", TEXT),
        frame(b"\x03\xe8bye", CLOSE),
        frame(b"", CLOSE),
        frame(b"x", CLOSE),
        frame(b"PONG\r\n", mask=b"abcd"),
        frame(b"", BINARY, size=1 << 62),
        frame(b"", BINARY, size=(1 << 28) + 1),
        frame(b"PONG\r\n", CONTINUATION),
        frame(b"a", fin=False) + frame(b"b"),
        frame(b"a" * 126, PING),
        frame(b"a", PING, fin=False),
        frame(b"a", 3),
        b"\xf2\x00",
        frame(b"garbage in a frame\r\n"),
        frame(b"\xff\xfe", TEXT),
        frame(b"\xff", TEXT, fin=False),
        frame(b"\x03\xe9going away", CLOSE),
        frame(b"\x03\xe9\xff", CLOSE),
        frame(b"\x03\xed", CLOSE),
        frame(b"\x00\x00", CLOSE),
        frame(b"\x03\xe8" + b"a" * 124, CLOSE),
        frame(b"", BINARY, size=1 << 63),
        frame(b"", BINARY, size=(1 << 64) - 1),
        frame(b"", fin=False) + frame(b"", CONTINUATION, size=1 << 63),
        frame(b"", PING, size=1 << 63),
        frame(b"", PING, mask=b"abcd"),
        frame(b"", BINARY, mask=b"abcd", size=1 << 20),
        b"\xc2\x00",
        b"\xa2\x00",
        b"\x92\x00",
        b"\xc9\x00",
        frame(b"a") + frame(b"b", CONTINUATION),
    ],
    ids=[
        *("text", "close", "close without code", "close with half a code", "masked"),
        *("announces exabytes", "announces too much", "nothing to continue", "not continued"),
        *("long ping", "fragmented ping", "unknown opcode", "reserved bits", "not NATS"),
        *("text that is none", "fragment of text", "reason", "reason that is no text"),
        *("code that may not be sent", "no code", "long reason", "2**63", "2**64 - 1"),
        *("2**63 continued", "ping of 2**63", "masked ping", "masked and not there"),
        *("RSV1", "RSV2", "RSV3", "RSV1 of a ping", "continued after the end"),
    ],
)
async def test_what_ends_a_connection(connect: Connect, data: bytes) -> None:
    """The client connects anew, and what came before it counts."""

    @websocket
    async def handler(client: FramedConnection) -> None:
        if client.index > 0:
            await client.admit()
            await client.send(message(b"second"))
            await client.serve()
        await client.admit()
        await client.client.write(frame(message(b"first")) + data)
        await client.client.wait_closed()

    events = Events()
    async with FakeServer(handler) as server:
        nc = await connect(ws_url(server), **events.callbacks, **EAGER)
        sub = await nc.subscribe("a")
        await within(nc.flush())
        assert (await sub.next_msg(5)).data == b"first"
        assert (await sub.next_msg(5)).data == b"second"
        assert events.names[0] == "disconnected"
        await nc.close()


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (frame(b"", CLOSE), b""),
        (frame(b"\x03\xe9going", CLOSE), b"\x03\xe9going"),
        (frame(b"\x03\xed", CLOSE), b"\x03\xea"),
        (frame(b"x", CLOSE), b"\x03\xea"),
        (frame(b"", CONTINUATION), b"\x03\xea"),
        (frame(b"hello", TEXT), b"\x03\xeb"),
    ],
    ids=["nothing", "going away", "code that may not be sent", "half a code", "broken", "text"],
)
async def test_the_server_is_told_why(connect: Connect, data: bytes, answer: bytes) -> None:
    answers: list[tuple[int, bytes]] = []

    @websocket
    async def handler(client: FramedConnection) -> None:
        await client.accept()
        await client.handshake()
        await client.client.write(data + frame(b"nothing counts after that", PING))
        answers.append(await client.read_frame())

    events = Events()
    async with FakeServer(handler) as server:
        await connect(ws_url(server), allow_reconnect=False, **events.callbacks)
        await events.wait("closed")
        await eventually(lambda: answers, "an answer comes")
    assert answers == [(CLOSE, answer)]


async def test_the_reason_is_kept(connect: Connect) -> None:
    @websocket
    async def handler(client: FramedConnection) -> None:
        await client.accept()
        await client.handshake()
        await client.send(b"a", CONTINUATION)
        await client.client.wait_closed()

    events = Events()
    async with FakeServer(handler) as server:
        nc = await connect(ws_url(server), allow_reconnect=False, **events.callbacks)
        await events.wait("closed")
        assert isinstance(nc.last_error, ConnectionError)
        assert "websocket error" in str(nc.last_error)


async def test_a_server_that_falls_silent_is_left(connect: Connect) -> None:
    @websocket
    async def handler(client: FramedConnection) -> None:
        await client.accept()
        await client.handshake()
        if client.index == 0:
            await client.client.wait_closed()
        await client.serve()

    events = Events()
    async with FakeServer(handler) as server:
        nc = await connect(
            ws_url(server), ping_interval=0.05, max_outstanding_pings=2, **events.callbacks, **EAGER
        )
        await events.wait("reconnected")
        await nc.close()


async def test_a_long_request_that_waits_in_the_transport(connect: Connect) -> None:
    """Writing pauses before the WebSocket is open: that is no other connection's business."""
    async with FakeServer(admit_and_serve) as server, Proxy(server.url) as proxy:
        proxy.stall()
        headers = {f"X-{number}": "x" * 60_000 for number in range(100)}
        connecting = asyncio.ensure_future(
            connect(
                f"ws://127.0.0.1:{proxy.port}", ws_connection_headers=headers, connect_timeout=20
            )
        )
        await eventually(lambda: proxy.accepted, "the proxy is reached")
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
