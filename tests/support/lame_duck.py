"""Clients at work while each server of a cluster is replaced in turn, in order.

The clients of one server are told that it is about to stop (lame duck mode), lose their
connection a little later, and go on with another server. What was promised meanwhile holds:
flushed messages reach whoever was subscribed all the time, acknowledged ones are stored and
delivered, and requests are answered.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from nats.aio.client import Client
from nats.aio.client import Server as PoolServer
from nats.embedded import Cluster, Server

from support.js_workers import ELECTION, TIMEOUT, Crew, Publisher, Puller, Pusher, Worker, stored_in
from support.routes import heard
from support.waiting import EAGER, Events, eventually

# The server closes a client per second at most once the grace period is over. The duration has
# no effect on a few clients; this is the shortest that servers accept.
CONFIG = 'lame_duck_grace_period: "100ms"\nlame_duck_duration: "30s"'


@dataclass(frozen=True)
class Way:
    """How clients reach servers."""

    scheme: str
    listener: str = "nats"
    """The kind of the server's port, as in ``Server.listeners``."""
    host: str = "127.0.0.1"
    options: dict[str, Any] = field(default_factory=dict)

    def port(self, server: Server) -> int:
        """0 for a server that is stopped."""
        listeners = server.listeners.get(self.listener)
        return urlsplit(listeners[0]).port or 0 if listeners else 0

    def url(self, server: Server) -> str:
        return f"{self.scheme}://{self.host}:{self.port(server)}"


PLAIN = Way("nats")


class Party:
    """A client that goes to the server that nobody else of its table is at."""

    def __init__(self, table: list[Party], driver: str, way: Way = PLAIN) -> None:
        self.client = Client()
        self.client._driver = driver  # type: ignore[misc]
        self.events = Events()
        self.table = table
        self.way = way
        self.port = 0
        """Where it is, or is about to go."""
        table.append(self)

    async def connect(self, server: Server) -> None:
        self.port = self.way.port(server)
        await self.client.connect(
            self.way.url(server),
            max_reconnect_attempts=-1,
            reconnect_to_server_handler=self.choose,
            **self.way.options,
            **self.events.callbacks,
            **EAGER,
        )
        # The first one may be known by its name and by its address.
        await eventually(
            lambda: len({uri.port for uri in self.client.servers}) == 3, "all servers are known"
        )

    def is_at(self, server: Server) -> bool:
        url = self.client.connected_url
        return url is not None and url.port == self.way.port(server)

    def choose(
        self, pool: list[PoolServer], info: dict[str, Any]
    ) -> tuple[PoolServer | None, float]:
        # Its own server is the one that has gone.
        taken = {party.port for party in self.table}
        free = [server for server in pool if server.uri.port not in taken]
        if free:
            # A server that came back on another port stays in the pool with the old one, too.
            self.port = min(free, key=lambda server: server.reconnects).uri.port or 0
        return next(server for server in pool if server.uri.port == self.port), 0.02


class Flusher(Worker):
    """Publishes and flushes; what was flushed by one connection counts as sent."""

    def __init__(self, name: str, client: Client) -> None:
        super().__init__(name)
        self.client = client
        self.sent = 0
        self.flushed: set[bytes] = set()

    async def step(self) -> None:
        payloads = []
        connection = self.client.client_id, self.client.stats["reconnects"]
        for _ in range(10):
            self.sent += 1
            payloads.append(f"{self.name} {self.sent}".encode())
            await self.client.publish("core", payloads[-1])
        failures = len(self.outages)
        await self.attempt(self.client.flush(timeout=1))
        # While disconnected it returns without having asked anybody.
        if (
            len(self.outages) == failures
            and self.client.is_connected
            and (self.client.client_id, self.client.stats["reconnects"]) == connection
        ):
            self.flushed.update(payloads)
            self.done += 1


class Audience(Worker):
    """One subscription on each of several clients, which are never all on the move."""

    def __init__(self, clients: list[Client], speakers: list[Client]) -> None:
        super().__init__("audience")
        self.clients = clients
        self.speakers = speakers
        self.got: set[bytes] = set()

    async def start(self) -> None:
        async def note(msg: Any) -> None:
            self.got.add(msg.data)
            self.done += 1

        for client in self.clients:
            await client.subscribe("core", cb=note)
            await heard(client, self.speakers)

    async def step(self) -> None:
        """Everything is done by the callbacks."""


