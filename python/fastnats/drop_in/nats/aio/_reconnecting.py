"""Finding a server again after a connection was lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Optional

from nats import errors
from nats._texts import reason_of

from ._callbacks import logger
from ._events import handling
from ._handshake import Handshake
from ._servers import ReconnectToServerHandler
from ._waits import cancel

if TYPE_CHECKING:
    from ._session import Session


class Reconnecting:
    """The way from a lost connection to a new one with the same subscriptions."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.task: Optional[asyncio.Task[None]] = None
        self.is_in_disconnected_cb = False

    async def force(self) -> None:
        """Leaves the current server and connects anew; does nothing while not connected."""
        session = self._session
        if not session.is_connected or not session.options["allow_reconnect"]:
            return
        session.native().check_loop()
        session.log_disconnection("force_reconnect() was called")
        self.start(graceful=True)

    def start(self, graceful: bool = False) -> None:
        """Has a task find a server.

        :param graceful: the connection works; what its transport still holds is to be sent.
        """
        session = self._session
        before = session.status
        try:
            session.begin_to_reconnect()
            session.native().hold()
            cancel(self.task)
            self.task = None
            task = asyncio.get_running_loop().create_task(self._run(graceful))
        except BaseException:
            # By a signal handler: it has to be begun again.
            session.return_to(before)
            raise
        self.task = task

    async def end(self) -> None:
        """Gives up looking for a server, unless the caller runs in the task that looks."""
        task = self.task
        if task is None or task.done() or task is asyncio.current_task():
            return
        task.cancel()
        await asyncio.wait([task], timeout=self._session.options["reconnect_time_wait"])

    async def _run(self, graceful: bool) -> None:
        session = self._session
        task = asyncio.current_task()
        if self.task not in (None, task):
            return  # It has been begun again, see above.
        self.task = task
        # Made by the task that handles events, often, but not waited for by it.
        handling.set(None)
        link = session.link
        if graceful and link is not None:
            session.events.stop()
            session.drop_link(graceful)
            await link.wait_closed()
        # Programs call and override this as they do with nats-py.
        await session.client._attempt_reconnect()

    async def attempt(self) -> None:
        """Leaves the connection if there still is one, and tries to find a server again."""
        session = self._session
        core = session.native()
        if session.is_connected:
            session.begin_to_reconnect()
            core.hold()
        session.events.stop()
        session.drop_link()
        # Acknowledgements of what the lost connection has sent will not come.
        core.fail_written_publishes(errors.ConnectionReconnectingError)
        session.last_error = None
        self.is_in_disconnected_cb = True
        try:
            await session.callbacks.call(session.callbacks.disconnected_cb)
        finally:
            self.is_in_disconnected_cb = False
        if not session.may_reconnect:
            # Closed meanwhile, or somebody has called `connect()`, perhaps the callback.
            return
        session.begin_to_reconnect()
        if session.pool.attempts.was_of_use():
            session.pool.attempts.clear()
        if not session.options.get("dont_randomize"):
            session.pool.shuffle()
        while True:
            try:
                handshake = await self._dial()
                if handshake is None:
                    continue
                await session.shake_hands(handshake)
                await self._resume()
                await session.callbacks.call(session.callbacks.reconnected_cb)
                return
            except errors.NoServersError as error:
                await self._give_up(error)
                return
            except Exception as error:
                # Whatever it was, a client that gave up trying would hang.
                if session.is_closed or session.native().is_shut_down():
                    return
                # The connection may have come into service before it failed.
                session.native().hold()
                session.events.stop()
                session.drop_link()
                if session.is_connected:
                    session.begin_to_reconnect()
                await session.attempt_failed(session.pool.current, error)
                if session.is_closed:
                    return
                session.begin_to_reconnect()
                # An attempt may fail without having waited for anything, time after time.
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                return

    async def _dial(self) -> Optional[Handshake]:
        """Reaches a server, the next one or that which the application chooses; `None` if its
        choice has failed."""
        choose = self._session.settings.reconnect_to_server_handler
        if choose is None:
            return await self._session.dial_next()
        return await self._dial_chosen(choose)

    async def _dial_chosen(self, choose: ReconnectToServerHandler) -> Optional[Handshake]:
        session, pool = self._session, self._session.pool
        eligible = pool.eligible(session.options["max_reconnect_attempts"])
        try:
            selected, delay = choose(pool.snapshot(eligible), session.server_info.copy())
        except Exception as error:
            await session.callbacks.report(error)
            # A handler that always fails must not keep the loop from other tasks.
            await asyncio.sleep(0)
            return None
        server = eligible[0]
        if selected is not None:
            same = [known for known in eligible if known.uri.netloc == selected.uri.netloc]
            if same:
                server = same[0]
            else:
                await session.callbacks.report(errors.ServerNotInPoolError())
        pool.current = server
        if delay > 0:
            await asyncio.sleep(delay)
            # `set_server_pool` may have put another one in its place.
            server = pool.current or server
        handshake = Handshake(session, server)
        await handshake.dial()
        pool.current = server
        return handshake

    async def _resume(self) -> None:
        """Takes up service on a new connection."""
        session = self._session
        session.stats.counters["reconnects"] += 1
        assert session.pool.current
        session.pool.current.did_connect = True
        session.take_up_service("reconnected")
        await session.client.flush()

    async def _give_up(self, error: Exception) -> None:
        """Closes for good because of an error, of which everybody is told first."""
        session = self._session
        session.last_error = error
        logger.error("nats: giving up: %s", reason_of(error))
        if session.callbacks.has_error_cb:
            await session.callbacks.report(error)
        if not session.is_connected:
            # Else the callback has called `connect()`.
            await session.closing.end_because(error)
