"""Reconnecting to the same server: what survives, in which order, and when it is given up."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from nats import errors
from nats.embedded import Server
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.proxy import Proxy
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")


async def lose(server: Server, events: Events) -> None:
    """Kill the server and wait until its client has noticed."""
    await server.akill()
    await events.wait("disconnected", events.count("reconnected") + 1)


async def test_subscriptions_survive_under_traffic(server: Server, connect: Connect) -> None:
    events = Events()
    nc = await connect(max_reconnect_attempts=-1, **events.callbacks, **EAGER)
    handled: list[bytes] = []

    async def handler(msg: Any) -> None:
        handled.append(msg.data)

    await nc.subscribe("traffic.cb", cb=handler)
    iterating = await nc.subscribe("traffic.iter")
    queued = await nc.subscribe("traffic.queue", queue="workers")
    stop = asyncio.Event()

    async def publish() -> int:
        sent = 0
        while not stop.is_set():
            for _ in range(50):
                await nc.publish("traffic.cb", b"%d" % sent)
                sent += 1
            await asyncio.sleep(0.001)
        return sent

    traffic = asyncio.create_task(publish())
    await eventually(lambda: len(handled) > 100)
    await server.arestart()
    await events.wait("reconnected")
    seen = len(handled)
    await eventually(lambda: len(handled) > seen + 100)
    stop.set()
    sent = await within(traffic)
    await nc.publish("traffic.cb", b"last")
    await eventually(lambda: handled[-1] == b"last")

    # What was on its way when the server died is lost; nothing is doubled or out of order.
    numbers = [int(data) for data in handled[:-1]]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == sent - 1
    for sub in (iterating, queued):
        await nc.publish(sub.subject, b"x")
        assert (await sub.next_msg(timeout=5)).data == b"x"
    assert events.names == ["disconnected", "reconnected"]
    assert nc.stats["reconnects"] == 1


async def test_buffered_publishes_arrive_in_order(server: Server, connect: Connect) -> None:
    events = Events()
    nc = await connect(max_reconnect_attempts=-1, **events.callbacks, **EAGER)
    sub = await nc.subscribe("buffered")
    await nc.flush()
    await lose(server, events)
    assert nc.is_reconnecting
    assert not nc.is_connected
    for number in range(500):
        await nc.publish("buffered", b"%d" % number, headers={"N": str(number)})
    assert nc.pending_data_size > 500 * 20
    await server.astart()
    await events.wait("reconnected")
    received = [await sub.next_msg(timeout=5) for _ in range(500)]
    assert [int(msg.data) for msg in received] == list(range(500))
    assert [msg.headers for msg in received] == [{"N": str(n)} for n in range(500)]
    assert nc.pending_data_size == 0


async def test_buffer_is_bounded_by_pending_size(server: Server, connect: Connect) -> None:
    events = Events()
    nc = await connect(pending_size=1000, max_reconnect_attempts=-1, **events.callbacks, **EAGER)
    sub = await nc.subscribe("bounded")
    await nc.flush()
    await lose(server, events)
    # PUB bounded 100\r\n + 100 + \r\n is 119 bytes: eight are 952, and 100 more are too much.
    taken = 8
    for _ in range(taken):
        await nc.publish("bounded", b"x" * 100)
    with pytest.raises(errors.OutboundBufferLimitError):
        await nc.publish("bounded", b"x" * 100)
    assert nc.pending_data_size == taken * 119
    await server.astart()
    await events.wait("reconnected")
    await nc.publish("bounded", b"after")
    datas = [(await sub.next_msg(timeout=5)).data for _ in range(taken + 1)]
    assert datas == [b"x" * 100] * taken + [b"after"]


@pytest.mark.parametrize("size", [0, -1])
async def test_no_buffering(server: Server, connect: Connect, size: int) -> None:
    events = Events()
    nc = await connect(pending_size=size, max_reconnect_attempts=-1, **events.callbacks, **EAGER)
    await lose(server, events)
    with pytest.raises(errors.OutboundBufferLimitError):
        await nc.publish("a")
    await server.astart()
    await events.wait("reconnected")
    await nc.publish("a")
    await nc.flush()


async def test_auto_unsubscribe_counts_on(server: Server, connect: Connect) -> None:
    events = Events()
    nc = await connect(max_reconnect_attempts=-1, **events.callbacks, **EAGER)
    sub = await nc.subscribe("limited")
    await sub.unsubscribe(limit=5)
    exhausted = await nc.subscribe("exhausted")
    await exhausted.unsubscribe(limit=1)
    await nc.publish("exhausted", b"0")
    for number in range(2):
        await nc.publish("limited", b"%d" % number)
    await nc.flush()
    assert sub.delivered == 2
    await server.arestart()
    await events.wait("reconnected")
    for number in range(2, 10):
        await nc.publish("limited", b"%d" % number)
        await nc.publish("exhausted", b"%d" % number)
    await nc.flush()
    assert [int(msg.data) async for msg in sub.messages] == [0, 1, 2, 3, 4]
    assert sub.delivered == 5
    assert exhausted.delivered == 1
    await eventually(lambda: not nc._subs)


async def test_subscribing_and_unsubscribing_while_disconnected(
    server: Server, connect: Connect
) -> None:
    events = Events()
    nc = await connect(max_reconnect_attempts=-1, **events.callbacks, **EAGER)
    leaving = await nc.subscribe("news")
    await nc.flush()
    await lose(server, events)
    staying = await nc.subscribe("news")
    await leaving.unsubscribe()
    await nc.publish("news", b"x")
    await server.astart()
    await events.wait("reconnected")
    await nc.flush()
    assert (await staying.next_msg(timeout=5)).data == b"x"
    # Once: the subscription is replayed or sent with the pending output, but counts once.
    await nc.publish("news", b"y")
    assert (await staying.next_msg(timeout=5)).data == b"y"
    assert leaving.delivered == 0
    assert len(nc._subs) == 1


async def test_requests_work_again(server: Server, connect: Connect) -> None:
    events = Events()
    nc = await connect(max_reconnect_attempts=-1, **events.callbacks, **EAGER)

    async def answer(msg: Any) -> None:
        await msg.respond(b"re: " + msg.data)

    await nc.subscribe("questions", cb=answer)
    assert (await nc.request("questions", b"1", timeout=5)).data == b"re: 1"
    await lose(server, events)
    # Asked while disconnected: buffered like any message, answered after.
    asking = asyncio.create_task(nc.request("questions", b"2", timeout=10))
    await asyncio.sleep(0)
    await server.astart()
    assert (await within(asking)).data == b"re: 2"
    assert (await nc.request("questions", b"3", timeout=5)).data == b"re: 3"
    assert nc._core.census()[:2] == (0, 0)


async def test_order_of_callbacks_and_states(server: Server, connect: Connect) -> None:
    seen: list[tuple[str, bool, bool]] = []
    events = Events()

    def noting(name: str) -> Any:
        async def callback(*args: Any) -> None:
            seen.append((name, nc.is_connected, nc.is_reconnecting))

        return callback

    nc = await connect(max_reconnect_attempts=-1, **events.callbacks, **EAGER)
    nc.error_cb = noting("error")
    nc.disconnected_cb = noting("disconnected")
    nc.reconnected_cb = noting("reconnected")
    nc.closed_cb = noting("closed")
    await server.arestart()
    await eventually(lambda: seen and seen[-1][0] == "reconnected")
    assert seen[0] == ("error", True, False)
    assert seen[1] == ("disconnected", False, True)
    assert seen[-1] == ("reconnected", True, False)
    await nc.close()
    assert [name for name, *_ in seen[-2:]] == ["disconnected", "closed"]


async def test_reconnected_cb_may_use_the_client(server: Server, connect: Connect) -> None:
    replies: list[bytes] = []
    events = Events()
    nc = await connect(max_reconnect_attempts=-1, **events.callbacks, **EAGER)

    async def answer(msg: Any) -> None:
        await msg.respond(msg.data)

    async def reconnected() -> None:
        await nc.subscribe("new", cb=answer)
        replies.append((await nc.request("new", b"hello", timeout=5)).data)
        await nc.flush(timeout=5)

    nc.reconnected_cb = reconnected
    await server.arestart()
    await eventually(lambda: replies == [b"hello"])


async def test_disconnected_cb_may_close(server: Server, connect: Connect) -> None:
    events = Events()
    callbacks = events.callbacks

    async def disconnected() -> None:
        events.names.append("disconnected")
        await nc.close()

    callbacks["disconnected_cb"] = disconnected
    nc = await connect(max_reconnect_attempts=-1, **callbacks, **EAGER)
    await server.akill()
    await events.wait("closed")
    assert nc.is_closed
    assert events.count("closed") == 1
    assert events.count("reconnected") == 0


async def test_attempts_exhausted(server: Server, connect: Connect) -> None:
    events = Events()
    nc = await connect(max_reconnect_attempts=2, **events.callbacks, **EAGER)
    sub = await nc.subscribe("a")
    waiting = asyncio.create_task(sub.next_msg(timeout=20))
    await lose(server, events)
    await events.wait("closed")
    assert nc.is_closed
    # As in nats-py, closing reports a disconnection once more.
    assert events.names == ["disconnected", "disconnected", "closed"]
    assert isinstance(nc.last_error, errors.NoServersError)
    refused = [error for error in events.errors if isinstance(error, ConnectionRefusedError)]
    assert len(refused) == 3
    with pytest.raises(errors.ConnectionClosedError):
        await within(waiting)
    with pytest.raises(errors.ConnectionClosedError):
        await nc.publish("a")
    with pytest.raises(errors.ConnectionClosedError):
        await nc.subscribe("a")


async def test_without_reconnecting(server: Server, connect: Connect) -> None:
    events = Events()
    nc = await connect(allow_reconnect=False, **events.callbacks)
    sub = await nc.subscribe("a")
    waiting = asyncio.create_task(sub.next_msg(timeout=20))
    await server.akill()
    await events.wait("closed")
    assert events.names == ["disconnected", "closed"]
    assert nc.is_closed
    assert isinstance(nc.last_error, errors.UnexpectedEOF | OSError)
    with pytest.raises(errors.ConnectionClosedError):
        await within(waiting)


async def test_force_reconnect(server: Server, connect: Connect) -> None:
    events = Events()
    nc = await connect(**events.callbacks, **EAGER)
    sub = await nc.subscribe("a")
    await nc.publish("a", b"before")
    first = nc.client_id
    await nc.flush()
    await nc.force_reconnect()
    assert nc.is_reconnecting
    await nc.publish("a", b"meanwhile")
    await events.wait("reconnected")
    assert nc.client_id != first
    await nc.publish("a", b"after")
    datas = [(await sub.next_msg(timeout=5)).data for _ in range(3)]
    assert datas == [b"before", b"meanwhile", b"after"]
    assert events.names == ["disconnected", "reconnected"]
    assert events.errors == []
    for _ in range(2):
        await nc.force_reconnect()
    await events.wait("reconnected", 2)
    await nc.close()
    await nc.force_reconnect()
    assert nc.is_closed


async def test_force_reconnect_is_nothing_where_reconnecting_is_not_allowed(
    server: Server, connect: Connect
) -> None:
    nc = await connect(allow_reconnect=False)
    await nc.force_reconnect()
    assert nc.is_connected
    assert await nc.rtt() >= 0


@pytest.mark.parametrize("cut_after", [700, 1500, 20_000, 100_001])
async def test_cut_in_the_middle_of_a_message(
    server: Server, connect: Connect, cut_after: int
) -> None:
    events = Events()
    async with Proxy(server.url) as proxy:
        nc = await connect(proxy, max_reconnect_attempts=-1, **events.callbacks, **EAGER)
        publisher = await connect(server)
        sub = await nc.subscribe("big")
        await nc.flush()
        proxy.cut_after = cut_after
        payload = bytes(range(256)) * 200
        for _ in range(3):
            await publisher.publish("big", payload)
        await events.wait("disconnected")
        proxy.cut_after = None
        await events.wait("reconnected")
        await publisher.publish("big", b"end")
        datas: list[bytes] = []
        while not datas or datas[-1] != b"end":
            datas.append((await sub.next_msg(timeout=5)).data)
        # Whole messages or none; nothing of the torn one leaks into the new connection.
        assert set(datas[:-1]) <= {payload}
        await nc.close()


async def test_resets_over_and_over(server: Server, connect: Connect) -> None:
    events = Events()
    async with Proxy(server.url) as proxy:
        nc = await connect(proxy, max_reconnect_attempts=-1, **events.callbacks, **EAGER)
        sub = await nc.subscribe("a")
        for round in range(1, 6):
            proxy.cut()
            await events.wait("reconnected", round)
            await nc.publish("a", b"%d" % round)
            assert (await sub.next_msg(timeout=5)).data == b"%d" % round
        assert nc.stats["reconnects"] == 5
        assert events.names == ["disconnected", "reconnected"] * 5
        await nc.close()


async def test_publishes_cut_by_a_broken_connection_are_sent_again_whole(
    connect: Connect,
) -> None:
    payload = bytes(range(256)) * 1024
    count = 24
    got: list[bytes] = []

    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        if client.index == 0:
            await client.expect(b"PUB first ")
            # Takes a part only: the socket fills up, then it breaks in mid-message.
            await client.reader.readexactly(1000)
            client.abort()
            return
        with contextlib.suppress(asyncio.TimeoutError):
            while True:
                line = await client.read_line(timeout=5)
                if line == b"PING":
                    await client.write(b"PONG\r\n")
                elif line.startswith(b"PUB"):
                    got.append(await client.read_payload(int(line.rsplit(b" ", 1)[1])))

    async with FakeServer(handler) as server:
        events = Events()
        nc = await connect(
            server, pending_size=1 << 30, max_reconnect_attempts=-1, **events.callbacks, **EAGER
        )
        await nc.publish("first", payload)
        for number in range(1, count):
            await nc.publish("more", payload + b"%d" % number)
        await events.wait("reconnected")
        await nc.publish("last", b"end")
        await eventually(lambda: got and got[-1] == b"end")
        # No message is torn, none is doubled, none after the first resent one is missing.
        numbers = [int(data[len(payload) :] or 0) for data in got[:-1]]
        assert all(data.startswith(payload) for data in got[:-1])
        assert numbers
        assert numbers == list(range(count - len(numbers), count))
        await nc.close()


async def test_reconnects_when_the_server_says_stale(connect: Connect) -> None:
    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        if client.index == 0:
            await client.write(b"-ERR 'Stale Connection'\r\n")
        await client.serve()

    async with FakeServer(handler) as server:
        events = Events()
        nc = await connect(server, **events.callbacks, **EAGER)
        await events.wait("reconnected")
        assert events.names == ["disconnected", "reconnected"]
        await nc.close()
