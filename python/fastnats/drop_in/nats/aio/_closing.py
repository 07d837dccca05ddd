"""The end of a client: at once, or in good order."""

from __future__ import annotations

import asyncio
import math
from contextlib import suppress
from typing import TYPE_CHECKING

from nats import errors
from nats._core import Connection

from ._callbacks import connection_log, logged
from ._waits import retrieve, wait_for_future

if TYPE_CHECKING:
    from ._session import Session
    from .subscription import Subscription

# Seconds that close() gives pending output to leave.
_CLOSE_LINGER = 2.0

# Clients that drain with nobody waiting: the loop itself doesn't keep tasks alive.
_background: set[asyncio.Task[None]] = set()


class Closing:
    """Drains and closes; knows whether the client drains."""

    def __init__(self, session: Session) -> None:
        self._session = session
        # From the call of `drain()` on; the status doesn't tell it while the client reconnects.
        self.drains = False

    # Draining: the subscriptions first, then what was published

    async def drain(self) -> None:
        """As :meth:`nats.aio.client.Client.drain`."""
        session = self._session
        if self.drains and not session.is_closed:
            return
        if session.is_closed:
            raise session.client._core.closed_error()
        if session.is_connecting or session.is_reconnecting:
            raise errors.ConnectionReconnectingError
        session.native().check_loop()
        is_in_handler = any(sub._is_in_handler() for sub in session.subscriptions)
        if is_in_handler or session.events.is_current_task():
            # A handler can't wait for its own end, nor the server's words for a callback's.
            self._drain_in_background()
        else:
            self._begin_to_drain()
            await self._drain()

    def _drain_in_background(self) -> None:
        # Not by the task: it begins later, and others may ask for a drain before it does.
        self._begin_to_drain()
        task = asyncio.get_running_loop().create_task(self._drain_unwatched())
        _background.add(task)
        task.add_done_callback(_background.discard)

    def _begin_to_drain(self) -> None:
        """From now on the client drains, until it is closed, whatever becomes of connections."""
        self.drains = True
        self._session.begin_to_drain()

    async def _drain_unwatched(self) -> None:
        with logged("nats: callback failed"):
            try:
                await self._drain()
            except errors.Error as error:
                await self._session.callbacks.report(error)

    async def _drain(self) -> None:
        session = self._session
        loop = asyncio.get_running_loop()
        timeout = session.options["drain_timeout"]
        deadline = loop.time() + (math.inf if timeout is None else timeout)
        subs = list(session.subscriptions)
        drained = asyncio.gather(*(loop.create_task(self._drain_subscription(sub)) for sub in subs))
        drained.add_done_callback(retrieve)
        try:
            # That it forgets a cancellation does no harm: that ends the wait and nothing else.
            await asyncio.wait_for(drained, max(0, deadline - loop.time()))
        except asyncio.TimeoutError:
            await session.callbacks.error_cb(errors.DrainTimeoutError())
        except asyncio.CancelledError:
            drained.cancel()
        finally:
            try:
                for sub in subs:
                    sub._leave_consumer()
                await self._flush_published(deadline)
            finally:
                self.drains = False
                await self.end()

    async def _drain_subscription(self, sub: Subscription) -> None:
        """Returns when everything is handled, also if the server doesn't answer."""
        try:
            await sub._drain()
        except errors.Error as error:
            if not self._session.is_closed:
                await self._session.callbacks.report(error)
        if sub._ending is not None:
            await asyncio.wait({sub._ending})

    async def _flush_published(self, deadline: float) -> None:
        """What handlers have published has to reach a server, if not this one then the next."""
        session = self._session
        while True:
            await self._until_reconnected(deadline)
            if not session.is_connected:
                return
            session.end_publishing()
            link = session.link
            try:
                return await session.client.flush()
            except (errors.FlushTimeoutError, errors.ConnectionClosedError):
                # The end of the client or of a connection isn't the server's silence.
                if session.link is link and not session.is_closed:
                    raise

    async def _until_reconnected(self, deadline: float) -> None:
        """Where the connection was lost meanwhile: waits for another one."""
        session = self._session
        loop = asyncio.get_running_loop()
        # Past its end the deadline has been reported.
        while loop.time() < deadline and not (session.is_connected or session.is_closed):
            task = session.reconnecting.task
            if task is None or task.done():
                return
            done, _ = await asyncio.wait({task}, timeout=deadline - loop.time())
            if not done:
                await session.callbacks.report(errors.DrainTimeoutError())
                return

    # Closing

    async def close(self) -> None:
        """As :meth:`nats.aio.client.Client.close`."""
        session = self._session
        core, loop = session.client._core, session.loop
        # The child of a fork just lets go, in whatever loop, as whoever outlives the client's does.
        if loop and not loop.is_closed() and core.in_own_process() and not session.is_closed:
            session.native().check_loop()
        await self.end()

    async def end_because(self, final: Exception, *, calls_back: bool = True) -> None:
        """Closes because of an error, which is what calls raise from then on.

        Nobody waits here who could be told what a callback raises.
        """
        if not self._session.is_closed:
            self._session.native().final_error = final
        with logged("nats: callback failed"):
            await self.end(calls_back=calls_back)

    async def end(self, *, calls_back: bool = True) -> None:
        """Ends everything: tasks, subscriptions, whatever waits, the connection.

        :param calls_back: `disconnected_cb` and `closed_cb` are called, and the client isn't to
            be used any more.
        """
        session = self._session
        if session.is_closed:
            return
        was_connected = session.is_connected
        core, link = session.client._core, session.link
        if was_connected and not session.is_draining_pubs:
            session.subscriptions.leave_consumers()
        session.mark_closed()
        session.events.stop()
        is_abroad = session.is_abroad()
        if isinstance(core, Connection) and not is_abroad:
            core.fail_waits(core.closed_error)
        try:
            await session.reconnecting.end()
            # Lets the cancelled tasks end.
            await asyncio.sleep(0)
            # In the child of a fork it is the parent's to write.
            may_write = not is_abroad and core.in_own_process()
            if was_connected and may_write and core.pending_size > 0:
                await self._write_pending()
        finally:
            # An attempt to connect may have taken another step meanwhile.
            session.mark_closed()
            # Also when close() is cancelled: nobody could close what it leaves.
            self._tear_down(for_good=calls_back)
        if link is not None:
            await link.wait_closed()
        if calls_back:
            await self._call_back()
        if session.client._core is core:
            # Unless a callback has connected again.
            session.server_info.pop("client_id", None)
            session.server_info.pop("client_ip", None)
            session.requests.close_inbox()

    async def _call_back(self) -> None:
        callbacks = self._session.callbacks
        connection_log.info("nats: closed")
        try:
            if callbacks.disconnected_cb is not None:
                await callbacks.disconnected_cb()
        finally:
            if callbacks.closed_cb is not None:
                await callbacks.closed_cb()

    def _tear_down(self, for_good: bool) -> None:
        session = self._session
        session.subscriptions.stop()
        session.drop_link(graceful=True)
        core = session.client._core
        if isinstance(core, Connection):
            if not session.is_abroad():
                # What was published while pending output left.
                core.fail_waits(core.closed_error)
            if for_good:
                core.shut_down()

    async def _write_pending(self) -> None:
        core = self._session.native()
        core.kick()
        if core.pending_size > 0:
            with suppress(asyncio.TimeoutError):
                await wait_for_future(core.room(0), _CLOSE_LINGER)
