"""What was there when a watch began is complete, however fast it is replaced meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from nats.embedded import Server
from nats.js import api
from nats.js import errors as js_errors
from support.connecting import Connect
from support.waiting import eventually, within

pytestmark = pytest.mark.usefixtures("driver")

COUNT = 50
WRITERS = 16
SECONDS = 1.5
NAMES = {f"k{number}" for number in range(COUNT)}


async def begin(connect: Connect, **config: Any) -> tuple[Any, Any]:
    """The bucket B for a writer and for a reader, each with a client of its own."""
    writer = (
        await (await connect()).jetstream().create_key_value(bucket="B", storage="memory", **config)
    )
    reader = await (await connect()).jetstream().key_value("B")
    for name in sorted(NAMES):
        await writer.put(name, b"x")
    return writer, reader


@contextlib.asynccontextmanager
async def written(write: Callable[[int], Awaitable[Any]]) -> AsyncIterator[None]:
    """Meanwhile each of several tasks writes one number after the other."""
    stop = asyncio.Event()

    async def work(number: int) -> None:
        while not stop.is_set():
            number += 1
            await write(number)

    tasks = [asyncio.ensure_future(work(number)) for number in range(WRITERS)]
    try:
        yield
    finally:
        stop.set()
        await within(asyncio.gather(*tasks), 20)


async def repeat(read: Callable[[], Awaitable[None]]) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + SECONDS
    while loop.time() < end:
        await within(read())


def put(kv: Any) -> Callable[[int], Awaitable[Any]]:
    return lambda number: kv.put(f"k{number % COUNT}", b"%d" % number)


@pytest.mark.parametrize("history", [1, 3])
async def test_keys(js_server: Server, connect: Connect, history: int) -> None:
    writer, reader = await begin(connect, history=history)

    async def read() -> None:
        assert set(await reader.keys()) == NAMES

    async with written(put(writer)):
        await repeat(read)


async def test_keys_while_others_come_and_go(js_server: Server, connect: Connect) -> None:
    writer, reader = await begin(connect)
    await writer.delete("deleted")

    async def write(number: int) -> None:
        await writer.put(f"k{number % COUNT}", b"x")
        await writer.put(f"new{number}", b"x")
        await writer.delete(f"new{number}")
        await writer.purge(f"never{number}")

    async def read() -> None:
        keys = await reader.keys()
        assert len(keys) == len(set(keys))
        assert set(keys) >= NAMES
        assert not {key for key in keys if key.startswith(("never", "deleted"))}

    async with written(write):
        await repeat(read)


@pytest.mark.parametrize("pattern", [">", "*", "k7"])
async def test_a_watch(js_server: Server, connect: Connect, pattern: str) -> None:
    writer, reader = await begin(connect)

    async def read() -> None:
        watcher = await reader.watch(pattern)
        keys = set()
        async for entry in watcher:
            if entry is None:
                break
            keys.add(entry.key)
        await watcher.stop()
        assert keys == ({"k7"} if pattern == "k7" else NAMES)

    async with written(put(writer)):
        await repeat(read)


@pytest.mark.parametrize("history", [1, 5])
async def test_history(js_server: Server, connect: Connect, history: int) -> None:
    writer, reader = await begin(connect, history=history)
    for number in range(history):
        await writer.put("k0", b"%d" % number)

    async def read() -> None:
        entries = await reader.history("k0")
        assert len(entries) >= history
        assert [entry.revision for entry in entries] == sorted(entry.revision for entry in entries)

    async with written(lambda number: writer.put("k0", b"%d" % number)):
        await repeat(read)


async def test_purge_deletes(js_server: Server, connect: Connect) -> None:
    """It ends, spares what is written, and finds every marker that was there."""
    writer, reader = await begin(connect)

    async with written(put(writer)):
        for number in range(10):
            await writer.delete(f"deleted{number}")
            await within(reader.purge_deletes(olderthan=0))
            with pytest.raises(js_errors.NoKeysError):
                await reader.history(f"deleted{number}")
    assert set(await reader.keys()) == NAMES


async def test_objects(js_server: Server, connect: Connect) -> None:
    writer = await (await connect()).jetstream().create_object_store("O", storage="memory")
    reader = await (await connect()).jetstream().object_store("O")
    infos = [await writer.put(name, b"") for name in sorted(NAMES)]

    async def write(number: int) -> None:
        info = infos[number % COUNT]
        await writer._publish_meta(info.name, info)

    async def read() -> None:
        assert {info.name for info in await reader.list()} == NAMES

    async with written(write):
        await repeat(read)


async def test_a_key_that_is_purged_before_its_turn(js_server: Server, connect: Connect) -> None:
    """The server counts it, and doesn't deliver it: the subjects say that it is gone."""
    writer, reader = await begin(connect)
    js = reader._js
    subscribe = js.subscribe

    async def late(*args: Any, **options: Any) -> Any:
        await writer._js.purge_stream("KV_B", subject="$KV.B.k7")
        return await subscribe(*args, **options)

    js.subscribe = late
    assert set(await within(reader.keys())) == NAMES - {"k7"}


async def test_a_new_key_is_not_taken_for_another(js_server: Server, connect: Connect) -> None:
    writer, reader = await begin(connect)
    js = reader._js
    subscribe = js.subscribe

    async def late(*args: Any, **options: Any) -> Any:
        for name in ("k7", "new", "k8"):
            await writer.put(name, b"y")
        return await subscribe(*args, **options)

    js.subscribe = late
    assert set(await within(reader.keys())) == NAMES | {"new"}
    watcher = await reader.watchall()
    keys = [(await watcher.updates()).key for _ in range(COUNT + 1)]
    assert set(keys) == NAMES | {"new"}
    assert await watcher.updates() is None


@pytest.mark.parametrize("own", [(), ("a", "b")])
async def test_a_bucket_that_has_subjects_of_others(
    js_server: Server, connect: Connect, own: tuple[str, ...]
) -> None:
    """A source without transforms brings messages that aren't of the bucket."""
    js = (await connect()).jetstream()
    kv = await js.create_key_value(bucket="B", storage="memory", history=2)
    await js.add_stream(name="ORIGIN", subjects=["$KV.O.>"], storage="memory")
    for number in range(5):
        await js.publish(f"$KV.O.{number}", b"x")
    config = (await js.stream_info("KV_B")).config
    await js.update_stream(config.evolve(sources=[api.StreamSource(name="ORIGIN")]))

    async def has_all() -> bool:
        return bool((await js.stream_info("KV_B")).state.messages == 5)

    await eventually(has_all)
    for key in own:
        await kv.put(key, b"x")
    watcher = await kv.watchall()
    assert watcher._initial.is_complete is (not own)
    assert [entry.key async for entry in watcher._initial_entries()] == list(own)
    await watcher.stop()
    if own:
        assert sorted(await within(kv.keys())) == list(own)
        assert [entry.key for entry in await within(kv.history(">"))] == list(own)
    for call in () if own else (kv.keys, lambda: kv.history(">")):
        with pytest.raises(js_errors.NoKeysError):
            await within(call())


@pytest.mark.parametrize("pattern", ["k*", "*1", "k*.>", "*.k*", "**"])
async def test_what_only_looks_like_a_wildcard(
    js_server: Server, connect: Connect, pattern: str
) -> None:
    _, kv = await begin(connect)
    await kv.put("k1.x", b"x")
    with pytest.raises(js_errors.NoKeysError):
        await within(kv.history(pattern))
    watcher = await kv.watch(pattern)
    assert await watcher.updates() is None
    await watcher.stop()
