"""Keep-alive: PINGs in both directions, and noticing that the other end is gone."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from nats import errors
from nats.embedded import Server
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.waiting import EAGER, Events, eventually, within

IMPATIENT = 'ping_interval: "1s"\nping_max: 2\n'


@pytest.fixture
def tokio(monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver with a thread of its own, which answers PINGs while the loop is blocked."""
    from nats.aio.client import Client

    monkeypatch.setattr(Client, "_driver", "tokio")


@pytest.mark.usefixtures("tokio")
async def test_blocked_loop_keeps_the_connection(connect: Connect) -> None:
    # Once for as long as promised; on the other loop just past what the server puts up with.
    seconds = 10 if isinstance(asyncio.get_running_loop(), asyncio.SelectorEventLoop) else 5
    with Server(config=IMPATIENT) as server:
        events = Events()
        nc = await connect(server, **events.callbacks, **EAGER)
        handled: list[bytes] = []

        async def handler(msg: Any) -> None:
            if msg.data == b"block":
                # On purpose: this is what a careless handler does.
                time.sleep(seconds)  # noqa: ASYNC251
            handled.append(msg.data)

        await nc.subscribe("work", cb=handler)
        await nc.publish("work", b"block")
        await nc.publish("work", b"next")
        await eventually(lambda: len(handled) == 2, seconds=seconds + 5)
        # The server would have hung up after 3 s without a PONG.
        await nc.flush()
        assert handled == [b"block", b"next"]
        assert nc.is_connected
        assert events.names == []
        assert events.errors == []
        assert nc.stats["reconnects"] == 0
        assert "Stale Client Connection" not in server.log


@pytest.mark.usefixtures("driver")
async def test_pings_of_the_server_are_answered(connect: Connect) -> None:
    pongs = 0
    done = asyncio.Event()

    async def handler(client: FakeConnection) -> None:
        nonlocal pongs
        await client.handshake()
        for _ in range(5):
            await client.write(b"PING\r\n")
            await client.expect(b"PONG")
            pongs += 1
        # Several at once are answered each.
        await client.write(b"PING\r\n" * 3)
        for _ in range(3):
            await client.expect(b"PONG")
        done.set()
        await client.serve()

    async with FakeServer(handler) as server:
        nc = await connect(server)
        await within(done.wait())
        assert pongs == 5
        await nc.close()


@pytest.mark.usefixtures("driver")
async def test_pong_comes_before_pending_output(connect: Connect) -> None:
    done = asyncio.Event()
    payload = bytes(1 << 20)

    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        # The client fills its output while nobody reads, then has to answer in time.
        await client.expect(b"PUB")
        await client.read_payload(len(payload))
        await client.write(b"PING\r\n")
        while (line := await client.read_line()) != b"PONG":
            assert line.startswith(b"PUB")
            await client.read_payload(len(payload))
        done.set()
        await client.serve()

    async with FakeServer(handler) as server:
        nc = await connect(server, pending_size=1 << 30)
        for _ in range(32):
            await nc.publish("a", payload)
        await within(done.wait())
        await nc.close()


@pytest.mark.usefixtures("driver")
async def test_frozen_server_is_left(server: Server, connect: Connect) -> None:
    with Server() as other:
        events = Events()
        nc = await connect(
            [server.url, other.url],
            dont_randomize=True,
            ping_interval=0.1,
            max_outstanding_pings=2,
            **events.callbacks,
            **EAGER,
        )
        sub = await nc.subscribe("a")
        await nc.flush()
        start = time.monotonic()
        server.pause()
        try:
            await events.wait("reconnected")
        finally:
            server.resume()
        # Unanswered are the PINGs after 0.1 and 0.2 s; the third isn't sent any more.
        assert time.monotonic() - start > 0.15
        assert nc.connected_url.port == other.port
        assert events.names == ["disconnected", "reconnected"]
        await nc.publish("a", b"x")
        assert (await sub.next_msg(timeout=5)).data == b"x"


@pytest.mark.usefixtures("driver")
async def test_frozen_server_without_reconnecting(server: Server, connect: Connect) -> None:
    events = Events()
    nc = await connect(
        allow_reconnect=False, ping_interval=0.1, max_outstanding_pings=1, **events.callbacks
    )
    server.pause()
    try:
        await events.wait("closed")
    finally:
        server.resume()
    assert events.names == ["disconnected", "closed"]
    assert isinstance(nc.last_error, errors.StaleConnectionError)


@pytest.mark.usefixtures("driver")
@pytest.mark.parametrize("maximum", [1, 3])
async def test_unanswered_pings_are_counted(connect: Connect, maximum: int) -> None:
    pings: list[int] = []

    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        if client.index > 0:
            await client.serve()
        count = 0
        try:
            while True:
                await client.expect(b"PING")
                count += 1
        finally:
            pings.append(count)

    async with FakeServer(handler) as server:
        events = Events()
        nc = await connect(
            server,
            ping_interval=0.05,
            max_outstanding_pings=maximum,
            **events.callbacks,
            **EAGER,
        )
        await events.wait("reconnected")
        assert pings == [maximum]
        await nc.close()


@pytest.mark.usefixtures("driver")
async def test_answered_pings_are_not_counted(connect: Connect) -> None:
    async with FakeServer() as server:
        events = Events()
        nc = await connect(
            server, ping_interval=0.02, max_outstanding_pings=1, **events.callbacks, **EAGER
        )
        connection = server.connections[0]
        await eventually(lambda: connection.lines.count(b"PING") > 15)
        assert events.names == []
        assert nc.is_connected
        await nc.close()


@pytest.mark.usefixtures("driver")
async def test_flush_and_rtt_time_out(server: Server, connect: Connect) -> None:
    nc = await connect()
    server.pause()
    try:
        with pytest.raises(errors.FlushTimeoutError):
            await nc.flush(timeout=0.1)
        with pytest.raises(errors.TimeoutError):
            await nc.rtt(timeout=0.1)
    finally:
        server.resume()
    # The PONGs of the two that gave up must not be taken for the one of the next.
    assert await nc.rtt(timeout=5) >= 0
    await nc.flush(timeout=5)
    await eventually(lambda: nc._core.census()[3] == 0)
