"""Watching key-value buckets."""

from __future__ import annotations

import asyncio
from typing import Any

import nats
from parity.harness import Context, jetstream_scenario, settle
from parity.scenarios._jetstream import mask, shown, spy, told


async def bucket(ctx: Context, **config: Any) -> tuple[Any, Any]:
    """Return the context and the bucket B."""
    mask(ctx)
    nc = await ctx.connect()
    js = nc.jetstream()
    return js, await js.create_key_value(bucket="B", storage="memory", **config)


async def filled(ctx: Context) -> tuple[Any, Any]:
    """The same with values, changed values, a deleted and a purged key in it."""
    js, kv = await bucket(ctx, history=5)
    for key, value in (("a", b"1"), ("b", b"2"), ("a", b"3"), ("c.d", b"4"), ("e", b"5")):
        await kv.put(key, value)
    await kv.delete("b")
    await kv.purge("e")
    return js, kv


async def entries(ctx: Context, watcher: Any, count: int | None = None) -> None:
    """Say what comes: so many, or all up to the marker."""
    number = 0
    while count is None or number < count:
        try:
            entry = await watcher.updates(timeout=2)
        except nats.errors.TimeoutError as error:
            ctx.say("updates raises", error)
            return
        number += 1
        ctx.say(entry if entry is None else shown(entry))
        if entry is None and count is None:
            return


@jetstream_scenario
async def initial_values_and_updates(ctx: Context) -> None:
    _, kv = await filled(ctx)
    watcher = await kv.watchall()
    ctx.say(type(watcher).__qualname__)
    await entries(ctx, watcher)
    await kv.put("a", b"new")
    await kv.delete("a")
    await kv.purge("a")
    await entries(ctx, watcher, 3)
    await told(ctx, "no more", watcher.updates(timeout=0.05))
    await told(ctx, "stop", watcher.stop())


@jetstream_scenario
async def empty_buckets(ctx: Context) -> None:
    _, kv = await bucket(ctx)
    watcher = await kv.watchall()
    await entries(ctx, watcher)
    await told(ctx, "no more", watcher.updates(timeout=0.05))
    await kv.put("a", b"1")
    await entries(ctx, watcher, 1)
    await told(ctx, "no second marker", watcher.updates(timeout=0.05))


@jetstream_scenario
async def keys_and_patterns(ctx: Context) -> None:
    _, kv = await filled(ctx)
    for keys in ("a", "*", "c.*", "c.>", ">", "none", "*.d"):
        watcher = await kv.watch(keys)
        ctx.say(keys)
        await entries(ctx, watcher)
        await watcher.stop()
    for keys in ("a b", "", "a.>.b", "."):
        await told(ctx, f"{keys!r}", kv.watch(keys))


@jetstream_scenario
async def with_history(ctx: Context) -> None:
    _, kv = await filled(ctx)
    await entries(ctx, await kv.watchall(include_history=True))
    await entries(ctx, await kv.watch("a", include_history=True))


@jetstream_scenario
async def without_deletions(ctx: Context) -> None:
    _, kv = await filled(ctx)
    watcher = await kv.watchall(ignore_deletes=True)
    await entries(ctx, watcher)
    await kv.delete("a")
    await kv.put("a", b"again")
    await entries(ctx, watcher, 1)
    watcher = await kv.watch("b", ignore_deletes=True)
    await entries(ctx, watcher)


@jetstream_scenario
async def without_values(ctx: Context) -> None:
    _, kv = await filled(ctx)
    for options in ({"meta_only": True}, {"headers_only": True}):
        ctx.say(options)
        await entries(ctx, await kv.watchall(**options))
    await entries(ctx, await kv.watchall(meta_only=True, include_history=True))


@jetstream_scenario
async def iterating(ctx: Context) -> None:
    _, kv = await filled(ctx)
    watcher = await kv.watch("*")
    seen = []
    async for entry in watcher:
        if entry is None:
            break
        seen.append((entry.key, entry.value, entry.operation))
    ctx.say(seen, aiter(watcher) is watcher)

    async def later() -> None:
        await kv.put("z", b"last")
        await asyncio.sleep(0.1)
        await watcher.stop()

    task = asyncio.create_task(later())
    ctx.say([entry.key async for entry in watcher])
    await task


@jetstream_scenario
async def stopping(ctx: Context) -> None:
    js, kv = await bucket(ctx)
    watcher = await kv.watchall(inactive_threshold=0.2)
    await entries(ctx, watcher)
    ctx.say("consumers", len(await js.consumers_info("KV_B")))
    count = len(js._nc._subs)
    await watcher.stop()
    ctx.say("gone", count - len(js._nc._subs))
    await kv.put("a", b"1")
    ctx.say("after it", type(await watcher.updates(timeout=2)).__name__)
    await told(ctx, "again", watcher.stop())
    for _ in range(200):
        if not await js.consumers_info("KV_B"):
            break
        await asyncio.sleep(0.02)
    ctx.say("consumers", len(await js.consumers_info("KV_B")))


ENDED = "nothing will ever come: waiting is no use"


@jetstream_scenario(differs=ENDED, expected=["None", "StopIterSentinel", "StopIterSentinel"])
async def reading_on_after_the_end(ctx: Context) -> None:
    _, kv = await bucket(ctx)
    watcher = await kv.watchall()
    await entries(ctx, watcher)
    await watcher.stop()
    for _ in range(2):
        try:
            ctx.say(type(await watcher.updates(timeout=0.2)).__name__)
        except nats.errors.TimeoutError as error:
            ctx.say("updates raises", error)


