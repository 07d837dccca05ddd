"""Pull consumers with a real server: what a fetch returns, when, and what it leaves behind."""

from __future__ import annotations

import asyncio

import pytest
from nats import errors
from nats.embedded import Server
from nats.js import api
from nats.js import errors as js_errors
from support.connecting import Connect
from support.proxy import Proxy
from support.streams import Timer, begin, fill, numbers, waiting
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")


# What is there


async def test_full_and_partial(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect, 10)
    sub = await js.pull_subscribe("s.a", "d")
    with Timer() as timer:
        assert numbers(await sub.fetch(4)) == [0, 1, 2, 3]
        assert numbers(await sub.fetch()) == [4]
        assert numbers(await sub.fetch(2, timeout=None)) == [5, 6]
        # Fewer than asked for is no reason to wait.
        assert numbers(await sub.fetch(100, timeout=20)) == [7, 8, 9]
    assert timer.seconds < 10
    assert (sub.pending_msgs, sub.pending_bytes) == (0, 0)
    assert nc._core.census()[0] == 0


@pytest.mark.parametrize("batch", [1, 5])
async def test_timeout(js_server: Server, connect: Connect, batch: int) -> None:
    nc, js = await begin(connect)
    sub = await js.pull_subscribe("s.a", "d")
    with Timer() as timer, pytest.raises(errors.TimeoutError) as caught:
        await sub.fetch(batch, timeout=0.3)
    assert 0.28 < timer.seconds < 3
    assert not isinstance(caught.value, js_errors.FetchTimeoutError)
    # Nothing waits at the server any more: the next message is the next fetch's.
    await waiting(sub, 0)
    await fill(js, 1)
    with Timer() as timer:
        assert numbers(await sub.fetch(batch, timeout=5)) == [0]
    assert timer.seconds < 2
    assert nc._core.census()[1] == 0


@pytest.mark.parametrize("batch", [1, 5])
async def test_waits_for_messages(js_server: Server, connect: Connect, batch: int) -> None:
    _, js = await begin(connect)
    sub = await js.pull_subscribe("s.a", "d")
    for timeout in (10, None):
        fetching = asyncio.ensure_future(sub.fetch(batch, timeout=timeout))
        await waiting(sub, 1)
        await js.publish("s.a", b"7")
        with Timer() as timer:
            if batch == 5 and timeout is None:
                # It has waited for more ever since.
                await fill(js, 4)
            msgs = await within(fetching, 20)
        assert msgs[0].data == b"7"
        assert timer.seconds < 12
        for msg in msgs:
            await msg.ack()


@pytest.mark.parametrize("batch", [1, 5])
async def test_heartbeats(js_server: Server, connect: Connect, batch: int) -> None:
    _, js = await begin(connect)
    sub = await js.pull_subscribe("s.a", "d")
    with Timer() as timer, pytest.raises(js_errors.FetchTimeoutError, match="fetch timeout"):
        await sub.fetch(batch, timeout=0.6, heartbeat=0.1)
    assert 0.5 < timer.seconds < 3
    fetching = asyncio.ensure_future(sub.fetch(batch, timeout=2, heartbeat=0.1))
    await eventually(lambda: sub.delivered >= 6, "heartbeats have come")
    await fill(js, 1)
    assert numbers(await within(fetching)) == [0]


async def test_arguments(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect, 1)
    sub = await js.pull_subscribe("s.a", "d")
    for arguments in ({"batch": 0}, {"batch": -1}, {"timeout": 0}, {"timeout": -1}):
        with pytest.raises(ValueError, match="nats: invalid"):
            await sub.fetch(**arguments)
    with pytest.raises(ValueError, match="stream name is required"):
        await js.pull_subscribe_bind("d")
    with pytest.raises(js_errors.NotFoundError):
        await js.pull_subscribe("nobody.stores.this", "d")
    assert (await sub.consumer_info()).delivered.consumer_seq == 0
    assert numbers(await sub.fetch()) == [0]
    assert nc.is_connected


