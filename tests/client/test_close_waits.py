"""`close()` ends at once whatever waits for something that can't come any more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from nats import errors
from nats.aio.client import Client
from nats.embedded import Server
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.handlers import Own
from support.waiting import EAGER, eventually, within

pytestmark = pytest.mark.usefixtures("driver")

LONG = 60
SOON = 20.0


async def next_msg(nc: Any, timeout: float | None = LONG) -> Any:
    return await (await nc.subscribe("a")).next_msg(timeout)


async def next_msg_when_complete(nc: Any) -> Any:
    sub = await nc.subscribe("one", max_msgs=1)
    await nc.publish("one")
    await sub.next_msg(5)
    return await sub.next_msg(LONG)


async def next_msg_when_unsubscribed(nc: Any) -> Any:
    sub = await nc.subscribe("a")
    await sub.unsubscribe()
    return await sub.next_msg(LONG)


async def fetch(nc: Any, batch: int) -> Any:
    sub = await nc.jetstream().pull_subscribe("s", "d", stream="S")
    return await sub.fetch(batch, timeout=LONG)


async def publish_async(nc: Any) -> Any:
    return await (await nc.jetstream(timeout=LONG).publish_async("silent"))


async def key_value(nc: Any, call: Callable[[Any], Awaitable[Any]]) -> Any:
    from nats.js.kv import KeyValue

    js = nc.jetstream(prefix="silent", timeout=LONG)
    return await call(KeyValue(name="B", stream="KV_B", pre="silent.", js=js, direct=True))


WAITS: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "request": lambda nc: nc.request("silent", timeout=LONG),
    "request without a timeout": lambda nc: nc.request("silent", timeout=None),
    "old style": lambda nc: nc.request("silent", timeout=LONG, old_style=True),
    "old style without a timeout": lambda nc: nc.request("silent", timeout=None, old_style=True),
    "next_msg": next_msg,
    "next_msg without a timeout": lambda nc: next_msg(nc, None),
    "next_msg when complete": next_msg_when_complete,
    "next_msg when unsubscribed": next_msg_when_unsubscribed,
    "fetch(1)": lambda nc: fetch(nc, 1),
    "fetch(2)": lambda nc: fetch(nc, 2),
    "js.publish": lambda nc: nc.jetstream().publish("silent", timeout=LONG),
    "publish_async": publish_async,
    "stream_info": lambda nc: nc.jetstream(prefix="silent", timeout=LONG).stream_info("S"),
    "kv.get": lambda nc: key_value(nc, lambda kv: kv.get("k")),
    "kv.put": lambda nc: key_value(nc, lambda kv: kv.put("k", b"x")),
    "kv.delete": lambda nc: key_value(nc, lambda kv: kv.delete("k")),
}


@pytest.mark.parametrize("kind", ["native", "own"])
@pytest.mark.parametrize("name", WAITS)
async def test_answers_that_nobody_gives(js_server: Server, name: str, kind: str) -> None:
    nc = Client() if kind == "native" else Own()
    other = Client()
    await nc.connect(js_server.url)
    await other.connect(js_server.url)
    # Or there would be no responders.
    await other.subscribe("silent")
    await other.subscribe("silent.>")
    await other.flush()
    await nc.jetstream().add_stream(name="S", subjects=["s"], storage="memory")
    waiting = asyncio.ensure_future(WAITS[name](nc))
    # Until the call has sent what it sends, and waits.
    for _ in range(3):
        await within(nc.flush())
        await asyncio.sleep(0.01)
    assert not waiting.done()
    start = time.monotonic()
    await within(nc.close())
    with pytest.raises(errors.ConnectionClosedError):
        await within(waiting)
    assert time.monotonic() - start < SOON
    core: Any = nc._core
    assert core.census() == (0, 0, core.census()[2], 0)
    await other.close()


async def test_pings_that_nobody_answers(connect: Connect) -> None:
    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        await client.wait_closed()

    async with FakeServer(handler) as server:
        nc = await connect(server)
        sub = await nc.subscribe("a")
        calls = (nc.flush(LONG), nc.rtt(LONG), nc.flush(LONG))
        waiting = [asyncio.ensure_future(call) for call in calls]
        draining = asyncio.ensure_future(sub.drain())
        await asyncio.sleep(0.01)
        await within(nc.close())
        for each in waiting:
            with pytest.raises(errors.ConnectionClosedError):
                await within(each)
        # That one has come to its end.
        await within(draining)


async def test_while_pending_output_leaves(connect: Connect) -> None:
    """Closing itself may take its time, where the server doesn't read."""

    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        await client.expect(b"SUB ")
        await go_on.wait()

    go_on = asyncio.Event()
    async with FakeServer(handler) as server:
        nc = await connect(server, pending_size=1 << 30)
        calls = (nc.request("a", timeout=LONG), nc.request("a", timeout=LONG, old_style=True))
        waiting = [asyncio.ensure_future(call) for call in calls]
        await eventually(lambda: len(nc._subs) == 2)
        for _ in range(64):
            await nc.publish("a", bytes(1 << 20))
        closing = asyncio.ensure_future(nc.close())
        await asyncio.wait(waiting, timeout=LONG)
        assert not closing.done()
        for each in waiting:
            with pytest.raises(errors.ConnectionClosedError):
                await each
        await within(closing)
        go_on.set()


@pytest.mark.parametrize("name", ["request", "old style", "next_msg", "js.publish"])
async def test_while_there_is_no_connection(connect: Connect, name: str) -> None:
    async with FakeServer() as server:
        nc = await connect(server, max_reconnect_attempts=-1, **EAGER)
    # The server is gone, for good.
    await eventually(lambda: nc.is_reconnecting)
    waiting = asyncio.ensure_future(WAITS[name](nc))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    await within(nc.close())
    with pytest.raises(errors.ConnectionClosedError):
        await within(waiting)


async def test_rtt_while_there_is_no_connection(connect: Connect) -> None:
    """Nobody is asked, so nobody answers."""
    async with FakeServer() as server:
        nc = await connect(server, max_reconnect_attempts=-1, **EAGER)
    await eventually(lambda: nc.is_reconnecting)
    with pytest.raises(errors.TimeoutError):
        await within(nc.rtt(LONG))


@pytest.mark.parametrize("old_style", [False, True])
async def test_a_client_that_drains(connect: Connect, server: Server, old_style: bool) -> None:
    nc, other = await connect(), await connect()
    await other.subscribe("silent")
    await within(other.flush())
    waiting = asyncio.ensure_future(nc.request("silent", timeout=LONG, old_style=old_style))
    await within(nc.flush())
    await within(nc.drain())
    with pytest.raises(errors.ConnectionClosedError):
        await within(waiting)
