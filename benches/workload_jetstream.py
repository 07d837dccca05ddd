"""The JetStream, key-value and object-store workloads; `workload.py` runs them.

Each has a memory stream or bucket of its own, filled natively where it is about reading, and fails
if a message, an ack or a byte is missing in the end.
"""

import asyncio
import base64
import contextlib
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from harness import WARM_UP, Bench, Stopwatch
from nats.js import api

WINDOW = 4_000
BATCH = 500
# Reads and writes go round so many keys.
RING = 1_000
# The bucket whose keys are listed and watched.
KEYS = 50_000
MEMORY = api.StorageType.MEMORY


@contextlib.asynccontextmanager
async def stream(bench: Bench, fill: bool = True) -> AsyncIterator[Any]:
    """The context, and a stream of `bench.subject` beneath it."""
    js = bench.nc.jetstream(publish_async_max_pending=WINDOW)
    await js.add_stream(name=bench.name, subjects=[bench.subject], storage=MEMORY)
    try:
        if fill:
            bench.fill(bench.subject, bench.count)
            await check_stored(js, bench, bench.count)
        yield js
    finally:
        await js.delete_stream(bench.name)


@contextlib.asynccontextmanager
async def bucket(bench: Bench, keys: int) -> AsyncIterator[Any]:
    """A bucket as `create_key_value` makes it by default, with the keys key.0, key.1, …"""
    js = bench.nc.jetstream()
    kv = await js.create_key_value(bucket=bench.name, storage=MEMORY)
    try:
        if keys:
            bench.fill(f"$KV.{bench.name}.key", keys, numbered=True)
        yield kv
    finally:
        await js.delete_key_value(bench.name)


@contextlib.asynccontextmanager
async def objects(bench: Bench) -> AsyncIterator[Any]:
    js = bench.nc.jetstream()
    store = await js.create_object_store(bucket=bench.name, storage=MEMORY)
    try:
        await store.put("warm", bench.payload[: 1 << 20])
        yield store
    finally:
        await js.delete_object_store(bench.name)


async def check_stored(js: Any, bench: Bench, wanted: int) -> None:
    stored = (await js.stream_info(bench.name)).state.messages
    assert stored == wanted, f"{stored} of {wanted} messages in the stream"


async def check_acks(sub: Any, wanted: int) -> None:
    """The server handles acks behind the back of the connection: they may take a moment."""
    for _ in range(100):
        floor = (await sub.consumer_info()).ack_floor.stream_seq
        if floor == wanted:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{floor} of {wanted} messages acknowledged")


async def js_publish(bench: Bench) -> dict[str, Any]:
    async with stream(bench, fill=False) as js:

        async def send(count: int) -> None:
            for _ in range(count):
                await js.publish(bench.subject, bench.payload)

        await send(100)
        watch = Stopwatch()
        await send(bench.count)
        result = watch.report(bench.count, bench.args.size)
        await check_stored(js, bench, bench.count + 100)
    return result


async def js_publish_async(bench: Bench) -> dict[str, Any]:
    async with stream(bench, fill=False) as js:

        async def send(count: int) -> None:
            for _ in range(count):
                await js.publish_async(bench.subject, bench.payload)
            await js.publish_async_completed()

        await send(WARM_UP)
        watch = Stopwatch()
        await send(bench.count)
        result = watch.report(bench.count, bench.args.size)
        await check_stored(js, bench, bench.count + WARM_UP)
    return result


async def js_fetch(bench: Bench) -> dict[str, Any]:
    """Every message is acknowledged by itself; the flush waits until the server has the acks."""
    async with stream(bench) as js:
        sub = await js.pull_subscribe(bench.subject, durable="bench", stream=bench.name)
        seen = seen_bytes = 0
        watch = Stopwatch()
        while seen < bench.count:
            for msg in await sub.fetch(BATCH, timeout=5):
                seen += 1
                seen_bytes += len(msg.data)
                await msg.ack()
        await bench.nc.flush(timeout=60)
        result = watch.report(bench.count, bench.args.size)
        assert (seen, seen_bytes) == (bench.count, bench.count * bench.args.size)
        await check_acks(sub, bench.count)
    return result


async def js_push(bench: Bench) -> dict[str, Any]:
    """The handler awaits each ack. The server holds back at its default of 1000 open ones."""
    done = asyncio.Event()
    seen = seen_bytes = 0

    async def handler(msg: Any) -> None:
        nonlocal seen, seen_bytes
        seen += 1
        seen_bytes += len(msg.data)
        await msg.ack()
        if seen == bench.count:
            done.set()

    async with stream(bench) as js:
        watch = Stopwatch()
        sub = await js.subscribe(bench.subject, stream=bench.name, cb=handler, manual_ack=True)
        await done.wait()
        await bench.nc.flush(timeout=60)
        result = watch.report(bench.count, bench.args.size)
        assert (seen, seen_bytes) == (bench.count, bench.count * bench.args.size)
        await check_acks(sub, bench.count)
        await sub.unsubscribe()
    return result


