"""Key-value buckets: making them, keys, revisions, deletion, their state."""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

import nats
from parity.harness import Context, jetstream_scenario
from parity.scenarios._jetstream import begin, mask, shown, spy, told


async def bucket(ctx: Context, **config: Any) -> tuple[Any, Any]:
    """Return the context and the bucket B."""
    mask(ctx)
    nc = await ctx.connect()
    js = nc.jetstream()
    return js, await js.create_key_value(bucket="B", storage="memory", **config)


@jetstream_scenario
async def buckets_come_and_go(ctx: Context) -> None:
    nc = await ctx.connect()
    js = nc.jetstream()
    await told(ctx, "bind before", js.key_value("B"))
    kv = await js.create_key_value(bucket="B", storage="memory", history=3)
    ctx.say(type(kv).__name__, kv._name, kv._stream, kv._pre, kv._direct)
    ctx.say(await kv.put("a", b"1"))
    again = await js.create_key_value(bucket="B", storage="memory", history=3)
    await told(ctx, "get", again.get("a"))
    await ctx.attempt("other settings", js.create_key_value(bucket="B", storage="memory"))
    await told(ctx, "get", (await js.key_value("B")).get("a"))
    await told(ctx, "delete", js.delete_key_value("B"))
    await told(ctx, "delete again", js.delete_key_value("B"))
    await told(ctx, "bind afterwards", js.key_value("B"))
    await told(ctx, "get afterwards", kv.get("a"))
    await told(ctx, "put afterwards", kv.put("a", b""))
    await told(ctx, "keys afterwards", kv.keys())
    await told(ctx, "status afterwards", kv.status())
    await js.add_stream(name="KV_bad", subjects=["bad"], storage="memory")
    await told(ctx, "no bucket", js.key_value("bad"))


@jetstream_scenario
async def streams_of_buckets(ctx: Context) -> None:
    nc = await ctx.connect()
    js, api = nc.jetstream(), nats.js.api
    say = await spy(ctx, nc)
    config = api.KeyValueConfig(bucket="A", description="text", ttl=60, history=5)
    await js.create_key_value(config, storage="memory")
    ctx.say(config)
    kinds: list[dict[str, Any]] = [
        {"ttl": 3600.5},
        {"max_value_size": 10, "max_bytes": 1000, "storage": api.StorageType.MEMORY},
        {"direct": True, "republish": api.RePublish(src=">", dest="copy.>")},
        {"limit_marker_ttl": 5},
        {"limit_marker_ttl": 0, "history": 64},
        {"history": 65},
        {"history": 0},
        {"replicas": 3},
        {"wrong": 1},
    ]
    for number, params in enumerate(kinds):
        name = f"B{number}"
        kv = await ctx.attempt(f"{params}", js.create_key_value(bucket=name, **params))
        if not isinstance(kv, Exception):
            status = await kv.status()
            ctx.say(status.bucket, status.history, status.ttl, status.values, status.marker_ttl)
    await ctx.attempt("no name", js.create_key_value())
    await say()


@jetstream_scenario
async def values_and_revisions(ctx: Context) -> None:
    _, kv = await bucket(ctx, history=3)
    for number in range(1, 5):
        ctx.say("put", await kv.put("a.b", b"%d" % number), await kv.put("other", b"x"))
    for revision in (None, 0, 1, 3, 4, 7, 8, 100, -1):
        await told(ctx, f"revision {revision}", kv.get("a.b", revision))
    await told(ctx, "unknown", kv.get("unknown"))
    await told(ctx, "empty", kv.put("empty", b""))
    entry = await told(ctx, "get empty", kv.get("empty"))
    ctx.say(entry, type(entry).__qualname__)
    await told(ctx, "text", kv.put("text", "x"))
    await told(ctx, "nothing", kv.put("nothing", None))
    await told(ctx, "large", kv.put("large", b"x" * 100_000))
    ctx.say(len((await kv.get("large")).value))


@jetstream_scenario
async def directly(ctx: Context) -> None:
    js, kv = await bucket(ctx, history=3, direct=True)
    ctx.say(kv._direct, (await js.key_value("B"))._direct)
    say = await spy(ctx, js._nc)
    await kv.put("a", b"1")
    await kv.put("a", b"2")
    await kv.put("b", b"")
    for key, revision in (("a", None), ("a", 1), ("a", 3), ("a", 9), ("b", None), ("c", None)):
        await told(ctx, f"{key} {revision}", kv.get(key, revision=revision))
    await kv.delete("a")
    await told(ctx, "deleted", kv.get("a"))
    await told(ctx, "an earlier one", kv.get("a", 1))
    await told(ctx, "create", kv.create("a", b"3"))
    await say()


