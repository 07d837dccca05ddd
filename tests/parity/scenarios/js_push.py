"""Push consumers."""

from __future__ import annotations

import asyncio
from typing import Any

import nats
from parity.harness import Context, jetstream_scenario, settle
from parity.scenarios._jetstream import begin, fill, payloads, shown, spy, told


async def take(sub: Any, count: int) -> list[Any]:
    return [await sub.next_msg(timeout=2) for _ in range(count)]


@jetstream_scenario
async def with_callback(ctx: Context) -> None:
    _, js = await begin(ctx)
    await fill(js, 3)

    async def handler(msg: Any) -> None:
        ctx.say(msg.subject, msg.data, msg.reply, msg.headers, shown(msg.metadata))

    sub = await js.subscribe("s.a", cb=handler)
    ctx.rename(sub._consumer, "<consumer>")
    await js.publish("s.b", b"not asked for")
    await js.publish("s.a", b"4", headers={"a": "b"})
    await ctx.until_said("s.a", 4)
    await asyncio.sleep(0.2)
    info = await sub.consumer_info()
    ctx.say("acked", info.ack_floor.stream_seq, info.num_ack_pending, info.push_bound)
    ctx.say(type(sub).__qualname__, sub.delivered, sub.pending_msgs, sub.pending_bytes, sub.queue)
    ctx.say(sub.subject == info.config.deliver_subject, sub.subject, type(sub).__mro__[1].__name__)


@jetstream_scenario
async def with_iterator_and_next_msg(ctx: Context) -> None:
    _, js = await begin(ctx)
    await fill(js, 5)
    sub = await js.subscribe("s.a")
    await ctx.until("all came", lambda: sub.pending_msgs == 5)
    ctx.say("bytes", sub.pending_bytes, sub.delivered)
    msg = await sub.next_msg()
    ctx.say(msg.data, msg.is_acked, sub.pending_msgs, sub.pending_bytes)
    async for msg in sub.messages:
        await msg.ack()
        ctx.say(msg.data, msg.is_acked, sub.pending_msgs, sub.pending_bytes)
        if msg.data == b"5":
            break
    await told(ctx, "no more", sub.next_msg(timeout=0.05))
    await asyncio.sleep(0.2)
    ctx.say("not acked", (await sub.consumer_info()).num_ack_pending)


@jetstream_scenario
async def acknowledged_automatically_or_not(ctx: Context) -> None:
    _, js = await begin(ctx)
    await fill(js, 2)
    seen: list[bytes] = []

    async def handler(msg: Any) -> None:
        seen.append(msg.data)

    async def acking(msg: Any) -> None:
        await msg.ack()
        await handler(msg)

    async def failing(msg: Any) -> None:
        await handler(msg)
        raise LookupError("handler")

    api: Any = nats.js.api
    kinds: dict[str, dict[str, Any]] = {
        "automatically": {"cb": handler},
        "manually": {"cb": handler, "manual_ack": True},
        "by the handler": {"cb": acking},
        "failing": {"cb": failing},
        "no acks": {"cb": handler, "config": api.ConsumerConfig(ack_policy="none")},
        "acks of all": {"cb": handler, "config": api.ConsumerConfig(ack_policy="all")},
    }
    for what, params in kinds.items():
        seen.clear()
        sub = await js.subscribe("s.a", **params)
        await ctx.until("both came", lambda: len(seen) == 2)
        await asyncio.sleep(0.2)
        info = await sub.consumer_info()
        ctx.say(what, info.num_ack_pending, info.ack_floor.stream_seq, info.config.ack_policy)


