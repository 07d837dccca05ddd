"""Rounds of random operations during which the server dies, each followed by a reckoning."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

from chaos.objects import get_object, inspect_object
from chaos.operations import OPERATIONS, drain_subscription, read_value, visit
from chaos.promises import Book
from chaos.site import FLUSH_TIMEOUT, GRACE, OUTAGE, RECOVERY, Peer, Site
from nats import errors
from nats.embedded import Server

# Seconds for a call of the reckoning, when the server is well.
CALM = 10.0
# Operations that may take longer than a round: the flush in a drain, a reader of chunks that asks
# after a second of silence what has become of its consumer.
SLOW = {drain_subscription, visit, get_object}
# Messages to a queue group of which a member leaves.
GROUP_MESSAGES = 200
# The ordered consumer is made anew after missing heartbeats.
CATCH_UP = 20.0


async def kill(server: Server, choose: random.Random) -> None:
    await server.akill()
    await asyncio.sleep(choose.choice([0, 0.01, 0.05]))
    await server.astart()


async def shut_down(server: Server, choose: random.Random) -> None:
    await server.ashutdown()
    await server.astart()


async def freeze_and_kill(server: Server, choose: random.Random) -> None:
    server.pause()
    await asyncio.sleep(choose.choice([0.01, 0.05]))
    await kill(server, choose)


async def kill_twice(server: Server, choose: random.Random) -> None:
    await kill(server, choose)
    await asyncio.sleep(choose.choice([0, 0.005, 0.02]))
    await kill(server, choose)


Fault = Callable[[Server, random.Random], Awaitable[None]]
FAULTS: dict[Fault, int] = {kill: 6, freeze_and_kill: 2, kill_twice: 1, shut_down: 1}


class Chaos:
    """Rounds on one server, all of them from one seed."""

    def __init__(self, site: Site, seed: int) -> None:
        self.site = site
        self.choose = random.Random(seed)
        self.book = site.book
        self._slow: set[asyncio.Task[None]] = set()

    async def run(self, rounds: int) -> None:
        for number in range(rounds):
            before = len(self.book.notes)
            await self.round()
            self.book.made["rounds"] += 1
            for at in range(before, len(self.book.notes)):
                self.book.notes[at] = f"round {number}: {self.book.notes[at]}"
        await self.end()

    async def round(self) -> None:
        choose = self.choose
        tasks = self.launch(choose.randrange(4, 10))
        await asyncio.sleep(choose.uniform(0, 0.03))
        [fault] = choose.choices(list(FAULTS), list(FAULTS.values()))
        fails = asyncio.ensure_future(fault(self.site.server, choose))
        await asyncio.sleep(choose.uniform(0, 0.05))
        tasks |= self.launch(choose.randrange(2, 6))
        await fails
        tasks |= self.launch(choose.randrange(0, 4))
        if tasks:
            await self.ended(tasks)
        await self.reckon()
        await self.member_leaves()

    def launch(self, count: int) -> set[asyncio.Task[None]]:
        """Start operations; those that belong to the round are returned."""
        choose = self.choose
        tasks = set()
        for operation in choose.choices(list(OPERATIONS), list(OPERATIONS.values()), k=count):
            peer = choose.choice(self.site.peers)
            # Each with a source of its own: the next round mustn't depend on timing.
            source = random.Random(choose.random())
            task = asyncio.ensure_future(self.perform(operation, peer, source))
            if operation in SLOW:
                self._slow.add(task)
                task.add_done_callback(self._slow.discard)
            else:
                tasks.add(task)
        return tasks

    async def perform(self, operation: Any, peer: Peer, source: random.Random) -> None:
        self.book.made["operations"] += 1
        try:
            await operation(self.site, peer, source)
        except OUTAGE as error:
            self.book.made[type(error).__name__] += 1
        except Exception as error:
            self.book.broke("odd_errors", f"{operation.__name__}: {error!r}")

    async def ended(self, tasks: set[asyncio.Task[None]]) -> None:
        # Calls have limits of their own; this one is for what isn't a call with a time-out.
        _, late = await asyncio.wait(tasks, timeout=60)
        for task in late:
            self.book.broke("hangs", f"{task!r}")
            task.cancel()

    async def reckon(self) -> None:
        """Everybody is connected, hears everything, and what was promised is there."""
        site = self.site
        for peer in site.peers:
            await self.recover(peer)
            peer.check_tasks()
            for number, reconnects in peer.buffered:
                # Sent by the next connection, unless that was lost as well.
                if peer.reconnects == reconnects + 1:
                    for inbox in peer.inboxes.values():
                        inbox.promise(peer.name, number)
            peer.buffered.clear()
        await self.probe()
        await self.check_stream()
        for key in self.choose.sample(site.values.keys, min(3, len(site.values.keys))):
            await read_value(site, site.buckets[0], key)
        await self.check_objects(1)

    async def recover(self, peer: Peer) -> None:
        """Wait for an answer of the new server. That a client counts as connected isn't enough:
        it may not have seen the end of the old one yet, nor have subscribed with the new one."""
        deadline = time.monotonic() + RECOVERY
        while time.monotonic() < deadline:
            with contextlib.suppress(errors.FlushTimeoutError):
                if peer.nc.is_connected:
                    await peer.nc.flush(FLUSH_TIMEOUT)
                    if peer.nc.is_connected:
                        return
            await asyncio.sleep(0.001)
        self.book.broke("hangs", f"{peer.name} isn't connected: {peer.nc.last_error!r}")

    async def probe(self) -> None:
        """Every subscription gets a message of every client."""
        site = self.site
        for peer in site.peers:
            number = peer.next_number()
            await peer.nc.publish(f"core.{peer.name}", f"{peer.name} {number}".encode())
            await self.flush(peer)
            for other in site.peers:
                for inbox in other.inboxes.values():
                    inbox.promise(peer.name, number)
        for peer in site.peers:
            await self.flush(peer)
        inboxes = [inbox for peer in site.peers for inbox in peer.inboxes.values()]
        await site.until(lambda: not any(inbox.missing() for inbox in inboxes))
        for inbox in inboxes:
            inbox.check()

    async def flush(self, peer: Peer) -> None:
        await self.site.call(f"flush of {peer.name}", peer.nc.flush(CALM), CALM)

    async def check_stream(self) -> None:
        """Read what has been stored since the last round."""
        site, js = self.site, self.site.peers[0].js
        last = await self.insist(lambda: js.stream_info("S"), "stream_info")
        if last is None:
            return
        wanted = range(site.ledger.read_up_to + 1, last.state.last_seq + 1)
        for start in range(0, len(wanted), 100):
            part = wanted[start : start + 100]
            found = await asyncio.gather(
                *(self.insist(lambda seq=seq: js.get_msg("S", seq, direct=True)) for seq in part)
            )
            for seq, msg in zip(part, found, strict=True):
                if msg is not None:
                    site.ledger.found(seq, msg.data)
        site.ledger.check()

    async def check_objects(self, count: int) -> None:
        """Read so many of the objects, when no write of one goes on any more."""
        site, store = self.site, self.site.stores[0]
        # In the server's queue for the store's messages, this is behind all that it has received.
        if await self.insist(lambda: store.put("barrier", b""), "put") is None:
            return
        site.objects.settle()
        names = site.objects.names
        for name in self.choose.sample(names, min(count, len(names))):
            await self.insist(lambda name=name: inspect_object(site, store, name), "get")

    async def insist(self, call: Callable[..., Awaitable[Any]], what: str = "get_msg") -> Any:
        """Call until there is an answer: JetStream needs a moment after the server's start."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + CALM
        while True:
            try:
                return await asyncio.wait_for(call(), CALM + GRACE)
            except (*OUTAGE, asyncio.TimeoutError) as error:
                if loop.time() > deadline:
                    self.book.broke("hangs", f"{what}: {error!r} after {CALM} s")
                    return None
                await asyncio.sleep(0.005)

    async def member_leaves(self) -> None:
        """A member of a queue group drains while messages stream in: one of the two handles
        each of them."""
        site, choose = self.site, self.choose
        sender, stayer = site.peers if choose.random() < 0.5 else site.peers[::-1]
        subject = f"group.{site.unique()}"
        handled: list[int] = []

        async def handle(msg: Any) -> None:
            if choose.random() < 0.1:
                await asyncio.sleep(0)
            handled.append(int(msg.data))

        stays = await stayer.nc.subscribe(subject, queue="group", cb=handle)
        leaves = await sender.nc.subscribe(subject, queue="group", cb=handle)
        await self.flush(stayer)
        await self.flush(sender)
        drains: asyncio.Future[Any] | None = None
        leave_at = choose.randrange(GROUP_MESSAGES)
        for number in range(GROUP_MESSAGES):
            if number == leave_at:
                drains = asyncio.ensure_future(site.call("drain", leaves.drain(), CALM))
            await sender.nc.publish(subject, b"%d" % number)
            if number % 16 == 0:
                await asyncio.sleep(0)
        assert drains is not None
        await drains
        await self.flush(sender)
        await site.call("drain", stays.drain(), CALM)
        lost = set(range(GROUP_MESSAGES)) - set(handled)
        self.book.made["group_messages"] += GROUP_MESSAGES
        if lost:
            self.book.broke("lost_by_draining", f"{subject}: {sorted(lost)}")
        if len(handled) > GROUP_MESSAGES - len(lost):
            self.book.broke("duplicates", f"{subject}: {len(handled)} were handled")

    async def end(self) -> None:
        """What may take its time: everything is quiet, complete and alive."""
        site = self.site
        if self._slow:
            await self.ended(set(self._slow))
        await self.reckon()
        for key in site.values.keys:
            await read_value(site, site.buckets[0], key)
        await self.check_objects(len(site.objects.names))
        stored = sorted(site.ledger.stored)
        while await site.until(lambda: True) and site.pulled < set(stored):
            messages = await site.call("fetch", site.pull.fetch(500, timeout=2.0), 2.0)
            if not messages:
                self.book.broke("lost_acked", f"{len(set(stored) - site.pulled)} never fetched")
                break
            for msg in messages:
                await msg.ack()
                site.pulled.add(msg.metadata.sequence.stream)
        await site.until(lambda: site.read[-1:] == stored[-1:], CATCH_UP)
        if site.read != stored:
            self.book.broke(
                "lost_acked", f"the ordered consumer read {len(site.read)} of {len(stored)}"
            )
        for peer in site.peers:
            core: Any = peer.nc._core
            if not await site.until(lambda core=core: core.census()[:2] == (0, 0)):
                self.book.broke("hangs", f"{peer.name} holds {core.census()}")
            self.book.made["subscriptions_alive"] += len(peer.inboxes)


async def run_rounds(server: Server, seed: int, rounds: int) -> Book:
    """Run on a server with JetStream that holds nothing yet; returns the books."""
    book = Book()
    site = Site(server, book)
    try:
        await site.start()
        await Chaos(site, seed).run(rounds)
    finally:
        await site.stop()
    return book
