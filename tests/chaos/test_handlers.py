"""Handlers that block, raise, are cancelled, and end what calls them."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from nats import errors
from nats.embedded import Server
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.scripted import admit
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")

# Python 3.10 can't tell a cancelled task from one that has waited for something cancelled.
KNOWS_CANCELLATION = hasattr(asyncio.Task, "cancelling")


async def numbered(nc: Any, count: int) -> None:
    for number in range(count):
        await nc.publish("work", b"%d" % number)
    await nc.flush()


async def test_blocking_for_longer_than_pings_allow(connect: Connect) -> None:
    """The loop can't do anything meanwhile; keep-alive of the asyncio driver included."""
    with Server(config='ping_interval: "1s"\nping_max: 2\n') as server:
        events = Events()
        nc = await connect(
            server,
            ping_interval=0.2,
            max_outstanding_pings=2,
            max_reconnect_attempts=-1,
            **events.callbacks,
            **EAGER,
        )
        handled: list[bytes] = []

        async def handler(msg: Any) -> None:
            if msg.data == b"0":
                time.sleep(1.5)  # noqa: ASYNC251
            handled.append(msg.data)

        await nc.subscribe("work", cb=handler)
        await numbered(nc, 3)
        await eventually(lambda: len(handled) == 3)
        assert handled == [b"0", b"1", b"2"]
        await eventually(lambda: nc.is_connected)
        await nc.publish("work", b"3")
        await eventually(lambda: handled[-1] == b"3")
        assert events.errors == []
        assert events.names == []


async def test_waiting_holds_up_nobody_else(server: Server, connect: Connect) -> None:
    nc = await connect(ping_interval=0.1, max_outstanding_pings=2)
    release = asyncio.Event()
    stuck = await nc.subscribe("work", cb=waiting_for(release))
    others: list[bytes] = []

    async def other(msg: Any) -> None:
        others.append(msg.data)
        await msg.respond(b"done")

    await nc.subscribe("other", cb=other)
    await numbered(nc, 5)
    for _ in range(50):
        assert (await nc.request("other", b"x", timeout=5)).data == b"done"
    await asyncio.sleep(0.4)
    assert nc.is_connected
    assert stuck.pending_msgs == 4
    release.set()
    await within(stuck.drain())
    assert len(others) == 50


def waiting_for(event: asyncio.Event) -> Any:
    async def handler(msg: Any) -> None:
        await event.wait()

    return handler


async def test_raising(server: Server, connect: Connect) -> None:
    events = Events()
    nc = await connect(**events.callbacks)
    handled: list[int] = []

    async def handler(msg: Any) -> None:
        number = int(msg.data)
        if number % 2:
            await asyncio.sleep(0)
        if number % 3 == 0:
            raise ValueError(number)
        handled.append(number)

    sub = await nc.subscribe("work", cb=handler)
    await numbered(nc, 30)
    await within(sub.drain())
    assert handled == [number for number in range(30) if number % 3]
    assert [error.args for error in events.errors] == [(n,) for n in range(0, 30, 3)]


@pytest.mark.skipif(not KNOWS_CANCELLATION, reason="needs Python 3.11")
@pytest.mark.parametrize("suspended", [False, True])
async def test_something_it_waits_for_is_cancelled(
    server: Server, connect: Connect, suspended: bool
) -> None:
    events = Events()
    nc = await connect(**events.callbacks)
    handled: list[int] = []

    async def handler(msg: Any) -> None:
        if msg.data == b"1":
            waits_for = asyncio.get_running_loop().create_future()
            if suspended:
                asyncio.get_running_loop().call_soon(waits_for.cancel)
            else:
                waits_for.cancel()
            await waits_for
        handled.append(int(msg.data))

    sub = await nc.subscribe("work", cb=handler)
    await numbered(nc, 4)
    await within(sub.drain())
    assert handled == [0, 2, 3]
    [error] = events.errors
    assert isinstance(error, errors.Error)
    assert isinstance(error.__cause__, asyncio.CancelledError)


async def test_the_task_is_cancelled(server: Server, connect: Connect) -> None:
    """As when `asyncio.run` ends: a task that was cancelled has to end."""
    nc = await connect()
    started = asyncio.Event()

    async def handler(msg: Any) -> None:
        started.set()
        await asyncio.Event().wait()

    sub = await nc.subscribe("work", cb=handler)
    await numbered(nc, 2)
    await within(started.wait())
    task = sub._wait_for_msgs_task
    task.cancel()
    await within(asyncio.wait([task]))
    await within(nc.close())


