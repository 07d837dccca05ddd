"""Names with an underscore that programs written for nats-py use all the same.

Health checks and metrics read them, mostly. Nothing here is used by the client itself.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from nats._core import Connection, SubscriptionCore

from ._lifecycle import Lifecycle

if TYPE_CHECKING:
    from nats.aio.msg import Msg


class ClientPrivates(Lifecycle):
    """What the native connection knows, under nats-py's names."""

    @property
    def _max_payload(self) -> int:
        return self._core.max_payload

    @_max_payload.setter
    def _max_payload(self, value: int) -> None:
        self._core.max_payload = value

    @property
    def _max_pending_size(self) -> int:
        return self._core.max_pending

    @_max_pending_size.setter
    def _max_pending_size(self, value: int) -> None:
        self._core.max_pending = value

    @property
    def _pending_data_size(self) -> int:
        return self._core.pending_size

    async def _flush_pending(self, force_flush: bool = False) -> None:
        """Writes what is pending, as far as the socket takes it; doesn't ask the server."""
        if isinstance(self._core, Connection):
            self._core.kick()


class PendingQueue:
    """The messages that wait in a subscription, as the `asyncio.Queue` that nats-py has there."""

    def __init__(self, sub: Any) -> None:
        self._sub = sub
        self._core: SubscriptionCore = sub._core

    @property
    def maxsize(self) -> int:
        return self._core.msgs_limit

    def qsize(self) -> int:
        return self._core.pending_msgs

    def empty(self) -> bool:
        return self.qsize() == 0

    def full(self) -> bool:
        return 0 < self.maxsize <= self.qsize()

    def get_nowait(self) -> Msg:
        msg: Msg | None = self._core.pop()
        if msg is None:
            raise asyncio.QueueEmpty
        return msg

    async def get(self) -> Msg:
        """Waits for a message, for good once the subscription has ended."""
        while True:
            msg: Msg | None = self._core.pop()
            if msg is not None:
                return msg
            if self._core.stopped:
                await asyncio.get_running_loop().create_future()
            await self._sub._ready()

    def task_done(self) -> None:
        """Messages handed out count as done."""
