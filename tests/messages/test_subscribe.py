"""Subscriptions: who gets which message, through a handler, a future or an iterator."""

from __future__ import annotations

import asyncio
import functools
import itertools
from typing import Any

import pytest
from nats import errors
from support.connecting import Connect
from support.waiting import eventually

pytestmark = pytest.mark.usefixtures("driver")

TIMEOUT = 30.0


async def publish(nc: Any, count: int, subject: str = "data") -> None:
    for number in range(count):
        await nc.publish(subject, b"%d" % number)
    await nc.flush()


class Collected(list[bytes]):
    """Payloads, and a way to wait for so many of them."""

    def __init__(self) -> None:
        super().__init__()
        self._grown = asyncio.Event()

    async def handler(self, msg: Any) -> None:
        self.append(msg.data)
        self._grown.set()

    async def wait(self, count: int) -> None:
        async def long_enough() -> None:
            while len(self) < count:
                self._grown.clear()
                await self._grown.wait()

        await asyncio.wait_for(long_enough(), TIMEOUT)


async def test_handler_sees_messages_in_order(connect: Connect) -> None:
    nc = await connect()
    got = Collected()
    await nc.subscribe("data", cb=got.handler)
    await publish(nc, 1000)
    await got.wait(1000)
    assert got == [b"%d" % number for number in range(1000)]


