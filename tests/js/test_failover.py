"""JetStream while servers die and come back: nothing promised is lost, and nothing hangs."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
from nats import errors
from nats.embedded import Cluster, Server
from support.connecting import Connect
from support.js_bucket_workers import Keeper, Lister, Loader, Storer, Watcher
from support.js_workers import (
    ELECTION,
    HEARTBEAT,
    TIMEOUT,
    WINDOW,
    AsyncPublisher,
    Consumer,
    Crew,
    Publisher,
    Puller,
    Pusher,
    Reader,
    Worker,
    move_leader,
    stored_in,
)
from support.waiting import EAGER, Events, eventually

# An election in a busy cluster may take many seconds, and there are several.
pytestmark = [pytest.mark.usefixtures("driver"), pytest.mark.timeout(120)]

# Seconds that a single server stays away.
ABSENCE = 0.3
# Seconds that a leader gives no answer before it dies.
FREEZE = 0.1
BUCKETS = {"plain": False, "direct": True}

# What `error_cb` may be told while servers come and go.
SENSIBLE = (OSError, errors.Error)


@pytest.fixture(autouse=True)
def quick_watchers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Watchers notice within a second that their consumer is gone."""
    monkeypatch.setattr("nats.js.client._ORDERED_HEARTBEAT", HEARTBEAT)


class Site:
    """What the workers of a test use: clients, and streams with so many replicas."""

    def __init__(self, clients: dict[str, Any], events: Events, replicas: int = 1) -> None:
        self.clients = clients
        self.events = events
        self.replicas = replicas
        self.leader: str | None = None
        """The server that is going to fail, in a cluster."""

    @property
    def js(self) -> Any:
        return self.contexts()["near"]

    def contexts(self, **options: Any) -> dict[str, Any]:
        return {
            name: client.jetstream(timeout=TIMEOUT, **options)
            for name, client in self.clients.items()
        }

    def check_events(self) -> None:
        for error in self.events.errors:
            assert isinstance(error, SENSIBLE), repr(error)
            assert not isinstance(error, errors.SlowConsumerError), repr(error)


async def cluster_site(cluster: Cluster, connect: Connect) -> Site:
    """One client of the server that is going to fail, and one of another."""
    events = Events()
    options: dict[str, Any] = {"max_reconnect_attempts": -1, **events.callbacks, **EAGER}
    first, second, _ = cluster.servers
    clients = {"near": await connect(first, **options), "far": await connect(second, **options)}
    for client in clients.values():
        await eventually(lambda client=client: len(client.servers) == 3)
    site = Site(clients, events, replicas=3)
    site.leader = first.name
    return site


async def single_site(server: Server, connect: Connect) -> Site:
    events = Events()
    return Site(
        {"near": await connect(server, max_reconnect_attempts=-1, **events.callbacks, **EAGER)},
        events,
    )


async def lose_leader(cluster: Cluster, crew: Crew) -> None:
    """Have the first server die with requests unanswered, and come back."""
    leader = cluster.servers[0]
    await crew.progress()
    leader.pause()
    await asyncio.sleep(FREEZE)
    await leader.akill()
    await crew.progress()
    await leader.astart()
    await cluster.await_ready(ELECTION)
    await crew.progress()


async def restart(server: Server, crew: Crew, how: str) -> None:
    """Have the only server end and come back."""
    await crew.progress()
    await (server.akill() if how == "killed" else server.ashutdown())
    await asyncio.sleep(ABSENCE)
    await server.astart()
    await crew.progress()


# Streams


async def stream_crew(site: Site, storage: str) -> Crew:
    await site.js.add_stream(
        name="S", subjects=["s.>"], num_replicas=site.replicas, storage=storage
    )
    if site.leader is not None:
        await move_leader(site.clients["far"], "S", site.leader)
    workers: list[Worker] = []
    for name, js in site.contexts(publish_async_max_pending=WINDOW).items():
        workers += [
            Publisher(f"{name}-publisher", js, "s.one"),
            AsyncPublisher(f"{name}-async-publisher", js, "s.async"),
            Puller(f"{name}-puller", js),
            Pusher(f"{name}-pusher", js),
            Reader(f"{name}-reader", js, site.leader),
        ]
    return Crew(workers)


async def check_stream(site: Site, crew: Crew) -> None:
    """Stop publishing, and compare what was promised and delivered with what is there."""
    publishers = [worker for worker in crew.workers if isinstance(worker, Publisher)]
    await crew.stop(publishers)
    stored = {seq: data for seq, (_, data) in (await stored_in(site.js, "S")).items()}
    for publisher in publishers:
        assert len(publisher.acked) > 0
        lost = {seq for seq, data in publisher.acked.items() if stored.get(seq) != data}
        assert not lost, f"{publisher.name}: {sorted(lost)}"
    for consumer in crew.workers:
        if isinstance(consumer, Consumer):
            await crew.until(
                partial(consumer.has_seen, stored), f"{consumer.name} sees every message"
            )
        if isinstance(consumer, Reader):
            assert consumer.got == sorted(stored.items()), consumer.name


