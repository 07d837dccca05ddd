"""Workers that use JetStream all the time while a test makes servers fail.

Each notes what it was promised, and fails when a call doesn't end in time or ends with an error
that makes no sense. ``Crew`` runs several of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from nats import errors
from nats.js import api
from nats.js.errors import (
    NoStreamResponseError,
    ServiceUnavailableError,
    TooManyStalledMsgsError,
)

from support.waiting import eventually

T = TypeVar("T")

# Seconds that a call may take by itself, and more that a busy machine may add.
TIMEOUT = 2.0
GRACE = 10.0
FETCH_TIMEOUT = 0.5
FETCH_HEARTBEAT = 0.2
HEARTBEAT = 0.5
ACK_WAIT = 2.0
WINDOW = 16
# Between two steps of a worker.
PAUSE = 0.03
# Servers that lost their leader elect another one after four to nine seconds.
ELECTION = 30.0

# What may happen to a call while there is no server or no leader.
OUTAGE = (
    errors.TimeoutError,
    errors.NoRespondersError,
    errors.ConnectionReconnectingError,
    NoStreamResponseError,
    ServiceUnavailableError,
    TooManyStalledMsgsError,
)


class Worker:
    """Takes step after step until it is stopped."""

    pause = PAUSE

    def __init__(self, name: str) -> None:
        self.name = name
        self.done = 0
        """Steps that have succeeded."""
        self.outages: list[Exception] = []
        self.stopping = False

    def has_done(self, steps: int) -> bool:
        return self.done >= steps

    async def start(self) -> None:
        """Prepare, while all is well."""

    async def step(self) -> None:
        raise NotImplementedError

    async def end(self) -> None:
        """Clean up, when all is well again."""

    async def run(self) -> None:
        while not self.stopping:
            await self.step()
            await asyncio.sleep(self.pause)

    async def attempt(self, call: Awaitable[T], timeout: float = TIMEOUT) -> T | None:
        """The call's result; ``None`` if it has failed as it may in an outage."""
        start = time.monotonic()
        try:
            return await asyncio.wait_for(call, timeout + GRACE)
        except OUTAGE as error:
            self.outages.append(error)
        except asyncio.TimeoutError:
            took = time.monotonic() - start
            raise AssertionError(f"{self.name}: a call has not ended after {took:.1f} s") from None
        return None


class Crew:
    """Workers at work, each in a task of its own."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self.workers = workers
        self._tasks: list[asyncio.Task[None]] = []

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[Crew]:
        """The workers run inside; in the end all of them have ended by themselves."""
        for worker in self.workers:
            await worker.start()
        self._tasks = [asyncio.create_task(worker.run()) for worker in self.workers]
        try:
            yield self
            await self.stop(self.workers)
            for worker in self.workers:
                await worker.end()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def until(
        self, condition: Callable[[], object], what: str, seconds: float = ELECTION
    ) -> None:
        """Wait for a condition; a worker's failure ends it at once."""

        def holds() -> bool:
            self.check()
            return bool(condition())

        await eventually(holds, what, seconds)

    async def progress(self, steps: int = 2, seconds: float = ELECTION) -> None:
        """Wait until each worker has succeeded some more times."""
        goals = [(worker, worker.done + steps) for worker in self.workers]
        for worker, goal in goals:
            await self.until(
                partial(worker.has_done, goal),
                f"progress of {worker.name}, last failures {worker.outages[-3:]}",
                seconds,
            )

    def check(self) -> None:
        """Raise what has ended a worker."""
        for task in self._tasks:
            if task.done():
                task.result()

    async def stop(self, workers: Sequence[Worker]) -> None:
        for worker in workers:
            worker.stopping = True
        tasks = [self._tasks[self.workers.index(worker)] for worker in workers]
        await asyncio.wait_for(asyncio.gather(*tasks), ELECTION)


# Publishing


class Publisher(Worker):
    """Publishes one message at a time."""

    def __init__(self, name: str, js: Any, subject: str) -> None:
        super().__init__(name)
        self.js = js
        self.subject = subject
        self.sent = 0
        self.acked: dict[int, bytes] = {}

    def next_payload(self) -> bytes:
        self.sent += 1
        return f"{self.name} {self.sent}".encode()

    def note(self, ack: Any, payload: bytes) -> None:
        assert ack.seq not in self.acked, f"{ack.seq} was acknowledged twice"
        self.acked[ack.seq] = payload
        self.done += 1

    async def step(self) -> None:
        payload = self.next_payload()
        ack = await self.attempt(self.js.publish(self.subject, payload))
        if ack is not None:
            self.note(ack, payload)


class AsyncPublisher(Publisher):
    """Publishes up to a window of messages at a time."""

    def __init__(self, name: str, js: Any, subject: str) -> None:
        super().__init__(name, js, subject)
        self.waiting: set[asyncio.Task[None]] = set()
        self.failed: BaseException | None = None
        self.unheard = 0
        """Futures that nothing has become of."""

    async def step(self) -> None:
        for _ in range(4):
            payload = self.next_payload()
            future = await self.attempt(
                self.js.publish_async(self.subject, payload, wait_stall=TIMEOUT)
            )
            if future is None:
                return
            task = asyncio.create_task(self.wait_for_ack(future, payload))
            self.waiting.add(task)
            task.add_done_callback(self.forget)

    async def wait_for_ack(self, future: asyncio.Future[Any], payload: bytes) -> None:
        # A leader that dies takes acknowledgements with it. Of that, a client that is connected
        # to another server hears nothing: the future has no timeout of its own, as in nats-py.
        try:
            ack = await asyncio.wait_for(future, TIMEOUT)
        except OUTAGE as error:
            self.outages.append(error)
        except asyncio.TimeoutError:
            self.unheard += 1
        else:
            self.note(ack, payload)

    def forget(self, task: asyncio.Task[None]) -> None:
        self.waiting.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.failed = task.exception()

    async def end(self) -> None:
        await self.attempt(self.js.publish_async_completed())
        await eventually(lambda: not self.waiting, "the acknowledgements' tasks end")
        assert self.failed is None, repr(self.failed)
        assert self.js.publish_async_pending() == 0


