"""Closing in every state, and what waits for the connection meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

from parity.harness import Context, scenario, settle


@scenario
async def twice(ctx: Context) -> None:
    nc = await ctx.connect()
    await ctx.attempt("close", nc.close())
    await ctx.attempt("close again", nc.close())
    ctx.say("closed", nc.is_closed, "status", nc._status, "last_error", nc.last_error)
    ctx.say(nc.connected_url, nc.client_id, nc.client_ip)


@scenario
async def state_seen_by_the_callbacks(ctx: Context) -> None:
    async def disconnected_cb() -> None:
        ctx.say("disconnected_cb", nc.is_closed, nc.is_connected, len(nc._subs), nc._status)

    async def closed_cb() -> None:
        ctx.say("closed_cb", nc.is_closed, nc.is_connected, len(nc._subs), nc._status)

    nc = await ctx.connect(disconnected_cb=disconnected_cb, closed_cb=closed_cb)
    await nc.subscribe("foo")
    await nc.close()


@scenario
async def flush_and_rtt_afterwards(ctx: Context) -> None:
    nc = await ctx.connect()
    await nc.close()
    await ctx.attempt("flush", nc.flush())
    await ctx.attempt("flush with a bad timeout", nc.flush(timeout=0))
    await ctx.attempt("rtt", nc.rtt())
    await ctx.attempt("set_server_pool", lambda: nc.set_server_pool([ctx.url]))
    await ctx.attempt("force_reconnect", nc.force_reconnect())
    ctx.say("closed", nc.is_closed)


@scenario
async def wakes_those_who_wait(ctx: Context) -> None:
    nc = await ctx.connect()
    by_next = await nc.subscribe("foo")
    by_iterator = await nc.subscribe("foo")

    async def iterate() -> list[bytes]:
        return [msg.data async for msg in by_iterator.messages]

    waiting = asyncio.create_task(by_next.next_msg(timeout=5))
    iterating = asyncio.create_task(iterate())
    await asyncio.sleep(0.05)
    await nc.close()
    await ctx.attempt("next_msg", waiting)
    ctx.say("iterated", await asyncio.wait_for(iterating, 2))


@scenario
async def cancels_handlers(ctx: Context) -> None:
    nc = await ctx.connect()
    cancelled = []

    async def handler(msg: Any) -> None:
        ctx.say("begin", msg.data)
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError:
            cancelled.append(msg.data)
            raise

    await nc.subscribe("foo", cb=handler)
    await nc.publish("foo", b"1")
    await nc.publish("foo", b"2")
    await ctx.until_said("begin")
    await nc.close()
    await asyncio.sleep(0.02)
    ctx.say("closed", nc.is_closed, "cancelled", cancelled)


@scenario
async def sends_what_was_published(ctx: Context) -> None:
    other = await ctx.connect(**ctx.callbacks("other"))
    sub = await other.subscribe("foo")
    await settle(other)
    nc = await ctx.connect()
    for number in range(200):
        await nc.publish("foo", b"%d" % number)
    await nc.close()
    await ctx.until("all came", lambda: sub.pending_msgs == 200)
    ctx.say("delivered", sub.delivered)


@scenario
async def while_reconnecting(ctx: Context) -> None:
    nc = await ctx.connect(reconnect_time_wait=0.2, **ctx.callbacks(once=True))
    sub = await nc.subscribe("foo")
    await nc.flush()
    ctx.server.kill()
    await ctx.until_said("disconnected_cb")
    await ctx.until_said("error_cb ConnectionRefusedError")
    await asyncio.wait_for(nc.close(), 3)
    ctx.say("closed", nc.is_closed, "status", nc._status, len(nc._subs))
    await ctx.attempt("next_msg", sub.next_msg())
    await asyncio.sleep(0.3)


@scenario(
    differs="closing cancels the handler it was called from, and so never gets to the callbacks",
    expected=["got b'x'", "disconnected_cb", "closed_cb", "closed True"],
)
async def in_a_handler(ctx: Context) -> None:
    nc = await ctx.connect()

    async def handler(msg: Any) -> None:
        ctx.say("got", msg.data)
        await nc.close()

    await nc.subscribe("foo", cb=handler)
    await nc.publish("foo", b"x")
    await ctx.until("closed", lambda: nc.is_closed)
    await asyncio.sleep(0.05)
    ctx.say("closed", nc.is_closed)


@scenario
async def in_disconnected_callback(ctx: Context) -> None:
    async def disconnected_cb() -> None:
        ctx.say("disconnected_cb", nc.is_closed)
        await nc.close()

    async def closed_cb() -> None:
        ctx.say("closed_cb")

    nc = await ctx.connect(disconnected_cb=disconnected_cb, closed_cb=closed_cb)
    await nc.close()
    ctx.say("closed", nc.is_closed)


@scenario
async def leaves_messages_to_be_read(ctx: Context) -> None:
    nc = await ctx.connect()
    sub = await nc.subscribe("foo")
    for number in range(3):
        await nc.publish("foo", b"%d" % number)
    await settle(nc)
    await nc.close()
    ctx.say("pending", sub.pending_msgs, sub.pending_bytes)
    await ctx.attempt("next_msg", sub.next_msg())
    ctx.say([msg.data async for msg in sub.messages])