async def test_handler_runs_for_one_message_at_a_time(connect: Connect) -> None:
    nc = await connect()
    running, most, done = 0, 0, asyncio.Event()

    async def handler(msg: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        if msg.data == b"19":
            done.set()

    await nc.subscribe("data", cb=handler)
    await publish(nc, 20)
    await asyncio.wait_for(done.wait(), TIMEOUT)
    assert most == 1


async def test_handler_errors_are_reported_and_it_goes_on(connect: Connect) -> None:
    reported: list[str] = []

    async def error_cb(error: Exception) -> None:
        reported.append(repr(error))

    nc = await connect(error_cb=error_cb)
    got = Collected()

    async def handler(msg: Any) -> None:
        await got.handler(msg)
        if int(msg.data) % 2:
            raise ValueError(msg.data.decode())

    sub = await nc.subscribe("data", cb=handler)
    await publish(nc, 6)
    await asyncio.wait_for(sub.drain(), TIMEOUT)
    assert got == [b"0", b"1", b"2", b"3", b"4", b"5"]
    assert reported == ["ValueError('1')", "ValueError('3')", "ValueError('5')"]


async def test_error_callback_in_force_is_the_latest(connect: Connect) -> None:
    nc = await connect()
    reported: asyncio.Queue[Exception] = asyncio.Queue()

    async def handler(msg: Any) -> None:
        raise LookupError("seen")

    await nc.subscribe("data", cb=handler)

    async def error_cb(error: Exception) -> None:
        reported.put_nowait(error)

    nc._error_cb = error_cb
    await publish(nc, 1)
    assert isinstance(await asyncio.wait_for(reported.get(), TIMEOUT), LookupError)


async def test_kinds_of_handlers(connect: Connect) -> None:
    nc = await connect()
    got = Collected()

    async def with_prefix(prefix: bytes, msg: Any) -> None:
        msg.data = prefix + msg.data
        await got.handler(msg)

    await nc.subscribe("method", cb=got.handler)
    await nc.subscribe("partial", cb=functools.partial(with_prefix, b"p"))
    await publish(nc, 1, "method")
    await got.wait(1)
    await publish(nc, 1, "partial")
    await got.wait(2)
    assert got == [b"0", b"p0"]


class CallableObject:
    async def __call__(self, msg: Any) -> None:
        pass


@pytest.mark.parametrize("handler", [lambda msg: None, print, "text", CallableObject()])
async def test_a_handler_has_to_be_a_coroutine_function(connect: Connect, handler: Any) -> None:
    nc = await connect()
    with pytest.raises(errors.Error, match="must use coroutine for subscriptions"):
        await nc.subscribe("data", cb=handler)
    assert len(nc._subs) == 0


async def test_iterator(connect: Connect) -> None:
    nc = await connect()
    sub = await nc.subscribe("data")
    await publish(nc, 5)
    got = []
    async for msg in sub.messages:
        got.append(msg.data)
        if len(got) == 2:
            break
    # What the first loop left is there for the second, and so is what comes later.
    publisher = asyncio.ensure_future(publish(nc, 2))
    async for msg in sub.messages:
        got.append(msg.data)
        if len(got) == 7:
            break
    await publisher
    assert got == [b"0", b"1", b"2", b"3", b"4", b"0", b"1"]


async def test_no_iterator_and_no_next_msg_beside_a_handler(connect: Connect) -> None:
    nc = await connect()
    sub = await nc.subscribe("data", cb=Collected().handler)
    with pytest.raises(errors.Error, match="non iteration subscription type"):
        _ = sub.messages
    with pytest.raises(errors.Error, match="next_msg cannot be used in async subscriptions"):
        await sub.next_msg()


async def test_next_msg_and_iterator_share_the_messages(connect: Connect) -> None:
    nc = await connect()
    sub = await nc.subscribe("data")
    got: list[bytes] = []

    async def iterate() -> None:
        async for msg in sub.messages:
            got.append(msg.data)
            await asyncio.sleep(0)

    async def take() -> None:
        while True:
            got.append((await sub.next_msg(TIMEOUT)).data)
            await asyncio.sleep(0)

    tasks = [asyncio.ensure_future(work()) for work in (iterate, take, iterate, take)]
    await asyncio.sleep(0)
    await publish(nc, 400)
    await asyncio.wait_for(sub.drain(), TIMEOUT)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert sorted(map(int, got)) == list(range(400))


@pytest.mark.parametrize("timeout", [0, -1, 0.0, 0.01])
async def test_next_msg_times_out(connect: Connect, timeout: float) -> None:
    nc = await connect()
    sub = await nc.subscribe("data")
    with pytest.raises(errors.TimeoutError) as caught:
        await asyncio.wait_for(sub.next_msg(timeout), TIMEOUT)
    assert isinstance(caught.value, asyncio.TimeoutError)
    assert str(caught.value) == "nats: timeout"
    # The one who gave up takes no message along.
    await publish(nc, 1)
    assert (await sub.next_msg(TIMEOUT)).data == b"0"
    assert nc._core.census()[1] == 0, "no deadline is left"


@pytest.mark.parametrize("timeout", [0, -1, None, 1])
async def test_next_msg_gives_what_is_there_whatever_the_timeout(
    connect: Connect, timeout: float | None
) -> None:
    nc = await connect()
    sub = await nc.subscribe("data")
    await publish(nc, 1)
    assert (await sub.next_msg(timeout)).data == b"0"


async def test_next_msg_without_timeout_waits(connect: Connect) -> None:
    nc = await connect()
    sub = await nc.subscribe("data")
    waiting = asyncio.ensure_future(sub.next_msg(timeout=None))
    await nc.flush()
    assert not waiting.done()
    await publish(nc, 1)
    assert (await asyncio.wait_for(waiting, TIMEOUT)).data == b"0"


async def test_close_ends_waiting(connect: Connect) -> None:
    nc = await connect()
    sub = await nc.subscribe("data")
    waiting = [asyncio.ensure_future(sub.next_msg(timeout)) for timeout in (None, 30)]

    async def iterate() -> list[Any]:
        return [msg async for msg in sub.messages]

    iterating = asyncio.ensure_future(iterate())
    await nc.flush()
    await nc.close()
    results = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), TIMEOUT)
    assert [type(result) for result in results] == [errors.ConnectionClosedError] * 2
    assert await asyncio.wait_for(iterating, TIMEOUT) == []
    with pytest.raises(errors.ConnectionClosedError):
        await sub.next_msg()


async def test_concurrent_next_msg_callers_are_served_in_turn(connect: Connect) -> None:
    nc = await connect()
    sub = await nc.subscribe("data")
    callers = [asyncio.ensure_future(sub.next_msg(TIMEOUT)) for _ in range(10)]
    await nc.flush()
    await publish(nc, 10)
    msgs = await asyncio.wait_for(asyncio.gather(*callers), TIMEOUT)
    assert [int(msg.data) for msg in msgs] == list(range(10))