class Requester(Worker):
    """Asks a queue group with members on several clients."""

    def __init__(self, name: str, client: Client, members: list[Client]) -> None:
        super().__init__(name)
        self.client = client
        self.members = members

    async def start(self) -> None:
        async def answer(msg: Any) -> None:
            await msg.respond(msg.data)

        for member in self.members:
            await member.subscribe("service", queue="members", cb=answer)
            await member.flush()

    async def step(self) -> None:
        question = b"%d" % self.done
        reply = await self.attempt(self.client.request("service", question, timeout=TIMEOUT))
        if reply is not None:
            assert reply.data == question
            self.done += 1


@contextlib.asynccontextmanager
async def parties(cluster: Cluster, way: Way = PLAIN) -> AsyncIterator[dict[str, Party]]:
    """Two listeners at two servers, and two speakers at the third; of both drivers."""
    table: list[Party] = []
    listeners = {driver: Party(table, driver, way) for driver in ("tokio", "asyncio")}
    speakers = {f"{driver} speaker": Party([], driver, way) for driver in ("tokio", "asyncio")}
    everyone = {**listeners, **speakers}
    try:
        for party, server in zip(listeners.values(), cluster.servers, strict=False):
            await party.connect(server)
        for party in speakers.values():
            await party.connect(cluster.servers[2])
        yield everyone
    finally:
        for party in everyone.values():
            await party.client.close()


async def replace(cluster: Cluster, server: Server, everyone: list[Party]) -> None:
    """Have a server leave in order, and come back."""
    clients = [party for party in everyone if party.is_at(server)]
    told = {id(party): party.events.count("lame duck") for party in clients}
    moved = {id(party): party.events.count("reconnected") for party in clients}
    server.signal("ldm")
    for party in clients:
        await party.events.wait("lame duck", told[id(party)] + 1)
    for party in clients:
        await party.events.wait("reconnected", moved[id(party)] + 1)
        assert not party.is_at(server)
    assert await server.await_exit(ELECTION) == 0
    await server.astart()
    await cluster.await_ready(ELECTION)


async def rolling_restart_under_traffic(cluster: Cluster, way: Way = PLAIN) -> None:
    """Replace every server while clients publish, flush, ask and consume; check their books."""
    async with parties(cluster, way) as named:
        everyone = list(named.values())
        listeners = [named["tokio"].client, named["asyncio"].client]
        speakers = [named["tokio speaker"].client, named["asyncio speaker"].client]
        js = speakers[0].jetstream(timeout=TIMEOUT)
        await js.add_stream(name="S", subjects=["s.>"], num_replicas=3)
        audience = Audience(listeners, speakers)
        flushers = [Flusher(f"flusher {n}", nc) for n, nc in enumerate(speakers)]
        publishers = [
            Publisher(f"publisher-{n}", nc.jetstream(timeout=TIMEOUT), "s.one")
            for n, nc in enumerate(speakers)
        ]
        consumers = [
            Puller("puller", listeners[0].jetstream(timeout=TIMEOUT)),
            Pusher("pusher", listeners[1].jetstream(timeout=TIMEOUT)),
        ]
        requesters = [Requester(f"requester {n}", nc, listeners) for n, nc in enumerate(speakers)]
        crew = Crew([audience, *flushers, *publishers, *consumers, *requesters])
        async with crew.working():
            for server in cluster.servers:
                await crew.progress()
                await replace(cluster, server, everyone)
            await crew.progress()
            await crew.stop([*flushers, *publishers])
            flushed = set().union(*(flusher.flushed for flusher in flushers))
            await crew.until(lambda: flushed <= audience.got, "all that was flushed has arrived")
            stored = {seq: data for seq, (_, data) in (await stored_in(js, "S")).items()}
            for publisher in publishers:
                assert publisher.acked.items() <= stored.items(), publisher.name
            for consumer in consumers:
                await crew.until(
                    lambda consumer=consumer: consumer.has_seen(stored),  # type: ignore[misc]
                    f"{consumer.name} sees every message",
                )
        for party in everyone:
            # Warned before each move, and never without a reason.
            names = [name for name in party.events.names if name != "discovered"]
            assert names == ["lame duck", "disconnected", "reconnected"] * (len(names) // 3)
            assert names
            assert party.client.is_connected
            assert party.client.connected_url.scheme == way.scheme  # type: ignore[union-attr]
