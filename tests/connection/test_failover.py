"""Several servers: failing over, the pool, discovery, and who chooses the next server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from nats import errors
from nats.aio.client import Server as PoolServer
from nats.embedded import Cluster, Server
from support.connecting import Connect
from support.fake_server import FakeConnection, FakeServer
from support.handlers import ignore
from support.waiting import EAGER, Events, eventually

pytestmark = pytest.mark.usefixtures("driver")


@pytest.fixture
async def fakes() -> AsyncIterator[list[FakeServer]]:
    """Three servers of their own that know nothing of each other."""
    async with FakeServer() as one, FakeServer() as two, FakeServer() as three:
        yield [one, two, three]


def serving(cluster: Cluster, nc: Any) -> Server:
    """The server of the cluster that the client is connected to."""
    return next(each for each in cluster.servers if each.port == nc.connected_url.port)


async def test_failover_within_a_cluster(cluster: Cluster, connect: Connect) -> None:
    events = Events()
    nc = await connect(max_reconnect_attempts=-1, **events.callbacks, **EAGER)
    sub = await nc.subscribe("jobs", queue="workers")
    await nc.flush()
    for round in (1, 2):
        left = serving(cluster, nc)
        await left.akill()
        await events.wait("reconnected", round)
        assert serving(cluster, nc) is not left
        await nc.publish("jobs", b"%d" % round)
        assert (await sub.next_msg(timeout=5)).data == b"%d" % round
    assert events.names == ["disconnected", "reconnected"] * 2
    assert nc.stats["reconnects"] == 2


async def test_other_servers_are_discovered(cluster: Cluster, connect: Connect) -> None:
    events = Events()
    nc = await connect(cluster.urls[0], max_reconnect_attempts=-1, **events.callbacks, **EAGER)
    known = {server.port for server in cluster.servers}
    await eventually(lambda: {uri.port for uri in nc.servers} == known)
    assert {uri.port for uri in nc.discovered_servers} == known - {cluster.servers[0].port}
    assert [server.reconnects for server in nc.server_pool] == [0, 0, 0]
    await cluster.servers[0].akill()
    await events.wait("reconnected")
    assert nc.connected_url.port != cluster.servers[0].port


async def test_lame_duck_mode(cluster: Cluster, connect: Connect) -> None:
    events = Events()
    nc = await connect(cluster.urls[0], max_reconnect_attempts=-1, **events.callbacks, **EAGER)
    await eventually(lambda: len(nc.servers) == 3)
    cluster.servers[0].signal("ldm")
    await events.wait("lame duck")
    assert nc.is_connected
    # A lame duck takes its time to end; nobody has to wait for that.
    await cluster.servers[0].akill()


async def test_info_while_connected(connect: Connect) -> None:
    go_on = asyncio.Event()

    async def handler(client: FakeConnection) -> None:
        await client.handshake()
        await client.send_info(connect_urls=["127.0.0.1:4001", "127.0.0.1:4002"])
        await go_on.wait()
        # Known already: nothing is discovered, and only the second one is a lame duck.
        await client.send_info(connect_urls=["127.0.0.1:4001"])
        await client.send_info(ldm=True)
        await client.serve()

    async with FakeServer(handler) as server:
        events = Events()
        nc = await connect(server, dont_randomize=True, **events.callbacks, **EAGER)
        await events.wait("discovered")
        assert [uri.port for uri in nc.servers] == [server.port, 4001, 4002]
        assert [uri.port for uri in nc.discovered_servers] == [4001, 4002]
        go_on.set()
        await events.wait("lame duck")
        assert events.names == ["discovered", "lame duck"]
        assert len(nc.servers) == 3
        await nc.close()


async def test_servers_told_of_at_first_are_no_news(connect: Connect) -> None:
    async with FakeServer(info={"connect_urls": ["127.0.0.1:4001"]}) as server:
        events = Events()
        nc = await connect(server, **events.callbacks, **EAGER)
        await nc.flush()
        assert [uri.port for uri in nc.discovered_servers] == [4001]
        assert events.names == []
        await nc.close()


async def test_servers_are_tried_in_order(fakes: list[FakeServer], connect: Connect) -> None:
    events = Events()
    urls = [fake.url for fake in fakes]
    nc = await connect(urls, dont_randomize=True, **events.callbacks, **EAGER)
    for round, fake in enumerate([*fakes[1:], fakes[0]], 1):
        await nc.force_reconnect()
        await events.wait("reconnected", round)
        assert nc.connected_url.port == fake.port
    await nc.close()


async def test_set_server_pool(fakes: list[FakeServer], connect: Connect) -> None:
    events = Events()
    one, two, three = fakes
    nc = await connect(one, dont_randomize=True, **events.callbacks, **EAGER)
    nc.set_server_pool([two.url, f"127.0.0.1:{three.port}"])
    assert [server.uri.port for server in nc.server_pool] == [two.port, three.port]
    # Only the next reconnect uses it.
    assert nc.is_connected
    assert len(two.connections) == 0
    await nc.force_reconnect()
    await events.wait("reconnected")
    assert nc.connected_url.port == two.port
    with pytest.raises(errors.Error):
        nc.set_server_pool([one.url, "nats://host:port"])
    assert [server.uri.port for server in nc.server_pool] == [three.port, two.port]
    await nc.close()
    with pytest.raises(errors.ConnectionClosedError):
        nc.set_server_pool([one.url])


async def test_empty_pool_ends_the_client(server: Server, connect: Connect) -> None:
    events = Events()
    nc = await connect(**events.callbacks, **EAGER)
    nc.set_server_pool([])
    await server.akill()
    await events.wait("closed")
    assert isinstance(nc.last_error, errors.NoServersError)


async def test_handler_chooses(fakes: list[FakeServer], connect: Connect) -> None:
    events = Events()
    asked: list[tuple[list[PoolServer], dict[str, Any]]] = []

    def choose(pool: list[PoolServer], info: dict[str, Any]) -> tuple[PoolServer, float]:
        asked.append((pool, info))
        return next(each for each in pool if each.uri.port == fakes[2].port), 0

    urls = [fake.url for fake in fakes]
    nc = await connect(
        urls,
        dont_randomize=True,
        reconnect_to_server_handler=choose,
        **events.callbacks,
        **EAGER,
    )
    assert asked == []
    await nc.force_reconnect()
    await events.wait("reconnected")
    assert nc.connected_url.port == fakes[2].port
    assert len(asked) == 1
    pool, info = asked[0]
    assert {each.uri.port for each in pool} == {fake.port for fake in fakes}
    assert info["server_name"] == "fake"
    assert events.errors == []
    await nc.close()


async def test_handler_that_leaves_the_choice(fakes: list[FakeServer], connect: Connect) -> None:
    events = Events()
    nc = await connect(
        [fake.url for fake in fakes],
        reconnect_to_server_handler=lambda pool, info: (None, 0),
        **events.callbacks,
        **EAGER,
    )
    await nc.force_reconnect()
    await events.wait("reconnected")
    assert events.errors == []
    await nc.close()


async def test_handler_that_chooses_a_stranger(fakes: list[FakeServer], connect: Connect) -> None:
    from urllib.parse import urlparse

    events = Events()
    stranger = PoolServer(uri=urlparse("nats://127.0.0.1:1"))
    nc = await connect(
        fakes[0],
        reconnect_to_server_handler=lambda pool, info: (stranger, 0),
        **events.callbacks,
        **EAGER,
    )
    await nc.force_reconnect()
    await events.wait("reconnected")
    assert [type(error) for error in events.errors] == [errors.ServerNotInPoolError]
    assert nc.connected_url.port == fakes[0].port
    await nc.close()


async def test_handler_that_raises_is_asked_again(
    fakes: list[FakeServer], connect: Connect
) -> None:
    events = Events()
    asked = 0

    def choose(pool: list[PoolServer], info: dict[str, Any]) -> tuple[None, float]:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise LookupError(f"failure {asked}")
        return None, 0

    nc = await connect(fakes[0], reconnect_to_server_handler=choose, **events.callbacks, **EAGER)
    await nc.force_reconnect()
    await events.wait("reconnected")
    assert [str(error) for error in events.errors] == ["failure 1", "failure 2"]
    await nc.close()


async def test_handler_that_always_raises_leaves_the_loop_alive(
    fakes: list[FakeServer], connect: Connect
) -> None:
    def choose(pool: list[PoolServer], info: dict[str, Any]) -> tuple[None, float]:
        raise LookupError("never")

    nc = await connect(fakes[0], reconnect_to_server_handler=choose, error_cb=ignore, **EAGER)
    await nc.force_reconnect()
    for _ in range(20):
        await asyncio.sleep(0.001)
    await asyncio.wait_for(nc.close(), 5)
    assert nc.is_closed


@pytest.mark.parametrize("answer", [(None, None), ("nats://127.0.0.1:1", 0), None])
async def test_handler_with_a_senseless_answer_leaves_the_loop_alive(
    fakes: list[FakeServer], connect: Connect, answer: Any
) -> None:
    options: dict[str, Any] = {
        "reconnect_to_server_handler": lambda pool, info: answer,
        "max_reconnect_attempts": -1,
    }
    events = Events()
    nc = await connect(fakes[0], **options, **events.callbacks, **EAGER)
    await nc.force_reconnect()
    await eventually(lambda: len(events.errors) > 1)
    await asyncio.wait_for(nc.close(), 5)
    assert {type(error) for error in events.errors} <= {TypeError, AttributeError}


async def test_handler_sets_the_delay(fakes: list[FakeServer], connect: Connect) -> None:
    events = Events()
    nc = await connect(
        fakes[0],
        reconnect_to_server_handler=lambda pool, info: (pool[0], 0.3),
        **events.callbacks,
        **EAGER,
    )
    start = time.monotonic()
    await nc.force_reconnect()
    await events.wait("reconnected")
    assert time.monotonic() - start > 0.29
    await nc.close()


async def test_handler_with_attempts_exhausted(server: Server, connect: Connect) -> None:
    pools: list[list[int]] = []

    def choose(pool: list[PoolServer], info: dict[str, Any]) -> tuple[None, float]:
        pools.append([each.reconnects for each in pool])
        return None, 0.02

    events = Events()
    nc = await connect(
        max_reconnect_attempts=2,
        reconnect_to_server_handler=choose,
        **events.callbacks,
        **EAGER,
    )
    await server.akill()
    await events.wait("closed")
    assert pools == [[0], [1], [2]]
    assert isinstance(nc.last_error, errors.NoServersError)
