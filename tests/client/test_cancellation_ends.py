"""Cancelling connect(), drain() and close(), at every point: no connection and no task stays."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import nats
import pytest
from nats import errors
from nats.embedded import Server
from support.cancelling import TIMEOUT, TURNS, assert_works, cancel_after, ended, serve
from support.fake_server import FakeConnection, FakeServer
from support.proxy import Proxy
from support.waiting import Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver", "quiet_loop")


async def greet(client: FakeConnection) -> None:
    await client.send_info()
    await client.wait_closed()


async def say_nothing(client: FakeConnection) -> None:
    await client.wait_closed()


@pytest.mark.parametrize("handler", [say_nothing, greet])
async def test_connecting_to_a_silent_server(
    server: Server, handler: Callable[[FakeConnection], Coroutine[Any, Any, None]]
) -> None:
    async with FakeServer(handler) as silent:
        tasks = asyncio.all_tasks()
        events = Events()
        for turns in [*TURNS, 50]:
            nc = nats.NATS()
            task = await cancel_after(turns, nc.connect(silent.url, **events.callbacks))
            assert task.cancelled()
            assert not nc.is_connected
            await within(nc.close())
        # The server sees its clients go: no connection is left open.
        await eventually(lambda: not silent._tasks, "all are disconnected", TIMEOUT)
        await eventually(lambda: asyncio.all_tasks() <= tasks, "no task is left", TIMEOUT)
        assert events.errors == []


async def test_connecting(server: Server) -> None:
    for turns in range(25):
        nc = nats.NATS()
        task = await cancel_after(turns, nc.connect(server.url))
        assert nc.is_connected == (not task.cancelled())
        await within(nc.close())
    nc = await nats.connect(server.url)
    await serve(nc)
    await assert_works(nc)
    await nc.close()


@pytest.mark.parametrize("stalled", [False, True], ids=["flowing", "stalled"])
async def test_draining(server: Server, stalled: bool) -> None:
    async with Proxy(server.url) as proxy:
        others = asyncio.all_tasks()
        for turns in TURNS:
            nc = await nats.connect(proxy.url)
            await serve(nc)
            await nc.subscribe("a")
            if stalled:
                proxy.stall()
            draining = asyncio.ensure_future(nc.drain())
            for _ in range(turns):
                await asyncio.sleep(0)
            # As in nats-py, drain() goes on to close when it is cancelled. Insisting ends it.
            for _ in range(10):
                draining.cancel()
                await asyncio.sleep(0)
            proxy.resume()
            await ended(draining)
            await within(nc.close())
            assert nc.is_closed
            assert not nc._subs
        await eventually(lambda: proxy.open_connections == 0, "disconnected", TIMEOUT)
        await eventually(lambda: asyncio.all_tasks() <= others, "no task is left", TIMEOUT)


async def test_cancelled_draining_goes_on_to_close(server: Server) -> None:
    """As in nats-py: the wait for the subscriptions is cut short, nothing else."""
    async with Proxy(server.url) as proxy:
        for turns in TURNS[2:]:
            events = Events()
            nc = await nats.connect(proxy.url, **events.callbacks)
            await serve(nc)
            # Until the server answers again, drain() can't get any further.
            proxy.stall()
            draining = asyncio.ensure_future(nc.drain())
            for _ in range(turns):
                await asyncio.sleep(0)
            draining.cancel()
            await asyncio.sleep(0)
            proxy.resume()
            await ended(draining)
            assert not draining.cancelled()
            assert nc.is_closed
            assert events.names == ["disconnected", "closed"]
            assert events.errors == []


@pytest.mark.parametrize("stalled", [False, True], ids=["flowing", "stalled"])
async def test_closing(server: Server, stalled: bool) -> None:
    async with Proxy(server.url) as proxy:
        others = asyncio.all_tasks()
        for turns in TURNS:
            proxy.resume()
            nc: Any = await nats.connect(proxy.url)
            await serve(nc)
            sub = await nc.subscribe("a")
            waiting = asyncio.ensure_future(sub.next_msg(TIMEOUT))
            await nc.flush()
            if stalled:
                proxy.stall()
                await nc.publish("b", bytes(1 << 20))
            await cancel_after(turns, nc.close())
            assert nc.is_closed == (turns > 0)
            await within(nc.close())
            with pytest.raises(errors.ConnectionClosedError):
                await within(waiting)
            assert nc._core.census()[:2] == (0, 0)
        proxy.resume()
        await eventually(lambda: proxy.open_connections == 0, "disconnected", TIMEOUT)
        await eventually(lambda: asyncio.all_tasks() <= others, "no task is left", TIMEOUT)
