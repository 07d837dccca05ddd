"""Consumers that were made for one subscription end with it, however it ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from nats.embedded import Cluster, Server
from nats.js import api
from nats.js import errors as js_errors
from support.connecting import Connect
from support.handlers import ignore
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")

# The server must not be the one who removes them.
LONG = 3600.0


async def begin(connect: Connect) -> tuple[Any, Any, Any]:
    """A client, its context with the stream S of three messages, and an observer's context."""
    nc = await connect()
    js = nc.jetstream()
    await js.add_stream(name="S", subjects=["s.>"], storage="memory")
    for _ in range(3):
        await js.publish("s.a", b"x")
    return nc, js, (await connect()).jetstream()


async def gone(observer: Any, stream: str = "S", left: int = 0) -> None:
    """Wait until the stream has no more than so many consumers."""

    async def is_gone() -> bool:
        count: int = (await observer.stream_info(stream)).state.consumer_count
        return count <= left

    await eventually(is_gone)


Subscribe = Callable[[Any], Awaitable[Any]]

KINDS: dict[str, Subscribe] = {
    "push": lambda js: js.subscribe("s.b", inactive_threshold=LONG),
    "handler": lambda js: js.subscribe("s.a", cb=ignore, inactive_threshold=LONG),
    "ordered": lambda js: js.subscribe(
        "s.b", ordered_consumer=True, cb=ignore, inactive_threshold=LONG
    ),
    "pull": lambda js: js.pull_subscribe("s.a", config=api.ConsumerConfig(inactive_threshold=LONG)),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_unsubscribing(js_server: Server, connect: Connect, kind: str) -> None:
    _, js, observer = await begin(connect)
    sub = await KINDS[kind](js)
    assert (await observer.stream_info("S")).state.consumer_count == 1
    await sub.unsubscribe()
    await gone(observer)


@pytest.mark.parametrize("how", ["close", "drain"])
async def test_closing_the_client(js_server: Server, connect: Connect, how: str) -> None:
    nc, js, observer = await begin(connect)
    for subscribe in KINDS.values():
        await subscribe(js)
    await (nc.close() if how == "close" else nc.drain())
    await gone(observer)


@pytest.mark.parametrize("kind", ["push", "handler", "ordered"])
async def test_draining(js_server: Server, connect: Connect, kind: str) -> None:
    _, js, observer = await begin(connect)
    sub = await KINDS[kind](js)
    await sub.drain()
    await gone(observer)


async def test_drained_messages_can_be_acknowledged(js_server: Server, connect: Connect) -> None:
    """In a work queue what isn't acknowledged would be delivered to somebody else."""
    nc = await connect()
    js, observer = nc.jetstream(), (await connect()).jetstream()
    await js.add_stream(name="S", subjects=["s.>"], retention="workqueue", storage="memory")
    for _ in range(3):
        await js.publish("s.a", b"x")
    sub = await js.subscribe("s.a", inactive_threshold=LONG)
    await eventually(lambda: sub.pending_msgs == 3)
    draining = asyncio.ensure_future(sub.drain())
    msgs = [await sub.next_msg() for _ in range(3)]
    await within(draining)
    for msg in msgs:
        await asyncio.sleep(0.05)
        assert (await observer.stream_info("S")).state.consumer_count == 1
        await msg.ack_sync()
    await gone(observer)
    assert (await observer.stream_info("S")).state.messages == 0


@pytest.mark.parametrize("manual_ack", [False, True])
async def test_a_limit_of_messages(js_server: Server, connect: Connect, manual_ack: bool) -> None:
    _, js, observer = await begin(connect)
    kept: list[Any] = []

    async def keep(msg: Any) -> None:
        kept.append(msg)

    sub = await js.subscribe("s.a", cb=keep, manual_ack=manual_ack, inactive_threshold=LONG)
    await sub.unsubscribe(limit=2)
    await eventually(lambda: len(kept) == 2)
    if manual_ack:
        await asyncio.sleep(0.1)
        assert (await observer.stream_info("S")).state.consumer_count == 1
        for msg in kept:
            await msg.ack()
    await gone(observer)


async def test_a_limit_without_a_handler(js_server: Server, connect: Connect) -> None:
    _, js, observer = await begin(connect)
    sub = await js.subscribe("s.a", inactive_threshold=LONG)
    await sub.unsubscribe(limit=2)
    for _ in range(2):
        await (await sub.next_msg()).ack()
    await gone(observer)


@pytest.mark.parametrize("how", ["close", "drain"])
@pytest.mark.parametrize("ended_by", ["drain", "limit", "limit and drain"])
async def test_closing_the_client_before_all_is_acknowledged(
    js_server: Server, connect: Connect, how: str, ended_by: str
) -> None:
    """Once the client is closed nobody can acknowledge anything."""
    nc, js, observer = await begin(connect)
    sub = await js.subscribe("s.a", cb=ignore, manual_ack=True, inactive_threshold=LONG)
    limit = 2 if "limit" in ended_by else 3
    if "limit" in ended_by:
        await sub.unsubscribe(limit=limit)
    # What never arrived needs no acknowledgement.
    await eventually(lambda: sub.delivered == limit and sub.pending_msgs == 0)
    if "drain" in ended_by:
        await sub.drain()
    assert (await observer.stream_info("S")).state.consumer_count == 1
    await (nc.close() if how == "close" else nc.drain())
    await gone(observer)
    assert nc._subs == {}


async def test_retiring_over_a_restart(js_server: Server, connect: Connect) -> None:
    """Another connection doesn't bring back what has ended, and forgets nothing."""
    events = Events()
    nc = await connect(max_reconnect_attempts=-1, **events.callbacks, **EAGER)
    js = nc.jetstream()
    await js.add_stream(name="S", subjects=["s.>"])
    for _ in range(3):
        await js.publish("s.a", b"x")
    msgs: list[Any] = []

    async def keep(msg: Any) -> None:
        msgs.append(msg)

    config = api.ConsumerConfig(inactive_threshold=LONG, num_replicas=1, mem_storage=False)
    sub = await js.subscribe("s.a", cb=keep, manual_ack=True, config=config)
    await sub.unsubscribe(limit=3)
    await eventually(lambda: len(msgs) == 3)
    assert list(nc._subs.values()).count(sub._sub) == 1
    await nc.force_reconnect()
    await eventually(lambda: events.count("reconnected") == 1)
    for msg in msgs:
        await msg.ack_sync()
    await gone(js)
    await eventually(lambda: sub._sub not in nc._subs.values())


async def test_subscribing_that_fails(js_server: Server, connect: Connect) -> None:
    _, js, observer = await begin(connect)

    def no_coroutine(_: Any) -> None:
        pass

    with pytest.raises(Exception, match="must use coroutine"):
        await js.subscribe("s.a", cb=no_coroutine, manual_ack=True, inactive_threshold=LONG)
    with pytest.raises(Exception, match="invalid"):
        await js.pull_subscribe(
            "s.a",
            config=api.ConsumerConfig(inactive_threshold=LONG),
            inbox_prefix=b"no inbox.",
        )
    await gone(observer)


@pytest.mark.parametrize("kind", KINDS)
async def test_subscribing_that_is_cancelled(
    js_server: Server, connect: Connect, kind: str
) -> None:
    """At every point of it."""
    nc, js, observer = await begin(connect)
    turns = 0
    while True:
        subscribing = asyncio.ensure_future(KINDS[kind](js))
        for _ in range(turns):
            await asyncio.sleep(0)
        turns = 1 + 2 * turns
        if subscribing.done():
            await subscribing.result().unsubscribe()
            break
        subscribing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await subscribing
        if turns > 1 << 16:
            break
    await gone(observer)
    await nc.flush()


async def test_consumers_that_others_may_know_stay(js_server: Server, connect: Connect) -> None:
    nc, js, observer = await begin(connect)
    bound = await js.add_consumer("S", deliver_subject="to", inactive_threshold=LONG)
    subs = [
        await js.subscribe("s.a", durable="d"),
        await js.subscribe("s.a", queue="q"),
        await js.subscribe("s.a", config=api.ConsumerConfig(name="n", inactive_threshold=LONG)),
        await js.subscribe(
            "s.a", config=api.ConsumerConfig(deliver_subject="t", inactive_threshold=LONG)
        ),
        await js.subscribe_bind("S", bound.config, bound.name),
        await js.pull_subscribe("s.a", durable="p"),
        await js.pull_subscribe("s.a", config=api.ConsumerConfig(name="m", durable_name="m")),
        await js.pull_subscribe_bind("p", "S"),
    ]
    count = (await observer.stream_info("S")).state.consumer_count
    assert count == 7
    for sub in subs[::2]:
        await sub.unsubscribe()
    await nc.close()
    await (await connect()).flush()
    assert (await observer.stream_info("S")).state.consumer_count == count


async def test_an_ordered_consumer_that_was_made_anew(js_server: Server, connect: Connect) -> None:
    _, js, observer = await begin(connect)
    sub = await KINDS["ordered"](js)
    first = (await sub.consumer_info()).name
    await sub._sub._jsi.reset_ordered_consumer(2)
    assert (await sub.consumer_info()).name != first
    await gone(observer, left=1)
    await sub.unsubscribe()
    await gone(observer)


async def test_in_a_cluster(connect: Connect) -> None:
    with Cluster(jetstream=True) as cluster:
        nc = await connect(cluster)
        js = nc.jetstream()
        await js.add_stream(name="S", subjects=["s.>"], num_replicas=3)
        observer = (await connect(cluster)).jetstream()
        sub = await KINDS["ordered"](js)
        await sub.unsubscribe()
        await gone(observer)
        for subscribe in KINDS.values():
            await subscribe(js)
        await nc.close()
        await gone(observer)


# Stores


async def test_hundreds_of_calls(js_server: Server, connect: Connect) -> None:
    _, js, observer = await begin(connect)
    kv = await js.create_key_value(bucket="B", storage="memory")
    await kv.put("k", b"v")
    await kv.delete("gone")
    obs = await js.create_object_store("O", storage="memory")
    await obs.put("o", b"x" * 300_000)
    for _ in range(30):
        assert await kv.keys() == ["k"]
        assert len(await kv.history("k")) == 1
        await kv.purge_deletes()
        assert len(await obs.list()) == 1
        assert len((await obs.get("o")).data) == 300_000
    await gone(observer, "KV_B")
    await gone(observer, "OBJ_O")


async def test_watchers(js_server: Server, connect: Connect) -> None:
    nc, js, observer = await begin(connect)
    kv = await js.create_key_value(bucket="B", storage="memory")
    obs = await js.create_object_store("O", storage="memory")
    for watcher in (await kv.watchall(), await kv.watch("a"), await obs.watch()):
        await watcher.stop()
    await gone(observer, "KV_B")
    await gone(observer, "OBJ_O")
    await kv.watchall(inactive_threshold=LONG)
    await obs.watch()
    await nc.close()
    await gone(observer, "KV_B")
    await gone(observer, "OBJ_O")


async def test_calls_that_are_cancelled(js_server: Server, connect: Connect) -> None:
    _, js, observer = await begin(connect)
    kv = await js.create_key_value(bucket="B", storage="memory")
    obs = await js.create_object_store("O", storage="memory")
    await kv.put("k", b"v")
    await obs.put("o", b"x")
    calls: list[Callable[[], Awaitable[Any]]] = [
        kv.keys,
        lambda: kv.history("k"),
        kv.purge_deletes,
        obs.list,
        lambda: obs.get("o"),
    ]
    for call in calls:
        for milliseconds in (0, 0.2, 0.5, 1, 2, 3):
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(call(), milliseconds / 1000)
    await gone(observer, "KV_B")
    await gone(observer, "OBJ_O")


async def test_nothing_there(js_server: Server, connect: Connect) -> None:
    _, js, observer = await begin(connect)
    kv = await js.create_key_value(bucket="B", storage="memory")
    obs = await js.create_object_store("O", storage="memory")
    for _ in range(20):
        with pytest.raises(js_errors.NoKeysError):
            await kv.keys()
        with pytest.raises(js_errors.NotFoundError):
            await obs.list()
    await gone(observer, "KV_B")
    await gone(observer, "OBJ_O")
