"""Draining: every message that the server has sent is handled before the end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from nats import errors
from nats.embedded import Server
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.proxy import Proxy
from support.scripted import admit
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")

TIMEOUT = 30.0


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


class Busy:
    """A handler that publishes a result when it may."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.go_on = asyncio.Event()

    async def subscribe(self, nc: Any) -> Any:
        async def handler(msg: Any) -> None:
            self.started.set()
            await self.go_on.wait()
            await nc.publish("result", msg.data)

        sub = await nc.subscribe("data", cb=handler)
        await within(nc.flush())
        return sub


@pytest.mark.parametrize("how", ["close", "unsubscribe"])
async def test_a_drain_that_is_cut_short(connect: Connect, how: str) -> None:
    nc = await connect()
    busy = Busy()
    sub = await busy.subscribe(nc)
    # One is being handled, and the others wait for it.
    await publish(nc, 3)
    await within(busy.started.wait())
    draining = asyncio.ensure_future(sub.drain())
    await eventually(lambda: sub._draining)
    await within(nc.flush())
    assert not draining.done()
    await within(nc.close() if how == "close" else sub.unsubscribe())
    await within(draining, 5)
    assert len(nc._subs) == 0
    assert nc.is_closed == (how == "close")


class ServerThatGoes:
    """Its first connection ends when a test aborts it, later ones begin when it is back."""

    def __init__(self) -> None:
        self.is_back = asyncio.Event()
        self.results: list[bytes] = []

    async def __call__(self, client: FakeConnection) -> None:
        if client.index == 0:
            await admit(client)
            await client.send_message("data", 1, b"x")
            await client.serve()
        await self.is_back.wait()
        await client.handshake()
        subject, _, payload = await client.expect_publish()
        assert subject == "result"
        self.results.append(payload)
        await client.serve()


async def drain_and_lose(nc: Any, server: FakeServer, events: Events) -> asyncio.Future[None]:
    """Begin to drain a client, whose connection ends before its handler does."""
    busy = Busy()
    await busy.subscribe(nc)
    await within(busy.started.wait())
    draining: asyncio.Future[None] = asyncio.ensure_future(nc.drain())
    await eventually(lambda: nc.is_draining)
    await within(nc.flush())
    server.connections[0].abort()
    await events.wait("disconnected")
    busy.go_on.set()
    await eventually(lambda: not nc._subs)
    return draining


async def test_what_handlers_publish_after_a_connection_was_lost_arrives(
    connect: Connect,
) -> None:
    script = ServerThatGoes()
    async with FakeServer(script) as server:
        events = Events()
        nc = await connect(server, **events.callbacks, **EAGER)
        draining = await drain_and_lose(nc, server, events)
        await server.wait_connections(2)
        assert not draining.done()
        script.is_back.set()
        await within(draining)
        assert script.results == [b"x"]
        assert nc.is_closed
        # The second disconnection is the end.
        assert events.names == ["disconnected", "reconnected", "disconnected", "closed"]
        assert errors.DrainTimeoutError not in map(type, events.errors)


async def test_a_server_that_does_not_come_back_ends_a_drain(connect: Connect) -> None:
    async with FakeServer(ServerThatGoes()) as server:
        events = Events()
        nc = await connect(
            server,
            drain_timeout=0.5,
            max_reconnect_attempts=-1,
            **events.callbacks,
            **{**EAGER, "connect_timeout": 60},
        )
        draining = await drain_and_lose(nc, server, events)
        await within(draining)
        assert [type(error) for error in events.errors].count(errors.DrainTimeoutError) == 1
        assert nc.is_closed
        assert events.count("closed") == 1
