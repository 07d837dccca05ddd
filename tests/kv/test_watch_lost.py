"""Watching key-value buckets while buckets, consumers, connections or servers go."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from nats import errors as core_errors
from nats.embedded import Server
from nats.js import errors
from nats.js.kv import KeyValue
from support.connecting import Connect
from support.kv_watchers import begin, seen, silent
from support.proxy import Proxy
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")


async def test_bucket_deleted(js_server: Server, connect: Connect) -> None:
    nc, js, kv = await begin(connect, error_cb=Events().callbacks["error_cb"])
    tasks = asyncio.all_tasks()
    watcher = await kv.watchall()
    assert await seen(watcher, 1) == [None]
    await js.delete_key_value("B")
    await silent(watcher)
    waiting = asyncio.ensure_future(watcher.updates(timeout=None))
    await asyncio.sleep(0)
    await within(nc.close())
    assert await within(waiting) is KeyValue.KeyWatcher.STOP_ITER
    await eventually(lambda: asyncio.all_tasks() <= tasks)


@pytest.mark.parametrize("how", ["deleted", "purged"])
async def test_initial_values_gone(js_server: Server, connect: Connect, how: str) -> None:
    """What flow control has held back never comes."""
    _, js, kv = await begin(connect, **Events().callbacks)
    for number in range(200):
        await kv.put(f"k.{number}", bytes(65536))
    watcher = await kv.watchall()

    async def read() -> int:
        count = 0
        async for entry in watcher:
            if entry is None:
                break
            count += 1
        return count

    if how == "deleted":
        await js.delete_key_value("B")
        with pytest.raises(errors.NotFoundError):
            await within(read())
    else:
        await js.purge_stream("KV_B")
        assert await within(read()) < 200
        await kv.put("a", b"x")
        assert await seen(watcher, 1) == [("a", b"x", None)]


async def test_keys_when_messages_are_lost(js_server: Server, connect: Connect) -> None:
    """The new consumer delivers all revisions from there on; each key counts once, if it has a
    value."""
    _, js, kv = await begin(connect)
    for number in range(20_000):
        await js.publish_async(f"$KV.B.k.{number}", bytes(200))
    await js.publish_async_completed()
    for _ in range(3):
        await kv.put("often", b"x")
    await kv.put("gone", b"x")
    await kv.delete("gone")
    expected = [f"k.{number}" for number in range(20_000)] + ["often"]
    async with Proxy(js_server.url) as proxy:
        nc = await connect(proxy, max_reconnect_attempts=-1, **Events().callbacks, **EAGER)
        kv = await nc.jetstream().key_value("B")
        watch = kv.watch

        async def watch_and_cut(*args: Any, **options: Any) -> Any:
            watcher = await watch(*args, **options)
            proxy.cut()
            return watcher

        kv.watch = watch_and_cut
        assert await within(kv.keys(), 20) == expected
        await nc.close()


@pytest.mark.parametrize("what", ["keys", "history", "purge_deletes"])
async def test_closed_amid_initial_values(js_server: Server, connect: Connect, what: str) -> None:
    """A part of them isn't all."""
    nc, js, kv = await begin(connect)
    for number in range(20_000):
        await js.publish_async(f"$KV.B.k.{number}", bytes(200))
    await js.publish_async_completed()
    watch = kv.watch

    async def watch_and_close(*args: Any, **options: Any) -> Any:
        watcher = await watch(*args, **options)
        await nc.close()
        return watcher

    kv.watch = watch_and_close
    reading = kv.history("k.*") if what == "history" else getattr(kv, what)()
    with pytest.raises(core_errors.ConnectionClosedError):
        await within(reading)


async def test_consumer_deleted(js_server: Server, connect: Connect) -> None:
    _, js, kv = await begin(connect)
    await kv.put("a", b"1")
    watcher = await kv.watchall()
    assert await seen(watcher, 2) == [("a", b"1", None), None]
    # As if two heartbeats had been missed, which takes ten seconds.
    name = watcher._sub._consumer
    await js.delete_consumer("KV_B", name)
    await kv.put("a", b"2")
    await watcher._sub._sub._jsi.process_notice(None)
    await eventually(lambda: watcher._sub._consumer != name)
    await kv.put("b", b"3")
    assert await seen(watcher, 2) == [("a", b"2", None), ("b", b"3", None)]
    await silent(watcher)


@pytest.mark.timeout(90)
async def test_server_restarted(js_server: Server, connect: Connect) -> None:
    """Nothing is lost, doubled or out of order, and there is no second `None`."""
    events = Events()
    options: Any = {"max_reconnect_attempts": -1, **EAGER}
    _, _, kv = await begin(connect, "file", **events.callbacks, **options)
    for number in range(5):
        await kv.put("a", b"%d" % number)
    watcher = await kv.watchall(include_history=True)
    assert await seen(watcher, 2) == [("a", b"0", None), ("a", b"1", None)]
    read = asyncio.ensure_future(seen(watcher, 24, timeout=40))
    await js_server.arestart()
    await events.wait("reconnected")
    for number in range(5, 25):
        await kv.put(f"k.{number}", b"%d" % number)
    updates = await within(read, 60)
    assert updates[3] is None
    assert updates.count(None) == 1
    numbers = [int(update[1]) for update in updates if update]
    assert numbers == list(range(2, 25))
