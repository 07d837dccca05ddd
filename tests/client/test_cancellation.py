"""Cancelling whatever can be awaited, at every point: nothing is lost and nothing stays behind."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from nats import errors
from nats.embedded import Server
from support.cancelling import (
    TIMEOUT,
    TURNS,
    assert_works,
    cancel_after,
    ended,
    nothing_stays,
    serve,
)
from support.connecting import Connect
from support.proxy import Proxy
from support.waiting import eventually, within

pytestmark = pytest.mark.usefixtures("driver", "quiet_loop")

Operation = Callable[[Any], Coroutine[Any, Any, Any]]
OPERATIONS: dict[str, Operation] = {
    "answered": lambda nc: nc.request("echo", b"x", timeout=TIMEOUT),
    "unanswered": lambda nc: nc.request("silence", b"x", timeout=TIMEOUT),
    "endless": lambda nc: nc.request("silence", b"x", timeout=None),
    "with headers": lambda nc: nc.request("echo", b"x", timeout=TIMEOUT, headers={"A": "b"}),
    "old style, answered": lambda nc: nc.request("echo", b"x", timeout=TIMEOUT, old_style=True),
    "old style, unanswered": lambda nc: nc.request(
        "silence", b"x", timeout=TIMEOUT, old_style=True
    ),
    "flush": lambda nc: nc.flush(TIMEOUT),
    "rtt": lambda nc: nc.rtt(TIMEOUT),
    "publish": lambda nc: nc.publish("elsewhere", b"x"),
}


@pytest.mark.parametrize("name", list(OPERATIONS))
async def test_client(server: Server, connect: Connect, name: str) -> None:
    nc = await connect()
    await serve(nc)
    async with nothing_stays(nc):
        for turns in TURNS:
            await cancel_after(turns, OPERATIONS[name](nc))
        # Several at once, cancelled in one go.
        tasks = [asyncio.ensure_future(OPERATIONS[name](nc)) for _ in range(20)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        for task in tasks:
            await ended(task)


@pytest.mark.parametrize("name", ["unanswered", "old style, unanswered", "flush", "rtt"])
async def test_while_the_connection_stands_still(
    server: Server, connect: Connect, name: str
) -> None:
    async with Proxy(server.url) as proxy:
        nc = await connect(proxy)
        await serve(nc)
        async with nothing_stays(nc):
            proxy.stall()
            for turns in TURNS:
                task = await cancel_after(turns, OPERATIONS[name](nc))
                assert task.cancelled()
            proxy.resume()
        await nc.close()


@pytest.mark.parametrize("name", ["flush", "rtt"])
async def test_cancelled_as_the_answer_arrives(server: Server, connect: Connect, name: str) -> None:
    nc = await connect()
    await serve(nc)
    async with nothing_stays(nc):
        for turns in range(1, 4):
            # Answered just before the operation, mostly by what comes in the same turn.
            answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            nc._core.ping(answer, False)
            task = asyncio.ensure_future(OPERATIONS[name](nc))
            await within(answer)
            for _ in range(turns - 1):
                await asyncio.sleep(0)
            is_in_time = task.cancel()
            await ended(task)
            assert task.cancelled() == is_in_time


@pytest.mark.parametrize("name", list(OPERATIONS))
async def test_no_cancellation_is_forgotten(server: Server, connect: Connect, name: str) -> None:
    nc = await connect()
    await serve(nc)
    async with nothing_stays(nc):
        for turns in TURNS:
            task = asyncio.ensure_future(OPERATIONS[name](nc))
            for _ in range(turns):
                await asyncio.sleep(0)
            is_in_time = task.cancel()
            await ended(task)
            assert task.cancelled() == is_in_time


@pytest.mark.parametrize("old_style", [False, True], ids=["new", "old"])
async def test_first_request(server: Server, connect: Connect, old_style: bool) -> None:
    """The first one also subscribes to the inbox that all requests share."""
    service = await connect()
    await serve(service)
    for turns in range(5):
        nc = await connect()
        await cancel_after(turns, nc.request("echo", b"x", TIMEOUT, old_style=old_style))
        await assert_works(nc)
        assert nc._core.census()[:2] == (0, 0)
        await nc.close()


async def test_subscribing(server: Server, connect: Connect) -> None:
    nc = await connect()
    await serve(nc)
    async with nothing_stays(nc):
        for turns in range(4):
            task = await cancel_after(turns, nc.subscribe("a"))
            assert task.cancelled() == (turns == 0), "subscribe doesn't wait"
            if not task.cancelled():
                sub = task.result()
                await nc.publish("a", b"x")
                assert (await sub.next_msg(TIMEOUT)).data == b"x"
                await sub.unsubscribe()


@pytest.mark.parametrize("limit", [0, 3])
async def test_unsubscribing(server: Server, connect: Connect, limit: int) -> None:
    nc = await connect()
    await serve(nc)
    async with nothing_stays(nc):
        for turns in range(4):
            sub = await nc.subscribe("a")
            task = await cancel_after(turns, sub.unsubscribe(limit=limit))
            if task.cancelled() or limit:
                await sub.unsubscribe()
            await nc.publish("a", b"x")
            await nc.flush()
            assert sub.pending_msgs == 0


async def test_draining_a_subscription(server: Server, connect: Connect) -> None:
    nc = await connect()
    await serve(nc)
    for turns in TURNS:
        got: list[bytes] = []

        async def callback(msg: Any, got: list[bytes] = got) -> None:
            await asyncio.sleep(0)
            got.append(msg.data)

        sub = await nc.subscribe("a", cb=callback)
        for number in range(5):
            await nc.publish("a", b"%d" % number)
        task = await cancel_after(turns, sub.drain())
        # Whatever it got to, the messages of before are handled.
        await nc.flush()
        await eventually(lambda got=got: len(got) == 5)
        if turns == 0:
            assert task.cancelled()
            await sub.drain()
        else:
            with pytest.raises(errors.BadSubscriptionError):
                await sub.drain()
        # The server was told, or never will be.
        await nc.publish("a", b"late")
        await nc.flush()
        await asyncio.sleep(0.001)
        assert got == [b"%d" % number for number in range(5)]
    await assert_works(nc)


async def test_next_msg_loses_nothing(server: Server, connect: Connect) -> None:
    nc, publisher = await connect(), await connect()
    await serve(nc)
    count, got = 300, []
    sub = await nc.subscribe("a")
    async with nothing_stays(nc):
        publishing = asyncio.ensure_future(publish(publisher, "a", count))
        for attempt in range(20 * count):
            task = await cancel_after(attempt % 7, sub.next_msg(TIMEOUT))
            if not task.cancelled():
                got.append(int(task.result().data))
            if len(got) == count:
                break
            await asyncio.sleep(0)
        await within(publishing)
        await publisher.flush()
        await nc.flush()
        while len(got) < count:
            got.append(int((await sub.next_msg(TIMEOUT)).data))
    assert got == list(range(count))
    assert sub.pending_msgs == 0
    with pytest.raises(errors.TimeoutError):
        await sub.next_msg(0.01)


async def test_iterator_loses_nothing(server: Server, connect: Connect) -> None:
    nc, publisher = await connect(), await connect()
    await serve(nc)
    count, got = 300, []
    sub = await nc.subscribe("a")
    messages = sub.messages

    async def following() -> Any:
        return await messages.__anext__()

    async with nothing_stays(nc):
        publishing = asyncio.ensure_future(publish(publisher, "a", count))
        for attempt in range(20 * count):
            task = await cancel_after(attempt % 7, following())
            if not task.cancelled():
                got.append(int(task.result().data))
            if len(got) == count:
                break
            await asyncio.sleep(0)
        await within(publishing)
        while len(got) < count:
            got.append(int((await within(following())).data))
    assert got == list(range(count))


async def test_rivals_for_messages_lose_nothing(server: Server, connect: Connect) -> None:
    """A message that a cancelled waiter was woken for goes to another."""
    nc = await connect()
    await serve(nc)
    sub = await nc.subscribe("a")
    got: list[int] = []
    async with nothing_stays(nc):
        for number in range(60):
            tasks = [asyncio.ensure_future(sub.next_msg(TIMEOUT)) for _ in range(4)]
            await nc.publish("a", b"%d" % number)
            for _ in range(number % 10):
                await asyncio.sleep(0)
            for task in tasks[:3]:
                task.cancel()
                await ended(task)
            if all(task.cancelled() for task in tasks[:3]):
                await within(asyncio.wait([tasks[3]]))
            else:
                tasks[3].cancel()
                await ended(tasks[3])
            got.extend(int(task.result().data) for task in tasks if not task.cancelled())
    assert got == list(range(60))


async def publish(nc: Any, subject: str, count: int) -> None:
    for number in range(count):
        await nc.publish(subject, b"%d" % number)
        if number % 3 == 0:
            await asyncio.sleep(0)


async def test_publishing_without_room(server: Server, connect: Connect) -> None:
    payload = bytes(100_000)
    receiver = await connect()
    sub = await receiver.subscribe("big")
    await receiver.flush()
    async with Proxy(server.url) as proxy:
        nc = await connect(proxy, pending_size=1000)
        await serve(nc)
        sent = 0
        async with nothing_stays(nc):
            proxy.stall()
            waiting = 0
            for _ in range(1000):
                task = await cancel_after(sent % 4 + 1, nc.publish("big", payload))
                sent += 1
                waiting += task.cancelled()
                if waiting == 12:
                    break
            assert waiting == 12, "publish never waited"
            # It was the waiting that was cancelled: the message is on its way already.
            proxy.resume()
            for _ in range(sent):
                assert len((await sub.next_msg(TIMEOUT)).data) == len(payload)
            await within(nc.publish("big", b"last"))
            assert (await sub.next_msg(TIMEOUT)).data == b"last"
            await eventually(lambda: nc.pending_data_size == 0)
        await nc.close()


@pytest.mark.parametrize("seed", [1, 2])
async def test_storm(server: Server, connect: Connect, seed: int) -> None:
    choose = random.Random(seed)
    nc, publisher = await connect(pending_size=64 * 1024), await connect()
    await serve(nc)
    polled, iterated = await nc.subscribe("a"), await nc.subscribe("a")
    got: dict[str, list[int]] = {"polled": [], "iterated": []}
    over = asyncio.Event()

    async def follow(name: str, following: Callable[[], Any]) -> None:
        while not over.is_set():
            task = asyncio.ensure_future(following())
            await asyncio.wait([task], timeout=choose.choice([0, 0, 0.0001, 0.001]))
            task.cancel()
            await ended(task)
            if not task.cancelled():
                got[name].append(int(task.result().data))

    async def following() -> Any:
        return await iterated.messages.__anext__()

    async def cancel_at_random() -> None:
        operations: list[Operation] = [
            *OPERATIONS.values(),
            lambda nc: nc.publish("elsewhere", bytes(40_000)),
        ]
        while not over.is_set():
            tasks = [
                asyncio.ensure_future(choose.choice(operations)(nc))
                for _ in range(choose.randrange(1, 6))
            ]
            for task in tasks:
                if choose.random() < 0.5:
                    await asyncio.sleep(choose.choice([0, 0, 0.0001, 0.001]))
                task.cancel()
            for task in tasks:
                await ended(task)

    async with nothing_stays(nc):
        storm = asyncio.gather(
            follow("polled", lambda: polled.next_msg(TIMEOUT)),
            follow("iterated", following),
            *(cancel_at_random() for _ in range(4)),
        )
        sent = 0
        end = time.monotonic() + 1
        while time.monotonic() < end or sent <= 100:
            await publisher.publish("a", b"%d" % sent)
            sent += 1
            await asyncio.sleep(choose.choice([0, 0.0005, 0.001]))
        over.set()
        await within(storm)
        await publisher.flush()
        await nc.flush()
        while polled.pending_msgs:
            got["polled"].append(int((await polled.next_msg(TIMEOUT)).data))
        while iterated.pending_msgs:
            got["iterated"].append(int((await within(following())).data))
    assert got == {"polled": list(range(sent)), "iterated": list(range(sent))}
