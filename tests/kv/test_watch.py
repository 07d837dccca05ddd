"""Watching key-value buckets with a real server, and what is built on that."""

from __future__ import annotations

import asyncio
import datetime
from typing import Any

import pytest
from nats import errors as core_errors
from nats.embedded import Server
from nats.js import errors
from nats.js.kv import KV_DEL, KV_PURGE, KeyValue
from nats.js.object_store import ObjectStore
from support.connecting import Connect
from support.kv_watchers import begin, seen, silent
from support.waiting import eventually, within

pytestmark = pytest.mark.usefixtures("driver")


# Entries


def test_marks_of_the_end_are_each_classs_own() -> None:
    watchers = (KeyValue.KeyWatcher, ObjectStore.ObjectWatcher)
    marks = [vars(watcher)["STOP_ITER"] for watcher in watchers]
    assert marks[0] is not marks[1]


async def test_values_then_none_then_updates(js_server: Server, connect: Connect) -> None:
    _, _, kv = await begin(connect)
    await kv.put("a", b"1")
    await kv.put("b.c", b"2")
    await kv.put("a", b"3")
    await kv.delete("d")
    watcher = await kv.watchall()
    assert isinstance(watcher, KeyValue.KeyWatcher)
    first = await watcher.updates()
    assert (first.bucket, first.key, first.value) == ("B", "b.c", b"2")
    assert (first.revision, first.delta, first.operation) == (2, 2, None)
    age = datetime.datetime.now(datetime.timezone.utc) - first.created
    assert datetime.timedelta(0) <= age < datetime.timedelta(minutes=1)
    assert await seen(watcher, 3) == [("a", b"3", None), ("d", b"", KV_DEL), None]
    await silent(watcher)
    await kv.put("e", b"4")
    await kv.purge("a")
    assert await seen(watcher, 2) == [("e", b"4", None), ("a", b"", KV_PURGE)]
    await silent(watcher)
    await watcher.stop()


async def test_time_of_an_entry(js_server: Server, connect: Connect) -> None:
    _, js, kv = await begin(connect)
    for number in range(100):
        await js.publish_async(f"$KV.B.{number}", b"")
    await js.publish_async_completed()
    raw = await js.subscribe("$KV.B.>", ordered_consumer=True)
    watcher = await kv.watchall()
    for _ in range(100):
        entry, msg = await watcher.updates(), await raw.next_msg()
        assert entry.revision == msg.metadata.sequence.stream
        assert entry.created == msg.metadata.timestamp
        assert entry.created.tzinfo is datetime.timezone.utc


async def test_none_comes_exactly_once(js_server: Server, connect: Connect) -> None:
    _, _, kv = await begin(connect)
    empty = await kv.watchall()
    assert await seen(empty, 1) == [None]
    for number in range(3):
        await kv.put("a", b"%d" % number)
        assert await seen(empty, 1) == [("a", b"%d" % number, None)]
    await silent(empty)
    # Also where the last of the values isn't shown.
    await kv.delete("a")
    for options in ({"ignore_deletes": True}, {"ignore_deletes": True, "include_history": True}):
        watcher = await kv.watch("a", **options)
        updates = await seen(watcher, 1 if len(options) == 1 else 4)
        assert updates.count(None) == 1
        assert updates[-1] is None
        await silent(watcher)
        await watcher.stop()
    await empty.stop()


async def test_none_while_others_write(js_server: Server, connect: Connect) -> None:
    _, _, kv = await begin(connect)
    writer = await (await connect()).jetstream().key_value("B")
    stop = asyncio.Event()

    async def write() -> None:
        number = 0
        while not stop.is_set():
            await writer.put("a", b"%d" % number)
            number += 1

    writing = asyncio.ensure_future(write())
    try:
        for _ in range(20):
            watcher = await kv.watchall()
            updates = await seen(watcher, 20)
            await watcher.stop()
            assert updates.count(None) == 1
            numbers = [int(update[1]) for update in updates if update]
            # Some may be gone before their turn: the bucket keeps five revisions.
            assert numbers == sorted(set(numbers))
    finally:
        stop.set()
        await within(writing)


