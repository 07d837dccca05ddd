"""The connection is lost while something waits for what the server says last."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from nats import errors
from nats.aio.client import Client
from nats.embedded import Server
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.handlers import Gated
from support.scripted import admit
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")

# Less than the client's own limit of 10 s for a PONG.
SOON = 8.0

MESSAGES = [b"%d" % number for number in range(30)]

Drain = Callable[[Any, Any], Awaitable[None]]


async def drain_client(nc: Any, sub: Any) -> None:
    await nc.drain()


async def drain_subscription(nc: Any, sub: Any) -> None:
    await sub.drain()


class Silent:
    """Sends messages to a subscriber; of what it is asked then it hears, and says no more."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def __call__(self, client: FakeConnection) -> None:
        if client.index == 0:
            await admit(client)
            for payload in MESSAGES:
                await client.send_message("data", 1, payload)
            await client.expect(b"UNSUB 1")
            await client.expect(b"PING")
            self.asked.set()
            await client.wait_closed()
            return
        await client.handshake()
        await client.serve()


@pytest.mark.parametrize("drain", [drain_client, drain_subscription])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_what_was_received_is_handled(connect: Connect, drain: Drain, when: str) -> None:
    """Handlers begin before or after the next server is there."""
    script = Silent()
    async with FakeServer(script) as server:
        events = Events()
        nc = await connect(server, drain_timeout=60, **events.callbacks, **EAGER)
        gated = Gated()
        sub = await nc.subscribe("data", cb=gated.handler)
        await within(nc.flush())
        await eventually(lambda: sub.pending_msgs >= len(MESSAGES) - 1)
        draining = asyncio.ensure_future(drain(nc, sub))
        await within(script.asked.wait())
        if when == "before":
            gated.go_on.set()
            await eventually(lambda: len(gated.handled) == len(MESSAGES))
            assert not draining.done(), "more could come"
        server.connections[0].abort()
        if when == "after":
            await events.wait("reconnected", seconds=SOON)
            assert not draining.done()
            assert gated.handled == []
            gated.go_on.set()
        await within(draining, SOON)
        assert gated.handled == MESSAGES
        assert not {errors.DrainTimeoutError, errors.FlushTimeoutError} & set(
            map(type, events.errors)
        )
        assert len(nc._subs) == 0
        assert nc.is_closed == (drain is drain_client)
        # Which of the next server's words are heard is nobody's concern then.
        if drain is drain_subscription:
            await events.wait("reconnected", seconds=SOON)
            await within(nc.flush(), SOON)
            assert [line for line in server.connections[1].lines if b"SUB" in line] == []
        else:
            assert events.count("closed") == 1


async def test_a_server_that_is_restarted_while_a_client_drains(
    server: Server, connect: Connect
) -> None:
    events = Events()
    nc = await connect(max_reconnect_attempts=-1, drain_timeout=60, **events.callbacks, **EAGER)
    gated = Gated()
    await nc.subscribe("data", cb=gated.handler)
    for payload in MESSAGES:
        await nc.publish("data", payload)
    await within(nc.flush())
    server.pause()
    draining = asyncio.ensure_future(nc.drain())
    await eventually(lambda: nc.is_draining)
    await server.akill()
    await events.wait("disconnected")
    await server.astart()
    await events.wait("reconnected")
    assert not draining.done()
    gated.go_on.set()
    await within(draining, SOON)
    assert gated.handled == MESSAGES
    assert errors.DrainTimeoutError not in map(type, events.errors)
    assert nc.is_closed


async def test_a_server_that_does_not_answer_a_drain(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def handler(client: FakeConnection) -> None:
        await admit(client)
        for payload in MESSAGES:
            await client.send_message("data", 1, payload)
        await client.expect(b"UNSUB 1")
        await client.expect(b"PING")
        # That of the end, when everything is handled.
        await client.expect(b"PING")
        await client.write(b"PONG\r\nPONG\r\n")
        await client.serve()

    monkeypatch.setattr(Client.flush, "__defaults__", (0.2,))
    async with FakeServer(handler) as server:
        events = Events()
        nc = await connect(server, drain_timeout=60, **events.callbacks)
        gated = Gated()
        await nc.subscribe("data", cb=gated.handler)
        await within(nc.flush(5))
        draining = asyncio.ensure_future(nc.drain())
        await events.wait_error(errors.FlushTimeoutError)
        monkeypatch.setattr(Client.flush, "__defaults__", (10,))
        gated.go_on.set()
        await within(draining, SOON)
        assert gated.handled == MESSAGES
        assert [type(error) for error in events.errors] == [errors.FlushTimeoutError]
        assert nc.is_closed


@pytest.mark.parametrize("how", ["lost", "given up", "closed"])
async def test_who_waits_for_a_pong_is_told_at_once(connect: Connect, how: str) -> None:
    pinged = asyncio.Event()

    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        if client.index == 0:
            for _ in range(3):
                await client.expect(b"PING")
            pinged.set()
            await client.wait_closed()
            return
        await client.serve()

    async with FakeServer(handler) as server:
        events = Events()
        nc = await connect(server, **events.callbacks, **EAGER)
        waiting = [
            asyncio.ensure_future(wait(timeout=3600)) for wait in (nc.flush, nc.rtt, nc.flush)
        ]
        await within(pinged.wait())
        assert not any(task.done() for task in waiting)
        if how == "lost":
            server.connections[0].abort()
        elif how == "given up":
            await nc.force_reconnect()
        else:
            await within(nc.close())
        results = await within(asyncio.gather(*waiting, return_exceptions=True), SOON)
        if how == "closed":
            told: tuple[type[Exception], ...] = (errors.ConnectionClosedError,) * 3
        else:
            told = (errors.FlushTimeoutError, errors.TimeoutError, errors.FlushTimeoutError)
        assert tuple(map(type, results)) == told
        if how != "closed":
            await events.wait("reconnected", seconds=SOON)
            await within(nc.flush(), SOON)
            assert await within(nc.rtt(), SOON) > 0
        assert nc._core.census()[3] == 0


@pytest.mark.parametrize("messages", [0, len(MESSAGES)])
async def test_draining_and_closing_at_the_same_time(
    server: Server, connect: Connect, messages: int
) -> None:
    events = Events()
    nc = await connect(drain_timeout=60, **events.callbacks)
    gated = Gated()
    await nc.subscribe("data", cb=gated.handler)
    for payload in MESSAGES[:messages]:
        await nc.publish("data", payload)
    await within(nc.flush())
    assert list(await within(asyncio.gather(nc.drain(), nc.close()), SOON)) == [None, None]
    assert nc.is_closed
    assert not nc.is_draining
    assert events.names == ["disconnected", "closed"]
    assert events.errors == []
    with pytest.raises(errors.ConnectionClosedError):
        await nc.publish("data")