@jetstream_scenario
async def creating_and_updating(ctx: Context) -> None:
    _, kv = await bucket(ctx, history=5)
    await told(ctx, "create", kv.create("a", b"1"))
    await told(ctx, "create again", kv.create("a", b"2"))
    await told(ctx, "update", kv.update("a", b"2", last=1))
    error = await told(ctx, "update of an old one", kv.update("a", b"3", last=1))
    ctx.say(error.description, isinstance(error, nats.js.errors.APIError), repr(error))
    await told(ctx, "update without revision", kv.update("a", b"3"))
    await told(ctx, "update of an unknown key", kv.update("b", b"3", last=2))
    await told(ctx, "update as creation", kv.update("b", b"3", 0))
    await told(ctx, "delete", kv.delete("a"))
    await told(ctx, "create after deletion", kv.create("a", b"4"))
    await told(ctx, "purge", kv.purge("a"))
    await told(ctx, "create after purge", kv.create("a", b"5"))
    await told(ctx, "get", kv.get("a"))


@jetstream_scenario
async def deleting_and_purging(ctx: Context) -> None:
    js, kv = await bucket(ctx, history=5)
    say = await spy(ctx, js._nc, "$KV.>", "$JS.API.STREAM.PURGE.>")
    for value in (b"1", b"2"):
        await kv.put("a", value)
        await kv.put("b", value)
    await told(ctx, "delete", kv.delete("a"))
    error = await told(ctx, "get", kv.get("a"))
    ctx.say(shown(error.entry), error.op, error.message)
    await told(ctx, "get an earlier one", kv.get("a", 1))
    await told(ctx, "get the marker", kv.get("a", 5))
    await told(ctx, "again", kv.delete("a"))
    await told(ctx, "wrong revision", kv.delete("b", last=1))
    await told(ctx, "right revision", kv.delete("b", last=4))
    await told(ctx, "purge", kv.purge("a"))
    error = await told(ctx, "get", kv.get("a"))
    ctx.say(error.op)
    await told(ctx, "get an earlier one", kv.get("a", 1))
    await told(ctx, "unknown", kv.delete("unknown"))
    await told(ctx, "purge unknown", kv.purge("unknown"))
    ctx.say((await kv.status()).values)
    await say()


@jetstream_scenario
async def purging_deletion_markers(ctx: Context) -> None:
    js, kv = await bucket(ctx, history=5)
    say = await spy(ctx, js._nc, "$JS.API.STREAM.PURGE.>")
    for key in ("a", "b", "c"):
        await kv.put(key, b"1")
    await kv.delete("a")
    await kv.purge("b")
    await told(ctx, "recent ones stay", kv.purge_deletes())
    ctx.say((await kv.status()).values)
    await told(ctx, "all", kv.purge_deletes(olderthan=0))
    ctx.say((await kv.status()).values)
    await told(ctx, "negative", kv.purge_deletes(olderthan=-1))
    await told(ctx, "keys", kv.keys())
    # Here up to the marker only, so that a value that was put since stays.
    await say(ignore=["seq"])


@jetstream_scenario
async def wrong_keys(ctx: Context) -> None:
    js, kv = await bucket(ctx)
    wrong = ["", ".", ".a", "a.", "a b", "*", "a.*", ">", "a>", "ä", "a\tb", "a$", "a:b", "a\n"]
    right = ["a", "a.b", "-/_=.a", "A1", "=", "a..b"]
    calls = {
        "put": lambda key: kv.put(key, b"x"),
        "get": kv.get,
        "create": lambda key: kv.create(key, b"x"),
        "update": lambda key: kv.update(key, b"x", 1),
        "delete": kv.delete,
    }
    for label, call in calls.items():
        for key in wrong if label in ("put", "get") else wrong[:3]:
            await told(ctx, f"{label} {key!r}", call(key))
    for key in right[:-1]:
        await told(ctx, f"put {key!r}", kv.put(key, b"x"))
    await told(ctx, "none", kv.put(None, b"x"))
    await told(ctx, "not validated", kv.put("a:b", b"x", validate_keys=False))
    await told(ctx, "not validated", kv.get("a:b", validate_keys=False))
    await told(ctx, "not validated", kv.create("a$", b"x", validate_keys=False))
    await told(ctx, "not validated", kv.update("a$", b"x", validate_keys=False))
    await told(ctx, "not validated", kv.delete("a$", validate_keys=False))
    await told(ctx, "validated again", kv.get("a:b"))
    await told(ctx, "purge", kv.purge("a:b"))
    ctx.say("connected", js._nc.is_connected)


@jetstream_scenario
async def keys_that_are_no_text(ctx: Context) -> None:
    """They are made text, where they aren't looked at."""
    _, kv = await bucket(ctx)
    for key in (5, True, None):
        await told(ctx, f"put {key}", kv.put(key, b"x", validate_keys=False))
        await told(ctx, f"get {key}", kv.get(key, validate_keys=False))
        await told(ctx, f"get checked {key}", kv.get(key))
        await told(ctx, f"delete {key}", kv.delete(key, validate_keys=False))
        await told(ctx, f"get deleted {key}", kv.get(key, validate_keys=False))