async def test_large_batches(js_server: Server, connect: Connect) -> None:
    _, js = await begin(connect, 20_000)
    config = api.ConsumerConfig(ack_policy=api.AckPolicy.NONE)
    sub = await js.pull_subscribe("s.a", "d", config=config)
    got: list[int] = []
    while len(got) < 20_000:
        msgs = await within(sub.fetch(8000, timeout=5))
        assert msgs
        got += numbers(msgs)
    assert got == list(range(20_000))


@pytest.mark.parametrize("batch", [1, 7])
async def test_one_after_the_other_without_a_wait(
    js_server: Server, connect: Connect, batch: int
) -> None:
    _, js = await begin(connect, 700)
    sub = await js.pull_subscribe("s.a", "d")
    got: list[int] = []
    with Timer() as timer:
        while len(got) < 700:
            msgs = await sub.fetch(batch, timeout=20)
            got += numbers(msgs)
            for msg in msgs:
                await msg.ack()
    assert got == list(range(700))
    assert timer.seconds < 15
    info = await sub.consumer_info()
    assert info.num_waiting == 0


async def test_ephemeral_and_bound(js_server: Server, connect: Connect) -> None:
    _, js = await begin(connect, 5)
    one = await js.pull_subscribe("s.a")
    assert (await one.consumer_info()).config.durable_name is None
    two = await js.pull_subscribe_bind(one._consumer, "S", inbox_prefix=b"my.own.")
    assert numbers(await one.fetch(2)) + numbers(await two.fetch(3)) == list(range(5))
    assert two._deliver.startswith("my.own.")
    same = await js.pull_subscribe("other", "d", stream="S")
    with pytest.raises(errors.TimeoutError):
        await same.fetch(timeout=0.1)
    assert (await same.consumer_info()).config.filter_subject == "other"


# Refusals


async def test_no_such_consumer(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect)
    sub = await js.pull_subscribe_bind("missing", "S")
    for batch in (1, 5):
        with Timer() as timer, pytest.raises(js_errors.ServiceUnavailableError):
            await within(sub.fetch(batch, timeout=8))
        assert timer.seconds < 4, "there is no reason to wait"
    with pytest.raises(js_errors.NotFoundError):
        await sub.consumer_info()
    assert nc.is_connected


@pytest.mark.parametrize("batch", [1, 5])
async def test_consumer_deleted_while_fetching(
    js_server: Server, connect: Connect, batch: int
) -> None:
    nc, js = await begin(connect)
    sub = await js.pull_subscribe("s.a", "d")
    fetching = asyncio.ensure_future(sub.fetch(batch, timeout=20))
    await waiting(sub, 1)
    await js.delete_consumer("S", "d")
    with Timer() as timer, pytest.raises(js_errors.APIError, match="Consumer Deleted") as caught:
        await within(fetching, 30)
    assert timer.seconds < 10, "it could have waited much longer"
    assert caught.value.code == 409
    with pytest.raises(js_errors.ServiceUnavailableError):
        await within(sub.fetch(batch, timeout=5))
    assert nc.is_connected


async def test_too_many_requests(js_server: Server, connect: Connect) -> None:
    _, js = await begin(connect)
    config = api.ConsumerConfig(max_waiting=2)
    sub = await js.pull_subscribe("s.a", "d", config=config)
    others = [await js.pull_subscribe_bind("d", "S") for _ in range(2)]
    fetching = [asyncio.ensure_future(other.fetch(1, timeout=5)) for other in others]
    await waiting(sub, 2)
    with Timer() as timer, pytest.raises(errors.TimeoutError):
        await sub.fetch(1, timeout=0.3)
    assert timer.seconds > 0.25
    await fill(js, 2)
    msgs = await within(asyncio.gather(*fetching))
    assert sorted(numbers([msg for batch in msgs for msg in batch])) == [0, 1]


