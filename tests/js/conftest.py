"""Fixtures for the tests against real servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from nats.embedded import Cluster
from support.connecting import Connect


@pytest.fixture(scope="module")
def shared_js_cluster() -> Iterator[Cluster]:
    """Three servers with JetStream that the tests of a module use one after the other."""
    with Cluster(jetstream=True) as cluster:
        yield cluster


@pytest.fixture
async def js_cluster(shared_js_cluster: Cluster, connect: Connect) -> Cluster:
    """Three servers with JetStream, all of them up, without streams."""
    for server in shared_js_cluster.servers:
        await server.astart()
    await shared_js_cluster.await_ready()
    js = (await connect(shared_js_cluster)).jetstream()
    for name in [info.config.name for info in await js.streams_info()]:
        await js.delete_stream(name)
    return shared_js_cluster
