"""Draining: every message that the server has sent is handled before the end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from conftest import Connect
from nats import errors
from nats.embedded import Server
from proxy import Proxy

pytestmark = pytest.mark.usefixtures("driver")

TIMEOUT = 10.0


async def publish(nc: Any, count: int) -> None:
    for number in range(count):
        await nc.publish("data", b"%d" % number)
    await nc.flush()


class Handled(list[int]):
    """Numbers of the messages handled, each taking ``pause`` seconds."""

    def __init__(self, pause: float = 0.0) -> None:
        super().__init__()
        self.pause = pause

    async def __call__(self, msg: Any) -> None:
        await asyncio.sleep(self.pause)
        self.append(int(msg.data))

    async def handler(self, msg: Any) -> None:
        await self(msg)


async def test_a_subscription_handles_everything_sent(connect: Connect) -> None:
    nc, sender = await connect(), await connect()
    handled = Handled()
    sub = await nc.subscribe("data", cb=handled.handler)
    await nc.flush()
    await publish(sender, 1000)
    # The server has them all; this client may have seen none yet.
    await asyncio.wait_for(sub.drain(), TIMEOUT)
    assert handled == list(range(1000))
    assert len(nc._subs) == 0
    assert nc.is_connected
    await publish(sender, 10)
    await nc.flush()
    assert len(handled) == 1000
    for action in (sub.drain(), sub.unsubscribe()):
        with pytest.raises(errors.BadSubscriptionError):
            await action


async def test_the_last_handler_has_returned(connect: Connect) -> None:
    nc = await connect()
    handled = Handled(pause=0.01)
    sub = await nc.subscribe("data", cb=handled.handler)
    await publish(nc, 5)
    await asyncio.wait_for(sub.drain(), TIMEOUT)
    assert handled == list(range(5))


async def test_drain_of_a_subscription_without_messages(connect: Connect) -> None:
    nc = await connect()
    for cb in (None, Handled().handler):
        sub = await nc.subscribe("data", cb=cb)
        await asyncio.wait_for(sub.drain(), TIMEOUT)
    assert len(nc._subs) == 0


async def test_an_iterator_gets_the_rest_and_ends(connect: Connect) -> None:
    nc = await connect()
    sub = await nc.subscribe("data")
    await publish(nc, 50)
    got: list[int] = []

    async def iterate() -> None:
        async for msg in sub.messages:
            got.append(int(msg.data))
            await asyncio.sleep(0)

    iterating = asyncio.ensure_future(iterate())
    await asyncio.wait_for(sub.drain(), TIMEOUT)
    await asyncio.wait_for(iterating, TIMEOUT)
    assert got == list(range(50))


async def test_failing_handlers_do_not_hold_up_a_drain(connect: Connect) -> None:
    reported: list[str] = []

    async def error_cb(error: Exception) -> None:
        reported.append(str(error))

    nc = await connect(error_cb=error_cb)

    async def handler(msg: Any) -> None:
        raise ValueError(msg.data.decode())

    sub = await nc.subscribe("data", cb=handler)
    await publish(nc, 5)
    await asyncio.wait_for(sub.drain(), TIMEOUT)
    assert reported == ["0", "1", "2", "3", "4"]


async def test_drain_over_a_slow_connection(server: Server, connect: Connect) -> None:
    async with Proxy(server.url, delay=0.02) as proxy:
        nc, sender = await connect(proxy.url), await connect(server)
        handled = Handled()
        sub = await nc.subscribe("data", cb=handled.handler)
        await nc.flush()
        await publish(sender, 500)
        # Everything is still on its way; the answer to the drain is behind it.
        assert len(handled) < 500
        await asyncio.wait_for(sub.drain(), TIMEOUT)
        assert handled == list(range(500))


async def test_connection_drain_over_a_slow_connection(server: Server, connect: Connect) -> None:
    async with Proxy(server.url, delay=0.02) as proxy:
        nc, sender = await connect(proxy.url), await connect(server)
        handled = [Handled(), Handled()]
        for each in handled:
            await nc.subscribe("data", cb=each.handler)
        await nc.flush()
        await publish(sender, 500)
        await asyncio.wait_for(nc.drain(), TIMEOUT)
        assert handled == [list(range(500))] * 2
        assert nc.is_closed


async def test_connection_drain_with_slow_handlers(connect: Connect) -> None:
    calls: list[str] = []

    async def disconnected_cb() -> None:
        calls.append("disconnected")

    async def closed_cb() -> None:
        calls.append("closed")

    nc = await connect(disconnected_cb=disconnected_cb, closed_cb=closed_cb)
    sender = await connect()
    handled = [Handled(pause=0.005), Handled(pause=0.002)]
    for each in handled:
        await nc.subscribe("data", cb=each.handler)
    await nc.flush()
    await publish(sender, 20)
    await asyncio.wait_for(nc.drain(), TIMEOUT)
    assert handled == [list(range(20))] * 2
    assert nc.is_closed
    assert calls == ["disconnected", "closed"]
    assert len(nc._subs) == 0


async def test_handlers_may_publish_while_draining(connect: Connect) -> None:
    nc, other = await connect(), await connect()
    results = await other.subscribe("result")
    await other.flush()

    async def handler(msg: Any) -> None:
        await asyncio.sleep(0)
        await nc.publish("result", msg.data)

    await nc.subscribe("data", cb=handler)
    await nc.flush()
    await publish(other, 100)
    await asyncio.wait_for(nc.drain(), TIMEOUT)
    await other.flush()
    got = [int((await results.next_msg(TIMEOUT)).data) for _ in range(results.pending_msgs)]
    assert got == list(range(100))


async def test_what_was_published_before_leaves(connect: Connect) -> None:
    nc, other = await connect(), await connect()
    sub = await other.subscribe("data")
    await other.flush()
    for number in range(100):
        await nc.publish("data", b"%d" % number)
    await asyncio.wait_for(nc.drain(), TIMEOUT)
    await other.flush()
    assert sub.pending_msgs == 100


async def test_states_on_the_way(connect: Connect) -> None:
    nc = await connect()
    started, go_on = asyncio.Event(), asyncio.Event()

    async def handler(msg: Any) -> None:
        started.set()
        await go_on.wait()

    sub = await nc.subscribe("data", cb=handler)
    await publish(nc, 1)
    await asyncio.wait_for(started.wait(), TIMEOUT)
    draining = asyncio.ensure_future(nc.drain())
    for _ in range(3):
        await asyncio.sleep(0)
    assert (nc.is_draining, nc.is_draining_pubs) == (True, False)
    assert nc.is_connected
    with pytest.raises(errors.ConnectionDrainingError):
        await nc.subscribe("more")
    with pytest.raises(errors.ConnectionDrainingError):
        await sub.drain()
    with pytest.raises(errors.ConnectionDrainingError):
        await sub.unsubscribe()
    # Publishing goes on until the subscriptions are done, and a second drain is none.
    await nc.publish("elsewhere", b"x")
    await asyncio.wait_for(nc.drain(), TIMEOUT)
    assert not draining.done()
    go_on.set()
    await asyncio.wait_for(draining, TIMEOUT)
    assert (nc.is_draining, nc.is_closed, nc.is_connected) == (False, True, False)
    for action in (nc.drain(), nc.publish("data"), nc.subscribe("data")):
        with pytest.raises(errors.ConnectionClosedError):
            await action


async def test_publishing_ends_before_the_connection_does(connect: Connect) -> None:
    nc = await connect()
    nc._status = nc.DRAINING_PUBS
    assert nc.is_draining_pubs
    for action in (nc.publish("data"), nc.request("data")):
        with pytest.raises(errors.ConnectionDrainingError):
            await action
    nc._status = nc.CONNECTED


async def test_drain_timeout(connect: Connect) -> None:
    reported: list[Exception] = []

    async def error_cb(error: Exception) -> None:
        reported.append(error)

    nc = await connect(drain_timeout=0.1, error_cb=error_cb)
    stuck, cancelled = asyncio.Event(), asyncio.Event()

    async def handler(msg: Any) -> None:
        stuck.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    await nc.subscribe("data", cb=handler)
    quick = Handled()
    await nc.subscribe("data", cb=quick.handler)
    await publish(nc, 3)
    await asyncio.wait_for(stuck.wait(), TIMEOUT)
    await asyncio.wait_for(nc.drain(), TIMEOUT)
    assert [type(error) for error in reported] == [errors.DrainTimeoutError]
    assert nc.is_closed
    assert quick == [0, 1, 2]
    await asyncio.wait_for(cancelled.wait(), TIMEOUT)


async def test_drain_of_a_group_member_under_load_loses_nothing(connect: Connect) -> None:
    """Two members; one leaves while messages stream in, the other takes over."""
    total = 50_000
    sender, leaving, staying = [await connect() for _ in range(3)]
    counts = {"leaving": 0, "staying": 0}
    enough = asyncio.Event()

    async def count_leaving(msg: Any) -> None:
        counts["leaving"] += 1
        if counts["leaving"] == 2000:
            enough.set()

    async def count_staying(msg: Any) -> None:
        counts["staying"] += 1

    sub = await leaving.subscribe("data", queue="group", cb=count_leaving)
    other = await staying.subscribe("data", queue="group", cb=count_staying)
    await leaving.flush()
    await staying.flush()

    async def send() -> None:
        for number in range(total):
            await sender.publish("data", b"x" * 16)
            if number % 500 == 0:
                # The whole test is one loop: without a pause nobody would receive.
                await asyncio.sleep(0.001)
        await sender.flush()

    sending = asyncio.ensure_future(send())
    await asyncio.wait_for(enough.wait(), TIMEOUT)
    assert not sending.done()
    await asyncio.wait_for(sub.drain(), TIMEOUT)
    left_with = counts["leaving"]
    await asyncio.wait_for(sending, 20)
    await asyncio.wait_for(other.drain(), TIMEOUT)
    assert counts["leaving"] == left_with, "nothing is handled after the drain"
    assert counts["leaving"] + counts["staying"] == total
    assert counts["staying"] > 0