@jetstream_scenario
async def several_watchers(ctx: Context) -> None:
    js, kv = await bucket(ctx)
    other = await js.key_value("B")
    watchers = [await kv.watchall(), await other.watch("a"), await kv.watch("b")]
    for watcher in watchers:
        await entries(ctx, watcher)
    await kv.put("a", b"1")
    await kv.put("b", b"2")
    for watcher, count in zip(watchers, (2, 1, 1), strict=True):
        await entries(ctx, watcher, count)


@jetstream_scenario
async def several_readers(ctx: Context) -> None:
    _, kv = await bucket(ctx)
    watcher = await kv.watchall()
    await entries(ctx, watcher)
    readers = [asyncio.create_task(watcher.updates(timeout=2)) for _ in range(3)]
    await asyncio.sleep(0.05)
    for key in ("a", "b", "c"):
        await kv.put(key, b"1")
    for reader in readers:
        entry = await told(ctx, "read", reader)
        ctx.say(shown(entry))


@jetstream_scenario
async def many_values(ctx: Context) -> None:
    _, kv = await bucket(ctx)
    for number in range(600):
        await kv.put(f"k{number}", b"%d" % number)
    watcher = await kv.watchall()
    seen = []
    async for entry in watcher:
        if entry is None:
            break
        seen.append(entry.key)
    ctx.say(len(seen), seen == [f"k{number}" for number in range(600)])
    ctx.say(len(await kv.keys()))


@jetstream_scenario
async def entries_of_watchers(ctx: Context) -> None:
    _, kv = await filled(ctx)
    watcher = await kv.watch("a")
    entry = await watcher.updates()
    ctx.say(entry.bucket, entry.key, entry.value, entry.revision, entry.delta, entry.operation)
    ctx.say(type(entry).__qualname__, type(entry.created).__name__, entry.created.tzinfo)
    entry.value = b"changed"
    ctx.say(entry.value, (await kv.get("a")).value, (await kv.get("a")).created)


@jetstream_scenario
async def what_is_requested(ctx: Context) -> None:
    js, kv = await bucket(ctx)
    # What it takes to know when the initial values are complete differs.
    say = await spy(ctx, js._nc, "$JS.API.CONSUMER.CREATE.>")
    kinds: list[dict[str, Any]] = [
        {},
        {"include_history": True},
        {"meta_only": True, "ignore_deletes": True},
        {"headers_only": True},
        {"inactive_threshold": 7.5},
    ]
    for options in kinds:
        watcher = await kv.watch("a.*", **options)
        ctx.rename(rf"\b{watcher._sub._consumer}\b", "<consumer>")
    await say()
    await kv.put("a", b"1")
    await told(ctx, "history", kv.history("a"))
    await say()


@jetstream_scenario(
    differs="a consumer can't prove that its initial values are complete; it stays",
    expected=["STREAM.INFO", "CONSUMER.CREATE", "CONSUMER.DELETE"],
)
async def what_is_requested_for_keys(ctx: Context) -> None:
    js, kv = await bucket(ctx)
    await kv.put("a", b"1")
    watcher = await ctx.connect()
    sub = await watcher.subscribe("$JS.API.>")
    await settle(watcher)
    await kv.keys()
    await settle(js._nc)
    await settle(watcher)
    while sub.pending_msgs:
        ctx.say(".".join((await sub.next_msg()).subject.split(".")[2:4]))


@jetstream_scenario
async def bucket_deleted_meanwhile(ctx: Context) -> None:
    js, kv = await bucket(ctx)
    watcher = await kv.watchall()
    await entries(ctx, watcher)
    await js.delete_key_value("B")
    await told(ctx, "updates", watcher.updates(timeout=0.1))
    await told(ctx, "watch", kv.watchall())
    await told(ctx, "history", kv.history("a"))
    await told(ctx, "stop", watcher.stop())


@jetstream_scenario
async def connection_closed(ctx: Context) -> None:
    js, kv = await bucket(ctx)
    watcher = await kv.watchall()
    await entries(ctx, watcher)
    await js._nc.close()
    await told(ctx, "stop", watcher.stop())
    await told(ctx, "watch", kv.watchall())


@jetstream_scenario(
    differs=ENDED,
    expected=["None", "disconnected_cb", "closed_cb", "StopIterSentinel"],
)
async def reading_after_closing(ctx: Context) -> None:
    js, kv = await bucket(ctx)
    watcher = await kv.watchall()
    await entries(ctx, watcher)
    await js._nc.close()
    try:
        ctx.say(type(await watcher.updates(timeout=0.2)).__name__)
    except nats.errors.TimeoutError as error:
        ctx.say("updates raises", error)


@jetstream_scenario
async def watchers_survive_a_reconnection(ctx: Context) -> None:
    nc = await ctx.connect(**ctx.callbacks(once=True), reconnect_time_wait=0.1)
    js = nc.jetstream()
    kv = await js.create_key_value(bucket="B", storage="file")
    await kv.put("a", b"1")
    watcher = await kv.watchall()
    await entries(ctx, watcher)
    await nc.force_reconnect()
    await ctx.until_said("reconnected_cb")
    await kv.put("a", b"2")
    await entries(ctx, watcher, 1)
    await watcher.stop()
