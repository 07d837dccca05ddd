"""The clients of a chaos run, and what stays subscribed all the time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from chaos.promises import Book, Inbox, Ledger, Objects, Values
from nats import errors
from nats.aio.client import Client
from nats.embedded import Server
from nats.js import api
from nats.js.errors import NoStreamResponseError, ServiceUnavailableError, TooManyStalledMsgsError

T = TypeVar("T")

# Seconds: what calls are given by themselves, and how much later they may end.
REQUEST_TIMEOUT = 0.2
JS_TIMEOUT = 0.3
FLUSH_TIMEOUT = 0.3
DRAIN_FLUSH = 1.0
GRACE = 5.0
# Seconds after which a client that can connect must have.
RECOVERY = 15.0
HEARTBEAT = 0.1
DUPLICATE_WINDOW = 60.0

# What may become of a call while the server fails.
OUTAGE = (
    errors.TimeoutError,
    errors.NoRespondersError,
    errors.ConnectionReconnectingError,
    errors.OutboundBufferLimitError,
    NoStreamResponseError,
    ServiceUnavailableError,
    TooManyStalledMsgsError,
)


class Impatient(Client):
    """Gives the flushes that are part of a drain less than ten seconds."""

    async def flush(self, timeout: float = DRAIN_FLUSH) -> None:
        await super().flush(timeout)  # type: ignore[arg-type]


class Peer:
    """One client with permanent subscriptions of each kind."""

    def __init__(self, name: str, driver: str, book: Book) -> None:
        self.name = name
        self.book = book
        self.nc = Impatient()
        # The class attribute is for all clients; this run has one of each.
        self.nc._driver = driver  # type: ignore[misc]
        self.sent = 0
        self.buffered: list[tuple[int, int]] = []
        """Numbers published while disconnected, each with the count of reconnects by then."""
        self.inboxes = {
            kind: Inbox(f"{name}'s {kind}", book) for kind in ("callback", "iterator", "next_msg")
        }
        self.errors: list[Exception] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, url: str) -> None:
        async def error_cb(error: Exception) -> None:
            if not isinstance(error, OSError | errors.Error | asyncio.TimeoutError):
                self.book.broke("odd_errors", f"{self.name}: error_cb got {error!r}")

        nc = self.nc
        await nc.connect(
            url,
            name=self.name,
            error_cb=error_cb,
            reconnect_time_wait=0.01,  # type: ignore[arg-type]
            max_reconnect_attempts=-1,
            connect_timeout=1,
        )
        self.js = nc.jetstream(timeout=JS_TIMEOUT, publish_async_max_pending=64)

        async def note(msg: Any) -> None:
            self.inboxes["callback"].note(msg.data)
            if self.sent % 2:
                await asyncio.sleep(0)

        async def echo(msg: Any) -> None:
            await msg.respond(msg.data)

        await nc.subscribe("core.>", cb=note)
        await nc.subscribe(f"echo.{self.name}", cb=echo)
        iterated = await nc.subscribe("core.>")
        polled = await nc.subscribe("core.>")
        self.permanent = len(nc._subs)
        await nc.flush()

        async def iterate() -> None:
            async for msg in iterated.messages:
                self.inboxes["iterator"].note(msg.data)

        async def poll() -> None:
            while True:
                with contextlib.suppress(errors.TimeoutError):
                    self.inboxes["next_msg"].note((await polled.next_msg(0.05)).data)

        self._tasks = [asyncio.create_task(iterate()), asyncio.create_task(poll())]

    def next_number(self) -> int:
        self.sent += 1
        return self.sent

    @property
    def reconnects(self) -> int:
        return int(self.nc.stats["reconnects"])

    def check_tasks(self) -> None:
        for task in self._tasks:
            if task.done():
                self.book.broke("deaf_subscriptions", f"{self.name}: {task!r}")

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.nc.close()


class Site:
    """A server with a stream, a bucket and an object store, a client on each driver, and the
    books."""

    def __init__(self, server: Server, book: Book) -> None:
        self.server = server
        self.book = book
        self.peers = [Peer("one", "tokio", book), Peer("two", "asyncio", book)]
        self.ledger = Ledger(book)
        self.values = Values(book)
        self.objects = Objects(book)
        self.read: list[int] = []
        """Stream sequences that the ordered consumer has delivered."""
        self._unique = 0

    def unique(self) -> int:
        self._unique += 1
        return self._unique

    async def start(self) -> None:
        for peer in self.peers:
            await peer.start(self.server.url)
        js = self.peers[0].js
        await js.add_stream(
            name="S", subjects=["s.>"], allow_direct=True, duplicate_window=DUPLICATE_WINDOW
        )
        await js.create_key_value(bucket="kv", direct=True)
        self.buckets = [await peer.js.key_value("kv") for peer in self.peers]
        await js.create_object_store("objects")
        self.stores = [await peer.js.object_store("objects") for peer in self.peers]
        config = api.ConsumerConfig(ack_wait=1.0, ack_policy=api.AckPolicy.EXPLICIT)
        self.pull = await self.peers[1].js.pull_subscribe(
            "s.>", durable="D", stream="S", config=config
        )
        self.pulled: set[int] = set()

        async def read(msg: Any) -> None:
            self.read.append(msg.metadata.sequence.stream)

        self.ordered = await self.peers[0].js.subscribe(
            "s.>", stream="S", cb=read, ordered_consumer=True, idle_heartbeat=HEARTBEAT
        )

    async def stop(self) -> None:
        for peer in self.peers:
            await self.call(f"close of {peer.name}", peer.stop(), 3.0)

    async def call(
        self, what: str, call: Awaitable[T], timeout: float, grace: float = GRACE
    ) -> T | None:
        """The call's result; ``None`` if it failed as calls may in an outage. One that hasn't
        ended so long after its time-out, or after it was cancelled, counts as hanging, any other
        error as odd."""
        task = asyncio.ensure_future(call)
        start = time.monotonic()
        try:
            done, _ = await asyncio.wait({task}, timeout=timeout + grace)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task}, timeout=grace)
            if not task.done():
                self.book.broke("hangs", f"{what}: goes on after it was cancelled")
            elif not task.cancelled():
                self._outcome(what, task)
            raise
        if not done:
            self.book.broke("hangs", f"{what}: {time.monotonic() - start:.1f} s, {task!r}")
            task.cancel()
            await asyncio.wait({task}, timeout=grace)
            return None
        return self._outcome(what, task)

    def _outcome(self, what: str, task: asyncio.Future[T]) -> T | None:
        try:
            return task.result()
        except OUTAGE as error:
            self.book.made[type(error).__name__] += 1
        except Exception as error:
            self.book.broke("odd_errors", f"{what}: {error!r}")
        return None

    async def until(self, condition: Callable[..., object], seconds: float = RECOVERY) -> bool:
        """Wait until the condition holds; false if it never did."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.001)
        return True
