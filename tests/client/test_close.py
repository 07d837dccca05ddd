"""Closing in every state, from everywhere, and what becomes of those who wait."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from nats import errors
from nats.aio.client import Client
from nats.embedded import Server
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.handlers import ignore
from support.proxy import Proxy
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")


async def assert_unusable(nc: Any) -> None:
    """What a closed client says to every call."""
    assert (nc.is_closed, nc.is_connected, nc.is_reconnecting) == (True, False, False)
    for call in (
        nc.publish("a"),
        nc.subscribe("a"),
        nc.request("a", timeout=1),
        nc.flush(),
        nc.rtt(),
        nc.drain(),
    ):
        with pytest.raises(errors.ConnectionClosedError):
            await within(call, 5)


async def test_close_while_connected(server: Server, connect: Connect) -> None:
    events = Events()
    nc = await connect(**events.callbacks)
    sub = await nc.subscribe("a")
    await within(nc.close())
    assert events.names == ["disconnected", "closed"]
    assert events.errors == []
    await assert_unusable(nc)
    for call in (sub.next_msg(), sub.unsubscribe(), sub.drain()):
        with pytest.raises(errors.ConnectionClosedError):
            await within(call, 5)
    assert nc.connected_url is None
    assert nc.client_id is None


async def test_close_twice(server: Server, connect: Connect) -> None:
    events = Events()
    nc = await connect(**events.callbacks)
    await within(nc.close())
    await within(nc.close())
    await within(asyncio.gather(nc.close(), nc.close()))
    assert events.names == ["disconnected", "closed"]


async def test_close_at_the_same_time(server: Server, connect: Connect) -> None:
    events = Events()
    nc = await connect(**events.callbacks)
    await within(asyncio.gather(nc.close(), nc.close(), nc.close()))
    assert events.names == ["disconnected", "closed"]


async def test_close_before_connecting() -> None:
    nc = Client()
    await within(nc.close())
    assert nc.is_closed


async def test_close_while_connecting() -> None:
    async def silent(client: FakeConnection) -> None:
        await client.wait_closed()

    async with FakeServer(silent) as server:
        nc = Client()
        events = Events()
        connecting = asyncio.create_task(
            nc.connect(server.url, **{**events.callbacks, **EAGER, "connect_timeout": 0.5})
        )
        await server.wait_connections(1)
        await within(nc.close())
        done, _ = await asyncio.wait([connecting], timeout=2)
        connecting.cancel()
        await asyncio.wait([connecting], timeout=5)
        assert done, "connect() goes on trying after close()"
        assert connecting.exception() is not None
        assert nc.is_closed
        # No internal errors, and no further attempts.
        assert not [error for error in events.errors if isinstance(error, RuntimeError)]
        assert len(server.connections) == 1


async def test_close_while_reconnecting(server: Server, connect: Connect) -> None:
    events = Events()
    nc = await connect(max_reconnect_attempts=-1, **events.callbacks, **EAGER)
    sub = await nc.subscribe("a")
    await server.akill()
    await events.wait("disconnected")
    await nc.publish("a", b"never sent")
    waiting = asyncio.create_task(sub.next_msg(timeout=20))
    await asyncio.sleep(0.1)
    await within(nc.close(), 5)
    assert events.names == ["disconnected", "disconnected", "closed"]
    with pytest.raises(errors.ConnectionClosedError):
        await within(waiting)
    await assert_unusable(nc)
    await server.astart()
    await asyncio.sleep(0.2)
    assert events.count("reconnected") == 0


async def test_close_in_the_wait_between_attempts(server: Server, connect: Connect) -> None:
    events = Events()
    nc = await connect(reconnect_time_wait=30, **events.callbacks)
    await server.akill()
    # The last attempt was the successful one just now: the next is half a minute away.
    await events.wait("disconnected")
    await within(nc.close(), 5)
    assert events.count("closed") == 1


async def test_close_while_draining(server: Server, connect: Connect) -> None:
    events = Events()
    nc = await connect(**events.callbacks)
    stuck = asyncio.Event()

    async def handler(msg: Any) -> None:
        stuck.set()
        await asyncio.sleep(60)

    await nc.subscribe("a", cb=handler)
    await nc.publish("a")
    await within(stuck.wait())
    draining = asyncio.create_task(nc.drain())
    await eventually(lambda: nc.is_draining)
    await within(nc.close())
    assert nc.is_closed
    # Long before `drain_timeout`.
    await within(draining, 5)
    assert events.names == ["disconnected", "closed"]
    assert events.errors == []
    assert nc.is_closed


@pytest.mark.parametrize("how", ["handler", "reconnected", "disconnected", "error"])
async def test_close_from_inside(server: Server, connect: Connect, how: str) -> None:
    events = Events()
    callbacks = events.callbacks

    async def close(*args: Any) -> None:
        if not nc.is_closed:
            await nc.close()
            events.names.append("returned")

    if how != "handler":
        callbacks[f"{how}_cb"] = close
    nc = await connect(max_reconnect_attempts=-1, **callbacks, **EAGER)
    if how == "handler":
        await nc.subscribe("a", cb=close)
        await nc.publish("a")
    else:
        await server.arestart()
    await events.wait("closed")
    await events.wait("returned")
    assert nc.is_closed
    assert events.count("closed") == 1
    await asyncio.sleep(0.1)
    assert nc.is_closed


async def test_callbacks_at_closing_may_use_the_client(server: Server, connect: Connect) -> None:
    seen: list[str] = []

    async def closed() -> None:
        with pytest.raises(errors.ConnectionClosedError):
            await nc.publish("a")
        await nc.close()
        seen.append("closed")

    nc = await connect(closed_cb=closed)
    await within(nc.close())
    assert seen == ["closed"]


async def test_waiting_consumers_end(server: Server, connect: Connect) -> None:
    nc = await connect()
    ended: list[str] = []

    async def iterate(sub: Any) -> None:
        async for _ in sub.messages:
            pass
        ended.append("iterator")

    sub = await nc.subscribe("a")
    other = await nc.subscribe("b")
    tasks = [
        asyncio.create_task(iterate(sub)),
        asyncio.create_task(other.next_msg(timeout=None)),
        asyncio.create_task(other.next_msg(timeout=60)),
    ]
    await asyncio.sleep(0.05)
    await within(nc.close())
    results = await within(asyncio.gather(*tasks, return_exceptions=True), 5)
    assert ended == ["iterator"]
    assert [type(result) for result in results[1:]] == [errors.ConnectionClosedError] * 2
    assert nc._core.census()[:2] == (0, 0)


async def test_running_handler_is_cancelled(server: Server, connect: Connect) -> None:
    nc = await connect()
    outcome: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    started = asyncio.Event()

    async def handler(msg: Any) -> None:
        started.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            outcome.set_result("cancelled")
            raise

    await nc.subscribe("a", cb=handler)
    await nc.publish("a")
    await within(started.wait())
    await within(nc.close())
    assert await within(outcome, 5) == "cancelled"


async def test_waiting_requests_flushes_and_rtts_end(server: Server, connect: Connect) -> None:
    nc = await connect()
    await nc.subscribe("silence", cb=ignore)
    await nc.flush()
    server.pause()
    tasks = [
        asyncio.create_task(nc.request("silence", timeout=1)),
        asyncio.create_task(nc.flush(timeout=1)),
        asyncio.create_task(nc.rtt(timeout=1)),
    ]
    await asyncio.sleep(0.05)
    try:
        await within(nc.close())
    finally:
        server.resume()
    results = await within(asyncio.gather(*tasks, return_exceptions=True), 5)
    assert all(
        isinstance(each, errors.ConnectionClosedError | errors.TimeoutError) for each in results
    ), results
    assert nc._core.census()[:2] == (0, 0)


@pytest.mark.parametrize("size", [10, 100_000])
async def test_unsent_output_is_sent(server: Server, connect: Connect, size: int) -> None:
    listener = await connect()
    sub = await listener.subscribe("last.words")
    await listener.flush()
    nc = await connect()
    for number in range(30):
        await nc.publish("last.words", b"%d " % number + b"x" * size)
    # No flush, and no turn of the loop in which the output would have left by itself.
    await within(nc.close())
    datas = [(await sub.next_msg(timeout=5)).data for _ in range(30)]
    assert [int(data.split()[0]) for data in datas] == list(range(30))


async def test_stalled_peer_does_not_hold_up_closing(server: Server, connect: Connect) -> None:
    events = Events()
    async with Proxy(server.url) as proxy:
        nc = await connect(proxy, pending_size=1 << 30, **events.callbacks)
        proxy.stall()
        for _ in range(64):
            await nc.publish("a", bytes(1 << 19))
        await within(nc.close(), 30)
        assert events.names == ["disconnected", "closed"]
        # The proxy notices once it reads again.
        proxy.resume()
        await eventually(lambda: proxy.open_connections == 0)


async def test_publisher_waiting_for_room_is_let_go(server: Server, connect: Connect) -> None:
    async with Proxy(server.url) as proxy:
        nc = await connect(proxy, pending_size=1 << 20)
        proxy.stall()

        async def publish() -> None:
            while True:
                await nc.publish("a", bytes(1 << 19))

        publishing = asyncio.create_task(publish())
        # The socket may still take a part after the publisher has begun to wait.
        await eventually(lambda: nc.pending_data_size > 1 << 19)
        await within(nc.close())
        with pytest.raises(errors.ConnectionClosedError):
            await within(publishing, 5)


async def test_callbacks_in_order(server: Server, connect: Connect) -> None:
    events = Events()
    nc = await connect(max_reconnect_attempts=-1, **events.callbacks, **EAGER)
    await server.arestart()
    await events.wait("reconnected")
    await within(nc.drain())
    assert events.names == ["disconnected", "reconnected", "disconnected", "closed"]


async def test_server_sees_an_orderly_end(connect: Connect) -> None:
    ended = asyncio.Event()

    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        # An RST would raise ConnectionResetError here.
        while await client.reader.read(65536):
            pass
        ended.set()

    async with FakeServer(handler) as server:
        nc = await connect(server)
        await nc.publish("a", b"b")
        await within(nc.close())
        await within(ended.wait(), 5)
