"""Draining a client: its subscriptions first, then what it has published."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from nats import errors

from ._lifecycle import CLOSED, DRAINING_PUBS, DRAINING_SUBS, Lifecycle
from ._reports import contained
from ._waits import retrieve

if TYPE_CHECKING:
    from .subscription import Subscription

# Clients that drain with nobody waiting: the loop itself doesn't keep tasks alive.
_background: set[asyncio.Task[None]] = set()


class Draining(Lifecycle):
    """The end in good order."""

    def _drain_in_background(self) -> None:
        # Not by the task: it begins later, and others may ask for a drain before it does.
        self._begin_to_drain()
        task = asyncio.get_running_loop().create_task(self._drain_beside())
        _background.add(task)
        task.add_done_callback(_background.discard)

    def _begin_to_drain(self) -> None:
        """From now on the client drains, until it is closed, whatever becomes of connections."""
        self._drains = True
        if self.is_connected:
            self._status = DRAINING_SUBS

    async def _drain_beside(self) -> None:
        with contained("nats: callback failed"):
            try:
                await self._drain()
            except errors.Error as error:
                await self._report(error)

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        timeout = self.options["drain_timeout"]
        deadline = loop.time() + (math.inf if timeout is None else timeout)
        subs = list(self._subs.values())
        drained = asyncio.gather(*(loop.create_task(self._drain_subscription(sub)) for sub in subs))
        drained.add_done_callback(retrieve)
        try:
            # That it forgets a cancellation does no harm: that ends the wait and nothing else.
            await asyncio.wait_for(drained, max(0, deadline - loop.time()))
        except asyncio.TimeoutError:
            await self._error_cb(errors.DrainTimeoutError())
        except asyncio.CancelledError:
            drained.cancel()
        finally:
            try:
                for sub in subs:
                    sub._leave_consumer()
                await self._flush_published(deadline)
            finally:
                self._drains = False
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

    async def _flush_published(self, deadline: float) -> None:
        """What handlers have published has to reach a server, if not this one then the next."""
        while True:
            await self._until_reconnected(deadline)
            if not self.is_connected:
                return
            self._status = DRAINING_PUBS
            link = self._link
            try:
                return await self.flush()
            except (errors.FlushTimeoutError, errors.ConnectionClosedError):
                # The end of the client or of a connection isn't the server's silence.
                if self._link is link and not self.is_closed:
                    raise

    async def _until_reconnected(self, deadline: float) -> None:
        """Where the connection was lost meanwhile: waits for another one."""
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
