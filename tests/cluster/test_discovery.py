"""What a cluster tells its clients of its servers, and where they go when one of them is lost."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from nats.aio.client import Server as PoolServer
from nats.embedded import Cluster
from support.connecting import Connect
from support.handlers import ignore
from support.routes import heard
from support.waiting import EAGER, Events, eventually

pytestmark = pytest.mark.usefixtures("driver")

FOREVER: dict[str, Any] = {"max_reconnect_attempts": -1, **EAGER}
# So many that chance doesn't send all of them the same way: 2 ** -15.
CROWD = 16


@pytest.fixture(scope="module")
def shared_cluster() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


@pytest.fixture
async def cluster(shared_cluster: Cluster) -> Cluster:
    """Three servers, all of them up."""
    for server in shared_cluster.servers:
        await server.astart()
    await shared_cluster.await_ready()
    return shared_cluster


def ports(cluster: Cluster) -> list[int]:
    return [server.port for server in cluster.servers]


def found(nc: Any) -> set[int]:
    return {uri.port for uri in nc.discovered_servers}


async def knows_all(nc: Any) -> None:
    await eventually(lambda: len(nc.servers) == 3, "all servers are known")


async def test_servers_told_of_at_connect(cluster: Cluster, connect: Connect) -> None:
    first, *others = ports(cluster)
    events = Events()
    nc = await connect(cluster.url, dont_randomize=True, **events.callbacks, **FOREVER)
    await knows_all(nc)
    assert nc.servers[0].port == first
    assert found(nc) == set(others)
    assert {uri.scheme for uri in nc.discovered_servers} == {"nats"}
    # The first INFO names all of them, so nothing is news.
    await nc.flush()
    assert events.names == []


async def test_servers_given_are_not_discovered(cluster: Cluster, connect: Connect) -> None:
    nc = await connect(cluster.urls, dont_randomize=True, **FOREVER)
    first, *others = ports(cluster)
    # The one that was tried has moved to the end.
    assert [uri.port for uri in nc.servers] == [*others, first]
    assert found(nc) == set()


async def test_server_that_comes_later(cluster: Cluster, connect: Connect) -> None:
    first, second, third = cluster.servers
    await third.akill()
    await cluster.await_ready()
    events = Events()
    nc = await connect(first, **events.callbacks, **FOREVER)
    sub = await nc.subscribe("foo")
    await nc.flush()
    # Servers may take a moment to notice that one of them is gone.
    expected = {second.port} if third.port not in found(nc) else {second.port, third.port}
    assert found(nc) == expected
    await third.astart()
    await cluster.await_ready()
    await eventually(lambda: found(nc) == {second.port, third.port}, "the third is known")
    if third.port not in expected:
        assert events.names == ["discovered"]
    # It is as good as any other: the only one left.
    await second.akill()
    await first.akill()
    await eventually(
        lambda: nc.is_connected and nc.connected_url.port == third.port, "connected to the third"
    )
    await nc.publish("foo", b"x")
    assert (await sub.next_msg(timeout=5)).data == b"x"


async def test_server_that_is_gone_stays_in_the_pool(cluster: Cluster, connect: Connect) -> None:
    """As in nats-py, INFOs add servers and never remove one: it may come back."""
    first, second, _ = cluster.servers
    nc = await connect(first, **FOREVER)
    await knows_all(nc)
    await second.akill()
    await cluster.await_ready()
    await nc.flush()
    assert len(nc.servers) == 3


@contextlib.asynccontextmanager
async def crowd(connect: Connect, cluster: Cluster, **options: Any) -> AsyncIterator[list[Any]]:
    """Many clients of the first server, which dies and comes back."""
    first = cluster.servers[0]
    clients = [await connect(first, **options, **FOREVER) for _ in range(CROWD)]
    for nc in clients:
        await knows_all(nc)
        if options:
            nc.set_server_pool(cluster.urls[1:] + cluster.urls[:1])
    await first.akill()
    await eventually(lambda: all(nc.stats["reconnects"] for nc in clients), "all have moved")
    yield clients


async def test_lost_clients_spread_over_the_cluster(cluster: Cluster, connect: Connect) -> None:
    async with crowd(connect, cluster, error_cb=ignore) as clients:
        counts = Counter(nc.connected_url.port for nc in clients)
        assert set(counts) == set(ports(cluster)[1:])


async def test_lost_clients_keep_to_the_order(cluster: Cluster, connect: Connect) -> None:
    async with crowd(connect, cluster, error_cb=ignore, dont_randomize=True) as clients:
        counts = Counter(nc.connected_url.port for nc in clients)
        assert set(counts) == {ports(cluster)[1]}


async def test_failover_in_order_under_traffic(cluster: Cluster, connect: Connect) -> None:
    """Round and round: each server is left for the next, and subscriptions come along."""
    events = Events()
    nc = await connect(cluster.urls, dont_randomize=True, **events.callbacks, **FOREVER)
    other = await connect(cluster.urls[2], **FOREVER)
    sub = await nc.subscribe("work", queue="workers")
    visited = [nc.connected_url.port]
    for round, server in enumerate(cluster.servers[:2], 1):
        await server.akill()
        await events.wait("reconnected", round)
        visited.append(nc.connected_url.port)
        await nc.flush()
        await nc.publish("work", b"own %d" % round)
        assert (await sub.next_msg(timeout=5)).data == b"own %d" % round
    assert visited == ports(cluster)
    await eventually(lambda: other.is_connected)
    await other.publish("work", b"other")
    assert (await sub.next_msg(timeout=5)).data == b"other"


async def test_handler_keeps_to_its_zone(cluster: Cluster, connect: Connect) -> None:
    """The handler sees the discovered servers, too, and is asked again if its choice fails."""
    first, second, third = cluster.servers
    seen: list[tuple[set[int], str]] = []

    def choose(pool: list[PoolServer], info: dict[str, Any]) -> tuple[PoolServer, float]:
        seen.append(({each.uri.port or 0 for each in pool}, info["server_name"]))
        # The one it knows to be dead, then the third.
        port = first.port if len(seen) == 1 else third.port
        return next(each for each in pool if each.uri.port == port), 0.01

    events = Events()
    nc = await connect(first, reconnect_to_server_handler=choose, **events.callbacks, **FOREVER)
    await knows_all(nc)
    await first.akill()
    await events.wait("reconnected")
    assert nc.connected_url.port == third.port
    assert seen == [({first.port, second.port, third.port}, first.name)] * 2
    assert ConnectionRefusedError in {type(error) for error in events.errors}


async def test_moving_to_other_servers_by_hand(cluster: Cluster, connect: Connect) -> None:
    """A pool replaced and a reconnect forced: nothing published on the way is lost."""
    events = Events()
    first, _, third = cluster.servers
    listener = await connect(third, **FOREVER)
    sub = await listener.subscribe("moving")
    await heard(listener, [await connect(server) for server in cluster.servers])
    nc = await connect(first, **events.callbacks, **FOREVER)
    await knows_all(nc)
    sent = 0
    for round, server in enumerate([*cluster.servers[1:], first] * 2, 1):
        for _ in range(50):
            await nc.publish("moving", b"%d" % sent)
            sent += 1
        # Also has the INFO read that follows a connect: it would put the others back.
        await nc.flush()
        nc.set_server_pool([server.url])
        await nc.force_reconnect()
        for _ in range(50):
            await nc.publish("moving", b"%d" % sent)
            sent += 1
        await events.wait("reconnected", round)
        assert nc.connected_url.port == server.port
        # Told of the others again, which are not news.
        assert len(nc.servers) == 3
    await nc.flush()
    numbers = {int((await sub.next_msg(timeout=5)).data) for _ in range(sent)}
    assert numbers == set(range(sent))
    assert events.names == ["disconnected", "reconnected"] * 6


# Clusters with settings of their own


@pytest.mark.parametrize(
    ("users", "given"),
    [('user: "u", password: "p w"', "u:p w"), ('token: "t0k3n"', "t0k3n")],
    ids=["user", "token"],
)
async def test_credentials_of_the_url_go_along(connect: Connect, users: str, given: str) -> None:
    with Cluster(2, config=f"authorization {{ {users} }}") as cluster:
        events = Events()
        first, second = cluster.servers
        nc = await connect(f"nats://{given}@127.0.0.1:{first.port}", **events.callbacks, **FOREVER)
        await eventually(lambda: second.port in found(nc))
        for round, server in enumerate((first, second), 1):
            # Discovered servers tell of servers, too.
            other = second if server is first else first
            await server.akill()
            await events.wait("reconnected", round)
            assert nc.connected_url.port == other.port
            assert await nc.rtt() >= 0
            await server.astart()
            await cluster.await_ready()
        assert not [error for error in events.errors if "uthorization" in str(error)]
        # What is shown of a discovered server is its address alone.
        assert all("@" not in uri.netloc for uri in nc.discovered_servers)


async def test_cluster_that_advertises_nothing(connect: Connect) -> None:
    with Cluster(2, args=["--no_advertise"]) as cluster:
        events = Events()
        first, second = cluster.servers
        nc = await connect(first, **events.callbacks, **EAGER, max_reconnect_attempts=2)
        await nc.flush()
        assert [uri.port for uri in nc.servers] == [first.port]
        await first.akill()
        await events.wait("closed")
        assert second.running
        await asyncio.sleep(0)
        assert events.count("discovered") == 0