async def test_cancelled_callers_lose_no_message(connect: Connect) -> None:
    nc = await connect()
    sub = await nc.subscribe("data")
    got: list[int] = []
    for number in range(200):
        callers = [asyncio.ensure_future(sub.next_msg(TIMEOUT)) for _ in range(3)]
        await asyncio.sleep(0)
        await nc.publish("data", b"%d" % number)
        # Cancelled before, just when and after the message arrives.
        for _ in range(number % 7):
            await asyncio.sleep(0)
        callers[0].cancel()
        await asyncio.wait(callers, timeout=TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        await nc.flush()
        for caller in callers:
            caller.cancel()
        results = await asyncio.gather(*callers, return_exceptions=True)
        got += [int(msg.data) for msg in results if not isinstance(msg, BaseException)]
    got += [int((await sub.next_msg(TIMEOUT)).data) for _ in range(int(sub.pending_msgs))]
    assert got == list(range(200))
    assert nc._core.census()[1] == 0


async def test_callers_that_time_out_lose_no_message(connect: Connect) -> None:
    nc = await connect()
    sub = await nc.subscribe("data")
    got: list[int] = []

    async def take() -> None:
        while len(got) < 300:
            try:
                got.append(int((await sub.next_msg(0.001)).data))
            except errors.TimeoutError:
                pass

    takers = asyncio.gather(*(take() for _ in range(5)))
    for number in range(300):
        await nc.publish("data", b"%d" % number)
        if number % 3 == 0:
            await asyncio.sleep(0.001)
    await asyncio.wait_for(takers, TIMEOUT)
    assert sorted(got) == list(range(300))


async def test_queue_group_over_several_clients(connect: Connect) -> None:
    publisher, *members = [await connect() for _ in range(4)]
    subs = [await member.subscribe("data", "workers") for member in members]
    other_group = await members[0].subscribe("data", queue="others")
    everything = await members[1].subscribe("data")
    assert subs[0].queue == "workers"
    for member in members:
        await member.flush()
    await publish(publisher, 300)
    for member in members:
        await member.flush()
    shares = [sub.pending_msgs for sub in subs]
    assert sum(shares) == 300
    assert all(share > 0 for share in shares), "all take part"
    assert other_group.pending_msgs == everything.pending_msgs == 300
    got = [int((await sub.next_msg(TIMEOUT)).data) for sub in subs for _ in range(sub.pending_msgs)]
    assert sorted(got) == list(range(300))


@pytest.mark.parametrize(
    ("pattern", "matching"),
    [
        ("a.*", ["a.b", "a.c"]),
        ("a.>", ["a.b", "a.c", "a.b.c"]),
        ("*.b", ["a.b", "x.b"]),
        ("*.*.*", ["a.b.c"]),
        (">", ["a", "a.b", "a.c", "x.b", "a.b.c"]),
        ("a", ["a"]),
    ],
)
async def test_wildcards(connect: Connect, pattern: str, matching: list[str]) -> None:
    nc = await connect()
    sub = await nc.subscribe(pattern)
    for subject in ("a", "a.b", "a.c", "x.b", "a.b.c"):
        await nc.publish(subject, subject.encode())
    await nc.flush()
    msgs = [await sub.next_msg(TIMEOUT) for _ in range(sub.pending_msgs)]
    assert [msg.subject for msg in msgs] == matching
    assert [msg.data.decode() for msg in msgs] == matching


async def test_overlapping_subscriptions_each_get_the_message(connect: Connect) -> None:
    nc = await connect()
    subs = [await nc.subscribe(subject) for subject in ("a.b", "a.b", "a.*", ">")]
    assert len({sub._id for sub in subs}) == 4
    await nc.publish("a.b", b"x")
    for sub in subs:
        msg = await sub.next_msg(TIMEOUT)
        assert (msg.data, msg.sid) == (b"x", sub._id)


@pytest.mark.parametrize(
    "subject",
    [
        "",
        None,
        "a b",
        "a\r\nb",
        "\t",
        ".a",
        "a.",
        "a..b",
        "a*",
        "*a.b",
        "a.>b",
        ">.a",
        "a.>.b",
        "**",
    ],
)
async def test_bad_subjects(connect: Connect, subject: Any) -> None:
    nc = await connect()
    with pytest.raises(errors.BadSubjectError):
        await nc.subscribe(subject)
    assert len(nc._subs) == 0
    await nc.flush()
    assert nc.is_connected


async def test_queue_names(connect: Connect) -> None:
    nc = await connect()
    for queue in ("a b", "a\r\nPUB x 0", "\t"):
        with pytest.raises(errors.BadSubjectError):
            await nc.subscribe("data", queue=queue)
    for queue in ("", "a.*", "é", "workers>"):
        sub = await nc.subscribe("data", queue=queue)
        await publish(nc, 1)
        assert sub.pending_msgs == 1
        await sub.unsubscribe()


async def test_future_takes_the_first_message(connect: Connect) -> None:
    nc = await connect()
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    sub = await nc.subscribe("data", future=future)
    await publish(nc, 3)
    assert (await asyncio.wait_for(future, TIMEOUT)).data == b"0"
    assert (sub.delivered, sub.pending_msgs, sub.pending_bytes) == (1, 0, 0)
    assert nc.stats["in_msgs"] == 1, "the server knows that one is enough"
    await sub.unsubscribe()
    with pytest.raises(errors.Error, match="non iteration subscription type"):
        _ = sub.messages


async def test_a_cancelled_future_is_left_alone(connect: Connect) -> None:
    nc = await connect()
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    await nc.subscribe("data", future=future)
    future.cancel()
    await publish(nc, 2)
    assert future.cancelled()
    assert nc.is_connected


@pytest.mark.parametrize("kind", ["handler", "iterator"])
async def test_max_msgs_ends_the_subscription(connect: Connect, kind: str) -> None:
    nc = await connect()
    got = Collected()
    sub = await nc.subscribe("data", cb=got.handler if kind == "handler" else None, max_msgs=3)
    await publish(nc, 5)
    assert sub.delivered == 3
    if kind == "iterator":
        assert sub._id not in nc._subs
        got.extend([msg.data async for msg in sub.messages])
    await got.wait(3)
    assert got == [b"0", b"1", b"2"]
    await eventually(lambda: sub._id not in nc._subs)


async def test_counters_at_each_step(connect: Connect) -> None:
    nc = await connect()
    sub = await nc.subscribe("data")

    def counters() -> tuple[int, int, int]:
        return int(sub.pending_msgs), int(sub.pending_bytes), int(sub.delivered)

    assert counters() == (0, 0, 0)
    for payload in (b"", b"abc", b"12345"):
        await nc.publish("data", payload, headers={"Not": "counted"})
    await nc.flush()
    assert counters() == (3, 8, 3)
    await sub.next_msg(TIMEOUT)
    assert counters() == (2, 8, 3)
    await sub.next_msg(TIMEOUT)
    assert counters() == (1, 5, 3)
    async for _ in sub.messages:
        break
    assert counters() == (0, 0, 3)
    await nc.publish("data", b"x")
    await nc.flush()
    assert counters() == (1, 1, 4)


@pytest.mark.parametrize("kind", ["handler", "iterator", "next_msg"])
async def test_a_flood_leaves_other_tasks_their_turns(connect: Connect, kind: str) -> None:
    """A consumer that never has to wait must give way by itself."""
    nc = await connect()
    turns, seen = 0, 0
    turns_at: list[int] = []

    def note() -> None:
        nonlocal seen
        seen += 1
        if seen % 1000 == 0:
            turns_at.append(turns)

    async def handler(msg: Any) -> None:
        note()

    sub = await nc.subscribe("data", cb=handler if kind == "handler" else None)

    async def consume() -> None:
        if kind == "iterator":
            async for _ in sub.messages:
                note()
        while kind == "next_msg":
            await sub.next_msg(TIMEOUT)
            note()

    async def tick() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    # All queued before anybody consumes, so that the consumer never runs dry.
    for _ in range(10_000):
        await nc.publish("data", b"x")
    ticker, consumer = asyncio.ensure_future(tick()), asyncio.ensure_future(consume())
    await nc.flush()
    await asyncio.wait_for(sub.drain(), TIMEOUT)
    ticker.cancel()
    consumer.cancel()
    await asyncio.gather(ticker, consumer, return_exceptions=True)
    assert seen == 10_000
    progress = [later - earlier for earlier, later in itertools.pairwise(turns_at)]
    assert min(progress) > 0, progress
