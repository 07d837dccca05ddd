"""Watchers of key-value buckets."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Optional

from nats.errors import TimeoutError

if TYPE_CHECKING:
    from nats._core import EntryFeed

    from .client import JetStreamContext
    from .kv import KeyValue


class StopIterSentinel:
    """The type of :attr:`KeyValue.KeyWatcher.STOP_ITER`."""

    __module__ = "nats.js.kv"


class KeyWatcher:
    """The updates of a bucket: made by :meth:`KeyValue.watch`, read with ``async for`` or
    :meth:`updates`. ``None`` marks the end of the values that were there at the start."""

    __module__ = "nats.js.kv"
    __qualname__ = "KeyValue.KeyWatcher"

    STOP_ITER = StopIterSentinel()

    _feed: EntryFeed
    _sub: JetStreamContext.PushSubscription

    def __init__(self, js: KeyValue) -> None:
        self._js = js
        self._pending: Optional[int] = None

    async def _start(self, sub: JetStreamContext.PushSubscription, feed: EntryFeed) -> None:
        self._sub = sub
        self._feed = feed
        try:
            info = await sub.consumer_info()
        except BaseException:
            await sub.unsubscribe()
            raise
        self._pending = info.num_pending
        # Without initial values no message will say that it is the last of them. Those that the
        # server has delivered already may still be behind its answer.
        delivered = info.delivered.consumer_seq if info.delivered else 0
        if info.num_pending == 0 and sub._core.stream_seq == 0 and not delivered:
            feed.mark_initialised()

    async def stop(self) -> None:
        """Ends the watch; updates that have arrived can still be read.

        :raises nats.errors.BadSubscriptionError: it has ended already.
        """
        await self._sub.unsubscribe()

    async def updates(self, timeout: Optional[float] = 5.0) -> Any:
        """Returns the next entry, ``None`` at the end of the initial values, or
        :attr:`STOP_ITER` once the watch has ended.

        :param timeout: seconds; ``None`` for ever.
        :raises nats.errors.TimeoutError: no update in time.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            entry = self._feed.pop()
            if entry is not self._feed:
                return entry
            if self._sub._core.stopped:
                return KeyWatcher.STOP_ITER
            try:
                remaining = None if deadline is None else deadline - time.monotonic()
                await self._sub._ready(remaining)
            except asyncio.TimeoutError:
                raise TimeoutError from None

    async def _collect_keys(self) -> list[str]:
        """Reads the keys of the initial values."""
        keys: list[str] = []
        while not self._feed.collect_keys(keys) and not self._sub._core.stopped:
            await self._sub._ready()
        return keys

    def __aiter__(self) -> KeyWatcher:
        return self

    async def __anext__(self) -> Any:
        entry = self._feed.pop()
        if entry is self._feed:
            entry = await self.updates(None)
        if entry is KeyWatcher.STOP_ITER:
            raise StopAsyncIteration
        return entry