@jetstream_scenario
async def listing_keys(ctx: Context) -> None:
    _, kv = await bucket(ctx, history=3)
    error = await told(ctx, "none", kv.keys())
    ctx.say(isinstance(error, nats.js.errors.APIError))
    for key in ("b", "a", "c.d", "c.e", "b"):
        await kv.put(key, b"1")
    await kv.delete("a")
    await told(ctx, "keys", kv.keys())
    for filters in ([], ["c."], ["b", "e"], ["c.*"], ["none"], "c"):
        await told(ctx, f"{filters}", kv.keys(filters=filters))
    await told(ctx, "more options", kv.keys(anything=1))
    for key in ("b", "c.d", "c.e"):
        await kv.purge(key)
    await told(ctx, "all gone", kv.keys())


@jetstream_scenario
async def history_of_a_key(ctx: Context) -> None:
    _, kv = await bucket(ctx, history=3)
    await told(ctx, "none", kv.history("a"))
    for number in range(5):
        await kv.put("a", b"%d" % number)
        await kv.put("b", b"x")
    await told(ctx, "the last three", kv.history("a"))
    await kv.delete("a")
    await told(ctx, "with a deletion", kv.history("a"))
    await kv.purge("a")
    await told(ctx, "after a purge", kv.history("a"))
    await told(ctx, "wildcard", kv.history("*"))


@jetstream_scenario
async def state_of_a_bucket(ctx: Context) -> None:
    _, kv = await bucket(ctx, history=2, ttl=90, description="text", max_value_size=20)
    await kv.put("a", b"1")
    await kv.put("b", b"2")
    status = await kv.status()
    ctx.say(type(status).__qualname__, status.bucket, status.values, status.history, status.ttl)
    ctx.say(status.marker_ttl, shown(status))
    await ctx.attempt("change", lambda: setattr(status, "bucket", "x"))
    await told(ctx, "too large", kv.put("a", b"x" * 100))


@jetstream_scenario
async def time_to_live(ctx: Context) -> None:
    js, kv = await bucket(ctx, limit_marker_ttl=60)
    say = await spy(ctx, js._nc, "$KV.>")
    watcher = await kv.watchall()
    await told(ctx, "create", kv.create("a", b"1", msg_ttl=2))
    await told(ctx, "create for long", kv.create("b", b"1", msg_ttl=100))
    await told(ctx, "purge", kv.purge("c", msg_ttl=100))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        await told(ctx, "delete", kv.delete("b", msg_ttl=5))
    ctx.say([(warning.category.__name__, str(warning.message)) for warning in caught])
    await say()
    for _ in range(6):
        ctx.say(shown(await watcher.updates(timeout=10)))


@jetstream_scenario(
    differs="watchers call it purged: the marker is not an empty value",
    expected=[
        "PURGE",
        "get raises nats.js.errors.KeyNotFoundError: nats: key not found",
        "create gives int 3",
    ],
)
async def expired_keys(ctx: Context) -> None:
    _, kv = await bucket(ctx, limit_marker_ttl=60)
    watcher = await kv.watchall()
    await kv.create("a", b"1", msg_ttl=1)
    for _ in range(3):
        entry = await watcher.updates(timeout=10)
    ctx.say(entry.operation)
    await ctx.attempt("get", kv.get("a"))
    await told(ctx, "create", kv.create("a", b"2"))


@jetstream_scenario
async def expired_buckets(ctx: Context) -> None:
    _, kv = await bucket(ctx, ttl=0.5)
    await kv.put("a", b"1")
    await asyncio.sleep(1.2)
    await told(ctx, "get", kv.get("a"))
    await told(ctx, "keys", kv.keys())
    await told(ctx, "create", kv.create("a", b"2"))


@jetstream_scenario
async def what_is_sent(ctx: Context) -> None:
    js, kv = await bucket(ctx, history=2)
    say = await spy(ctx, js._nc, "$KV.>", "$JS.API.>")
    await kv.put("a", b"1")
    await kv.get("a")
    await kv.get("a", revision=1)
    await kv.create("b", b"2")
    await told(ctx, "create again", kv.create("b", b"3"))
    await kv.update("b", b"4", last=2)
    await kv.delete("b", last=3)
    await kv.create("b", b"5")
    await kv.purge("a")
    await kv.status()
    await say()


@jetstream_scenario
async def buckets_beside_a_stream(ctx: Context) -> None:
    nc, js = await begin(ctx)
    kv = await js.create_key_value(bucket="B", storage="memory")
    await kv.put("a", b"1")
    await js.publish("$KV.B.a", b"2")
    await told(ctx, "get", kv.get("a"))
    ctx.say([info.config.name for info in await js.streams_info()])
    await told(ctx, "not atomic", asyncio.gather(*(kv.put("n", b"%d" % n) for n in range(20))))
    ctx.say((await kv.get("n")).revision, nc.is_connected)
