"""Push consumers with a real server: kinds of subscriptions, flow control, and their end."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from nats import errors
from nats.embedded import Server
from nats.js import api
from nats.js import errors as js_errors
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.streams import begin, fill
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")


async def take(sub: Any, count: int) -> list[int]:
    return [int((await sub.next_msg(5)).data) for _ in range(count)]


async def acknowledged(js: Any, consumer: str, seq: int) -> None:
    """Wait until the server counts everything up to a sequence as acknowledged."""

    async def look() -> bool:
        return bool((await js.consumer_info("S", consumer)).ack_floor.stream_seq >= seq)

    await eventually(look)


async def bound(js: Any, consumer: str, expected: bool = True) -> None:
    """Wait until the server has seen whether somebody listens to a consumer."""

    async def look() -> bool:
        return bool((await js.consumer_info("S", consumer)).push_bound) == expected

    await eventually(look)


# Ways to read


async def test_next_msg(js_server: Server, connect: Connect) -> None:
    _, js = await begin(connect, 3)
    sub = await js.subscribe("s.a")
    assert await take(sub, 3) == [0, 1, 2]
    assert sub.delivered == 3
    with pytest.raises(errors.TimeoutError):
        await sub.next_msg(0.05)
    await fill(js, 1, 3)
    msg = await sub.next_msg(None)
    assert (msg.data, msg.subject, msg.metadata.sequence.stream) == (b"3", "s.a", 4)
    assert not msg.is_acked, "acknowledging is the reader's business"
    await msg.ack_sync()


async def test_iterating(js_server: Server, connect: Connect) -> None:
    _, js = await begin(connect, 100)
    sub = await js.subscribe("s.a", durable="d")
    got = []
    async for msg in sub.messages:
        got.append(int(msg.data))
        await msg.ack()
        if len(got) == 100:
            break
    assert got == list(range(100))
    await acknowledged(js, "d", 100)
    # The end of the subscription is the end of the iteration.
    rest = asyncio.ensure_future(sub.messages.__anext__())
    await asyncio.sleep(0)
    await sub.unsubscribe()
    with pytest.raises(StopAsyncIteration):
        await within(rest)


async def test_handler_acknowledges(js_server: Server, connect: Connect) -> None:
    _, js = await begin(connect, 50)
    got: list[int] = []

    async def handler(msg: Any) -> None:
        await asyncio.sleep(0)
        assert not msg.is_acked
        got.append(int(msg.data))
        if int(msg.data) % 3 == 0:
            await msg.ack()

    sub = await js.subscribe("s.a", cb=handler, durable="d")
    await acknowledged(js, "d", 50)
    assert got == list(range(50))
    assert (await sub.consumer_info()).num_ack_pending == 0
    with pytest.raises(errors.Error):
        await sub.next_msg()


async def test_handler_that_raises_acknowledges_nothing(
    js_server: Server, connect: Connect
) -> None:
    events = Events()
    _, js = await begin(connect, 3, **events.callbacks)
    got: list[tuple[int, int]] = []

    async def handler(msg: Any) -> None:
        got.append((int(msg.data), msg.metadata.num_delivered))
        if got[-1] == (1, 1):
            raise ValueError("the second one")

    config = api.ConsumerConfig(ack_wait=0.3)
    await js.subscribe("s.a", cb=handler, durable="d", config=config)
    await events.wait_error(ValueError, "the second one")
    await acknowledged(js, "d", 3)
    assert got == [(0, 1), (1, 1), (2, 1), (1, 2)]
    assert len(events.errors) == 1


async def test_manual_acknowledgement(js_server: Server, connect: Connect) -> None:
    _, js = await begin(connect, 4)
    msgs: list[Any] = []

    async def handler(msg: Any) -> None:
        msgs.append(msg)

    await js.subscribe("s.a", cb=handler, durable="d", manual_ack=True)
    await eventually(lambda: len(msgs) == 4)
    info = await js.consumer_info("S", "d")
    assert (info.num_ack_pending, info.ack_floor.stream_seq) == (4, 0)
    for msg in msgs[:2]:
        await msg.ack_sync()
    info = await js.consumer_info("S", "d")
    assert (info.num_ack_pending, info.ack_floor.stream_seq) == (2, 2)


@pytest.mark.parametrize("policy", [api.AckPolicy.NONE, api.AckPolicy.ALL])
async def test_other_acknowledgement_policies(
    js_server: Server, connect: Connect, policy: api.AckPolicy
) -> None:
    _, js = await begin(connect, 20)
    got: list[int] = []

    async def handler(msg: Any) -> None:
        got.append(int(msg.data))

    config = api.ConsumerConfig(ack_policy=policy)
    await js.subscribe("s.a", cb=handler, durable="d", config=config)
    await eventually(lambda: len(got) == 20)
    await acknowledged(js, "d", 20 if policy == api.AckPolicy.ALL else 0)
    assert got == list(range(20))


# Kinds of consumers


async def test_ephemeral(js_server: Server, connect: Connect) -> None:
    _, js = await begin(connect, 2)
    sub = await js.subscribe("s.a", inactive_threshold=0.3)
    info = await sub.consumer_info()
    assert info.config.durable_name is None
    await bound(js, info.name)
    assert await take(sub, 2) == [0, 1]
    await sub.unsubscribe()

    async def gone() -> bool:
        return not await js.consumers_info("S")

    await eventually(gone)
    with pytest.raises(js_errors.NotFoundError):
        await sub.consumer_info()


async def test_durable_goes_on_where_it_was(js_server: Server, connect: Connect) -> None:
    _, js = await begin(connect, 10)
    config = api.ConsumerConfig(ack_wait=0.5)
    sub = await js.subscribe("s.a", durable="d", config=config)
    for _ in range(4):
        await (await sub.next_msg(5)).ack_sync()
    await bound(js, "d")
    with pytest.raises(js_errors.Error, match="already bound"):
        await js.subscribe("s.a", durable="d")
    await sub.unsubscribe()
    await bound(js, "d", False)
    again = await js.subscribe("s.a", durable="d")
    assert (await again.consumer_info()).config.ack_wait == 0.5, "the existing one's"
    got: set[int] = set()
    while len(got) < 6:
        msg = await again.next_msg(5)
        got.add(int(msg.data))
        await msg.ack()
    assert got == set(range(4, 10))
    await acknowledged(js, "d", 10)


async def test_queue_shares_the_messages(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect)
    got: dict[int, list[int]] = {0: [], 1: [], 2: []}

    async def member(number: int) -> Any:
        async def handler(msg: Any) -> None:
            got[number].append(int(msg.data))

        return await js.subscribe("s.a", queue="workers", cb=handler)

    subs = [await member(number) for number in got]
    assert {sub.queue for sub in subs} == {"workers"}
    assert len(await js.consumers_info("S")) == 1
    await fill(js, 300)
    await eventually(lambda: sum(map(len, got.values())) == 300)
    assert sorted(number for numbers in got.values() for number in numbers) == list(range(300))
    assert all(got.values()), "everybody gets a share"
    await acknowledged(js, "workers", 300)
    for options in ({"durable": "workers"}, {"queue": "others", "durable": "workers"}):
        with pytest.raises(js_errors.Error):
            await js.subscribe("s.a", **options)
    # One that leaves is not missed.
    await subs[0].unsubscribe()
    await nc.flush()
    before = len(got[0])
    await fill(js, 30, 300)
    await eventually(lambda: sum(map(len, got.values())) == 330)
    assert len(got[0]) == before


async def test_binding(js_server: Server, connect: Connect) -> None:
    _, js = await begin(connect, 3)
    info = await js.add_consumer(
        "S", durable_name="d", deliver_subject="to.here", ack_policy="explicit"
    )
    sub = await js.subscribe_bind("S", info.config, "d")
    assert sub.subject == "to.here"
    assert await take(sub, 3) == [0, 1, 2]
    assert (await sub.consumer_info()).name == "d"
    with pytest.raises(TypeError, match="deliver_subject"):
        await js.subscribe_bind("S", api.ConsumerConfig(), "d")


async def test_what_is_delivered(js_server: Server, connect: Connect) -> None:
    _, js = await begin(connect, 5)
    await js.publish("s.b", b"99", headers={"A": "b"})
    policy = api.DeliverPolicy
    new = await js.subscribe("s.*", deliver_policy=policy.NEW)
    last = await js.subscribe("s.*", deliver_policy=policy.LAST_PER_SUBJECT, headers_only=True)
    config = api.ConsumerConfig(deliver_policy=policy.BY_START_SEQUENCE, opt_start_seq=4)
    third = await js.subscribe("s.*", config=config)
    filters = api.ConsumerConfig(filter_subjects=["s.b", "s.c"])
    both = await js.subscribe("s.>", config=filters)
    await js.publish("s.c", b"100")
    assert await take(new, 1) == [100]
    assert await take(third, 4) == [3, 4, 99, 100]
    assert await take(both, 2) == [99, 100]
    heads = [await last.next_msg(5) for _ in range(3)]
    assert [(msg.subject, msg.data) for msg in heads] == [(f"s.{n}", b"") for n in "abc"]
    assert heads[1].headers["A"] == "b"
    assert heads[1].headers["Nats-Msg-Size"] == "2"
    for sub in (new, third, both, last):
        assert sub.pending_msgs == 0


async def test_no_such_subject(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect)
    subs = set(nc._subs)
    with pytest.raises(js_errors.NotFoundError):
        await js.subscribe("nobody.stores.this")
    with pytest.raises(js_errors.NotFoundError):
        await js.subscribe("s.a", stream="T")
    config = api.ConsumerConfig(deliver_policy=api.DeliverPolicy.BY_START_SEQUENCE)
    with pytest.raises(js_errors.BadRequestError):
        await js.subscribe("s.a", config=config)
    assert set(nc._subs) - subs <= {max(nc._subs)}


# Limits


async def test_pending_limits(js_server: Server, connect: Connect) -> None:
    events = Events()
    nc, js = await begin(connect, 10, **events.callbacks)
    config = api.ConsumerConfig(ack_policy=api.AckPolicy.NONE)
    sub = await js.subscribe("s.a", pending_msgs_limit=4, config=config)
    await eventually(lambda: len(events.errors) == 6)
    for error in events.errors:
        assert isinstance(error, errors.SlowConsumerError)
        assert error.sid == sub._id
    assert (sub.pending_msgs, sub.delivered) == (4, 10)
    assert await take(sub, 4) == [0, 1, 2, 3]
    small = await js.subscribe(
        "s.a", pending_bytes_limit=4, config=api.ConsumerConfig(ack_policy=api.AckPolicy.NONE)
    )
    await eventually(lambda: len(events.errors) == 6 + 7)
    assert await take(small, 3) == [0, 1, 2]
    await nc.flush()


# The end


async def test_drain(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect, 200)
    got: list[int] = []

    async def handler(msg: Any) -> None:
        await asyncio.sleep(0)
        got.append(int(msg.data))

    tasks = asyncio.all_tasks()
    sub = await js.subscribe("s.a", cb=handler, durable="d", idle_heartbeat=5)
    await eventually(lambda: sub.delivered == 200)
    await within(sub.drain())
    assert got == list(range(200)), "everything that had arrived is handled"
    await acknowledged(js, "d", 200)
    await fill(js, 5, 200)
    await nc.flush()
    assert len(got) == 200
    with pytest.raises(errors.BadSubscriptionError):
        await sub.drain()
    await eventually(lambda: asyncio.all_tasks() <= tasks)
    await bound(js, "d", False)


async def test_unsubscribe(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect, 3)
    tasks, census = asyncio.all_tasks(), nc._core.census()
    subs = set(nc._subs)
    sub = await js.subscribe("s.a", idle_heartbeat=5)
    await sub.unsubscribe()
    with pytest.raises(errors.BadSubscriptionError):
        await sub.unsubscribe()
    assert nc._core.census() == census
    assert set(nc._subs) == subs
    await eventually(lambda: asyncio.all_tasks() <= tasks, f"{asyncio.all_tasks() - tasks}")


async def test_unsubscribe_after_some(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect, 10)
    tasks = asyncio.all_tasks()
    sub = await js.subscribe("s.a", idle_heartbeat=0.2)
    await eventually(lambda: sub.delivered == 10)
    await sub.unsubscribe(limit=12)
    await fill(js, 10, 10)
    got = [int(msg.data) async for msg in sub.messages]
    assert got == list(range(12))
    await nc.flush()
    await eventually(lambda: asyncio.all_tasks() <= tasks, f"{asyncio.all_tasks() - tasks}")


async def test_client_closed(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect, 1)
    tasks = asyncio.all_tasks()
    sub = await js.subscribe("s.a", idle_heartbeat=0.1)
    assert await take(sub, 1) == [0]
    waiting = asyncio.ensure_future(sub.next_msg(5))
    iterating = asyncio.ensure_future(sub.messages.__anext__())
    await asyncio.sleep(0)
    await within(nc.close())
    with pytest.raises(errors.ConnectionClosedError):
        await within(waiting)
    with pytest.raises(StopAsyncIteration):
        await within(iterating)
    with pytest.raises(errors.ConnectionClosedError):
        await sub.unsubscribe()
    await eventually(lambda: asyncio.all_tasks() <= tasks, f"{asyncio.all_tasks() - tasks}")


async def test_client_drained(js_server: Server, connect: Connect) -> None:
    nc, js = await begin(connect, 100)
    observer = (await connect()).jetstream()
    got: list[int] = []

    async def handler(msg: Any) -> None:
        await asyncio.sleep(0)
        got.append(int(msg.data))

    sub = await js.subscribe("s.a", cb=handler, durable="d")
    await eventually(lambda: sub.delivered == 100)
    await within(nc.drain())
    assert got == list(range(100))
    await acknowledged(observer, "d", 100)


async def test_server_restarted(js_server: Server, connect: Connect) -> None:
    """A durable consumer goes on with the same subscription."""
    events = Events()
    nc = await connect(max_reconnect_attempts=-1, **events.callbacks, **EAGER)
    js = nc.jetstream()
    await js.add_stream(name="S", subjects=["s.>"], storage="file")
    got: list[int] = []

    async def handler(msg: Any) -> None:
        got.append(int(msg.data))

    config = api.ConsumerConfig(ack_wait=1)
    await js.subscribe("s.a", cb=handler, durable="d", config=config)
    await fill(js, 20)
    await eventually(lambda: len(got) == 20)
    await js_server.arestart()
    await events.wait("reconnected")
    await fill(js, 20, 20)
    await eventually(lambda: set(got) == set(range(40)))
    await bound(js, "d")


async def test_status_messages_of_others_are_delivered(connect: Connect) -> None:
    """Only control messages (100, nothing else) are the consumer's own business."""
    reply = "$JS.ACK.S.d.1.{0}.{0}.1700000000000000000.0"

    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        await client.expect(b"SUB to ")
        block = b"NATS/1.0 409 Consumer Deleted\r\n\r\n"
        size = len(block)
        await client.send_message("to", 1, b"1", reply=reply.format(1))
        await client.write(b"HMSG to 1 %d %d\r\n%s\r\n" % (size, size, block))
        await client.send_message("to", 1, b"2", reply=reply.format(2))
        await client.serve()

    async with FakeServer(handler) as server:
        nc = await connect(server)
        config = api.ConsumerConfig(deliver_subject="to")
        sub = await nc.jetstream().subscribe_bind("S", config, "d")
        msgs = [await sub.next_msg(5) for _ in range(3)]
        assert [msg.data for msg in msgs] == [b"1", b"", b"2"]
        assert msgs[1].headers["Status"] == "409"
        await nc.close()
