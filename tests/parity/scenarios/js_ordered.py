"""Ordered consumers."""

from __future__ import annotations

import asyncio
from typing import Any

import nats
from parity.harness import Context, jetstream_scenario
from parity.scenarios._jetstream import begin, fill, payloads, shown, spy, told


async def take(sub: Any, count: int) -> list[Any]:
    return [await sub.next_msg(timeout=6) for _ in range(count)]


def name(ctx: Context, sub: Any) -> None:
    if len(sub._consumer) == 8:
        ctx.rename(rf"\b{sub._consumer}\b", "<consumer>")


async def disturb(js: Any, sub: Any) -> None:
    """Have another consumer deliver to the same inbox, whose numbers are not the next ones."""
    await js.add_consumer("S", deliver_subject=sub._sub.subject, ack_policy="none")


@jetstream_scenario
async def in_order(ctx: Context) -> None:
    _, js = await begin(ctx)
    await fill(js, 5)
    sub = await js.subscribe("s.a", ordered_consumer=True)
    name(ctx, sub)
    await fill(js, 2, start=6)
    msgs = await take(sub, 7)
    ctx.say(payloads(msgs), [msg.metadata.sequence.consumer for msg in msgs])
    # How many are pending depends on how far the server had got.
    ctx.say(msgs[0].reply.rpartition(".")[0])
    info = await sub.consumer_info()
    ctx.say(shown({**shown(info.config), "deliver_subject": "x"}), info.push_bound)
    await told(ctx, "no more", sub.next_msg(timeout=0.05))
    await told(ctx, "ack", msgs[0].ack())


@jetstream_scenario
async def with_callback_and_iterator(ctx: Context) -> None:
    _, js = await begin(ctx)
    await fill(js, 3)
    got: list[bytes] = []

    async def handler(msg: Any) -> None:
        got.append(msg.data)

    await js.subscribe("s.a", cb=handler, ordered_consumer=True)
    await ctx.until("all came", lambda: len(got) == 3)
    sub = await js.subscribe("s.a", ordered_consumer=True)
    seen = []
    async for msg in sub.messages:
        seen.append(msg.data)
        if len(seen) == 3:
            break
    ctx.say(got, seen)


@jetstream_scenario
async def headers_only(ctx: Context) -> None:
    _, js = await begin(ctx)
    await js.publish("s.a", b"12345", headers={"a": "b"})
    await js.publish("s.a", b"")
    sub = await js.subscribe("s.a", ordered_consumer=True, headers_only=True)
    for msg in await take(sub, 2):
        ctx.say(msg.data, msg.headers)


@jetstream_scenario
async def what_is_requested(ctx: Context) -> None:
    nc, js = await begin(ctx)
    say = await spy(ctx, nc)
    api: Any = nats.js.api
    kinds: dict[str, dict[str, Any]] = {
        "plain": {},
        "new": {"deliver_policy": api.DeliverPolicy.NEW},
        "heartbeat": {"idle_heartbeat": 0.5, "headers_only": True, "inactive_threshold": 20},
        "config": {"config": api.ConsumerConfig(ack_policy="all", max_deliver=9, name="n")},
        "durable": {"durable": "d"},
        "queue": {"queue": "q"},
    }
    for what, params in kinds.items():
        sub = await ctx.attempt(what, js.subscribe("s.a", ordered_consumer=True, **params))
        if not isinstance(sub, Exception):
            name(ctx, sub)
    await say()


@jetstream_scenario
async def a_gap_starts_it_again(ctx: Context) -> None:
    nc, js = await begin(ctx)
    await fill(js, 3)
    sub = await js.subscribe("s.a", ordered_consumer=True)
    name(ctx, sub)
    ctx.say(payloads(await take(sub, 3)))
    say = await spy(ctx, nc)
    first = sub._sub.subject
    await disturb(js, sub)
    await ctx.until("another inbox is used", lambda: sub._sub.subject != first)
    await fill(js, 2, start=4)
    msgs = await take(sub, 2)
    ctx.say(payloads(msgs), [msg.metadata.sequence.consumer for msg in msgs])
    name(ctx, sub)
    await say()


