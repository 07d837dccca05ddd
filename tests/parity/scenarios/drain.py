"""Draining subscriptions and connections."""

from __future__ import annotations

import asyncio
from typing import Any

from parity.harness import Context, scenario, settle


async def publish(nc: Any, subject: str, count: int) -> None:
    for number in range(count):
        await nc.publish(subject, b"%d" % number)
    await settle(nc)


@scenario
async def subscription_with_callback(ctx: Context) -> None:
    nc = await ctx.connect()

    async def handler(msg: Any) -> None:
        await asyncio.sleep(0.01)
        ctx.say("got", msg.data)

    sub = await nc.subscribe("foo", cb=handler)
    await publish(nc, "foo", 4)
    await sub.drain()
    ctx.say("drained", sub.pending_msgs, sub.delivered, sub._closed, len(nc._subs))
    await publish(nc, "foo", 2)
    ctx.say(sub.delivered, nc.stats["in_msgs"], "connected", nc.is_connected)
    await ctx.attempt("drain again", sub.drain())
    await ctx.attempt("unsubscribe", sub.unsubscribe())


@scenario
async def subscription_with_iterator(ctx: Context) -> None:
    nc = await ctx.connect()
    sub = await nc.subscribe("foo")
    await publish(nc, "foo", 3)
    draining = asyncio.create_task(sub.drain())
    await asyncio.sleep(0.05)
    ctx.say("done", draining.done(), "pending", sub.pending_msgs)
    async for msg in sub.messages:
        ctx.say("got", msg.data)
    await asyncio.wait_for(draining, 2)
    ctx.say("pending", sub.pending_msgs, "registered", len(nc._subs))


@scenario
async def subscription_with_next_msg(ctx: Context) -> None:
    nc = await ctx.connect()
    sub = await nc.subscribe("foo")
    await publish(nc, "foo", 2)
    draining = asyncio.create_task(sub.drain())
    await asyncio.sleep(0.05)
    for _ in range(2):
        ctx.say("done", draining.done(), (await sub.next_msg()).data)
    await asyncio.wait_for(draining, 2)
    ctx.say("pending", sub.pending_msgs, "registered", len(nc._subs))


@scenario
async def idle_subscription(ctx: Context) -> None:
    nc = await ctx.connect()
    sub = await nc.subscribe("foo")
    await ctx.attempt("drain", sub.drain())
    ctx.say([msg.data async for msg in sub.messages], sub._closed, len(nc._subs))


@scenario
async def connection(ctx: Context) -> None:
    nc = await ctx.connect()

    async def handler(msg: Any) -> None:
        await ctx.until("draining", lambda: nc.is_draining)
        ctx.say("got", msg.data, "draining", nc.is_draining, "connected", nc.is_connected)
        await nc.publish("answers", msg.data)

    other = await ctx.connect(**ctx.callbacks("other"))
    answers = await other.subscribe("answers")
    await settle(other)
    await nc.subscribe("foo", cb=handler)
    await publish(nc, "foo", 3)
    await ctx.attempt("drain", nc.drain())
    ctx.say("closed", nc.is_closed, "status", nc._status, "last_error", nc.last_error)
    ctx.say([(await answers.next_msg()).data for _ in range(3)])


@scenario
async def connection_twice(ctx: Context) -> None:
    nc = await ctx.connect()
    release = asyncio.Event()

    async def handler(msg: Any) -> None:
        await release.wait()
        ctx.say("got", msg.data)

    await nc.subscribe("foo", cb=handler)
    await publish(nc, "foo", 1)
    first = asyncio.create_task(nc.drain())
    await ctx.until("draining", lambda: nc.is_draining)
    await ctx.attempt("drain again", nc.drain())
    ctx.say("closed", nc.is_closed)
    release.set()
    await first
    ctx.say("closed", nc.is_closed)
    await ctx.attempt("drain once more", nc.drain())


@scenario
async def forbidden_while_draining(ctx: Context) -> None:
    nc = await ctx.connect()
    release = asyncio.Event()

    async def handler(msg: Any) -> None:
        await release.wait()

    sub = await nc.subscribe("foo", cb=handler)
    other = await nc.subscribe("bar")
    await publish(nc, "foo", 1)
    drain = asyncio.create_task(nc.drain())
    await ctx.until("draining", lambda: nc.is_draining)
    ctx.say("connected", nc.is_connected, "pubs", nc.is_draining_pubs, "status", nc._status)
    await ctx.attempt("subscribe", nc.subscribe("baz"))
    await ctx.attempt("unsubscribe", other.unsubscribe())
    await ctx.attempt("drain a subscription", sub.drain())
    await ctx.attempt("publish", nc.publish("baz", b""))
    await ctx.attempt("flush", nc.flush())
    await ctx.attempt("first request", nc.request("baz", b"", timeout=0.1))
    release.set()
    await drain


@scenario
async def requests_while_draining(ctx: Context) -> None:
    nc = await ctx.connect()
    helper = await ctx.connect(**ctx.callbacks("helper"))

    async def answer(msg: Any) -> None:
        await msg.respond(b"answer")

    await helper.subscribe("ask", cb=answer)
    await settle(helper)
    ctx.say((await nc.request("ask", timeout=2)).data)

    async def handler(msg: Any) -> None:
        await ctx.until("draining", lambda: nc.is_draining)
        ctx.say("draining", nc.is_draining)

    await nc.subscribe("foo", cb=handler)
    await publish(nc, "foo", 1)
    await nc.drain()
    ctx.say("closed", nc.is_closed)


@scenario
async def timeout(ctx: Context) -> None:
    nc = await ctx.connect(drain_timeout=0.1)
    cancelled = []

    async def handler(msg: Any) -> None:
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            cancelled.append(msg.data)
            raise

    await nc.subscribe("foo", cb=handler)
    await publish(nc, "foo", 2)
    await ctx.attempt("drain", nc.drain())
    await asyncio.sleep(0.02)
    ctx.say("closed", nc.is_closed, "last_error", nc.last_error, "subscriptions", len(nc._subs))
    ctx.say("cancelled", cancelled)


@scenario
async def after_close(ctx: Context) -> None:
    nc = await ctx.connect()
    await nc.close()
    await ctx.attempt("drain", nc.drain())


@scenario
async def while_reconnecting(ctx: Context) -> None:
    nc = await ctx.connect(reconnect_time_wait=0.1, **ctx.callbacks(once=True))
    sub = await nc.subscribe("foo")
    await nc.flush()
    ctx.server.kill()
    await ctx.until_said("disconnected_cb")
    await ctx.attempt("drain", nc.drain())
    ctx.say("reconnecting", nc.is_reconnecting, "draining", nc.is_draining, sub._closed)


@scenario
async def nothing_subscribed(ctx: Context) -> None:
    nc = await ctx.connect()
    await ctx.attempt("drain", nc.drain())
    ctx.say("closed", nc.is_closed)


@scenario
async def publications_are_sent_first(ctx: Context) -> None:
    nc = await ctx.connect()
    other = await ctx.connect(**ctx.callbacks("other"))
    sub = await other.subscribe("foo")
    await settle(other)
    for number in range(500):
        await nc.publish("foo", b"%d" % number)
    await nc.drain()
    await ctx.until("all came", lambda: sub.pending_msgs == 500)
    got = [(await sub.next_msg()).data for _ in range(sub.pending_msgs)]
    ctx.say("in order", got == [b"%d" % number for number in range(500)])
