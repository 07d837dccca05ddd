"""Draining and closing while subscriptions whose auto-unsubscribe limit was reached are handled."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.waiting import eventually, within

pytestmark = pytest.mark.usefixtures("driver")


async def test_handlers_of_subscriptions_whose_limit_was_reached(connect: Connect) -> None:
    """The subscriptions are over, what they have received isn't."""
    nc = await connect()
    other = await connect()
    answers = await other.subscribe("answers")
    await other.flush()

    async def answer(msg: Any) -> None:
        await asyncio.sleep(0.01)
        await nc.publish("answers", msg.data)

    sub = await nc.subscribe("a", cb=answer)
    await sub.unsubscribe(limit=3)
    for number in range(3):
        await nc.publish("a", b"%d" % number)
    await nc.flush()
    assert sub.delivered == 3
    await within(nc.drain())
    assert [(await answers.next_msg(5)).data for _ in range(3)] == [b"0", b"1", b"2"]


async def test_closing_while_a_handler_of_such_a_subscription_runs(connect: Connect) -> None:
    nc = await connect()
    begun = asyncio.Event()
    cancelled = asyncio.Event()

    async def handle(msg: Any) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    await nc.subscribe("a", cb=handle, max_msgs=1)
    await nc.publish("a")
    await within(begun.wait())
    await nc.flush()
    await within(nc.close())
    await within(cancelled.wait())


@pytest.mark.parametrize("when", ["before", "meanwhile"])
async def test_closing_while_nobody_takes_what_is_drained(connect: Connect, when: str) -> None:
    """The limit is reached before the drain begins, or while it goes on."""
    messages = b"MSG a 1 1\r\nx\r\n" * 2

    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        await client.expect(b"SUB ")
        await client.expect(b"UNSUB 1 2")
        if when == "before":
            await client.write(messages)
        assert await client.read_line() == b"UNSUB 1"
        await client.expect(b"PING")
        if when == "meanwhile":
            await client.write(messages)
        await client.write(b"PONG\r\n")
        await client.serve()

    async with FakeServer(handler) as server:
        nc = await connect(server)
        sub = await nc.subscribe("a", max_msgs=2)
        if when == "before":
            await eventually(lambda: sub.delivered == 2)
        draining = asyncio.ensure_future(sub.drain())
        await eventually(lambda: sub._draining and sub.delivered == 2)
        await within(nc.flush())
        assert not draining.done()
        await within(nc.close())
        await within(draining)
        assert not nc._subs