async def test_values_that_arrive_late_are_seen(js_server: Server, connect: Connect) -> None:
    """Some are still on their way when the server says that it has delivered all of them."""
    _, _, kv = await begin(connect)
    for number in range(400):
        await kv.put("a", b"%d" % number)
        entries = await kv.history("a")
        assert entries[-1].value == b"%d" % number


async def test_history(js_server: Server, connect: Connect) -> None:
    nc, _, kv = await begin(connect)
    for number in range(8):
        await kv.put("a", b"%d" % number)
        await kv.put("b", b"x")
    await kv.delete("a")
    subs = set(nc._subs)
    entries = await kv.history("a")
    assert [entry.value for entry in entries] == [b"4", b"5", b"6", b"7", b""]
    assert [entry.revision for entry in entries] == [9, 11, 13, 15, 17]
    assert [entry.delta for entry in entries] == [4, 3, 2, 1, 0]
    assert [entry.operation for entry in entries] == [None] * 4 + [KV_DEL]
    assert len(await kv.history(">")) == 10
    with pytest.raises(errors.NoKeysError, match="no keys found"):
        await kv.history("none")
    assert set(nc._subs) == subs


async def test_keys(js_server: Server, connect: Connect) -> None:
    nc, _, kv = await begin(connect)
    subs, tasks = set(nc._subs), asyncio.all_tasks()
    with pytest.raises(errors.NoKeysError):
        await kv.keys()
    for key in ("b", "a.one", "a.two", "empty", "gone", "purged"):
        await kv.put(key, b"" if key == "empty" else b"x")
    await kv.put("b", b"y")
    await kv.delete("gone")
    await kv.purge("purged")
    assert await kv.keys() == ["a.one", "a.two", "empty", "b"]
    assert await kv.keys(filters=["a."]) == ["a.one", "a.two"]
    assert await kv.keys(filters=["two", "b"]) == ["a.two", "b"]
    assert await kv.keys(filters=[]) == ["a.one", "a.two", "empty", "b"]
    with pytest.raises(errors.NoKeysError):
        await kv.keys(filters=["nowhere"])
    assert set(nc._subs) <= subs | {min(set(nc._subs) - subs, default=0)}
    await eventually(lambda: asyncio.all_tasks() <= tasks, f"{asyncio.all_tasks() - tasks}")


async def test_many_keys(js_server: Server, connect: Connect) -> None:
    _, js, kv = await begin(connect)
    for number in range(3000):
        await js.publish_async(f"$KV.B.k.{number}", b"%d" % number)
    await within(js.publish_async_completed(), 20)
    assert await kv.keys() == [f"k.{number}" for number in range(3000)]
    watcher = await kv.watchall()
    got = []
    async for entry in watcher:
        if entry is None:
            break
        got.append((entry.key, entry.value, entry.delta))
    assert got == [(f"k.{n}", b"%d" % n, 2999 - n) for n in range(3000)]
    # The watcher isn't bounded by what nobody has read yet.
    await asyncio.gather(*(kv.put(f"new.{number}", b"x") for number in range(600)))
    await eventually(lambda: watcher._sub.pending_msgs == 600)
    assert len({key for key, _, _ in await seen(watcher, 600)}) == 600
    await watcher.stop()


# Options


async def test_wildcards(js_server: Server, connect: Connect) -> None:
    _, _, kv = await begin(connect)
    watchers = [await kv.watch(keys) for keys in ("a.*", "a.>", "*", "a.b.c")]
    for key in ("a", "a.b", "a.b.c"):
        await kv.put(key, b"x")
    expected = (["a.b"], ["a.b", "a.b.c"], ["a"], ["a.b.c"])
    for watcher, keys in zip(watchers, expected, strict=True):
        updates = await seen(watcher, 1 + len(keys))
        assert updates == [None, *((key, b"x", None) for key in keys)]
        await silent(watcher)