@jetstream_scenario
async def durable_ones(ctx: Context) -> None:
    _, js = await begin(ctx)
    await fill(js, 3)
    sub = await js.subscribe("s.a", durable="d")
    msgs = await take(sub, 3)
    for msg in msgs[:2]:
        await msg.ack_sync()
    await told(ctx, "a second time", js.subscribe("s.a", durable="d"))
    await sub.unsubscribe()
    for _ in range(100):
        if not (await js.consumer_info("S", "d")).push_bound:
            break
        await asyncio.sleep(0.02)
    await fill(js, 1)
    again = await js.subscribe("s.a", durable="d")
    ctx.say("again", again.subject == sub.subject, (await take(again, 1))[0].data)
    await again.unsubscribe()
    ctx.say("still there", (await js.consumer_info("S", "d")).name)
    await js.add_consumer("S", durable_name="pull")
    await told(ctx, "to a pull consumer", js.subscribe("s.a", durable="pull"))


@jetstream_scenario
async def queues(ctx: Context) -> None:
    _, js = await begin(ctx)
    members = [await js.subscribe("s.a", "workers") for _ in range(2)]
    named = await js.subscribe("s.a", queue="workers", durable="workers")
    info = await named.consumer_info()
    ctx.say(info.name, info.config.deliver_group, info.config.durable_name, named.queue)
    ctx.say(len({sub.subject for sub in (*members, named)}))
    await fill(js, 30)
    total = [*members, named]
    await ctx.until("all came", lambda: sum(sub.pending_msgs for sub in total) == 30)
    got = [msg for sub in total for msg in await take(sub, sub.pending_msgs)]
    ctx.say(sorted(int(data) for data in payloads(got)) == list(range(1, 31)))
    await members[0].unsubscribe()
    await told(ctx, "other durable", js.subscribe("s.a", "workers", durable="d"))
    await told(ctx, "no queue", js.subscribe("s.a", durable="workers"))
    await js.subscribe("s.a", durable="plain")
    await told(ctx, "queue without group", js.subscribe("s.a", "plain"))
    config = {"deliver_group": "group", "deliver_subject": "to"}
    await js.add_consumer("S", durable_name="other", **config)
    await told(ctx, "other group", js.subscribe("s.a", "other"))
    await told(ctx, "group and no queue", js.subscribe("s.a", durable="other"))


@jetstream_scenario
async def deliver_policies(ctx: Context) -> None:
    _, js = await begin(ctx)
    for subject in ("s.a", "s.b", "s.a", "s.b", "s.c"):
        await js.publish(subject, subject.encode())
    api: Any = nats.js.api
    policies: dict[str, dict[str, Any]] = {
        "all": {"deliver_policy": api.DeliverPolicy.ALL},
        "last": {"deliver_policy": "last"},
        "new": {"deliver_policy": api.DeliverPolicy.NEW},
        "per subject": {"deliver_policy": "last_per_subject"},
        "sequence": {"config": api.ConsumerConfig(deliver_policy="by_start_sequence")},
        "both": {"deliver_policy": "new", "config": api.ConsumerConfig(deliver_policy="last")},
    }
    policies["sequence"]["config"].opt_start_seq = 4
    subs = {name: await js.subscribe("s.>", **params) for name, params in policies.items()}
    await js.publish("s.d", b"after")
    for name, sub in subs.items():
        config = (await sub.consumer_info()).config
        got: list[Any] = []
        while not got or got[-1].data != b"after":
            got += await take(sub, 1)
        ctx.say(name, config.deliver_policy, [msg.metadata.sequence.stream for msg in got])


@jetstream_scenario
async def options_become_the_configuration(ctx: Context) -> None:
    nc, js = await begin(ctx)
    say = await spy(ctx, nc, "$JS.API.CONSUMER.>")
    api: Any = nats.js.api
    config = api.ConsumerConfig(description="text", ack_wait=3, max_ack_pending=5)
    kinds: dict[str, dict[str, Any]] = {
        "config": {"config": config},
        "headers_only": {"headers_only": True},
        "inactive": {"inactive_threshold": 2.5},
        "heartbeat": {"idle_heartbeat": 1.5, "flow_control": True},
        "flow control": {"flow_control": True},
        "deliver subject": {"config": api.ConsumerConfig(deliver_subject="to")},
        "name": {"durable": "named", "config": api.ConsumerConfig(name="named")},
        "filters": {"config": api.ConsumerConfig(filter_subjects=["s.x", "s.y"])},
        "durable": {"durable": "d", "stream": "S"},
        "wrong stream": {"stream": "T"},
    }
    for what, params in kinds.items():
        sub = await ctx.attempt(what, js.subscribe("s.a", **params))
        if not isinstance(sub, Exception):
            ctx.say((await js.consumer_info("S", sub._consumer)).config.durable_name)
            if sub._consumer not in ("named", "d"):
                ctx.rename(rf"\b{sub._consumer}\b", "<consumer>")
    await told(ctx, "no stream", js.subscribe("none"))
    await say()


