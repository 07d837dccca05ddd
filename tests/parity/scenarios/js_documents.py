"""Programs like those of the documents, where nats-py runs them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import nats
from parity.harness import Context, jetstream_scenario
from parity.scenarios._jetstream import mask, payloads


@jetstream_scenario
async def a_worker(ctx: Context) -> None:
    mask(ctx)
    nc = await ctx.connect()
    js, api = nc.jetstream(), nats.js.api
    await js.add_stream(
        api.StreamConfig(
            name="ORDERS",
            subjects=["orders.*"],
            retention=api.RetentionPolicy.WORK_QUEUE,
            storage=api.StorageType.MEMORY,
            max_age=7 * 24 * 60 * 60,
            duplicate_window=120,
        )
    )
    for number in range(6):
        headers = {"Nats-Msg-Id": f"order-{number // 2}"}
        ack = await js.publish("orders.new", json.dumps({"id": number}).encode(), headers=headers)
        ctx.say(ack.seq, bool(ack.duplicate))
    sub = await js.pull_subscribe("orders.new", durable="worker")
    attempts: dict[int, int] = {}
    while len(attempts) < 3 or attempts[2] < 2:
        for msg in await sub.fetch(3, timeout=1):
            order = json.loads(msg.data)["id"]
            attempts[order // 2] = msg.metadata.num_delivered
            if order == 0:
                await msg.ack()
            elif order == 2:
                await msg.term()
            elif msg.metadata.num_delivered == 1:
                await msg.in_progress()
                await msg.nak(delay=0.1)
            else:
                await msg.ack_sync()
    ctx.say(attempts)
    await asyncio.sleep(0.2)
    ctx.say((await js.stream_info("ORDERS")).state.messages)


@jetstream_scenario
async def requests_through_a_stream(ctx: Context) -> None:
    mask(ctx)
    nc = await ctx.connect()
    js = nc.jetstream()
    await js.add_stream(name="TASKS", subjects=["tasks"], storage="memory")

    async def work(msg: Any) -> None:
        await nc.publish(msg.headers["Reply-To"], msg.data.upper())
        await msg.ack()

    await js.subscribe("tasks", durable="worker", cb=work, manual_ack=True)
    inbox = nc.new_inbox()
    answers = await nc.subscribe(inbox)
    for task in (b"one", b"two"):
        await js.publish("tasks", task, headers={"Reply-To": inbox})
    ctx.say([(await answers.next_msg(timeout=2)).data for _ in range(2)], len(nc._subs))


@jetstream_scenario
async def messages_of_both_kinds(ctx: Context) -> None:
    nc = await ctx.connect()
    js = nc.jetstream()
    await js.add_stream(name="S", subjects=["s"], storage="memory")

    async def handler(msg: Any) -> None:
        try:
            ctx.say(msg.data, msg.metadata.stream, msg.metadata.sequence.stream)
        except nats.errors.NotJSMessageError:
            ctx.say(msg.data, "is a core message")

    await nc.subscribe("plain", cb=handler)
    await nc.publish("plain", b"1")
    await ctx.until_said("b'1'")
    await js.subscribe("s", cb=handler)
    await js.publish("s", b"2")
    await ctx.until_said("b'2'")


@jetstream_scenario
async def configuration_in_a_bucket(ctx: Context) -> None:
    nc = await ctx.connect()
    js, api = nc.jetstream(), nats.js.api
    config = api.KeyValueConfig(bucket="config", history=5, storage=api.StorageType.MEMORY)
    kv = await js.create_key_value(config)
    seen: list[Any] = []

    async def follow() -> None:
        async for entry in await kv.watchall():
            seen.append(entry and (entry.key, entry.value, entry.operation))
            if entry and entry.operation == "DEL":
                return

    following = asyncio.create_task(follow())
    await ctx.until("the watcher has begun", lambda: seen == [None])
    revision = await kv.create("timeout", b"5")
    revision = await kv.update("timeout", b"6", last=revision)
    try:
        await kv.update("timeout", b"7", last=1)
    except nats.js.errors.KeyWrongLastSequenceError:
        ctx.say("changed by somebody else")
    await kv.delete("timeout")
    await asyncio.wait_for(following, 2)
    ctx.say(seen, revision)
    try:
        await kv.get("timeout")
    except nats.js.errors.KeyNotFoundError:
        ctx.say("not found")


@jetstream_scenario
async def files_in_a_store(ctx: Context) -> None:
    nc = await ctx.connect()
    js = nc.jetstream()
    obs = await js.create_object_store("files", storage="memory")
    await obs.put("report.txt", b"contents" * 1000)
    result = await obs.get("report.txt")
    ctx.say(len(result.data), result.info.name, result.info.size, result.info.chunks)
    listing = asyncio.create_task(obs.list())
    ctx.say([info.name for info in await listing])
    await obs.delete("report.txt")
    ctx.say([info.deleted for info in await obs.list()])


@jetstream_scenario
async def consumers_of_both_kinds(ctx: Context) -> None:
    mask(ctx)
    nc = await ctx.connect()
    js, api = nc.jetstream(), nats.js.api
    await js.add_stream(name="EVENTS", subjects=["events.>"], storage="memory", max_age=9e9)
    for number in range(4):
        await js.publish(f"events.{number % 2}", b"%d" % number)
    config = api.ConsumerConfig(ack_policy=api.AckPolicy.EXPLICIT, max_deliver=3, ack_wait=30)
    pull = await js.pull_subscribe("events.>", durable="pull", config=config)
    ctx.say(payloads(await pull.fetch(10, timeout=0.5)))
    got: list[bytes] = []

    async def handler(msg: Any) -> None:
        got.append(msg.data)
        await msg.ack()

    push = await js.subscribe("events.1", durable="push", cb=handler, manual_ack=True)
    await ctx.until("both came", lambda: len(got) == 2)
    await push.unsubscribe()
    ctx.say(got, sorted(info.name for info in await js.consumers_info("EVENTS")))
