"""Watchers of key-value buckets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Optional

import nats
from nats.errors import TimeoutError

from ._initial import InitialDelivery
from ._watch import StopIterSentinel, Watcher

if TYPE_CHECKING:
    import nats.js.client
    import nats.js.kv
    from nats._core import EntryFeed, InitialValues


class KeyWatcher(Watcher):
    """The updates of a bucket; made by :meth:`KeyValue.watch`, read with ``async for`` or
    :meth:`updates`. ``None`` marks the end of the values that were there at the start."""

    __module__ = "nats.js.kv"
    __qualname__ = "KeyValue.KeyWatcher"

    STOP_ITER = StopIterSentinel()

    def __init__(self, js: nats.js.kv.KeyValue) -> None:
        self._js = js
        self._entries: EntryFeed
        self._initial: InitialValues

    def _start(
        self,
        sub: nats.js.client.JetStreamContext.PushSubscription,
        entries: EntryFeed,
        initial: InitialValues,
    ) -> None:
        # No limit: a watch goes on while the stream has no leader.
        self._begin(sub, InitialDelivery(sub, initial, max_doubts=None))
        self._entries = entries
        self._initial = initial

    async def updates(self, timeout: Optional[float] = 5.0) -> Any:
        """Returns the next entry, ``None`` at the end of the initial values, or
        :attr:`STOP_ITER` once the watch has ended.

        :param timeout: seconds; ``None`` for ever.
        :raises nats.errors.TimeoutError: no update in time.
        :raises nats.errors.ConnectionClosedError: the client has given up.
        :raises nats.js.errors.APIError: the bucket was deleted before all initial values had
            arrived.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            entry = self._entries.pop()
            if entry is not self._entries:
                return entry
            if self._sub._core.stopped:
                self._sub._check_not_given_up()
                return KeyWatcher.STOP_ITER
            try:
                remaining = None if deadline is None else deadline - time.monotonic()
                await self._wait_for_update(self._initial, remaining)
            except asyncio.TimeoutError:
                raise TimeoutError from None

    async def _collect_keys(self) -> list[str]:
        """Reads the keys of the initial values."""
        keys: dict[str, None] = {}
        self._delivery = InitialDelivery(self._sub, self._initial)
        while not self._entries.collect_keys(keys):
            if self._sub._core.stopped:
                raise self._delivery.closed_error()
            await self._wait_for_update(self._initial, None)
        return list(keys)

    async def _initial_entries(self) -> AsyncIterator[nats.js.kv.KeyValue.Entry]:
        """Yields the initial values."""
        self._delivery = InitialDelivery(self._sub, self._initial)
        async for entry in self:
            if entry is None:
                return
            yield entry
        raise self._delivery.closed_error()

    def __aiter__(self) -> KeyWatcher:
        return self

    async def __anext__(self) -> Any:
        entry = self._entries.pop()
        if entry is self._entries:
            entry = await self.updates(None)
        if entry is KeyWatcher.STOP_ITER:
            raise StopAsyncIteration
        return entry
