"""A client drains once, whoever asks for it, and stays with that until it is closed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from nats import errors
from nats.embedded import Server
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.handlers import Gated
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")

# Less than the client's own limit of 10 s for a PONG.
SOON = 8.0


@pytest.mark.parametrize("caller", ["tasks", "handlers"])
async def test_two_at_once(connect: Connect, caller: str) -> None:
    """Both ask in the same turn of the loop, before anything else has run."""
    connections: list[FakeConnection] = []

    async def handler(client: FakeConnection) -> None:
        connections.append(client)
        await client.handshake()
        for _ in range(2):
            await client.expect(b"SUB ")
        if caller == "handlers":
            await client.write(b"MSG work 1 0\r\n\r\nMSG work 2 0\r\n\r\n")
        await client.serve()

    async with FakeServer(handler) as server:
        events = Events()
        nc = await connect(server, **events.callbacks)

        async def handle(msg: Any) -> None:
            await nc.drain()

        for _ in range(2):
            await nc.subscribe("work", cb=handle)
        if caller == "tasks":
            await within(asyncio.gather(nc.drain(), nc.drain()))
        await events.wait("closed")
        said = connections[0].lines
        assert [line for line in said if line.startswith(b"UNSUB")] == [b"UNSUB 1", b"UNSUB 2"]
        # One of the handshake, one behind each UNSUB, and one behind what handlers publish.
        assert said.count(b"PING") == 4
        assert events.errors == []
        assert events.names == ["disconnected", "closed"]


async def test_begins_at_once(server: Server, connect: Connect) -> None:
    """Whatever runs next finds a client that drains."""
    nc = await connect()
    gated = Gated()
    sub = await nc.subscribe("data", cb=gated.handler)
    draining = asyncio.ensure_future(nc.drain())
    asyncio.get_running_loop().call_soon(lambda: seen.append(nc.is_draining))
    seen: list[bool] = []
    await eventually(lambda: seen)
    assert seen == [True]
    assert sub._draining
    gated.go_on.set()
    await within(draining)


async def test_again_after_a_reconnect(server: Server, connect: Connect) -> None:
    """The next connection doesn't make the client forget what it was at."""
    events = Events()
    nc = await connect(max_reconnect_attempts=-1, drain_timeout=60, **events.callbacks, **EAGER)
    gated = Gated()
    await nc.subscribe("data", cb=gated.handler)
    await nc.publish("data", b"x")
    await within(nc.flush())
    draining = asyncio.ensure_future(nc.drain())
    await eventually(lambda: nc.is_draining)
    await server.akill()
    await events.wait("disconnected")
    # Not an error while there is no connection, either.
    await within(nc.drain(), SOON)
    await server.astart()
    await events.wait("reconnected")
    assert nc.is_draining
    with pytest.raises(errors.ConnectionDrainingError):
        await nc.subscribe("other")
    await within(nc.drain(), SOON)
    assert not draining.done()
    assert not nc.is_closed
    gated.go_on.set()
    await within(draining)
    assert gated.handled == [b"x"]
    assert nc.is_closed
    assert events.count("closed") == 1


@pytest.mark.parametrize("how", ["closed", "lost"])
async def test_the_end_while_the_last_pong_is_awaited(connect: Connect, how: str) -> None:
    """Of a drain's flush the caller has never heard, so it isn't told that it has failed."""
    asked = asyncio.Event()
    again: list[bytes] = []

    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        if client.index == 0:
            await client.expect(b"PING")
            asked.set()
            await client.wait_closed()
            return
        # Of the reconnect, and that of the drain.
        for _ in range(2):
            again.append(await client.expect(b"PING"))
            await client.write(b"PONG\r\n")
        await client.serve()

    async with FakeServer(handler) as server:
        events = Events()
        nc = await connect(server, drain_timeout=60, **events.callbacks, **EAGER)
        draining = asyncio.ensure_future(nc.drain())
        await within(asked.wait())
        assert nc.is_draining_pubs
        if how == "closed":
            await within(nc.close())
        else:
            server.connections[0].abort()
        await within(draining, SOON)
        assert nc.is_closed
        assert len(again) == (0 if how == "closed" else 2)
        assert events.count("closed") == 1
        assert errors.FlushTimeoutError not in map(type, events.errors)