@jetstream_scenario(
    differs="it is changed: what one subscription has filled in, the next one asks for",
    expected=[
        "{'deliver_policy': <DeliverPolicy.ALL: 'all'>, 'ack_policy': <AckPolicy.EXPLICIT: "
        "'explicit'>, 'filter_subject': 's.b', 'replay_policy': <ReplayPolicy.INSTANT: "
        "'instant'>}",
        "s.b",
    ],
)
async def the_callers_configuration(ctx: Context) -> None:
    _, js = await begin(ctx)
    config = nats.js.api.ConsumerConfig(filter_subject="s.b")
    sub = await js.subscribe("s.>", config=config)
    ctx.say(shown(config))
    ctx.say((await sub.consumer_info()).config.filter_subject)


@jetstream_scenario
async def headers_only(ctx: Context) -> None:
    _, js = await begin(ctx)
    await js.publish("s.a", b"12345", headers={"a": "b"})
    await js.publish("s.a", b"")
    sub = await js.subscribe("s.a", headers_only=True)
    for msg in await take(sub, 2):
        ctx.say(msg.data, msg.headers)


@jetstream_scenario
async def unsubscribing_deletes_ephemeral_consumers(ctx: Context) -> None:
    nc, js = await begin(ctx)
    sub = await js.subscribe("s.a", inactive_threshold=0.2)
    ctx.say(len(await js.consumers_info("S")), len(nc._subs))
    await sub.unsubscribe()
    ctx.say(len(nc._subs), sub._closed)
    await told(ctx, "again", sub.unsubscribe())
    await told(ctx, "next_msg", sub.next_msg(timeout=0.05))
    for _ in range(200):
        if not await js.consumers_info("S"):
            break
        await asyncio.sleep(0.02)
    await told(ctx, "consumer_info", sub.consumer_info())
    await told(ctx, "drain", sub.drain())


@jetstream_scenario
async def unsubscribing_after_a_number(ctx: Context) -> None:
    nc, js = await begin(ctx)
    sub = await js.subscribe("s.a")
    await sub.unsubscribe(limit=2)
    await fill(js, 4)
    await ctx.until("the limit is reached", lambda: sub.delivered >= 2)
    await settle(nc)
    ctx.say(sub.delivered, sub.pending_msgs)
    ctx.say(payloads(await take(sub, sub.pending_msgs)))
    await told(ctx, "no more", sub.next_msg(timeout=0.05))


@jetstream_scenario
async def draining(ctx: Context) -> None:
    nc, js = await begin(ctx)
    await fill(js, 3)

    async def handler(msg: Any) -> None:
        await asyncio.sleep(0.01)
        ctx.say("got", msg.data)

    sub = await js.subscribe("s.a", cb=handler)
    await ctx.until_said("got")
    await sub.drain()
    ctx.say("drained", sub.pending_msgs, len(nc._subs))
    await told(ctx, "again", sub.drain())
    await js.subscribe("s.a", cb=handler, durable="d")
    await ctx.until_said("got", 4)
    await nc.drain()
    ctx.say("closed", nc.is_closed)


@jetstream_scenario
async def heartbeats(ctx: Context) -> None:
    _, js = await begin(ctx)
    sub = await js.subscribe("s.a", idle_heartbeat=0.1)
    await asyncio.sleep(0.35)
    ctx.say("heartbeats are not messages", sub.pending_msgs)
    await told(ctx, "next_msg", sub.next_msg(timeout=0.15))
    await fill(js, 2)
    ctx.say(payloads(await take(sub, 2)))
    config = (await sub.consumer_info()).config
    ctx.say(config.idle_heartbeat, config.flow_control)
    await told(ctx, "too often", js.subscribe("s.a", idle_heartbeat=0.01))