async def test_leader_of_a_stream_dies(js_cluster: Cluster, connect: Connect) -> None:
    site = await cluster_site(js_cluster, connect)
    crew = await stream_crew(site, "file")
    async with crew.working():
        await lose_leader(js_cluster, crew)
        await check_stream(site, crew)
    assert site.events.count("reconnected") == 1
    site.check_events()


@pytest.mark.parametrize("how", ["killed", "shut down"])
async def test_server_of_a_stream_restarts(js_server: Server, connect: Connect, how: str) -> None:
    site = await single_site(js_server, connect)
    crew = await stream_crew(site, "file")
    async with crew.working():
        await restart(js_server, crew, how)
        await check_stream(site, crew)
    # A client that loses the connection knows that there will be no acknowledgement.
    assert [w.unheard for w in crew.workers if isinstance(w, AsyncPublisher)] == [0]
    assert site.events.count("reconnected") == 1
    site.check_events()


# Buckets


async def bucket_crew(site: Site, storage: str) -> Crew:
    workers: list[Worker] = []
    for bucket, is_direct in BUCKETS.items():
        await site.js.create_key_value(
            bucket=bucket, replicas=site.replicas, storage=storage, direct=is_direct
        )
        if site.leader is not None:
            await move_leader(site.clients["far"], f"KV_{bucket}", site.leader)
        for name, js in site.contexts().items():
            kv = await js.key_value(bucket)
            workers += [
                Keeper(f"{name}-{bucket}-keeper", kv),
                Watcher(f"{name}-{bucket}-watcher", kv),
                Lister(f"{name}-{bucket}-lister", kv),
            ]
    await site.js.create_object_store("objects", replicas=site.replicas, storage=storage)
    if site.leader is not None:
        await move_leader(site.clients["far"], "OBJ_objects", site.leader)
    for name, js in site.contexts().items():
        store = await js.object_store("objects")
        workers += [Storer(f"{name}-storer", store), Loader(f"{name}-loader", store)]
    return Crew(workers)


def has_seen(watcher: Watcher, entries: list[tuple[str, int, bytes]]) -> bool:
    return len(watcher.got) >= len(entries)


def lists(lister: Lister, keys: set[str]) -> bool:
    return set(lister.keys) == keys


async def check_buckets(site: Site, crew: Crew) -> None:
    """Stop putting, and compare what was promised and seen with what is there."""
    keepers = [worker for worker in crew.workers if isinstance(worker, Keeper)]
    await crew.stop(keepers)
    for bucket in BUCKETS:
        stored = await stored_in(site.js, f"KV_{bucket}")
        entries = [
            (subject.removeprefix(f"$KV.{bucket}."), revision, value)
            for revision, (subject, value) in sorted(stored.items())
        ]
        values = {key: (revision, value) for key, revision, value in entries}
        for worker in crew.workers:
            if f"-{bucket}-" not in worker.name:
                continue
            if isinstance(worker, Keeper):
                assert len(worker.acked) > 0
                lost = {k: v for k, v in worker.acked.items() if values.get(k) != v}
                assert not lost, f"{worker.name}: {lost}"
            elif isinstance(worker, Watcher):
                await crew.until(partial(has_seen, worker, entries), f"{worker.name} ends")
                assert worker.got == entries, worker.name
                assert worker.marks == 1, worker.name
            elif isinstance(worker, Lister):
                await crew.until(partial(lists, worker, set(values)), f"{worker.name} ends")
    storers = [worker for worker in crew.workers if isinstance(worker, Storer)]
    await crew.stop(storers)
    store = await site.js.object_store("objects")
    for storer in storers:
        assert len(storer.acked) > 0
        for name, content in storer.acked.items():
            assert (await store.get(name)).data == content, name


async def test_leader_of_buckets_dies(js_cluster: Cluster, connect: Connect) -> None:
    site = await cluster_site(js_cluster, connect)
    crew = await bucket_crew(site, "memory")
    async with crew.working():
        await lose_leader(js_cluster, crew)
        await check_buckets(site, crew)
    assert site.events.count("reconnected") == 1
    site.check_events()


@pytest.mark.parametrize("how", ["killed", "shut down"])
async def test_server_of_buckets_restarts(js_server: Server, connect: Connect, how: str) -> None:
    site = await single_site(js_server, connect)
    crew = await bucket_crew(site, "file")
    async with crew.working():
        await restart(js_server, crew, how)
        await check_buckets(site, crew)
    assert site.events.count("reconnected") == 1
    site.check_events()
