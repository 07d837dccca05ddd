"""What the watchers of key-value buckets and object stores share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from nats._core import InitialValues

    from ._delivery import Delivery
    from .client import JetStreamContext


class StopIterSentinel:
    """The type of :attr:`KeyValue.KeyWatcher.STOP_ITER`."""

    __module__ = "nats.js.kv"


class Watcher:
    """Reads from an ordered consumer what a bucket or store has, and then every update."""

    def _begin(self, sub: JetStreamContext.PushSubscription, delivery: Delivery) -> None:
        self._sub = sub
        self._delivery = delivery

    async def stop(self) -> None:
        """Ends the watch; updates that have arrived can still be read.

        :raises nats.errors.BadSubscriptionError: it has ended already.
        """
        await self._sub.unsubscribe()

    async def _wait_for_update(
        self, initial: Optional[InitialValues], timeout: Optional[float]
    ) -> None:
        """Waits until there may be something to read, which may be the end.

        :param initial: the values that were there at the start, if they are read.
        :param timeout: seconds; ``None`` for ever.
        :raises asyncio.TimeoutError: nothing in time.
        """
        if initial is None or initial.is_complete:
            await self._sub._ready(timeout)
        elif not await self._delivery.wait(timeout):
            # The consumer may be stuck, see `renew`.
            await self._delivery.renew()
