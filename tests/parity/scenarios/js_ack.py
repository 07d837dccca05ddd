"""Acknowledging messages of streams."""

from __future__ import annotations

import asyncio
from typing import Any

import nats
from parity.harness import Context, jetstream_scenario
from parity.scenarios._jetstream import begin, fill, payloads, shown, spy, told


async def consumer(ctx: Context, count: int, **config: Any) -> tuple[Any, Any, Any]:
    """Return the client, a pull subscription and so many messages, of which the rest is acked."""
    nc, js = await begin(ctx)
    await fill(js, count)
    sub = await js.pull_subscribe("s.a", "d", config=nats.js.api.ConsumerConfig(**config))
    return nc, sub, await sub.fetch(count, timeout=1)


@jetstream_scenario
async def what_is_sent(ctx: Context) -> None:
    nc, _, msgs = await consumer(ctx, 8)
    say = await spy(ctx, nc, "$JS.ACK.>")
    await told(ctx, "ack", msgs[0].ack())
    await told(ctx, "nak", msgs[1].nak())
    await told(ctx, "nak later", msgs[2].nak(delay=2))
    await told(ctx, "nak soon", msgs[3].nak(delay=0.25))
    await told(ctx, "nak without delay", msgs[4].nak(delay=0))
    await told(ctx, "term", msgs[5].term())
    await told(ctx, "in_progress", msgs[6].in_progress())
    await told(ctx, "in_progress", msgs[6].in_progress())
    ctx.say("acked", [msg.is_acked for msg in msgs])
    await say()


@jetstream_scenario
async def synchronous_acks(ctx: Context) -> None:
    nc, sub, msgs = await consumer(ctx, 3)
    answer = await msgs[0].ack_sync()
    ctx.say(type(answer).__name__, answer.data, answer.headers, answer.reply, msgs[0].is_acked)
    ctx.say((await sub.consumer_info()).ack_floor.stream_seq)
    await told(ctx, "again", msgs[0].ack_sync())
    ctx.server.pause()
    await told(ctx, "silent server", msgs[1].ack_sync(timeout=0.05))
    ctx.say("acked", msgs[1].is_acked)
    ctx.server.resume()
    await told(ctx, "once more", msgs[1].ack_sync(timeout=2))
    await nc.close()
    await told(ctx, "closed", msgs[2].ack_sync())
    await told(ctx, "closed", msgs[2].ack())
    ctx.say("acked", msgs[2].is_acked)


@jetstream_scenario
async def twice(ctx: Context) -> None:
    _, _, msgs = await consumer(ctx, 4)
    for msg, first in zip(msgs, ("ack", "nak", "term", "ack_sync"), strict=True):
        await getattr(msg, first)()
        for second in ("ack", "nak", "term", "ack_sync", "in_progress"):
            error = await ctx.attempt(f"{second} after {first}", getattr(msg, second)())
            if isinstance(error, nats.errors.MsgAlreadyAckdError):
                ctx.say(isinstance(error, nats.errors.Error))


@jetstream_scenario
async def redelivered_after_nak(ctx: Context) -> None:
    nc, sub, [msg] = await consumer(ctx, 1)
    await msg.nak()
    [again] = await sub.fetch(timeout=2)
    ctx.say(again.data, again.metadata.num_delivered, shown(again.metadata), again == msg)
    loop = asyncio.get_running_loop()
    await again.nak(delay=0.3)
    begun = loop.time()
    await told(ctx, "too early", sub.fetch(timeout=0.1))
    [third] = await sub.fetch(timeout=3)
    ctx.say(third.metadata.num_delivered, "later", loop.time() - begun > 0.25)
    await third.term()
    await told(ctx, "after term", sub.fetch(timeout=0.2))
    info = await sub.consumer_info()
    ctx.say(info.num_ack_pending, info.ack_floor.stream_seq, info.num_redelivered, nc.is_connected)