@jetstream_scenario
async def flow_control(ctx: Context) -> None:
    _, js = await begin(ctx)
    for _ in range(300):
        await js.publish_async("s.a", b"x" * 1000)
    await js.publish_async_completed()
    sub = await js.subscribe("s.a", flow_control=True, idle_heartbeat=1)
    sequences = [(await sub.next_msg(timeout=3)).metadata.sequence.stream for _ in range(300)]
    ctx.say("in order", sequences == list(range(1, 301)), sub.pending_msgs, sub.pending_bytes)
    count = 0

    async def handler(msg: Any) -> None:
        nonlocal count
        count += 1

    api: Any = nats.js.api
    config = api.ConsumerConfig(ack_policy="none")
    await js.subscribe("s.a", cb=handler, flow_control=True, idle_heartbeat=1, config=config)
    await ctx.until("all came", lambda: count == 300)
    ctx.say("all came to the callback", count)


@jetstream_scenario
async def bound_to_a_consumer(ctx: Context) -> None:
    _, js = await begin(ctx)
    await fill(js, 2)
    api: Any = nats.js.api
    info = await js.add_consumer("S", durable_name="d", deliver_subject="to")
    sub = await js.subscribe_bind(stream="S", config=info.config, consumer="d")
    ctx.say(payloads(await take(sub, 2)), sub.subject)
    await told(ctx, "no subject", js.subscribe_bind("S", api.ConsumerConfig(), "d"))
    await told(ctx, "no config", js.subscribe_bind("S", None, "d"))
    other = await js.subscribe_bind("S", info.config, "unknown")
    await told(ctx, "unknown consumer", other.consumer_info())


@jetstream_scenario
async def slow_consumers(ctx: Context) -> None:
    _, js = await begin(ctx)
    ctx.rename(r"sid: \d+", "sid: <sid>")
    sub = await js.subscribe("s.a", pending_msgs_limit=2, flow_control=False)
    ctx.rename(sub._consumer, "<consumer>")
    ctx.say(sub._pending_msgs_limit, sub._pending_bytes_limit)
    await fill(js, 3)
    await ctx.until_said("error_cb")
    ctx.say(sub.pending_msgs, payloads(await take(sub, 2)))
    few = await js.subscribe("s.b", pending_bytes_limit=10)
    ctx.rename(few._consumer, "<other consumer>")
    await js.publish("s.b", b"x" * 11)
    await ctx.until_said("error_cb", 2)
    ctx.say(few.pending_msgs, few.pending_bytes)


@jetstream_scenario
async def redelivery(ctx: Context) -> None:
    _, js = await begin(ctx)
    await fill(js, 1)
    config = nats.js.api.ConsumerConfig(ack_wait=0.1, max_deliver=3)
    sub = await js.subscribe("s.a", config=config)
    for msg in await take(sub, 3):
        ctx.say(msg.data, msg.metadata.num_delivered, msg.metadata.sequence)
    await told(ctx, "no more", sub.next_msg(timeout=0.3))


@jetstream_scenario
async def subscriptions_survive_a_restart(ctx: Context) -> None:
    nc = await ctx.connect(**ctx.callbacks(once=True), reconnect_time_wait=0.1)
    js = nc.jetstream()
    await js.add_stream(name="S", subjects=["s"], storage="file")
    push = await js.subscribe("s", durable="push")
    pull = await js.pull_subscribe("s", "pull")
    await js.publish("s", b"1")
    for msg in (await push.next_msg(), *await pull.fetch()):
        await msg.ack_sync()
    ctx.server.stop()
    await ctx.until_said("error_cb ConnectionRefusedError")
    await ctx.server.start()
    await ctx.until_said("reconnected_cb")
    await js.publish("s", b"2")
    ctx.say((await push.next_msg(timeout=5)).data, payloads(await pull.fetch()))
