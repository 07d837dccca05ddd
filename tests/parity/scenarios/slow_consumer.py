"""Subscriptions whose limits are reached: what is dropped, and what is told about it."""

from __future__ import annotations

import asyncio
from typing import Any

from nats.errors import SlowConsumerError
from parity.harness import Context, scenario, settle


async def publish(nc: Any, count: int, payload: bytes = b"") -> None:
    for number in range(count):
        await nc.publish("foo", payload or b"%d" % number, reply="bar")
    await settle(nc)


@scenario
async def limit_of_messages(ctx: Context) -> None:
    nc = await ctx.connect()
    sub = await nc.subscribe("foo", pending_msgs_limit=3)
    await publish(nc, 6)
    ctx.say(sub.pending_msgs, sub.pending_bytes, sub.delivered, nc.stats["in_msgs"])
    for _ in range(3):
        ctx.say((await sub.next_msg()).data)
    await publish(nc, 1)
    ctx.say((await sub.next_msg()).data, "connected", nc.is_connected)
    ctx.say("last_error", nc.last_error, nc.stats)


@scenario
async def limit_of_bytes(ctx: Context) -> None:
    for limit in (9, 10, 11):
        nc = await ctx.connect()
        sub = await nc.subscribe("foo", pending_bytes_limit=limit)
        await publish(nc, 4, b"xxxxx")
        ctx.say("limit", limit, sub.pending_msgs, sub.pending_bytes, sub.delivered)
        await nc.close()


@scenario
async def one_message_over_the_limit_of_bytes(ctx: Context) -> None:
    nc = await ctx.connect()
    sub = await nc.subscribe("foo", pending_bytes_limit=10)
    await nc.publish("foo", b"x" * 20)
    await nc.publish("foo", b"small")
    await settle(nc)
    ctx.say(sub.pending_msgs, sub.pending_bytes, sub.delivered)
    ctx.say((await sub.next_msg()).data)


@scenario
async def no_limits(ctx: Context) -> None:
    nc = await ctx.connect()
    sub = await nc.subscribe("foo", pending_msgs_limit=0, pending_bytes_limit=0)
    await publish(nc, 1000, b"x" * 100)
    ctx.say(sub.pending_msgs, sub.pending_bytes, sub.delivered)
    sub = await nc.subscribe("foo", pending_msgs_limit=-1, pending_bytes_limit=-1)
    await publish(nc, 1000, b"x" * 100)
    ctx.say(sub.pending_msgs, sub.pending_bytes, sub.delivered)


@scenario
async def contents_of_the_error(ctx: Context) -> None:
    errors: list[SlowConsumerError] = []

    async def error_cb(error: Any) -> None:
        errors.append(error)

    nc = await ctx.connect(error_cb=error_cb)
    sub = await nc.subscribe("foo.*", pending_msgs_limit=1)
    for number in range(3):
        await nc.publish(f"foo.{number}", b"x", reply="bar" if number == 1 else "")
    await settle(nc)
    for error in errors:
        ctx.say(type(error).__qualname__, error.subject, error.reply, error.sid, error.sub is sub)
        ctx.say(str(error).replace(repr(sub), "SUB"))


@scenario
async def limit_of_messages_with_a_callback(ctx: Context) -> None:
    nc = await ctx.connect()
    release = asyncio.Event()

    async def handler(msg: Any) -> None:
        ctx.say("got", msg.data)
        await release.wait()

    sub = await nc.subscribe("foo", cb=handler, pending_msgs_limit=2)
    await nc.publish("foo", b"first")
    await ctx.until_said("got")
    ctx.say("pending", sub.pending_msgs, sub.pending_bytes)
    await publish(nc, 4)
    ctx.say("pending", sub.pending_msgs, sub.pending_bytes, sub.delivered)
    release.set()
    await ctx.until_said("got", 3)
    ctx.say("pending", sub.pending_msgs, sub.pending_bytes, sub.delivered)
    await publish(nc, 1)
    await ctx.until_said("got", 4)


@scenario
async def limit_of_bytes_with_a_callback(ctx: Context) -> None:
    nc = await ctx.connect()
    release = asyncio.Event()

    async def handler(msg: Any) -> None:
        ctx.say("got", len(msg.data))
        await release.wait()

    sub = await nc.subscribe("foo", cb=handler, pending_bytes_limit=25)
    await nc.publish("foo", b"x" * 20)
    await ctx.until_said("got")
    await publish(nc, 4, b"x" * 10)
    ctx.say("pending", sub.pending_msgs, sub.pending_bytes, sub.delivered)
    release.set()
    await ctx.until_said("got", 3)
    ctx.say("pending", sub.pending_msgs, sub.pending_bytes)


@scenario
async def limit_of_bytes_changed_later(ctx: Context) -> None:
    nc = await ctx.connect()
    sub = await nc.subscribe("foo")
    await publish(nc, 2, b"xxxxx")
    sub._pending_bytes_limit = 12
    await publish(nc, 2, b"xxxxx")
    ctx.say(sub.pending_msgs, sub.pending_bytes, sub.delivered)
    sub._pending_bytes_limit = 100
    await publish(nc, 2, b"xxxxx")
    ctx.say(sub.pending_msgs, sub.pending_bytes, sub.delivered)


@scenario
async def dropped_messages_count_for_the_limit_of_unsubscribe(ctx: Context) -> None:
    nc = await ctx.connect()
    sub = await nc.subscribe("foo", pending_msgs_limit=2)
    await sub.unsubscribe(limit=4)
    await publish(nc, 6)
    ctx.say(sub.pending_msgs, sub.delivered, "registered", len(nc._subs))


@scenario
async def others_are_not_affected(ctx: Context) -> None:
    nc = await ctx.connect()
    slow = await nc.subscribe("foo", pending_msgs_limit=1)
    fast = await nc.subscribe("foo")
    await publish(nc, 4)
    ctx.say(slow.pending_msgs, fast.pending_msgs, slow.delivered, fast.delivered)
