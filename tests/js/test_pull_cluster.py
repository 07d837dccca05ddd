"""Pull requests in a cluster whose consumers change their leader."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from nats import errors
from nats.embedded import Cluster
from nats.js import api
from support.connecting import Connect
from support.js_workers import ELECTION, OUTAGE, TIMEOUT, move_leader
from support.streams import numbers, waiting
from support.waiting import EAGER, Events, eventually, within

# An election in a busy cluster may take many seconds.
pytestmark = [pytest.mark.usefixtures("driver"), pytest.mark.timeout(120)]

# Far beyond what an election takes: a fetch that stalls is seen.
LONG = 300.0

NEXT = "$JS.API.CONSUMER.MSG.NEXT.S.d"


async def begin(cluster: Cluster, connect: Connect) -> tuple[Any, Any]:
    """A client of the second server, and a subscription whose consumer the first one leads."""
    events = Events()
    nc = await connect(cluster.servers[1], max_reconnect_attempts=-1, **events.callbacks, **EAGER)
    js = nc.jetstream(timeout=TIMEOUT)
    await js.add_stream(name="S", subjects=["s.>"], num_replicas=3)
    first = str(cluster.servers[0].name)
    await move_leader(nc, "S", first)
    config = api.ConsumerConfig(ack_policy=api.AckPolicy.EXPLICIT)
    sub = await js.pull_subscribe("s.a", "d", config=config)
    await lead(nc, sub, first)
    return nc, sub


async def lead(nc: Any, sub: Any, server: str) -> None:
    """Have a certain server lead the consumer."""
    for _ in range(200):
        info = await attempt(sub.consumer_info())
        if info is not None and info.cluster.leader == server:
            return
        if info is not None and info.cluster.leader:
            request = b'{"placement": {"preferred": "%s"}}' % server.encode()
            await attempt(nc.request("$JS.API.CONSUMER.LEADER.STEPDOWN.S.d", request, TIMEOUT))
        await asyncio.sleep(0.1)
    raise AssertionError(f"{server} does not become the leader")


async def without_leader(nc: Any) -> None:
    """Wait until nobody serves the consumer."""
    while True:
        try:
            await nc.request(NEXT, b'{"batch": 1, "no_wait": true}', TIMEOUT)
        except errors.NoRespondersError:
            return
        except errors.TimeoutError:
            # A leader that has lost the others.
            pass


async def asked(nc: Any, times: int) -> None:
    """Wait until so many further messages have left the client."""
    sent = nc.stats["out_msgs"]
    await eventually(lambda: nc.stats["out_msgs"] >= sent + times, "requests", ELECTION)


async def attempt(call: Any) -> Any:
    """The result of a call; ``None`` while there is no leader."""
    try:
        return await call
    except OUTAGE:
        return None


async def publish(js: Any, count: int) -> None:
    for number in range(count):
        while True:
            if await attempt(js.publish("s.a", b"%d" % number)) is not None:
                break
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(("batch", "timeout"), [(1, LONG), (5, LONG), (1, None), (5, None)])
async def test_leader_steps_down(
    js_cluster: Cluster, connect: Connect, batch: int, timeout: float | None
) -> None:
    nc, sub = await begin(js_cluster, connect)
    fetching = asyncio.ensure_future(sub.fetch(batch, timeout=timeout))
    await waiting(sub, 1)
    await lead(nc, sub, str(js_cluster.servers[2].name))
    await publish(nc.jetstream(timeout=TIMEOUT), batch)
    msgs = await within(fetching, ELECTION)
    assert numbers(msgs)[:1] == [0]
    if timeout is None:
        assert len(msgs) == batch
    assert nc._core.census()[1] == 0


@pytest.mark.parametrize(("batch", "timeout"), [(1, LONG), (5, None)])
async def test_leader_dies(
    js_cluster: Cluster, connect: Connect, batch: int, timeout: float | None
) -> None:
    """The client stays connected to another server: only statuses and heartbeats can tell."""
    nc, sub = await begin(js_cluster, connect)
    fetching = asyncio.ensure_future(sub.fetch(batch, timeout=timeout))
    await waiting(sub, 1)
    await js_cluster.servers[0].akill()
    await publish(nc.jetstream(timeout=TIMEOUT), batch)
    msgs = await within(fetching, 2 * ELECTION)
    assert numbers(msgs)[:1] == [0]
    assert nc.stats["reconnects"] == 0


@pytest.mark.parametrize(("batch", "timeout"), [(1, LONG), (5, LONG), (1, None), (5, None)])
async def test_fetch_while_there_is_no_leader(
    js_cluster: Cluster, connect: Connect, batch: int, timeout: float | None
) -> None:
    """One server of three can't elect a leader: whoever asks then is served later."""
    nc, sub = await begin(js_cluster, connect)
    before = asyncio.ensure_future(sub.fetch(batch, timeout=timeout))
    await waiting(sub, 1)
    for server in js_cluster.servers[0], js_cluster.servers[2]:
        await server.akill()
    await without_leader(nc)
    amid = asyncio.ensure_future(sub.fetch(batch, timeout=timeout))
    await asked(nc, 5)
    assert not before.done()
    assert not amid.done()
    await js_cluster.servers[0].astart()
    await publish(nc.jetstream(timeout=TIMEOUT), 2 * batch)
    for fetching in before, amid:
        assert len(await within(fetching, 2 * ELECTION)) > 0
    assert nc._core.census()[1] == 0


async def test_fetches_over_the_death_of_a_leader(js_cluster: Cluster, connect: Connect) -> None:
    """Each ends in time, and none with the word that nobody is there."""
    nc, sub = await begin(js_cluster, connect)
    await js_cluster.servers[0].akill()
    publishing = asyncio.ensure_future(publish(nc.jetstream(timeout=TIMEOUT), 1))
    while True:
        try:
            msgs = await within(sub.fetch(1, timeout=0.2))
            break
        except errors.TimeoutError:
            pass
    assert numbers(msgs) == [0]
    await publishing