async def test_options(js_server: Server, connect: Connect) -> None:
    _, _, kv = await begin(connect)
    await kv.put("a", b"1")
    await kv.put("a", b"2")
    await kv.delete("b")
    one, two, gone = ("a", b"1", None), ("a", b"2", None), ("b", b"", KV_DEL)
    expected: list[tuple[dict[str, Any], list[Any]]] = [
        ({}, [two, gone, None]),
        ({"include_history": True}, [one, two, gone, None]),
        ({"ignore_deletes": True}, [two, None]),
        ({"meta_only": True}, [("a", b"", None), gone, None]),
        ({"headers_only": True}, [two, gone, None]),
        ({"include_history": True, "meta_only": True, "ignore_deletes": True}, None or []),
    ]
    for options, updates in expected[:-1]:
        watcher = await kv.watchall(**options)
        assert await seen(watcher, len(updates)) == updates, options
        await silent(watcher)
        await watcher.stop()
    watcher = await kv.watchall(**expected[-1][0])
    assert await seen(watcher, 3) == [("a", b"", None), ("a", b"", None), None]


async def test_inactive_threshold(js_server: Server, connect: Connect) -> None:
    _, js, kv = await begin(connect)
    watchers = [await kv.watchall(), await kv.watchall(inactive_threshold=1.5)]
    infos = [await watcher._sub.consumer_info() for watcher in watchers]
    assert [info.config.inactive_threshold for info in infos] == [300, 1.5]
    assert len(await js.consumers_info("KV_B")) == 2


# The end


async def test_stop(js_server: Server, connect: Connect) -> None:
    nc, _, kv = await begin(connect)
    await kv.put("a", b"1")
    subs, tasks, census = set(nc._subs), asyncio.all_tasks(), nc._core.census()
    watcher = await kv.watchall()
    assert await seen(watcher, 2) == [("a", b"1", None), None]
    waiting = asyncio.ensure_future(watcher.updates(timeout=None))
    iterating = asyncio.ensure_future(watcher.__anext__())
    await asyncio.sleep(0)
    await watcher.stop()
    assert await within(waiting) is KeyValue.KeyWatcher.STOP_ITER
    with pytest.raises(StopAsyncIteration):
        await within(iterating)
    assert await watcher.updates() is KeyValue.KeyWatcher.STOP_ITER
    assert [entry async for entry in watcher] == []
    with pytest.raises(core_errors.BadSubscriptionError):
        await watcher.stop()
    assert set(nc._subs) == subs
    assert nc._core.census() == census
    await eventually(lambda: asyncio.all_tasks() <= tasks)


async def test_updates_that_arrived_can_be_read_after_stop(
    js_server: Server, connect: Connect
) -> None:
    nc, _, kv = await begin(connect)
    watcher = await kv.watchall()
    for number in range(3):
        await kv.put("a", b"%d" % number)
    await eventually(lambda: watcher._sub.pending_msgs == 3)
    await watcher.stop()
    values = [entry and entry.value async for entry in watcher]
    assert values == [None, b"0", b"1", b"2"]
    await nc.flush()


@pytest.mark.parametrize("how", ["close", "drain"])
async def test_closed_client_ends_it(js_server: Server, connect: Connect, how: str) -> None:
    nc, _, kv = await begin(connect)
    watcher = await kv.watchall()
    assert await seen(watcher, 1) == [None]
    iterating = asyncio.ensure_future(watcher.__anext__())
    await asyncio.sleep(0)
    await within(getattr(nc, how)())
    with pytest.raises(StopAsyncIteration):
        await within(iterating)
    assert await within(watcher.updates(timeout=None)) is KeyValue.KeyWatcher.STOP_ITER


async def test_timeouts(js_server: Server, connect: Connect) -> None:
    nc, _, kv = await begin(connect)
    watcher = await kv.watchall()
    assert await seen(watcher, 1) == [None]
    loop = asyncio.get_running_loop()
    census = nc._core.census()
    start = loop.time()
    with pytest.raises(core_errors.TimeoutError):
        await watcher.updates(timeout=0.2)
    assert loop.time() - start > 0.18
    for turns in range(6):
        task = asyncio.ensure_future(watcher.updates(timeout=5))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
    assert nc._core.census() == census
    await kv.put("a", b"x")
    assert await seen(watcher, 1) == [("a", b"x", None)]
