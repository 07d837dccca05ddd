"""Embedded clusters."""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import partial

import pytest
from nats.embedded import Cluster, EmbeddedError, Server, ServerStartError
from support.embedded_probe import Raw, comes_true, info, is_alive, stream


def knows(server: Server, peers: set[str]) -> bool:
    return set(info(server)["connect_urls"]) == peers


def test_cluster_forms_and_heals() -> None:
    with Cluster() as cluster:
        assert len(cluster.servers) == len(set(cluster.urls)) == 3
        assert cluster.url == cluster.urls[0]
        for server in cluster.servers:
            peers = {f"127.0.0.1:{other.port}" for other in cluster.servers}
            assert comes_true(partial(knows, server, peers))
        first, second, third = cluster.servers
        first.kill()
        cluster.wait_ready()
        first.start()
        cluster.wait_ready()
        with Raw(first) as reader, Raw(third) as writer:
            reader.send('CONNECT {"verbose":false}\r\nSUB a 1\r\nPING\r\n')
            reader.read_until(b"PONG")
            writer.send('CONNECT {"verbose":false}\r\n')
            # Interest travels between servers by itself, after the PONG.
            deadline = time.monotonic() + 30
            reader.socket.settimeout(0.05)
            while time.monotonic() < deadline:
                writer.send("PUB a 2\r\nhi\r\n")
                with contextlib.suppress(TimeoutError):
                    assert reader.socket.recv(7) == b"MSG a 1"
                    break
            else:
                pytest.fail("no message crossed the cluster")
        pids = [server.pid for server in (first, second, third)]
    assert not any(is_alive(pid) for pid in pids if pid is not None)
    assert cluster.servers == []


async def test_jetstream_cluster() -> None:
    async with Cluster(jetstream=True) as cluster:
        with Raw(cluster.servers[0]) as client:
            created = client.request("$JS.API.STREAM.CREATE.S", stream("S", num_replicas=3))
            assert len(created["cluster"]["replicas"]) == 2
        await cluster.servers[0].akill()
        await cluster.servers[0].astart()
        await cluster.await_ready()

        def found() -> bool:
            # The stream elects its own leader; requests get no answer until it has one.
            with Raw(cluster.servers[0], timeout=1) as client, contextlib.suppress(TimeoutError):
                return "error" not in client.request("$JS.API.STREAM.INFO.S", {})
            return False

        assert await asyncio.to_thread(comes_true, found, 30)


def test_cluster_that_cannot_start() -> None:
    cluster = Cluster(config="no_such_setting: 1\n")
    with pytest.raises(EmbeddedError, match="not started"):
        _ = cluster.url
    with pytest.raises(ServerStartError, match="no_such_setting"):
        cluster.start()
    assert cluster.servers == []
    with pytest.raises(ValueError, match="at least one"):
        Cluster(0)


def test_cluster_of_one() -> None:
    with Cluster(1, jetstream=True) as cluster:
        assert info(cluster.servers[0])["jetstream"]
