"""Finding a server again after a connection was lost."""

from __future__ import annotations

import asyncio
from random import shuffle

from nats import errors
from nats._texts import reason_of

from ._connecting import Connecting
from ._lifecycle import DISCONNECTED, RECONNECTING, handling
from ._reports import default_error_callback, logger
from ._servers import ReconnectToServerHandler, Server


class Reconnecting(Connecting):
    """The way from a lost connection to a new one with the same subscriptions."""

    async def force_reconnect(self) -> None:
        """Leaves the current server and connects anew; does nothing while not connected."""
        if not self.is_connected or not self.options["allow_reconnect"]:
            return
        self._native().check_loop()
        self._log_disconnect("force_reconnect() was called")
        self._start_reconnecting(graceful=True)

    def _start_reconnecting(self, graceful: bool = False) -> None:
        before, self._status = self._status, RECONNECTING
        try:
            self._native().hold()
            self._cancel(self._reconnection_task)
            self._reconnection_task = None
            task = asyncio.get_running_loop().create_task(self._reconnect(graceful))
        except BaseException:
            # By a signal handler: it has to be begun again.
            self._status = before
            raise
        self._reconnection_task = task

    async def _reconnect(self, graceful: bool) -> None:
        """
        :param graceful: the connection works; what its transport still holds is to be sent.
        """
        task = asyncio.current_task()
        if self._reconnection_task not in (None, task):
            return  # It has been begun again, see above.
        self._reconnection_task = task
        # Made by the task that handles events, often, but not waited for by it.
        handling.set(None)
        link = self._link
        if graceful and link is not None:
            self._stop_tasks()
            self._drop_link(graceful)
            await link.wait_closed()
        await self._attempt_reconnect()

    async def _attempt_reconnect(self) -> None:
        """Leaves the connection if there still is one, and tries to find a server again.

        Programs call and override this as they do with nats-py.
        """
        core = self._native()
        if self.is_connected:
            self._status = RECONNECTING
            core.hold()
        self._stop_tasks()
        self._drop_link()
        # Acknowledgements of what the lost connection has sent will not come.
        core.fail_written_publishes(errors.ConnectionReconnectingError)
        self._err = None
        self._attempts.is_in_disconnected_cb = True
        try:
            await self._call_back(self._disconnected_cb)
        finally:
            self._attempts.is_in_disconnected_cb = False
        if self._status not in (RECONNECTING, DISCONNECTED):
            # Closed meanwhile, or somebody has called `connect()`, perhaps the callback.
            return
        self._status = RECONNECTING
        if self._attempts.was_of_use():
            self._attempts.clear()
        if not self.options.get("dont_randomize"):
            shuffle(self._server_pool)
        while True:
            try:
                if self._reconnect_to_server_handler is not None:
                    if not await self._connect_to_chosen_server(self._reconnect_to_server_handler):
                        continue
                else:
                    await self._select_next_server()
                await self._process_connect_init()
                await self._resume()
                await self._call_back(self._reconnected_cb)
                return
            except errors.NoServersError as error:
                await self._give_up(error)
                return
            except Exception as error:
                # Whatever it was, a client that gave up trying would hang.
                if self.is_closed or self._native().is_shut_down():
                    return
                # The connection may have come into service before it failed.
                self._native().hold()
                self._stop_tasks()
                self._drop_link()
                if self.is_connected:
                    self._status = RECONNECTING
                await self._attempt_failed(self._current_server, error)
                if self.is_closed:
                    return
                self._status = RECONNECTING
                # An attempt may fail without having waited for anything, time after time.
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                return

    async def _give_up(self, error: Exception) -> None:
        """Closes for good because of an error, of which everybody is told first."""
        self._err = error
        logger.error("nats: giving up: %s", reason_of(error))
        if self._error_cb is not default_error_callback:
            await self._report(error)
        if not self.is_connected:
            # Else the callback has called `connect()`.
            await self._close_unasked(error)

    async def _resume(self) -> None:
        """Takes up service on a new connection: subscriptions first, then pending output."""
        self._stats.counters["reconnects"] += 1
        assert self._current_server
        self._current_server.did_connect = True
        self._has_connected("reconnected")
        self._native().release(self._subscribe_commands())
        self._start_tasks()
        self._tell_consumers()
        await self.flush()

    async def _connect_to_chosen_server(self, handler: ReconnectToServerHandler) -> bool:
        """Has `reconnect_to_server_handler` choose; false if that failed."""
        eligible = [server for server in self._server_pool if not self._is_used_up(server)]
        if not eligible:
            raise self._attempts.no_servers_error()
        snapshot = [Server(uri=server.uri, reconnects=server.reconnects) for server in eligible]
        try:
            selected, delay = handler(snapshot, self._server_info.copy())
        except Exception as error:
            await self._report(error)
            # A handler that always fails must not keep the loop from other tasks.
            await asyncio.sleep(0)
            return False
        server = eligible[0]
        if selected is not None:
            same = [known for known in eligible if known.uri.netloc == selected.uri.netloc]
            if same:
                server = same[0]
            else:
                await self._report(errors.ServerNotInPoolError())
        self._current_server = server
        if delay > 0:
            await asyncio.sleep(delay)
            # `set_server_pool` may have put another one in its place.
            server = self._current_server
        await self._connect_to_server(server)
        self._current_server = server
        return True
