"""``connect()`` of a client that is connected, or looks for its server: as watchdogs do."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from nats import errors
from nats.aio.client import Client
from nats.embedded import Server
from support.connecting import Connect
from support.proxy import Proxy
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")

FOREVER = {"max_reconnect_attempts": -1, **EAGER}


class Interest:
    """Subscriptions of each kind on one client, made before it connects again."""

    async def make(self, nc: Client) -> None:
        self.nc = nc
        self.handled: list[bytes] = []
        await nc.subscribe("again.cb", cb=self.handle)
        await nc.subscribe("again.request", cb=self.answer)
        self.single = await nc.subscribe("again.single")
        await self.check(b"before")

    async def handle(self, msg: Any) -> None:
        self.handled.append(msg.data)

    async def answer(self, msg: Any) -> None:
        await msg.respond(msg.data)

    async def check(self, data: bytes) -> None:
        """Each subscription gets a message, and each but once."""
        nc = self.nc
        assert nc.is_connected
        await nc.publish("again.cb", data)
        await nc.publish("again.single", data)
        assert (await nc.request("again.request", data, timeout=5)).data == data
        assert (await self.single.next_msg(timeout=5)).data == data
        await nc.flush()
        assert self.single.pending_msgs == 0
        assert self.handled[-1] == data
        assert self.handled.count(data) == 1


async def lose(server: Server, events: Events) -> None:
    await server.akill()
    await events.wait("disconnected")


async def test_while_connected(connect: Connect, server: Server) -> None:
    events = Events()
    nc = await connect(**FOREVER, **events.callbacks)
    interest = Interest()
    await interest.make(nc)
    first = nc.client_id
    tasks = len(asyncio.all_tasks())
    await within(nc.connect(server.url, **FOREVER, **events.callbacks))
    assert nc.client_id != first
    await interest.check(b"after")
    # The connection before is gone, and nobody waits for it.
    await eventually(lambda: len(asyncio.all_tasks()) == tasks)
    assert events.names == []
    await nc.close()
    assert events.names == ["disconnected", "closed"]


async def test_while_reconnecting(connect: Connect, server: Server) -> None:
    events = Events()
    nc = await connect(**FOREVER, **events.callbacks)
    interest = Interest()
    await interest.make(nc)
    tasks = len(asyncio.all_tasks())
    await lose(server, events)
    await nc.publish("again.cb", b"buffered")
    connecting = asyncio.create_task(nc.connect(server.url, **FOREVER, **events.callbacks))
    await server.astart()
    await within(connecting)
    await interest.check(b"after")
    assert interest.handled == [b"before", b"buffered", b"after"]
    await eventually(lambda: len(asyncio.all_tasks()) == tasks)
    assert events.count("reconnected") == 0


@pytest.mark.parametrize("cancelled", [False, True])
async def test_after_an_attempt_that_failed(
    connect: Connect, server: Server, cancelled: bool
) -> None:
    events = Events()
    nc = await connect(**FOREVER, **events.callbacks)
    interest = Interest()
    await interest.make(nc)
    await lose(server, events)
    if cancelled:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(nc.connect(server.url, **FOREVER, **events.callbacks), 0.1)
    else:
        few = {**FOREVER, "max_reconnect_attempts": 1, **events.callbacks}
        with pytest.raises(errors.NoServersError):
            await within(nc.connect(server.url, **few))
    assert not nc.is_connected
    assert not nc.is_closed
    await server.astart()
    await within(nc.connect(server.url, **FOREVER, **events.callbacks))
    await interest.check(b"after")
    await nc.close()
    assert nc.is_closed


async def test_in_disconnected_cb(connect: Connect, server: Server) -> None:
    again = asyncio.Event()
    nc: Client

    async def disconnected_cb() -> None:
        if not again.is_set() and not nc.is_closed:
            await nc.connect(server.url, disconnected_cb=disconnected_cb, **FOREVER)
            again.set()

    nc = await connect(disconnected_cb=disconnected_cb, **FOREVER)
    interest = Interest()
    await interest.make(nc)
    tasks = len(asyncio.all_tasks())
    await server.arestart()
    await within(again.wait())
    await interest.check(b"after")
    await eventually(lambda: len(asyncio.all_tasks()) == tasks)


async def test_in_disconnected_cb_in_vain(connect: Connect, server: Server) -> None:
    events = Events()
    failed = asyncio.Event()
    nc: Client

    async def disconnected_cb() -> None:
        if failed.is_set():
            return
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(nc.connect(server.url, **options), 0.1)
        failed.set()

    options = {**FOREVER, **events.callbacks, "disconnected_cb": disconnected_cb}
    nc = await connect(**options)
    interest = Interest()
    await interest.make(nc)
    await server.akill()
    await within(failed.wait())
    await server.astart()
    # The client goes on looking for its server by itself.
    await events.wait("reconnected")
    await interest.check(b"after")


async def test_in_disconnected_cb_amid_handshakes_that_fail(
    connect: Connect, server: Server
) -> None:
    events = Events()
    again = asyncio.Event()
    nc: Client

    async def disconnected_cb() -> None:
        if not again.is_set():
            # In a task of its own, as `wait_for` did before Python 3.12.
            await asyncio.create_task(nc.connect(proxy.url, **options))
            again.set()

    options = {**FOREVER, **events.callbacks, "disconnected_cb": disconnected_cb}
    async with Proxy(server.url) as proxy:
        nc = await connect(proxy, **options)
        interest = Interest()
        await interest.make(nc)
        proxy.cut_after = 10
        proxy.cut()
        await eventually(lambda: len(events.errors) > 3)
        proxy.cut_after = None
        await within(again.wait())
        await interest.check(b"after")
        await nc.close()


async def test_in_error_cb(connect: Connect) -> None:
    config = 'authorization { users: [{user: a, password: b, permissions: {publish: "again.>"}}] }'
    again = asyncio.Event()
    nc: Client

    async def error_cb(error: Exception) -> None:
        if "permissions violation" in str(error):
            await nc.connect(server.url, **options)
            again.set()

    options: dict[str, Any] = {**FOREVER, "user": "a", "password": "b", "error_cb": error_cb}
    with Server(config=config) as server:
        nc = await connect(server, **options)
        sub = await nc.subscribe("again.single")
        await nc.flush()
        tasks = len(asyncio.all_tasks())
        await nc.publish("forbidden")
        await within(again.wait())
        await nc.publish("again.single", b"after")
        assert (await sub.next_msg(timeout=5)).data == b"after"
        await eventually(lambda: len(asyncio.all_tasks()) == tasks)
        await nc.close()
