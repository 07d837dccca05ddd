"""Ending subscriptions: at once, after a number of messages, and from inside the handler."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from nats import errors
from support.connecting import Connect

pytestmark = pytest.mark.usefixtures("driver")

TIMEOUT = 30.0


async def publish(nc: Any, count: int, start: int = 0) -> None:
    for number in range(start, start + count):
        await nc.publish("data", b"%d" % number)
    await nc.flush()


async def iterate(sub: Any) -> list[int]:
    async def collect() -> list[int]:
        return [int(msg.data) async for msg in sub.messages]

    return await asyncio.wait_for(collect(), TIMEOUT)


async def wait_length(got: list[int], length: int) -> None:
    for _ in range(1000):
        if len(got) >= length:
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"{len(got)} messages instead of {length}")


async def test_nothing_is_received_afterwards(connect: Connect) -> None:
    nc = await connect()
    sub = await nc.subscribe("data")
    await sub.unsubscribe()
    assert len(nc._subs) == 0
    await publish(nc, 3)
    assert (sub.pending_msgs, sub.delivered) == (0, 0)
    assert nc.stats["in_msgs"] == 0


async def test_the_rest_can_be_iterated(connect: Connect) -> None:
    nc = await connect()
    sub = await nc.subscribe("data")
    await publish(nc, 3)
    await sub.unsubscribe()
    await publish(nc, 3, start=3)
    assert sub.pending_msgs == 3
    assert await iterate(sub) == [0, 1, 2]
    assert await iterate(sub) == []


async def test_the_rest_can_be_had_by_next_msg(connect: Connect) -> None:
    nc = await connect()
    sub = await nc.subscribe("data")
    await publish(nc, 2)
    await sub.unsubscribe()
    assert [(await sub.next_msg(TIMEOUT)).data for _ in range(2)] == [b"0", b"1"]
    with pytest.raises(errors.TimeoutError):
        await sub.next_msg(0.01)


async def test_a_waiting_iterator_ends(connect: Connect) -> None:
    nc = await connect()
    sub = await nc.subscribe("data")
    iterating = [asyncio.ensure_future(iterate(sub)) for _ in range(2)]
    await nc.flush()
    await sub.unsubscribe()
    assert await asyncio.wait_for(asyncio.gather(*iterating), TIMEOUT) == [[], []]


@pytest.mark.parametrize("limit", [0, 5])
async def test_a_second_time(connect: Connect, limit: int) -> None:
    nc = await connect()
    sub = await nc.subscribe("data")
    await sub.unsubscribe()
    for action in (sub.unsubscribe(limit), sub.drain()):
        with pytest.raises(errors.BadSubscriptionError):
            await action


async def test_after_close(connect: Connect) -> None:
    nc = await connect()
    sub = await nc.subscribe("data")
    await nc.close()
    for action in (sub.unsubscribe(), sub.drain(), sub.next_msg()):
        with pytest.raises(errors.ConnectionClosedError):
            await action


@pytest.mark.parametrize("kind", ["handler", "iterator"])
@pytest.mark.parametrize("before", [0, 2])
async def test_limit_above_what_was_received(connect: Connect, kind: str, before: int) -> None:
    nc, sender = await connect(), await connect()
    got: list[int] = []

    async def handler(msg: Any) -> None:
        got.append(int(msg.data))

    sub = await nc.subscribe("data", cb=handler if kind == "handler" else None)
    await nc.flush()
    await publish(sender, before)
    await nc.flush()
    await sub.unsubscribe(limit=5)
    await nc.flush()
    assert sub._id in nc._subs
    await publish(sender, 10, start=before)
    await nc.flush()
    assert sub.delivered == 5, "the limit counts from the start"
    assert nc.stats["in_msgs"] == 5, "the server stops by itself"
    if kind == "iterator":
        got = await iterate(sub)
    await wait_length(got, 5)
    assert got == list(range(5))
    assert sub._id not in nc._subs


@pytest.mark.parametrize("limit", [3, 5])
async def test_limit_not_above_what_is_pending(connect: Connect, limit: int) -> None:
    nc = await connect()
    sub = await nc.subscribe("data")
    await publish(nc, 5)
    await sub.unsubscribe(limit=limit)
    await publish(nc, 3, start=5)
    # What was received before stays, and no more comes.
    assert sub.delivered == 5
    assert await iterate(sub) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("limit", [3, 5])
async def test_limit_not_above_what_was_handled(connect: Connect, limit: int) -> None:
    nc = await connect()
    sub = await nc.subscribe("data")
    await publish(nc, 5)
    for _ in range(5):
        await sub.next_msg(TIMEOUT)
    await sub.unsubscribe(limit=limit)
    assert sub._id not in nc._subs
    assert await iterate(sub) == []
    with pytest.raises(errors.BadSubscriptionError):
        await sub.unsubscribe()


async def test_limit_can_be_changed(connect: Connect) -> None:
    nc, sender = await connect(), await connect()
    sub = await nc.subscribe("data")
    await sub.unsubscribe(limit=100)
    await sub.unsubscribe(limit=2)
    await nc.flush()
    await publish(sender, 5)
    await nc.flush()
    assert await iterate(sub) == [0, 1]


async def test_limit_ends_an_iterator_that_waits(connect: Connect) -> None:
    nc = await connect()
    sub = await nc.subscribe("data")
    iterating = asyncio.ensure_future(iterate(sub))
    await nc.flush()
    await sub.unsubscribe(limit=2)
    await publish(nc, 1)
    assert not iterating.done()
    await publish(nc, 3, start=1)
    assert await asyncio.wait_for(iterating, TIMEOUT) == [0, 1]


async def test_at_once_from_inside_the_handler(connect: Connect) -> None:
    nc = await connect()
    got: list[int] = []
    finished = asyncio.Event()

    async def handler(msg: Any) -> None:
        got.append(int(msg.data))
        if msg.data == b"2":
            await sub.unsubscribe()
            # The handler itself is not cut short by that.
            await nc.flush()
            finished.set()

    sub = await nc.subscribe("data", cb=handler)
    await publish(nc, 10)
    await asyncio.wait_for(finished.wait(), TIMEOUT)
    await publish(nc, 5)
    assert got == [0, 1, 2]
    assert len(nc._subs) == 0


async def test_with_limit_from_inside_the_handler(connect: Connect) -> None:
    nc, sender = await connect(), await connect()
    got: list[int] = []

    async def handler(msg: Any) -> None:
        if not got:
            await sub.unsubscribe(limit=4)
            await nc.flush()
        got.append(int(msg.data))

    sub = await nc.subscribe("data", cb=handler)
    await nc.flush()
    await publish(sender, 1)
    await wait_length(got, 1)
    await publish(sender, 9, start=1)
    await nc.flush()
    await wait_length(got, 4)
    assert got == [0, 1, 2, 3]


async def test_from_another_task_while_the_handler_runs(connect: Connect) -> None:
    nc = await connect()
    started = asyncio.Event()
    ended: list[str] = []

    async def handler(msg: Any) -> None:
        started.set()
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    sub = await nc.subscribe("data", cb=handler)
    await publish(nc, 3)
    await asyncio.wait_for(started.wait(), TIMEOUT)
    await sub.unsubscribe()
    await nc.flush()
    # As in nats-py: the handler's task is cancelled and what was pending is discarded.
    assert ended == ["cancelled"]
    assert sub._wait_for_msgs_task.done()


async def test_resubscribe(connect: Connect) -> None:
    nc = await connect()
    ids = set()
    for _ in range(5):
        sub = await nc.subscribe("data", queue="q")
        await publish(nc, 2)
        assert sub.pending_msgs == 2
        await sub.unsubscribe()
        ids.add(sub._id)
    assert len(ids) == 5, "an id is never used again"
    again = await nc.subscribe("data")
    await publish(nc, 1)
    assert again.pending_msgs == 1
    assert len(nc._subs) == 1


async def test_many_subscriptions_leave_nothing_behind(connect: Connect) -> None:
    nc = await connect()
    subs = [await nc.subscribe(f"data.{number}") for number in range(500)]
    for sub in subs:
        await sub.unsubscribe()
    await nc.flush()
    assert len(nc._subs) == 0
    del sub, subs
    # A subscription and its iterator know each other.
    gc.collect()
    assert nc._core.census() == (0, 0, 0, 0)