@jetstream_scenario
async def a_gap_within_callbacks(ctx: Context) -> None:
    _, js = await begin(ctx)
    await fill(js, 3)
    got: list[bytes] = []

    async def handler(msg: Any) -> None:
        got.append(msg.data)

    sub = await js.subscribe("s.a", cb=handler, ordered_consumer=True)
    await ctx.until("three came", lambda: len(got) == 3)
    first = sub._sub.subject
    await disturb(js, sub)
    await ctx.until("another inbox is used", lambda: sub._sub.subject != first)
    await fill(js, 3, start=4)
    await ctx.until("all came", lambda: len(got) == 6)
    ctx.say(got)
    await sub.unsubscribe()


@jetstream_scenario
async def deleted_consumers_are_made_again(ctx: Context) -> None:
    _, js = await begin(ctx)
    await fill(js, 2)
    sub = await js.subscribe("s.a", ordered_consumer=True, idle_heartbeat=0.4)
    name(ctx, sub)
    ctx.say(payloads(await take(sub, 2)))
    first = sub._consumer
    await js.delete_consumer("S", first)
    await fill(js, 2, start=3)
    ctx.say(payloads(await take(sub, 2)))
    # Messages of the new one may come before the answer that names it.
    await ctx.until("there is another consumer", lambda: sub._consumer != first)
    info = await sub.consumer_info()
    # A heartbeat that is late makes for another one.
    ctx.say(info.config.deliver_policy, info.config.opt_start_seq > 2, info.config.flow_control)


@jetstream_scenario
async def deleted_streams(ctx: Context) -> None:
    _, js = await begin(ctx)
    await fill(js, 1)
    sub = await js.subscribe("s.a", ordered_consumer=True, idle_heartbeat=0.2)
    await take(sub, 1)
    await js.delete_stream("S")
    await ctx.until_said("error_cb")
    await told(ctx, "next_msg", sub.next_msg(timeout=0.05))
    await sub.unsubscribe()


@jetstream_scenario
async def heartbeats_while_idle(ctx: Context) -> None:
    _, js = await begin(ctx)
    sub = await js.subscribe("s.a", ordered_consumer=True, idle_heartbeat=0.3)
    first = sub._consumer
    await asyncio.sleep(1.3)
    await fill(js, 1)
    ctx.say(payloads(await take(sub, 1)), "same consumer", sub._consumer == first)


@jetstream_scenario
async def many_messages_with_flow_control(ctx: Context) -> None:
    _, js = await begin(ctx)
    for _ in range(400):
        await js.publish_async("s.a", b"x" * 2000)
    await js.publish_async_completed()
    sub = await js.subscribe("s.a", ordered_consumer=True)
    sequences = [msg.metadata.sequence.stream for msg in await take(sub, 400)]
    ctx.say("in order", sequences == list(range(1, 401)), sub.pending_msgs)


@jetstream_scenario
async def unsubscribed_and_drained(ctx: Context) -> None:
    nc, js = await begin(ctx)
    await fill(js, 2)
    for method in ("unsubscribe", "drain"):
        sub = await js.subscribe("s.a", ordered_consumer=True, inactive_threshold=0.2)
        await take(sub, 2)
        count = len(nc._subs)
        await getattr(sub, method)()
        ctx.say(method, "gone", count - len(nc._subs))
        await told(ctx, "again", sub.unsubscribe())
    for _ in range(200):
        if not await js.consumers_info("S"):
            break
        await asyncio.sleep(0.02)
    ctx.say("consumers", await js.consumers_info("S"))


@jetstream_scenario
async def reconnected(ctx: Context) -> None:
    nc = await ctx.connect(**ctx.callbacks(once=True), reconnect_time_wait=0.1)
    js = nc.jetstream()
    await js.add_stream(name="S", subjects=["s"], storage="file")
    await fill(js, 2, "s")
    sub = await js.subscribe("s", ordered_consumer=True, idle_heartbeat=0.6)
    ctx.say(payloads(await take(sub, 2)))
    ctx.server.stop()
    await ctx.until_said("error_cb ConnectionRefusedError")
    await ctx.server.start()
    await ctx.until_said("reconnected_cb")
    await fill(js, 2, "s", start=3)
    ctx.say(payloads(await take(sub, 2)))
    await sub.unsubscribe()
