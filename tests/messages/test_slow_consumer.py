"""Pending limits: what is dropped, how that is reported, and that it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from nats import errors
from support.connecting import Connect

pytestmark = pytest.mark.usefixtures("driver")

TIMEOUT = 30.0


class Reports:
    """An ``error_cb`` that keeps what it is told."""

    def __init__(self) -> None:
        self.errors: list[Any] = []

    async def __call__(self, error: Exception) -> None:
        self.errors.append(error)

    @property
    def callback(self) -> Any:
        # connect() wants a coroutine function; an object that can be called is none.
        return self.__call__


@pytest.fixture
def reports() -> Reports:
    return Reports()


async def publish(nc: Any, count: int, size: int = 1, *, start: int = 0) -> None:
    for number in range(start, start + count):
        await nc.publish("data", b"%0*d" % (size, number), reply=f"r.{number}")
    await nc.flush()


async def test_message_limit(connect: Connect, reports: Reports) -> None:
    nc = await connect(error_cb=reports.callback)
    sub = await nc.subscribe("data", pending_msgs_limit=3)
    await publish(nc, 10)
    # Reports come in the order of the stream: ahead of the PONG that ended the flush.
    assert len(reports.errors) == 7
    assert (sub.pending_msgs, sub.pending_bytes, sub.delivered) == (3, 3, 10)
    assert [(await sub.next_msg(TIMEOUT)).data for _ in range(3)] == [b"0", b"1", b"2"]
    assert (sub.pending_msgs, sub.pending_bytes, sub.delivered) == (0, 0, 10)


async def test_one_report_per_dropped_message(connect: Connect, reports: Reports) -> None:
    nc = await connect(error_cb=reports.callback)
    sub = await nc.subscribe("data", pending_msgs_limit=1)
    await publish(nc, 4)
    assert [type(error) for error in reports.errors] == [errors.SlowConsumerError] * 3
    assert [error.reply for error in reports.errors] == ["r.1", "r.2", "r.3"]
    for error in reports.errors:
        assert error.subject == "data"
        assert error.sub is sub
        assert error.sid == sub._id
        assert "nats: slow consumer, messages dropped" in str(error)


async def test_byte_limit(connect: Connect, reports: Reports) -> None:
    nc = await connect(error_cb=reports.callback)
    sub = await nc.subscribe("data", pending_bytes_limit=10)
    await publish(nc, 5, size=4)
    # Reaching the limit is too much already: 4, 8, and no third.
    assert (sub.pending_msgs, sub.pending_bytes) == (2, 8)
    assert len(reports.errors) == 3
    await nc.publish("data", b"1")
    await nc.flush()
    assert (sub.pending_msgs, sub.pending_bytes) == (3, 9), "a smaller one still fits"


async def test_no_limit(connect: Connect, reports: Reports) -> None:
    nc = await connect(error_cb=reports.callback)
    sub = await nc.subscribe("data", pending_msgs_limit=0, pending_bytes_limit=0)
    await publish(nc, 1000, size=100)
    assert (sub.pending_msgs, sub.pending_bytes) == (1000, 100_000)
    assert reports.errors == []


async def test_recovery(connect: Connect, reports: Reports) -> None:
    nc = await connect(error_cb=reports.callback)
    sub = await nc.subscribe("data", pending_msgs_limit=2)
    for burst in range(3):
        start = burst * 5
        await publish(nc, 5, start=start)
        got = [int((await sub.next_msg(TIMEOUT)).data) for _ in range(2)]
        assert got == [start, start + 1]
        assert len(reports.errors) == 3 * (burst + 1)
    await publish(nc, 1, start=99)
    assert (await sub.next_msg(TIMEOUT)).data == b"99"
    assert len(reports.errors) == 9


async def test_a_slow_handler(connect: Connect, reports: Reports) -> None:
    nc = await connect(error_cb=reports.callback)
    started, go_on = asyncio.Event(), asyncio.Event()
    handled: list[bytes] = []

    async def handler(msg: Any) -> None:
        started.set()
        await go_on.wait()
        handled.append(msg.data)

    sub = await nc.subscribe("data", cb=handler, pending_msgs_limit=2)
    await publish(nc, 1)
    await asyncio.wait_for(started.wait(), TIMEOUT)
    # One in the handler doesn't count as pending.
    assert sub.pending_msgs == 0
    await publish(nc, 5, start=1)
    assert sub.pending_msgs == 2
    assert len(reports.errors) == 3
    go_on.set()
    await asyncio.wait_for(sub.drain(), TIMEOUT)
    assert handled == [b"0", b"1", b"2"]


async def test_other_subscriptions_are_not_affected(connect: Connect, reports: Reports) -> None:
    nc = await connect(error_cb=reports.callback)
    slow = await nc.subscribe("data", pending_msgs_limit=1)
    fast = await nc.subscribe("data")
    await publish(nc, 50)
    assert (slow.pending_msgs, fast.pending_msgs) == (1, 50)
    assert {error.sub for error in reports.errors} == {slow}


async def test_limits_can_be_assigned(connect: Connect, reports: Reports) -> None:
    nc = await connect(error_cb=reports.callback)
    sub = await nc.subscribe("data", pending_msgs_limit=7, pending_bytes_limit=1000)
    assert (sub._pending_msgs_limit, sub._pending_bytes_limit) == (7, 1000)
    sub._pending_msgs_limit = 3
    await publish(nc, 5)
    assert sub.pending_msgs == 3
    sub._pending_msgs_limit, sub._pending_bytes_limit = 100, 6
    await publish(nc, 5)
    assert (sub.pending_msgs, sub.pending_bytes) == (5, 5)
    assert (sub._pending_msgs_limit, sub._pending_bytes_limit) == (100, 6)


async def test_dropped_messages_count_towards_an_unsubscribe_limit(
    connect: Connect, reports: Reports
) -> None:
    nc = await connect(error_cb=reports.callback)
    sub = await nc.subscribe("data", pending_msgs_limit=2)
    await sub.unsubscribe(limit=5)
    await publish(nc, 8)
    assert (sub.delivered, sub.pending_msgs) == (5, 2)
    assert len(reports.errors) == 3
    received = [msg.data async for msg in sub.messages]
    assert received == [b"0", b"1"]


async def test_a_failing_error_callback_does_not_stop_delivery(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    calls = 0

    async def error_cb(error: Exception) -> None:
        nonlocal calls
        calls += 1
        raise RuntimeError("the callback is broken")

    nc = await connect(error_cb=error_cb)
    sub = await nc.subscribe("data", pending_msgs_limit=1)
    await publish(nc, 4)
    assert calls == 3
    assert (await sub.next_msg(TIMEOUT)).data == b"0"
    await publish(nc, 1, start=7)
    assert (await sub.next_msg(TIMEOUT)).data == b"7"
    assert "the callback is broken" in caplog.text
