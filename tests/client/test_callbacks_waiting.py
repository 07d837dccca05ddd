"""Callbacks that wait for the server: what they are called for holds up no answer to them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from nats import errors
from nats.embedded import Server
from nats.micro import add_service
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.handlers import Gated
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")

# Less than the client's own limit of 10 s for a PONG.
SOON = 8.0

CALLBACKS = ["lame_duck_mode_cb", "discovered_server_cb", "error_cb"]

Action = Callable[[Any, Any], Awaitable[object]]


async def provoke(client: FakeConnection, callback: str) -> None:
    """Have the client call this callback."""
    if callback == "lame_duck_mode_cb":
        await client.send_info(ldm=True)
    elif callback == "discovered_server_cb":
        await client.send_info(connect_urls=["127.0.0.1:1"])
    else:
        await client.write(b"-ERR 'Permissions Violation for Publish to \"b\"'\r\n")


@pytest.mark.parametrize("callback", CALLBACKS)
async def test_draining_in_a_callback(connect: Connect, callback: str) -> None:
    async with FakeServer() as server:
        events = Events()
        returned = asyncio.Event()

        async def drain(*args: Any) -> None:
            await nc.drain()
            returned.set()

        nc = await connect(server, **{**events.callbacks, callback: drain}, drain_timeout=60)
        gated = Gated()
        sub = await nc.subscribe("a", cb=gated.handler)
        await within(nc.flush())
        client = server.connections[0]
        for number in range(30):
            await client.send_message("a", 1, b"%d" % number)
        await provoke(client, callback)
        await within(returned.wait(), SOON)
        await eventually(lambda: nc.is_draining, seconds=SOON)
        # The server has said that this was all, and the client waits for the handler alone.
        await eventually(lambda: client.lines[-2:] == [b"UNSUB 1", b"PING"], seconds=SOON)
        assert not nc.is_closed
        assert sub.pending_msgs > 0
        gated.go_on.set()
        await events.wait("closed", seconds=SOON)
        assert gated.handled == [b"%d" % number for number in range(30)]
        assert nc.is_closed
        assert events.errors == []
        assert events.count("closed") == 1


async def test_a_server_that_leaves_is_left_in_order(server: Server, connect: Connect) -> None:
    events = Events()

    async def drain() -> None:
        await nc.drain()

    nc = await connect(**{**events.callbacks, "lame_duck_mode_cb": drain}, drain_timeout=60)
    gated = Gated()
    await nc.subscribe("a", cb=gated.handler)
    for number in range(30):
        await nc.publish("a", b"%d" % number)
    await within(nc.flush())
    server.signal("ldm")
    await eventually(lambda: nc.is_draining)
    gated.go_on.set()
    await events.wait("closed", seconds=SOON)
    assert gated.handled == [b"%d" % number for number in range(30)]
    assert events.errors == []
    assert events.names == ["disconnected", "closed"]
    # Left alone it waits for ten seconds before it stops.
    await server.akill()


async def flush(nc: Any, sub: Any) -> None:
    await nc.flush()


async def rtt(nc: Any, sub: Any) -> None:
    assert await nc.rtt() > 0


async def drain_subscription(nc: Any, sub: Any) -> None:
    await sub.drain()
    assert sub.pending_msgs == 0
    assert list(nc._subs.values()).count(sub) == 0


async def stop_service(nc: Any, sub: Any) -> None:
    service = await add_service(nc, name="service", version="1.0.0")

    async def handler(request: Any) -> None:
        """Nobody asks."""

    await service.add_endpoint(name="endpoint", handler=handler)
    await service.stop()


ACTIONS = [flush, rtt, drain_subscription, stop_service]


class Calling:
    """A callback that does something once, in a task of its own or not, and tells when done."""

    def __init__(self, action: Action, in_a_task: bool) -> None:
        self.action = action
        self.in_a_task = in_a_task
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.nc: Any = None
        self.sub: Any = None

    async def __call__(self, *args: Any) -> None:
        try:
            doing = self.action(self.nc, self.sub)
            await (asyncio.ensure_future(doing) if self.in_a_task else doing)
        except Exception as error:
            self.done.set_exception(error)
        else:
            self.done.set_result(None)


@pytest.mark.parametrize("in_a_task", [False, True], ids=["awaited", "task"])
@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("callback", CALLBACKS)
async def test_what_a_callback_waits_for(
    connect: Connect, callback: str, action: Action, in_a_task: bool
) -> None:
    async with FakeServer() as server:
        calling = Calling(action, in_a_task)

        async def call(*args: Any) -> None:
            await calling(*args)

        calling.nc = nc = await connect(server, **{callback: call})
        gated = Gated()
        gated.go_on.set()
        calling.sub = await nc.subscribe("a", cb=gated.handler)
        await within(nc.flush())
        client = server.connections[0]
        for number in range(3):
            await client.send_message("a", 1, b"%d" % number)
        await provoke(client, callback)
        await within(calling.done, SOON)
        await eventually(lambda: gated.handled == [b"0", b"1", b"2"], seconds=SOON)
        assert nc.is_connected
        # Whatever comes next is taken up in turn.
        await within(nc.flush(), SOON)
        await within(nc.close(), SOON)


@pytest.mark.parametrize("in_a_task", [False, True], ids=["awaited", "task"])
@pytest.mark.parametrize("action", ACTIONS)
async def test_what_error_cb_waits_for_when_messages_are_dropped(
    server: Server, connect: Connect, action: Action, in_a_task: bool
) -> None:
    calling = Calling(action, in_a_task)
    seen: list[Exception] = []

    async def call(error: Exception) -> None:
        seen.append(error)
        if len(seen) == 1:
            await calling()

    calling.nc = nc = await connect(error_cb=call)
    gated = Gated()
    gated.go_on.set()
    calling.sub = await nc.subscribe("a", cb=gated.handler)
    slow = await nc.subscribe("slow", pending_msgs_limit=1)
    await nc.publish("a", b"0")
    for _ in range(4):
        await nc.publish("slow")
    await within(calling.done, SOON)
    await eventually(lambda: len(seen) == 3, seconds=SOON)
    assert {type(error) for error in seen} == {errors.SlowConsumerError}
    assert slow.pending_msgs == 1
    assert gated.handled == [b"0"]


@pytest.mark.parametrize("how", ["reconnected_cb", "disconnected_cb"])
async def test_reconnecting_waits_in_turn(connect: Connect, how: str) -> None:
    """A PONG asked for by these callbacks comes behind the events before it: they aren't part of
    the event that told of the lost connection."""
    events = Events()
    asked = asyncio.Event()
    go_on = asyncio.Event()
    order: list[str] = []

    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        if client.index == 0:
            await client.serve()
        await client.expect(b"SUB ")
        await client.expect(b"PING")
        await client.write(b"PONG\r\n")
        await asked.wait()
        await client.expect(b"PING")
        # The answer to a flush is behind an event whose callback takes its time.
        await client.write(client.info(ldm=True) + b"PONG\r\nMSG a 1 0\r\n\r\n")
        await client.serve()

    async def ask() -> None:
        asked.set()
        await nc.flush()
        order.append("flushed")

    tasks: list[asyncio.Task[None]] = []

    async def called() -> None:
        if how == "reconnected_cb":
            await ask()
        else:
            tasks.append(asyncio.ensure_future(ask_when_reconnected()))

    async def ask_when_reconnected() -> None:
        await events.wait("reconnected")
        await ask()

    async def lame_duck() -> None:
        await go_on.wait()
        order.append("lame duck")

    async with FakeServer(handler) as server:
        callbacks = {**events.callbacks, "lame_duck_mode_cb": lame_duck, how: called}
        nc = await connect(server, **callbacks, **EAGER)
        sub = await nc.subscribe("a")
        await within(nc.flush())
        server.connections[0].close()
        # It is behind the PONG, which is to wait for its turn.
        await sub.next_msg(SOON)
        await asyncio.sleep(0)
        assert order == []
        go_on.set()
        await eventually(lambda: order == ["lame duck", "flushed"], seconds=SOON)
        if tasks:
            await within(tasks[0])
        await within(nc.close())
