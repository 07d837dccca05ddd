"""Unsubscribing: at once, after a number of messages, twice, and what is left over."""

from __future__ import annotations

import asyncio
from typing import Any

from parity.harness import Context, scenario, settle


async def publish(nc: Any, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        await nc.publish("foo", b"%d" % number)
    await settle(nc)


@scenario
async def at_once(ctx: Context) -> None:
    nc = await ctx.connect()
    sub = await nc.subscribe("foo")
    await publish(nc, 2)
    await sub.unsubscribe()
    ctx.say("registered", len(nc._subs), "closed", sub._closed, sub.pending_msgs)
    await publish(nc, 2, first=2)
    ctx.say(sub.pending_msgs, sub.delivered, nc.stats["in_msgs"])
    ctx.say((await sub.next_msg()).data)
    await ctx.attempt("unsubscribe again", sub.unsubscribe())
    await ctx.attempt("unsubscribe with a limit", sub.unsubscribe(5))
    await ctx.attempt("drain", sub.drain())


@scenario
async def with_a_callback(ctx: Context) -> None:
    nc = await ctx.connect()

    async def handler(msg: Any) -> None:
        ctx.say("got", msg.data)

    sub = await nc.subscribe("foo", cb=handler)
    await publish(nc, 2)
    await ctx.until_said("got", 2)
    await sub.unsubscribe()
    await publish(nc, 2, first=2)
    await asyncio.sleep(0.02)
    ctx.say(sub.delivered, sub.pending_msgs, len(nc._subs))


@scenario
async def limit_then_messages(ctx: Context) -> None:
    nc = await ctx.connect()
    sub = await nc.subscribe("foo")
    await sub.unsubscribe(limit=3)
    ctx.say("registered", len(nc._subs), "closed", sub._closed, "limit", sub._max_msgs)
    await publish(nc, 5)
    ctx.say("registered", len(nc._subs), sub.pending_msgs, sub.delivered, nc.stats["in_msgs"])
    ctx.say([msg.data async for msg in sub.messages])
    ctx.say([msg.data async for msg in sub.messages])
    await ctx.attempt("next_msg", sub.next_msg(timeout=0.02))
    ctx.say("closed", sub._closed)


@scenario
async def limit_already_reached(ctx: Context) -> None:
    nc = await ctx.connect()
    for limit in (1, 2, 3):
        sub = await nc.subscribe("foo")
        await publish(nc, 2)
        for _ in range(2):
            await sub.next_msg()
        await sub.unsubscribe(limit=limit)
        await settle(nc)
        ctx.say("limit", limit, "closed", sub._closed, "registered", len(nc._subs))
        await publish(nc, 2, first=2)
        ctx.say(sub.delivered, sub.pending_msgs, "registered", len(nc._subs))


@scenario
async def limit_reached_with_messages_waiting(ctx: Context) -> None:
    nc = await ctx.connect()
    sub = await nc.subscribe("foo")
    await publish(nc, 3)
    await sub.unsubscribe(limit=2)
    await settle(nc)
    ctx.say(sub.pending_msgs, sub.delivered, "closed", sub._closed)
    for _ in range(3):
        ctx.say((await sub.next_msg()).data)


@scenario
async def limit_with_next_msg(ctx: Context) -> None:
    nc = await ctx.connect()
    sub = await nc.subscribe("foo")
    await sub.unsubscribe(limit=2)
    await publish(nc, 3)
    for _ in range(2):
        ctx.say((await sub.next_msg()).data)
    await ctx.attempt("one more", sub.next_msg(timeout=0.02))
    await ctx.attempt("unsubscribe", sub.unsubscribe())
    await ctx.attempt("unsubscribe", sub.unsubscribe())


@scenario
async def limit_raised_and_lowered(ctx: Context) -> None:
    nc = await ctx.connect()
    sub = await nc.subscribe("foo")
    await sub.unsubscribe(limit=2)
    await sub.unsubscribe(limit=4)
    await publish(nc, 6)
    ctx.say(sub.delivered, sub.pending_msgs, "registered", len(nc._subs))


@scenario
async def limit_with_a_callback(ctx: Context) -> None:
    nc = await ctx.connect()

    async def handler(msg: Any) -> None:
        ctx.say("got", msg.data)

    sub = await nc.subscribe("foo", cb=handler)
    await sub.unsubscribe(limit=3)
    await publish(nc, 5)
    await ctx.until_said("got", 3)
    await asyncio.sleep(0.02)
    ctx.say(sub.delivered, sub.pending_msgs, "registered", len(nc._subs))


@scenario(
    differs="messages after the first are lost when their handler suspends",
    expected=["got b'0'", "got b'1'", "got b'2'", "3 0"],
)
async def limit_with_a_callback_that_suspends(ctx: Context) -> None:
    nc = await ctx.connect()

    async def handler(msg: Any) -> None:
        await asyncio.sleep(0.01)
        ctx.say("got", msg.data)

    sub = await nc.subscribe("foo", cb=handler)
    await sub.unsubscribe(limit=3)
    await publish(nc, 5)
    await asyncio.sleep(0.2)
    ctx.say(sub.delivered, sub.pending_msgs)


@scenario
async def iterating_ends(ctx: Context) -> None:
    nc = await ctx.connect()
    sub = await nc.subscribe("foo")

    async def iterate() -> None:
        async for msg in sub.messages:
            ctx.say("got", msg.data)
        ctx.say("end")

    iterating = asyncio.create_task(iterate())
    await publish(nc, 2)
    await ctx.until_said("got", 2)
    await sub.unsubscribe()
    await asyncio.wait_for(iterating, 2)


@scenario
async def inside_the_iteration(ctx: Context) -> None:
    nc = await ctx.connect()
    sub = await nc.subscribe("foo")
    await publish(nc, 4)
    async for msg in sub.messages:
        ctx.say("got", msg.data)
        if msg.data == b"1":
            await sub.unsubscribe()
    ctx.say("end", sub.pending_msgs)


@scenario
async def inside_the_callback(ctx: Context) -> None:
    nc = await ctx.connect()

    async def handler(msg: Any) -> None:
        ctx.say("got", msg.data)
        await sub.unsubscribe()
        ctx.say("unsubscribed")

    sub = await nc.subscribe("foo", cb=handler)
    await publish(nc, 1)
    await ctx.until_said("unsubscribed")
    await publish(nc, 2)
    await asyncio.sleep(0.02)
    ctx.say(len(nc._subs), nc.stats["in_msgs"])
