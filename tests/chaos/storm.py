"""Tasks cancelled at random points: nothing stays behind, nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from chaos.promises import Book
from chaos.site import GRACE, OUTAGE, Peer, Site
from chaos.usage import Usage
from nats.embedded import Server
from nats.js.errors import BadRequestError, KeyNotFoundError, KeyWrongLastSequenceError, NoKeysError
from support.handlers import ignore

TIMEOUT = 5.0
STORMERS = 6
# Tasks to be cancelled, however long a busy machine takes for them.
AT_LEAST = 100
# When a task is cancelled: seconds after its start.
MOMENTS = (0.0, 0.0, 0.0001, 0.0005, 0.001, 0.005)

Action = Callable[[Site, Peer], Awaitable[Any]]


def _bucket(site: Site, peer: Peer) -> Any:
    return site.buckets[site.peers.index(peer)]


async def _publish_many(site: Site, peer: Peer) -> None:
    futures = [await peer.js.publish_async("s.storm", b"x") for _ in range(20)]
    await asyncio.gather(*futures)


async def _come_and_go(site: Site, peer: Peer) -> None:
    sub = await peer.nc.subscribe("passing")
    try:
        await peer.nc.publish("passing", b"x")
        await sub.next_msg(TIMEOUT)
    finally:
        await sub.unsubscribe()


async def _drain(site: Site, peer: Peer) -> None:
    async def handle(msg: Any) -> None:
        await asyncio.sleep(0)

    sub = await peer.nc.subscribe("drained", cb=handle)
    try:
        for _ in range(5):
            await peer.nc.publish("drained", b"x")
    finally:
        await sub.drain()


async def _iterate(site: Site, peer: Peer) -> None:
    sub = await peer.nc.subscribe("iterated")
    try:
        async for _ in sub.messages:
            raise AssertionError("nothing is published there")
    finally:
        await sub.unsubscribe()


async def _create(site: Site, peer: Peer) -> None:
    kv = _bucket(site, peer)
    with contextlib.suppress(KeyWrongLastSequenceError):
        await kv.create("created", b"x")
    with contextlib.suppress(KeyNotFoundError):
        await kv.get("missing")


async def _watch(site: Site, peer: Peer) -> None:
    # The server keeps the consumer of a watch for minutes, and only so many of them. While a
    # key is overwritten it may tell of none.
    with contextlib.suppress(BadRequestError, NoKeysError):
        await _bucket(site, peer).keys()


# The annotations are nats-py's, which takes more than they say.
ACTIONS: list[Action] = [
    lambda site, peer: peer.nc.publish("elsewhere", bytes(1000)),
    lambda site, peer: peer.nc.request("echo.one", b"x", TIMEOUT),
    lambda site, peer: peer.nc.request("echo.two", b"x", TIMEOUT, old_style=True),
    lambda site, peer: peer.nc.request("silence", b"x", TIMEOUT),
    lambda site, peer: peer.nc.request("silence", b"x", None),  # type: ignore[arg-type]
    lambda site, peer: peer.nc.flush(TIMEOUT),
    lambda site, peer: peer.nc.rtt(TIMEOUT),  # type: ignore[arg-type]
    lambda site, peer: peer.js.publish("s.storm", b"x", timeout=TIMEOUT),
    lambda site, peer: peer.js.stream_info("S"),
    lambda site, peer: _bucket(site, peer).put("storm", b"x"),
    lambda site, peer: site.pull.fetch(5, timeout=0.05),
    _publish_many,
    _come_and_go,
    _drain,
    _iterate,
    _create,
    _watch,
]


async def run_storm(server: Server, seed: int, seconds: float) -> dict[str, Any]:
    """Rage for so long, then look at what is left; returns figures."""
    choose = random.Random(seed)
    site = Site(server, Book())
    counts: Counter[str] = Counter()
    try:
        await site.start()
        for peer in site.peers:
            await peer.nc.subscribe("silence", cb=ignore)
            await peer.nc.flush()
            # The first ones subscribe to the inbox for replies, which stays.
            await peer.nc.request("echo.one", b"x", TIMEOUT)
        await site.buckets[0].put("storm", b"x")
        before = await Usage.at_rest(*(peer.nc for peer in site.peers))
        subs = [set(peer.nc._subs) for peer in site.peers]
        deadline = time.monotonic() + seconds
        await asyncio.gather(
            *(
                _rage(site, random.Random(choose.random()), deadline, counts)
                for _ in range(STORMERS)
            )
        )
        await _check(site, subs)
        end = await Usage.at_rest(*(peer.nc for peer in site.peers), before=before)
        assert end.descriptors <= before.descriptors, (before, end)
    finally:
        await site.stop()
    site.book.check()
    return {"seconds": seconds, **counts, "threads": [before.threads, end.threads]}


async def _rage(site: Site, choose: random.Random, deadline: float, counts: Counter[str]) -> None:
    while time.monotonic() < deadline or counts["cancelled"] < AT_LEAST:
        peer = choose.choice(site.peers)
        tasks = [
            asyncio.ensure_future(_attempt(choose.choice(ACTIONS), site, peer))
            for _ in range(choose.randrange(1, 6))
        ]
        for task in tasks:
            await asyncio.wait({task}, timeout=choose.choice(MOMENTS))
            task.cancel()
        _, late = await asyncio.wait(tasks, timeout=GRACE + TIMEOUT)
        assert not late, f"go on after they were cancelled: {late}"
        for task in tasks:
            counts["cancelled" if task.cancelled() else "completed"] += 1
            if not task.cancelled():
                task.result()


async def _attempt(action: Action, site: Site, peer: Peer) -> None:
    with contextlib.suppress(*OUTAGE):
        await action(site, peer)


async def _check(site: Site, subs: list[set[int]]) -> None:
    for peer, before in zip(site.peers, subs, strict=True):
        nc: Any = peer.nc
        for old_style in (False, True):
            reply = await nc.request("echo.one", b"fresh", TIMEOUT, old_style=old_style)
            assert reply.data == b"fresh"
        assert (await peer.js.publish("s.storm", b"fresh", timeout=TIMEOUT)).seq > 0
        await nc.flush(TIMEOUT)
        # The polling subscription has a deadline now and then.
        # One by one: the subscription that polls has a deadline most of the time.
        for entry in (0, 1, 3):
            assert await site.until(lambda nc=nc, entry=entry: nc._core.census()[entry] == 0), (
                nc._core.census()
            )
        assert peer.js.publish_async_pending() == 0
        # A subscription that was cancelled before it was returned belongs to nobody.
        assert await site.until(lambda nc=nc, before=before: set(nc._subs) <= before), (
            f"left: {[sub._subject for sid, sub in nc._subs.items() if sid not in before]}"
        )
        peer.check_tasks()