@pytest.mark.parametrize("suspended", [False, True])
@pytest.mark.parametrize("action", ["unsubscribe", "drain", "nc.drain", "nc.close"])
async def test_ending_itself(
    server: Server, connect: Connect, action: str, suspended: bool
) -> None:
    events = Events()
    nc = await connect(**events.callbacks)
    handled: list[int] = []
    returned = asyncio.Event()

    async def handler(msg: Any) -> None:
        if suspended:
            await asyncio.sleep(0)
        handled.append(int(msg.data))
        if msg.data == b"1":
            target = nc if action.startswith("nc.") else sub
            await getattr(target, action.removeprefix("nc."))()
            returned.set()

    sub = await nc.subscribe("work", cb=handler)
    for number in range(5):
        await nc.publish("work", b"%d" % number)
    await within(returned.wait(), 2)
    if action.startswith("nc."):
        await events.wait("closed")
        assert events.names == ["disconnected", "closed"]
    else:
        await eventually(lambda: sub._id not in nc._subs)
        await nc.publish("work", b"5")
        await nc.flush()
        for method in (sub.drain, sub.unsubscribe):
            with pytest.raises(errors.BadSubscriptionError):
                await method()
    await within(asyncio.wait([sub._wait_for_msgs_task]))
    # What had come before a drain is handled, by this handler, after it has returned.
    assert handled == (list(range(5)) if action.endswith("drain") else [0, 1])
    assert events.errors == []


async def test_two_handlers_drain_the_client(server: Server, connect: Connect) -> None:
    events = Events()
    nc = await connect(**events.callbacks)
    handled: list[str] = []

    async def handler(msg: Any) -> None:
        await nc.drain()
        await asyncio.sleep(0.01)
        handled.append(msg.subject)

    await nc.subscribe("work", cb=handler)
    await nc.subscribe("work", cb=handler)
    await nc.publish("work")
    await events.wait("closed")
    assert handled == ["work", "work"]
    assert events.names == ["disconnected", "closed"]
    assert events.errors == []


# Drains that fail


async def deaf(client: FakeConnection) -> None:
    """Delivers three messages and then says nothing more."""
    await admit(client)
    for number in range(3):
        await client.send_message("work", 1, b"%d" % number)
    await client.wait_closed(60)


def be_hasty(nc: Any) -> None:
    """Have flushes of this client give up soon."""
    flush = nc.flush
    nc.flush = lambda timeout=0.1: flush(timeout)


async def test_drain_without_an_answer(connect: Connect) -> None:
    async with FakeServer(deaf) as server:
        nc = await connect(server)
        release = asyncio.Event()
        handled: list[bytes] = []

        async def handler(msg: Any) -> None:
            await release.wait()
            handled.append(msg.data)

        sub = await nc.subscribe("work", cb=handler)
        await nc.flush()
        be_hasty(nc)
        with pytest.raises(errors.FlushTimeoutError):
            await within(sub.drain())
        # Ended for the caller; what has come is handled all the same, and then it is gone.
        with pytest.raises(errors.BadSubscriptionError):
            await sub.drain()
        assert handled == []
        release.set()
        await eventually(lambda: not nc._subs)
        assert handled == [b"0", b"1", b"2"]
        await within(asyncio.wait([sub._wait_for_msgs_task]))
        await nc.close()


async def test_close_after_a_drain_without_an_answer(connect: Connect) -> None:
    async with FakeServer(deaf) as server:
        nc = await connect(server)
        sub = await nc.subscribe("work", cb=waiting_for(asyncio.Event()))
        await nc.flush()
        be_hasty(nc)
        with pytest.raises(errors.FlushTimeoutError):
            await within(sub.drain())
        await within(nc.close())
        await within(asyncio.wait([sub._wait_for_msgs_task, sub._ending]))


async def test_client_drain_without_an_answer_closes(connect: Connect) -> None:
    async with FakeServer(deaf) as server:
        events = Events()
        nc = await connect(server, drain_timeout=1, **events.callbacks)
        await nc.subscribe("work")
        await nc.flush()
        be_hasty(nc)
        with pytest.raises(errors.FlushTimeoutError):
            await within(nc.drain())
        assert nc.is_closed
        assert events.names == ["disconnected", "closed"]


async def test_draining_subscriptions_are_not_made_anew(server: Server, connect: Connect) -> None:
    """A new connection must not bring new messages to a subscription that drains."""
    events = Events()
    nc = await connect(max_reconnect_attempts=-1, **events.callbacks, **EAGER)
    other = await connect(max_reconnect_attempts=-1, **EAGER)
    release = asyncio.Event()
    handled: list[bytes] = []

    async def handler(msg: Any) -> None:
        await release.wait()
        handled.append(msg.data)

    sub = await nc.subscribe("work", cb=handler)
    await nc.flush()
    await nc.publish("work", b"before")
    await nc.flush()
    draining = asyncio.ensure_future(sub.drain())
    await nc.flush()
    await server.arestart()
    await events.wait("reconnected")
    await eventually(lambda: other.is_connected)
    await other.publish("work", b"after")
    await other.flush()
    await nc.flush()
    release.set()
    await within(draining)
    assert handled == [b"before"]
    assert not nc._subs
