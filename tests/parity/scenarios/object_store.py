"""Object stores."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from typing import Any

import nats
from parity.harness import Context, jetstream_scenario
from parity.scenarios._jetstream import mask, shown, spy, told


async def store(ctx: Context, **config: Any) -> tuple[Any, Any]:
    """Return the context and the store B."""
    mask(ctx)
    nc = await ctx.connect()
    js = nc.jetstream()
    return js, await js.create_object_store("B", storage="memory", **config)


def meta_subject(name: str) -> str:
    return "$O.B.M." + base64.urlsafe_b64encode(name.encode()).decode()


@jetstream_scenario
async def stores_come_and_go(ctx: Context) -> None:
    nc = await ctx.connect()
    js = nc.jetstream()
    await told(ctx, "bind before", js.object_store("B"))
    obs = await js.create_object_store("B", storage="memory")
    ctx.say(type(obs).__name__, obs._name, obs._stream)
    await obs.put("a", b"1")
    await ctx.attempt("same again", js.create_object_store("B", storage="memory"))
    await ctx.attempt("other settings", js.create_object_store("B", ttl=5))
    ctx.say((await (await js.object_store("B")).get("a")).data)
    await told(ctx, "delete", js.delete_object_store("B"))
    await told(ctx, "again", js.delete_object_store("B"))
    await told(ctx, "bind afterwards", js.object_store("B"))
    await told(ctx, "get afterwards", obs.get("a"))
    await told(ctx, "put afterwards", obs.put("a", b""))
    try:
        await obs.list()
    except nats.js.errors.NotFoundError:
        ctx.say("nothing to list afterwards")
    await told(ctx, "status afterwards", obs.status())


@jetstream_scenario
async def streams_of_stores(ctx: Context) -> None:
    nc = await ctx.connect()
    js, api = nc.jetstream(), nats.js.api
    say = await spy(ctx, nc)
    config = api.ObjectStoreConfig(description="text", ttl=60, max_bytes=100_000)
    await js.create_object_store("A", config=config)
    # nats-py writes the name into it.
    ctx.say(config.evolve(bucket=None))
    await js.create_object_store(bucket="C", config=config, description="changed", storage="memory")
    await js.create_object_store("D", storage=api.StorageType.MEMORY, max_bytes=0)
    for name in ("A", "C", "D"):
        status = await (await js.object_store(name)).status()
        ctx.say(type(status).__qualname__, status.bucket, status.description, status.ttl)
        ctx.say(status.storage_type, status.replicas, status.sealed, status.size)
    await ctx.attempt("wrong", js.create_object_store("E", wrong=1))
    await ctx.attempt("no name", js.create_object_store())
    await ctx.attempt("only a configuration", js.create_object_store(config=config))
    await say()


@jetstream_scenario
async def kinds_of_data(ctx: Context) -> None:
    _, obs = await store(ctx)
    kinds: dict[str, Any] = {
        "bytes": b"data",
        "text": "täxt",
        "empty": b"",
        "empty text": "",
        "BytesIO": io.BytesIO(b"from a file"),
        "buffered": io.BufferedReader(io.BytesIO(b"buffered")),
        "text file": io.TextIOWrapper(io.BytesIO(b"text file")),
        "number": 5,
        "none": None,
        "StringIO": io.StringIO("x"),
    }
    for name, data in kinds.items():
        info = await told(ctx, name, obs.put(name, data))
        if not isinstance(info, Exception):
            result = await obs.get(name)
            ctx.say(result.data, type(result).__qualname__, shown(result.info) == shown(info))


@jetstream_scenario(
    differs="a buffer is as good as its copy",
    expected=["bytearray b'1'", "memoryview b'2'"],
)
async def buffers(ctx: Context) -> None:
    _, obs = await store(ctx)
    for data in (bytearray(b"1"), memoryview(b"2")):
        kind = type(data).__name__
        try:
            await obs.put("a", data)
            ctx.say(kind, (await obs.get("a")).data)
        except TypeError:
            ctx.say(kind, "is refused")


@jetstream_scenario
async def files(ctx: Context) -> None:
    _, obs = await store(ctx)
    path = ctx.directory / "file"
    path.write_bytes(bytes(range(256)) * 2000)
    with io.BufferedReader(io.FileIO(path)) as file:
        await told(ctx, "put", obs.put("file", file))
    with io.FileIO(path) as file:
        await told(ctx, "put unbuffered", obs.put("raw", file))
    copy = ctx.directory / "copy"
    with io.FileIO(copy, "w") as file:
        result = await obs.get("file", writeinto=file)
    ctx.say(result.data, result.info.size, copy.read_bytes() == path.read_bytes())
    buffer = io.BytesIO()
    await obs.get("raw", buffer)
    ctx.say(buffer.getvalue() == path.read_bytes())
    wrapper = io.TextIOWrapper(io.BytesIO())
    await obs.put("small", b"text")
    await obs.get("small", writeinto=wrapper)
    ctx.say(wrapper.buffer.getvalue())


@jetstream_scenario
async def chunks(ctx: Context) -> None:
    js, obs = await store(ctx)
    api: Any = nats.js.api
    data = bytes(range(256)) * 10
    for size in (1000, 2560, 2559, 5000):
        meta = api.ObjectMeta(options=api.ObjectMetaOptions(max_chunk_size=size))
        info = await told(ctx, f"{size}", obs.put("a", data, meta=meta))
        ctx.say((await obs.get("a")).data == data, info.options.max_chunk_size, meta.name)
        ctx.say((await js.stream_info("OBJ_B")).state.messages)
    large = bytes(300_000)
    info = await obs.put("large", large)
    ctx.say(info.chunks, info.size, info.digest, (await obs.get("large")).data == large)


@jetstream_scenario
async def descriptions(ctx: Context) -> None:
    _, obs = await store(ctx)
    api: Any = nats.js.api
    meta = api.ObjectMeta(name="other", description="text", headers={"a": "b", "c": "d"})
    await told(ctx, "put", obs.put("a", b"1", meta=meta))
    ctx.say(meta)
    await told(ctx, "put without name", obs.put("", b"2", meta=meta))
    info = await told(ctx, "info", obs.get_info("a"))
    ctx.say(info.meta, info.is_link(), info.deleted, info.digest, type(info.mtime).__name__)
    for name in ("a b", "ä/ö", "a.b.>", "x" * 100):
        await told(ctx, f"name {name!r}", obs.put(name, b"x"))
        ctx.say((await obs.get(name)).info.name == name)
    await told(ctx, "no name", obs.put("", b"x"))
    await told(ctx, "get without name", obs.get(""))


@jetstream_scenario
async def replaced_objects(ctx: Context) -> None:
    js, obs = await store(ctx)
    first = await obs.put("a", b"first")
    second = await obs.put("a", b"second")
    ctx.say(first.nuid != second.nuid, (await obs.get("a")).data)
    ctx.say((await js.stream_info("OBJ_B", ">")).state.messages, len(await obs.list()))


@jetstream_scenario
async def deleted_objects(ctx: Context) -> None:
    js, obs = await store(ctx)
    await obs.put("a", b"1")
    await obs.put("b", b"2")
    await told(ctx, "delete", obs.delete("a"))
    await told(ctx, "get", obs.get("a"))
    await told(ctx, "info", obs.get_info("a"))
    await told(ctx, "info of deleted", obs.get_info("a", show_deleted=True))
    await told(ctx, "get deleted", obs.get("a", show_deleted=True))
    await told(ctx, "again", obs.delete("a"))
    await told(ctx, "unknown", obs.delete("unknown"))
    ctx.say((await js.stream_info("OBJ_B")).state.messages)
    await told(ctx, "list", obs.list())
    await told(ctx, "list without", obs.list(ignore_deletes=True))
    await obs.put("a", b"again")
    ctx.say((await obs.get("a")).data)


@jetstream_scenario(
    differs="clients in other languages can't read what has no valid time",
    expected=["a time"],
)
async def time_of_deletion(ctx: Context) -> None:
    _, obs = await store(ctx)
    await obs.put("a", b"1")
    await obs.delete("a")
    info = await obs.get_info("a", show_deleted=True)
    ctx.say("a time" if info.mtime else "no time")


@jetstream_scenario
async def lists(ctx: Context) -> None:
    _, obs = await store(ctx)
    await told(ctx, "none", obs.list())
    for name in ("b", "a", "b"):
        await obs.put(name, name.encode())
    infos = await obs.list()
    ctx.say([info.name for info in infos], type(infos[0]).__name__, shown(infos[0]))
    for name in ("a", "b"):
        await obs.delete(name)
    ctx.say([info.name for info in await obs.list()])


@jetstream_scenario
async def changed_descriptions(ctx: Context) -> None:
    _, obs = await store(ctx)
    api: Any = nats.js.api
    await obs.put("a", b"1")
    meta = api.ObjectMeta(name="a", description="new", headers={"x": "y"})
    await told(ctx, "same name", obs.update_meta("a", meta))
    await told(ctx, "info", obs.get_info("a"))
    await told(ctx, "other name", obs.update_meta("a", api.ObjectMeta(name="b")))
    await told(ctx, "unknown", obs.update_meta("unknown", meta))
    await told(ctx, "get", obs.get("a"))
    await obs.put("c", b"3")
    await obs.delete("c")
    await told(ctx, "deleted", obs.update_meta("c", api.ObjectMeta(name="d")))
    await told(ctx, "list", obs.list())


@jetstream_scenario
async def sealed_stores(ctx: Context) -> None:
    _, obs = await store(ctx)
    await obs.put("a", b"1")
    await told(ctx, "seal", obs.seal())
    ctx.say((await obs.status()).sealed, (await obs.get("a")).data)
    await told(ctx, "put", obs.put("b", b"2"))
    await told(ctx, "delete", obs.delete("a"))
    await told(ctx, "seal again", obs.seal())
    await told(ctx, "get", obs.get("a"))


@jetstream_scenario
async def full_stores(ctx: Context) -> None:
    js, obs = await store(ctx, max_bytes=2000)
    api: Any = nats.js.api
    meta = api.ObjectMeta(options=api.ObjectMetaOptions(max_chunk_size=500))
    await told(ctx, "put", obs.put("a", b"x" * 5000, meta=meta))
    ctx.say((await js.stream_info("OBJ_B")).state.messages)
    await told(ctx, "small", obs.put("b", b"x"))


@jetstream_scenario
async def links(ctx: Context) -> None:
    js, obs = await store(ctx)
    api: Any = nats.js.api
    other = await js.create_object_store("C", storage="memory")
    await other.put("target", b"far away")
    await obs.put("near", b"near")
    targets = {
        "to near": api.ObjectLink(bucket="B", name="near"),
        "to far": api.ObjectLink(bucket="C", name="target"),
        "to store": api.ObjectLink(bucket="C"),
        "to nothing": api.ObjectLink(bucket="C", name="nothing"),
        "to no store": api.ObjectLink(bucket="D", name="x"),
    }
    for name, link in targets.items():
        options = api.ObjectMetaOptions(link=link, max_chunk_size=100)
        info = await obs.put(name, b"", api.ObjectMeta(options=options))
        ctx.say(name, info.is_link(), shown(info.options))
        await told(ctx, "get", obs.get(name))
    ctx.say([info.is_link() for info in await obs.list()])


@jetstream_scenario
async def spoilt_objects(ctx: Context) -> None:
    js, obs = await store(ctx)
    info = await obs.put("a", b"12345")

    async def spoil(**changes: Any) -> None:
        data = json.dumps({**info.as_dict(), **changes}).encode()
        await js.publish(meta_subject("a"), data, headers={"Nats-Rollup": "sub"})

    wrong = base64.urlsafe_b64encode(bytes(32)).decode()
    await spoil(digest=f"SHA-256={wrong}")
    await told(ctx, "wrong digest", obs.get("a"))
    await spoil(nuid="")
    await told(ctx, "no nuid", obs.get("a"))
    await told(ctx, "delete without nuid", obs.delete("a"))
    await spoil(size=0)
    await told(ctx, "no size", obs.get("a"))
    await spoil(more="unknown")
    await told(ctx, "unknown member", obs.get("a"))
    for data in (b"no JSON", b"{}", b"[]", b""):
        await js.publish(meta_subject("a"), data, headers={"Nats-Rollup": "sub"})
        await told(ctx, f"{data!r}", obs.get_info("a"))


@jetstream_scenario
async def watching(ctx: Context) -> None:
    _, obs = await store(ctx)
    for name in ("a", "b", "a"):
        await obs.put(name, name.encode())
    await obs.delete("b")

    async def say(watcher: Any, count: int) -> None:
        for _ in range(count):
            info = await told(ctx, "update", watcher.updates(timeout=0.5))
            if isinstance(info, Exception):
                return

    kinds: dict[str, tuple[int, dict[str, Any]]] = {
        "plain": (3, {}),
        "no deletions": (2, {"ignore_deletes": True}),
        "history": (3, {"include_history": True}),
        "meta only": (3, {"meta_only": True}),
        "updates only": (0, {"updates_only": True}),
    }
    watchers = []
    for what, (count, options) in kinds.items():
        ctx.say(what)
        watcher = await obs.watch(**options)
        await say(watcher, count)
        await told(ctx, "no more", watcher.updates(timeout=0.02))
        watchers.append(watcher)
    await obs.put("c", b"c")
    await obs.delete("a")
    for what, watcher in zip(kinds, watchers, strict=True):
        ctx.say(what)
        await say(watcher, 1 if what == "no deletions" else 2)
        await watcher.stop()


@jetstream_scenario
async def watching_an_empty_store(ctx: Context) -> None:
    js, obs = await store(ctx)
    watcher = await obs.watch()
    ctx.say(type(watcher).__qualname__, await watcher.updates())
    await obs.put("a", b"1")
    ctx.say((await watcher.updates()).name)
    ctx.say(aiter(watcher) is watcher)
    count = len(js._nc._subs)
    await watcher.stop()
    ctx.say("gone", count - len(js._nc._subs))
    await told(ctx, "no more", watcher.updates(timeout=0.05))
    await told(ctx, "again", watcher.stop())


@jetstream_scenario
async def several_at_once(ctx: Context) -> None:
    _, obs = await store(ctx)
    names = [f"o{number}" for number in range(10)]
    await asyncio.gather(*(obs.put(name, name.encode() * 1000) for name in names))
    results = await asyncio.gather(*(obs.get(name) for name in names))
    ctx.say([result.data for result in results] == [name.encode() * 1000 for name in names])
    ctx.say(sorted(info.name for info in await obs.list()))


@jetstream_scenario
async def what_is_sent(ctx: Context) -> None:
    js, obs = await store(ctx)
    say = await spy(ctx, js._nc, "$JS.API.>", "$O.>")
    await obs.put("a", b"12345")
    await obs.put("a", b"new")
    await say()
    sub = await js.subscribe("$O.B.C.x", ordered_consumer=True)
    ctx.rename(rf"\b{sub._consumer}\b", "<consumer>")
    await say()
    await obs.get("a")
    await obs.get_info("a")
    await say()
    await obs.update_meta("a", nats.js.api.ObjectMeta(name="a", description="x"))
    await obs.delete("a")
    await obs.seal()
    await say()


@jetstream_scenario
async def what_is_sent_by_watchers(ctx: Context) -> None:
    js, obs = await store(ctx)
    await obs.put("a", b"12345")
    # What it takes to know when the list is complete differs.
    say = await spy(ctx, js._nc, "$JS.API.CONSUMER.CREATE.>")
    for options in ({}, {"include_history": True}, {"updates_only": True}, {"meta_only": True}):
        await obs.watch(**options)
    await obs.list()
    await say()