async def test_byte_limit(js_server: Server, connect: Connect) -> None:
    """`fetch` has no such parameter; what another request of it brings is taken all the same."""
    _, js = await begin(connect)
    for number in range(5):
        await js.publish("s.a", b"%d" % number * 1000)
    sub = await js.pull_subscribe("s.a", "d")
    request = b'{"batch": 5, "max_bytes": 2500, "expires": 5000000000}'
    await sub._nc.publish(sub._nms, request, sub._deliver)
    await eventually(lambda: sub.delivered == 3, "two messages, and the 409 that ends it")
    assert [msg.data[:1] for msg in await sub.fetch(2, timeout=1)] == [b"0", b"1"]
    assert [msg.data[:1] for msg in await sub.fetch(5, timeout=1)] == [b"2", b"3", b"4"]


async def test_pending_limits(js_server: Server, connect: Connect) -> None:
    events = Events()
    _, js = await begin(connect, 10, **events.callbacks)
    sub = await js.pull_subscribe("s.a", "d", pending_msgs_limit=5)
    await sub._nc.publish(sub._nms, b'{"batch": 10, "no_wait": true}', sub._deliver)
    await eventually(lambda: len(events.errors) >= 5)
    assert sub.pending_msgs == 5
    assert all(isinstance(error, errors.SlowConsumerError) for error in events.errors)
    assert numbers(await sub.fetch(5)) == [0, 1, 2, 3, 4]


# Several at once, and cancelled


async def test_concurrent_fetches(js_server: Server, connect: Connect) -> None:
    _, js = await begin(connect)
    config = api.ConsumerConfig(ack_policy=api.AckPolicy.NONE)
    sub = await js.pull_subscribe("s.a", "d", config=config)
    got: list[int] = []

    async def work() -> None:
        while len(got) < 400:
            try:
                got.extend(numbers(await sub.fetch(batch=3, timeout=0.3)))
            except errors.TimeoutError:
                pass

    workers = [asyncio.ensure_future(work()) for _ in range(8)]
    for start in range(0, 400, 20):
        await fill(js, 20, start)
    await within(asyncio.gather(*workers), 20)
    assert sorted(got) == list(range(400))


async def test_concurrent_single_fetches(js_server: Server, connect: Connect) -> None:
    _, js = await begin(connect)
    sub = await js.pull_subscribe("s.a", "d")
    fetching = [asyncio.ensure_future(sub.fetch(1, timeout=5)) for _ in range(20)]
    await waiting(sub, 20)
    await fill(js, 20)
    msgs = [msg for batch in await within(asyncio.gather(*fetching)) for msg in batch]
    assert sorted(numbers(msgs)) == list(range(20))


@pytest.mark.parametrize("batch", [1, 5])
async def test_cancelled_fetches_lose_nothing(
    js_server: Server, connect: Connect, batch: int
) -> None:
    nc, js = await begin(connect)
    publisher = (await connect()).jetstream()
    config = api.ConsumerConfig(ack_policy=api.AckPolicy.NONE)
    sub = await js.pull_subscribe("s.a", "d", config=config)
    got: list[int] = []
    publishing = asyncio.ensure_future(fill(publisher, 200))
    for attempt in range(400):
        task = asyncio.ensure_future(sub.fetch(batch, timeout=1))
        for _ in range(attempt % 9):
            await asyncio.sleep(0)
        if attempt % 5 == 4:
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait([task], timeout=2)
        if not task.cancelled():
            got += numbers(task.result())
    await within(publishing)
    while len(got) < 200:
        got += numbers(await within(sub.fetch(batch, timeout=5)))
    assert sorted(got) == list(range(200))
    assert (sub.pending_msgs, sub.pending_bytes) == (0, 0)
    assert nc._core.census()[1] == 0