@jetstream_scenario
async def redelivered_after_the_time_is_over(ctx: Context) -> None:
    _, sub, [msg] = await consumer(ctx, 1, ack_wait=0.8)
    for _ in range(4):
        await asyncio.sleep(0.3)
        await msg.in_progress()
    await told(ctx, "still in progress", sub.fetch(timeout=0.1))
    [again] = await sub.fetch(timeout=3)
    ctx.say(again.data, again.metadata.num_delivered)
    await again.ack_sync()
    await told(ctx, "late ack", msg.ack())


@jetstream_scenario
async def delivered_a_limited_number_of_times(ctx: Context) -> None:
    nc, sub, [msg] = await consumer(ctx, 1, max_deliver=2, ack_wait=0.3)
    events = await nc.subscribe("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>")
    await msg.nak()
    [again] = await sub.fetch(timeout=2)
    await again.nak()
    await told(ctx, "no more", sub.fetch(timeout=0.3))
    ctx.say((await events.next_msg(timeout=3)).subject)


@jetstream_scenario
async def acks_of_all(ctx: Context) -> None:
    _, sub, msgs = await consumer(ctx, 4, ack_policy="all")
    await msgs[2].ack_sync()
    info = await sub.consumer_info()
    ctx.say(info.ack_floor.stream_seq, info.num_ack_pending)
    await told(ctx, "an earlier one", msgs[0].ack_sync())


@jetstream_scenario
async def no_acks(ctx: Context) -> None:
    _, js = await begin(ctx)
    await fill(js, 2)
    api: Any = nats.js.api
    sub = await js.subscribe("s.a", config=api.ConsumerConfig(ack_policy="none"))
    msg = await sub.next_msg()
    await told(ctx, "ack", msg.ack())
    msg = await sub.next_msg()
    await told(ctx, "ack_sync", msg.ack_sync(timeout=0.1))


@jetstream_scenario
async def core_messages(ctx: Context) -> None:
    nc, _ = await begin(ctx)
    sub = await nc.subscribe("plain")
    for reply in ("", "inbox"):
        await nc.publish("plain", b"x", reply=reply)
        msg = await sub.next_msg()
        for name in ("ack", "nak", "term", "in_progress"):
            error = await told(ctx, f"{name} with reply {reply!r}", getattr(msg, name)())
            if not reply:
                ctx.say(isinstance(error, nats.errors.NotJSMessageError), error)
        try:
            ctx.say(msg.metadata)
        except nats.errors.NotJSMessageError as error:
            ctx.say("metadata raises", error)
    ctx.say("acked", msg.is_acked)
    await told(ctx, "ack_sync", msg.ack_sync(timeout=0.1))


@jetstream_scenario
async def stored_copies_of_core_messages(ctx: Context) -> None:
    nc, js = await begin(ctx)
    sub = await nc.subscribe("s.a")
    await js.publish("s.a", b"x")
    msg = await sub.next_msg()
    ctx.say(msg.reply, msg.data)
    await told(ctx, "ack", msg.ack())
    try:
        ctx.say(msg.metadata)
    except nats.errors.NotJSMessageError as error:
        ctx.say("metadata raises", error)


@jetstream_scenario
async def metadata(ctx: Context) -> None:
    _, _, msgs = await consumer(ctx, 3)
    for msg in msgs:
        data = msg.metadata
        ctx.say(shown(data), data is msg.metadata, data.timestamp.tzinfo)
        ctx.say(data.sequence, type(data).__qualname__, type(data.sequence).__qualname__)
    await ctx.attempt("change", lambda: setattr(msgs[0].metadata, "stream", "x"))
    ctx.say(msgs[0].metadata == msgs[0].metadata, msgs[0].metadata == msgs[1].metadata)
    ctx.say(msgs[0].metadata.timestamp <= msgs[1].metadata.timestamp)


@jetstream_scenario
async def many_acks(ctx: Context) -> None:
    nc, sub, msgs = await consumer(ctx, 100)
    await asyncio.gather(*(msg.ack_sync() for msg in msgs))
    info = await sub.consumer_info()
    ctx.say(info.ack_floor.stream_seq, info.num_ack_pending, len(payloads(msgs)))
    ctx.say("connected", nc.is_connected)
