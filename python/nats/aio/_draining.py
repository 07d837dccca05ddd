"""Draining a client: its subscriptions first, then what it has published."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from nats import errors

from ._lifecycle import CLOSED, DRAINING_PUBS, DRAINING_SUBS, Lifecycle, contained
from ._waits import retrieve

if TYPE_CHECKING:
    from .subscription import Subscription

# Clients that drain with nobody waiting: the loop itself doesn't keep tasks alive.
_background: set[asyncio.Task[None]] = set()


class Draining(Lifecycle):
    """The end in good order."""

    def _begin_to_drain(self) -> None:
        task = asyncio.get_running_loop().create_task(self._drain_beside())
        _background.add(task)
        task.add_done_callback(_background.discard)

    async def _drain_beside(self) -> None:
        if self.is_draining or self.is_closed:
            # Somebody else was faster.
            return
        with contained("nats: callback failed"):
            try:
                await self._drain()
            except errors.Error as error:
                await self._report(error)

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.options["drain_timeout"]
        drained = asyncio.gather(
            *(loop.create_task(self._drain_subscription(sub)) for sub in list(self._subs.values()))
        )
        drained.add_done_callback(retrieve)
        try:
            # The tasks have to start, and send their UNSUB, before the state changes.
            await asyncio.sleep(0)
            if self.is_connected:
                self._status = DRAINING_SUBS
            # That it forgets a cancellation does no harm: that ends the wait and nothing else.
            await asyncio.wait_for(drained, max(0, deadline - loop.time()))
        except asyncio.TimeoutError:
            await self._error_cb(errors.DrainTimeoutError())
        except asyncio.CancelledError:
            drained.cancel()
        finally:
            try:
                await self._until_reconnected(deadline)
                if self.is_connected:
                    self._status = DRAINING_PUBS
                    await self.flush()
            finally:
                await self._close(CLOSED)

    async def _drain_subscription(self, sub: Subscription) -> None:
        """Returns when everything is handled, also if the server doesn't answer."""
        try:
            await sub._drain()
        except errors.Error as error:
            if not self.is_closed:
                await self._report(error)
        if sub._ending is not None:
            await asyncio.wait({sub._ending})

    async def _until_reconnected(self, deadline: float) -> None:
        """Where the connection was lost meanwhile: what handlers have published still has to
        reach a server."""
        loop = asyncio.get_running_loop()
        # Past its end the deadline has been reported.
        while loop.time() < deadline and not (self.is_connected or self.is_closed):
            task = self._reconnection_task
            if task is None or task.done():
                return
            done, _ = await asyncio.wait({task}, timeout=deadline - loop.time())
            if not done:
                await self._report(errors.DrainTimeoutError())
                return
