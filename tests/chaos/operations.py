"""The operations that a chaos run chooses from: each notes what it was promised."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any

from chaos.objects import delete_object, get_object, put_object
from chaos.site import (
    DRAIN_FLUSH,
    FLUSH_TIMEOUT,
    JS_TIMEOUT,
    OUTAGE,
    REQUEST_TIMEOUT,
    Impatient,
    Peer,
    Site,
)
from nats import errors
from nats.js.errors import KeyNotFoundError
from support.handlers import ignore

Operation = Callable[[Site, Peer, random.Random], Awaitable[None]]


async def publish_and_flush(site: Site, peer: Peer, choose: random.Random) -> None:
    """What is flushed on a connection has come back on it."""
    nc = peer.nc
    before = peer.reconnects
    connected = nc.is_connected
    numbers = []
    for _ in range(choose.choice([1, 3, 40])):
        number = peer.next_number()
        numbers.append(number)
        if nc.is_reconnecting:
            peer.buffered.append((number, peer.reconnects))
        # Without a task in between, which would run after others have taken their numbers.
        await nc.publish(f"core.{peer.name}", f"{peer.name} {number}".encode())
        if choose.random() < 0.1:
            await asyncio.sleep(0)

    async def flush() -> bool:
        await nc.flush(FLUSH_TIMEOUT)
        return True

    flushed = await site.call("flush", flush(), FLUSH_TIMEOUT)
    if flushed and connected and nc.is_connected and peer.reconnects == before:
        for number in numbers:
            for inbox in peer.inboxes.values():
                inbox.promise(peer.name, number)


async def request(site: Site, peer: Peer, choose: random.Random) -> None:
    other = choose.choice(site.peers)
    payload = b"%d" % site.unique()
    old_style = choose.random() < 0.2
    reply: Any = await site.call(
        "request",
        peer.nc.request(f"echo.{other.name}", payload, REQUEST_TIMEOUT, old_style=old_style),
        REQUEST_TIMEOUT,
    )
    if reply is not None:
        site.book.made["replies"] += 1
        if reply.data != payload:
            site.book.broke("odd_errors", f"{reply.data!r} answers {payload!r}")


async def publish_once(site: Site, peer: Peer, choose: random.Random) -> None:
    """Without an id: stored at most once, as it is published once."""
    payload = b"once %d" % site.unique()
    ack: Any = await site.call("js.publish", peer.js.publish("s.once", payload), JS_TIMEOUT)
    if ack is not None:
        site.ledger.acknowledged(ack.seq, payload)


async def publish_until_acknowledged(site: Site, peer: Peer, choose: random.Random) -> None:
    """With an id: published again until it is acknowledged, and stored once."""
    number = site.unique()
    payload, headers = b"id %d" % number, {"Nats-Msg-Id": str(number)}
    for _ in range(10):
        call = peer.js.publish("s.id", payload, headers=dict(headers))
        ack: Any = await site.call("js.publish", call, JS_TIMEOUT)
        if ack is not None:
            site.ledger.acknowledged(ack.seq, payload)
            return
        await asyncio.sleep(0.02)


async def publish_many(site: Site, peer: Peer, choose: random.Random) -> None:
    futures: list[tuple[bytes, asyncio.Future[Any]]] = []
    for _ in range(choose.choice([2, 20, 100])):
        payload = b"async %d" % site.unique()
        call = peer.js.publish_async("s.async", payload, wait_stall=JS_TIMEOUT)
        # The first one subscribes to the inbox of replies.
        future = await site.call("publish_async", call, JS_TIMEOUT)
        if future is not None:
            futures.append((payload, future))
    for payload, future in futures:
        ack: Any = await site.call("acknowledgement", future, 2 * JS_TIMEOUT)
        if ack is not None:
            site.ledger.acknowledged(ack.seq, payload)


async def fetch(site: Site, peer: Peer, choose: random.Random) -> None:
    batch = choose.choice([1, 5, 20])
    messages: Any = await site.call("fetch", site.pull.fetch(batch, timeout=0.2), 0.2)
    for msg in messages or []:
        if await site.call("ack", _true(msg.ack()), JS_TIMEOUT):
            site.pulled.add(msg.metadata.sequence.stream)


async def _true(call: Awaitable[Any]) -> bool:
    await call
    return True


async def put(site: Site, peer: Peer, choose: random.Random) -> None:
    kv = site.buckets[site.peers.index(peer)]
    key, value = f"key{choose.randrange(20)}", b"%d" % site.unique()
    revision: Any = await site.call("kv.put", kv.put(key, value), JS_TIMEOUT)
    if revision is not None:
        site.values.acknowledged(key, revision, value)


async def get(site: Site, peer: Peer, choose: random.Random) -> None:
    kv = site.buckets[site.peers.index(peer)]
    if not (keys := site.values.keys):
        return
    await read_value(site, kv, choose.choice(keys))


async def read_value(site: Site, kv: Any, key: str) -> bool:
    """Compare a value with what was acknowledged; false if there was no answer."""
    latest = site.values.latest(key)

    async def read() -> Any:
        try:
            return (await kv.get(key),)
        except KeyNotFoundError:
            return (None,)

    found: Any = await site.call("kv.get", read(), JS_TIMEOUT)
    if found is not None:
        site.values.found(key, latest, found[0])
    return found is not None


async def passing_subscription(site: Site, peer: Peer, choose: random.Random) -> None:
    """One that comes and goes, in one of the ways there are."""
    nc = peer.nc
    subject = f"passing.{site.unique()}"
    sub: Any = await site.call("subscribe", nc.subscribe(subject), JS_TIMEOUT)
    limit = choose.choice([0, 1, 3])
    if limit:
        await site.call("unsubscribe", sub.unsubscribe(limit=limit), JS_TIMEOUT)
    for number in range(3):
        await site.call("publish", nc.publish(subject, b"%d" % number), JS_TIMEOUT)
    got = []
    for _ in range(limit or 3):
        msg: Any = await site.call("next_msg", sub.next_msg(0.1), 0.1)
        if msg is not None:
            got.append(int(msg.data))
    if got != sorted(set(got)):
        site.book.broke("out_of_order", f"{subject} got {got}")
    try:
        await sub.unsubscribe()
    except errors.BadSubscriptionError:
        pass
    if sub._id in nc._subs:
        site.book.broke("odd_errors", f"{subject} is still there")


async def drain_subscription(site: Site, peer: Peer, choose: random.Random) -> None:
    """Whatever the subscription had received when its drain ends has been handled."""
    subject = f"drained.{site.unique()}"
    handled = 0

    async def handle(msg: Any) -> None:
        nonlocal handled
        await asyncio.sleep(0)
        handled += 1

    sub: Any = await site.call("subscribe", peer.nc.subscribe(subject, cb=handle), JS_TIMEOUT)
    for _ in range(50):
        await site.call("publish", peer.nc.publish(subject, b"x"), JS_TIMEOUT)
    await asyncio.sleep(choose.choice([0, 0.002]))

    async def drain() -> bool:
        try:
            await sub.drain()
        except errors.FlushTimeoutError:
            # The server that was asked is gone.
            return False
        return True

    if await site.call("sub.drain", drain(), DRAIN_FLUSH):
        site.book.made["drains"] += 1
        if handled != sub.delivered:
            site.book.broke("lost_by_draining", f"{handled} of {sub.delivered} were handled")
    if sub._id in peer.nc._subs:
        site.book.broke("odd_errors", f"{subject} is still there after its drain")


async def measure(site: Site, peer: Peer, choose: random.Random) -> None:
    nc: Any = peer.nc
    await site.call("rtt", nc.rtt(FLUSH_TIMEOUT), FLUSH_TIMEOUT)


async def visit(site: Site, peer: Peer, choose: random.Random) -> None:
    """A client of its own that connects, asks and leaves."""

    async def stay() -> None:
        nc: Any = Impatient()

        try:
            await nc.connect(
                site.server.url,
                error_cb=ignore,
                connect_timeout=1,
                reconnect_time_wait=0.01,
                max_reconnect_attempts=2,
            )
        except (OSError, errors.Error, asyncio.TimeoutError):
            return
        try:
            await nc.request("echo.one", b"visitor", REQUEST_TIMEOUT)
            if choose.random() < 0.5:
                await nc.drain()
        except (*OUTAGE, errors.ConnectionClosedError):
            pass
        finally:
            await nc.close()

    await site.call("visit", stay(), 3 + 2 * DRAIN_FLUSH)


async def cancelled(site: Site, peer: Peer, choose: random.Random) -> None:
    """Another operation, cut short at some point."""
    operation = choose.choice(
        [
            request,
            publish_once,
            put,
            get,
            put_object,
            get_object,
            measure,
            passing_subscription,
        ]
    )
    task = asyncio.ensure_future(operation(site, peer, choose))
    await asyncio.wait({task}, timeout=choose.choice([0, 0.001, 0.01]))
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()


async def force_reconnect(site: Site, peer: Peer, choose: random.Random) -> None:
    await site.call("force_reconnect", peer.nc.force_reconnect(), JS_TIMEOUT)


OPERATIONS: dict[Operation, int] = {
    publish_and_flush: 6,
    request: 5,
    publish_once: 4,
    publish_until_acknowledged: 5,
    publish_many: 3,
    fetch: 2,
    put: 3,
    get: 2,
    put_object: 3,
    get_object: 2,
    delete_object: 1,
    passing_subscription: 2,
    drain_subscription: 1,
    measure: 1,
    visit: 1,
    cancelled: 3,
    force_reconnect: 1,
}
"""With how often each is chosen."""