# Consuming


class Consumer(Worker):
    """Notes what it gets."""

    stream = "S"

    def __init__(self, name: str, js: Any) -> None:
        super().__init__(name)
        self.js = js
        self.got: list[tuple[int, bytes]] = []
        """Stream sequence and payload of every delivery."""

    def note(self, msg: Any) -> None:
        self.got.append((msg.metadata.sequence.stream, msg.data))
        self.done += 1

    def has_seen(self, stored: dict[int, bytes]) -> bool:
        return dict(self.got) == stored


class Durable(Consumer):
    """One whose consumer waits for acknowledgements."""

    sub: Any

    async def is_acknowledged(self) -> bool:
        info = await self.attempt(self.sub.consumer_info())
        return info is not None and info.num_pending == 0 and info.num_ack_pending == 0

    async def end(self) -> None:
        deadline = time.monotonic() + ELECTION
        while not await self.is_acknowledged():
            assert time.monotonic() < deadline, f"{self.name}: not all acknowledged"
            await self.step()
        await self.attempt(self.sub.unsubscribe())


class Puller(Durable):
    """Fetches one message, then several, then several with heartbeats, over and over."""

    async def start(self) -> None:
        config = api.ConsumerConfig(ack_wait=ACK_WAIT, ack_policy=api.AckPolicy.EXPLICIT)
        self.sub = await self.js.pull_subscribe(
            "s.>", durable=self.name, stream=self.stream, config=config
        )
        self.calls = 0

    async def step(self) -> None:
        self.calls += 1
        batch = 1 if self.calls % 3 == 1 else 10
        heartbeat = FETCH_HEARTBEAT if self.calls % 3 == 0 else None
        call = self.sub.fetch(batch, timeout=FETCH_TIMEOUT, heartbeat=heartbeat)
        before = len(self.outages)
        msgs = await self.attempt(call, FETCH_TIMEOUT) or []
        for outage in self.outages[before:]:
            assert not isinstance(outage, ServiceUnavailableError), "the consumer is there"
        for msg in msgs:
            self.note(msg)
            await self.attempt(msg.ack())


class Pusher(Durable):
    """Has a callback called, which acknowledges."""

    async def start(self) -> None:
        async def handle(msg: Any) -> None:
            self.note(msg)

        config = api.ConsumerConfig(ack_wait=ACK_WAIT, idle_heartbeat=HEARTBEAT)
        self.sub = await self.js.subscribe(
            "s.>", durable=self.name, stream=self.stream, cb=handle, config=config
        )

    async def step(self) -> None:
        await asyncio.sleep(PAUSE)


class Reader(Consumer):
    """An ordered consumer, on a certain server if ``on`` says so."""

    def __init__(self, name: str, js: Any, on: str | None = None) -> None:
        super().__init__(name, js)
        self.on = on

    async def start(self) -> None:
        while True:
            self.sub = await self.js.subscribe(
                "s.>", stream=self.stream, ordered_consumer=True, idle_heartbeat=HEARTBEAT
            )
            if self.on is None:
                break
            # It has no replicas, and the server chooses at random where it is.
            info = await self.sub.consumer_info()
            if info.cluster.leader == self.on:
                break
            await self.sub.unsubscribe()

    async def step(self) -> None:
        msg = await self.attempt(self.sub.next_msg(timeout=FETCH_TIMEOUT), FETCH_TIMEOUT)
        while msg is not None:
            self.note(msg)
            msg = self.sub._core.pop()

    async def end(self) -> None:
        await self.attempt(self.sub.unsubscribe())


# Streams


async def move_leader(nc: Any, stream: str, server: str) -> None:
    """Have a certain server lead a stream."""
    js = nc.jetstream(timeout=TIMEOUT)
    request = b'{"placement": {"preferred": "%s"}}' % server.encode()
    deadline = time.monotonic() + ELECTION
    while True:
        info = None
        with contextlib.suppress(*OUTAGE):
            info = await js.stream_info(stream)
        if info is not None and info.cluster.leader == server:
            return
        assert time.monotonic() < deadline, f"{server} does not become the leader of {stream}"
        if info is not None and info.cluster.leader:
            with contextlib.suppress(*OUTAGE):
                await nc.request(f"$JS.API.STREAM.LEADER.STEPDOWN.{stream}", request, TIMEOUT)
        await asyncio.sleep(0.1)


async def stored_in(js: Any, stream: str) -> dict[int, tuple[str, bytes]]:
    """Subject and payload of everything in a stream, by sequence."""
    info = await js.stream_info(stream)
    sub = await js.pull_subscribe(">", stream=stream)
    stored: dict[int, tuple[str, bytes]] = {}
    deadline = time.monotonic() + ELECTION
    while len(stored) < info.state.messages:
        try:
            messages = await sub.fetch(500, timeout=TIMEOUT)
        except errors.TimeoutError:
            # In a cluster that has lost a server, the new consumer may have no leader yet.
            assert time.monotonic() < deadline, f"no consumer of {stream} answers"
            continue
        for msg in messages:
            stored[msg.metadata.sequence.stream] = (msg.subject, msg.data)
            await msg.ack()
    await sub.unsubscribe()
    assert max(stored) == info.state.last_seq
    return stored