async def test_status_messages_of_others_are_no_messages(
    js_server: Server, connect: Connect
) -> None:
    _, js = await begin(connect, 2)
    sub = await js.pull_subscribe("s.a", "d")
    for _ in range(3):
        await sub._nc.publish(sub._nms, b'{"batch": 1, "no_wait": true}', sub._deliver)
    await eventually(lambda: sub.delivered == 3, "two messages, one 404")
    assert numbers(await sub.fetch(5, timeout=2)) == [0, 1]
    await fill(js, 1, 2)
    assert numbers(await sub.fetch(1, timeout=2)) == [2]


# The end, and interruptions


@pytest.mark.parametrize("batch", [1, 5])
async def test_unsubscribed_while_fetching(js_server: Server, connect: Connect, batch: int) -> None:
    nc, js = await begin(connect)
    sub = await js.pull_subscribe("s.a", "d")
    fetching = asyncio.ensure_future(sub.fetch(batch, timeout=0.5))
    await waiting(sub, 1)
    await sub.unsubscribe()
    with pytest.raises(errors.TimeoutError):
        await within(fetching)
    with pytest.raises(errors.BadSubscriptionError):
        await sub.unsubscribe()
    # The consumer stays, and another subscription takes over.
    await fill(js, 3)
    again = await js.pull_subscribe("s.a", "d")
    assert sub._deliver != again._deliver
    assert numbers(await within(again.fetch(3, timeout=5))) == [0, 1, 2]
    assert nc._core.census()[1] == 0


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("timeout", [20, None])
async def test_closed_while_fetching(
    js_server: Server, connect: Connect, batch: int, timeout: float | None
) -> None:
    nc, js = await begin(connect)
    sub = await js.pull_subscribe("s.a", "d")
    fetching = asyncio.ensure_future(sub.fetch(batch, timeout=timeout))
    await waiting(sub, 1)
    await within(nc.close())
    with pytest.raises(errors.ConnectionClosedError):
        await within(fetching, 3)
    for count in (1, 5):
        with pytest.raises(errors.ConnectionClosedError):
            await sub.fetch(count)


@pytest.mark.parametrize("batch", [1, 5])
@pytest.mark.parametrize("timeout", [20, None])
async def test_reconnect_in_between(
    js_server: Server, connect: Connect, batch: int, timeout: float | None
) -> None:
    _, manager = await begin(connect, 1)
    events = Events()
    async with Proxy(js_server.url) as proxy:
        nc = await connect(proxy, max_reconnect_attempts=-1, **events.callbacks, **EAGER)
        sub = await nc.jetstream().pull_subscribe("s.a", "d")
        assert numbers(await sub.fetch(batch)) == [0]
        fetching = asyncio.ensure_future(sub.fetch(batch, timeout=timeout))
        await waiting(sub, 1)
        proxy.cut()
        await events.wait("reconnected")
        # Its request is gone with the connection: it is asked again.
        await fill(manager, batch, 1)
        got = numbers(await within(fetching))
        while len(got) < batch:
            got += numbers(await within(sub.fetch(batch - len(got), timeout=5)))
        assert got == list(range(1, batch + 1))
        await nc.close()


async def test_asked_for_while_reconnecting(js_server: Server, connect: Connect) -> None:
    _, manager = await begin(connect, 3)
    events = Events()
    async with Proxy(js_server.url) as proxy:
        nc = await connect(proxy, max_reconnect_attempts=-1, **events.callbacks, **EAGER)
        sub = await nc.jetstream().pull_subscribe("s.a", "d")
        proxy.refuse = True
        proxy.cut()
        await events.wait("disconnected")
        # Heartbeats that don't fit into what is left of the time are left out.
        fetching = asyncio.ensure_future(sub.fetch(3, timeout=10, heartbeat=4.999))
        await asyncio.sleep(0.01)
        proxy.refuse = False
        assert numbers(await within(fetching)) == [0, 1, 2]
        await nc.close()
    assert (await manager.consumer_info("S", "d")).num_ack_pending == 3