async def js_ordered(bench: Bench) -> dict[str, Any]:
    done = asyncio.Event()
    seen = seen_bytes = 0
    last: Any = None

    async def handler(msg: Any) -> None:
        nonlocal seen, seen_bytes, last
        seen += 1
        seen_bytes += len(msg.data)
        if seen == bench.count:
            last = msg
            done.set()

    async with stream(bench) as js:
        watch = Stopwatch()
        sub = await js.subscribe(
            bench.subject, stream=bench.name, cb=handler, ordered_consumer=True
        )
        await done.wait()
        result = watch.report(bench.count, bench.args.size)
        assert seen_bytes == bench.count * bench.args.size
        assert last.metadata.sequence.stream == bench.count, "not in order"
        await sub.unsubscribe()
    return result


async def kv_put(bench: Bench) -> dict[str, Any]:
    async with bucket(bench, keys=0) as kv:
        names = [f"key.{number}" for number in range(RING)]
        for number in range(100):
            await kv.put(f"warm.{number}", bench.payload)
        watch = Stopwatch()
        for number in range(bench.count):
            revision = await kv.put(names[number % RING], bench.payload)
        result = watch.report(bench.count, bench.args.size)
        assert revision == bench.count + 100
    return result


async def kv_get(bench: Bench) -> dict[str, Any]:
    return await get_values(bench, inflight=1)


async def kv_get_64(bench: Bench) -> dict[str, Any]:
    return await get_values(bench, inflight=64)


async def get_values(bench: Bench, inflight: int) -> dict[str, Any]:
    async with bucket(bench, keys=RING) as kv:
        names = [f"key.{number}" for number in range(RING)]

        async def worker(numbers: Iterator[int]) -> None:
            for number in numbers:
                entry = await kv.get(names[number % RING])
                assert entry.value == bench.payload

        async def run(count: int) -> None:
            numbers = iter(range(count))
            await asyncio.gather(*(worker(numbers) for _ in range(inflight)))

        await run(100)
        watch = Stopwatch()
        await run(bench.count)
        return watch.report(bench.count, bench.args.size)


async def kv_keys(bench: Bench) -> dict[str, Any]:
    async def listing(kv: Any, keys: int) -> None:
        listed = await kv.keys()
        assert len(listed) == keys
        assert listed[-1] == f"key.{keys - 1}"

    return await whole_bucket(bench, listing)


async def kv_watch(bench: Bench) -> dict[str, Any]:
    async def watching(kv: Any, keys: int) -> None:
        watcher = await kv.watchall()
        seen = seen_bytes = 0
        async for entry in watcher:
            if entry is None:
                break
            seen += 1
            seen_bytes += len(entry.value)
        await watcher.stop()
        assert (seen, seen_bytes) == (keys, keys * bench.args.size)

    return await whole_bucket(bench, watching)


async def whole_bucket(bench: Bench, once: Callable[[Any, int], Awaitable[None]]) -> dict[str, Any]:
    """So many rounds over all keys as make up the count."""
    keys = min(bench.count, KEYS)
    rounds = bench.count // keys
    async with bucket(bench, keys) as kv:
        watch = Stopwatch()
        for _ in range(rounds):
            await once(kv, keys)
        return watch.report(rounds * keys, bench.args.size)


async def object_put(bench: Bench) -> dict[str, Any]:
    async with objects(bench) as store:
        watch = Stopwatch()
        for number in range(bench.count):
            info = await store.put(f"object.{number}", bench.payload)
        result = watch.report(bench.count, bench.args.size)
        assert info.size == bench.args.size
        digest = base64.urlsafe_b64encode(hashlib.sha256(bench.payload).digest()).decode()
        assert info.digest == f"SHA-256={digest}"
        stored = (await store.status()).size
        assert stored > bench.count * bench.args.size, f"{stored} bytes in the bucket"
    return result


async def object_get(bench: Bench) -> dict[str, Any]:
    async with objects(bench) as store:
        await store.put("object", bench.payload)
        assert (await store.get("warm")).data == bench.payload[: 1 << 20]
        watch = Stopwatch()
        for _ in range(bench.count):
            data = (await store.get("object")).data
            assert len(data) == bench.args.size
        result = watch.report(bench.count, bench.args.size)
        assert data == bench.payload
    return result


WORKLOADS: dict[str, Callable[[Bench], Awaitable[dict[str, Any]]]] = {
    workload.__name__: workload
    for workload in (
        js_publish,
        js_publish_async,
        js_fetch,
        js_push,
        js_ordered,
        kv_put,
        kv_get,
        kv_get_64,
        kv_keys,
        kv_watch,
        object_put,
        object_get,
    )
}
