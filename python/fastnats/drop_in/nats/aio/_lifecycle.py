"""Connecting, reconnecting and closing: the policy around the native connection.

Everything that runs user code or decides between servers is here and not in Rust: it is
rare, and nats-py's exact order of callbacks is easiest to keep in its own language.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Optional, Union

from nats import errors
from nats._core import Connection
from nats._texts import reason_of
from nats.protocol.parser import AUTHORIZATION_VIOLATION, STALE_CONNECTION

from ._attempts import Attempts, is_refusal
from ._credentials import Signing
from ._info import parse_info
from ._link import Driver
from ._options import Options
from ._reports import connection_log, contained, default_error_callback, logger
from ._server_errors import Violation, is_passing, text_of, violation_of
from ._servers import ReconnectToServerHandler, Srv, address_of, discovered_servers
from ._stats import Stats
from ._types import Callback, ErrorCallback
from ._unconnected import Unconnected
from ._waits import outcome, within
from .errors import ErrStaleConnection

if TYPE_CHECKING:
    from .subscription import Subscription

DISCONNECTED, CONNECTED, CLOSED, RECONNECTING, CONNECTING, DRAINING_SUBS, DRAINING_PUBS = range(7)

# Whose events the running task handles, or the task that has made it was handling.
handling: ContextVar[object] = ContextVar("handling", default=None)

# Seconds that close() gives pending output to leave.
_CLOSE_LINGER = 2.0


class Lifecycle:
    """State of a client and the transitions between its states."""

    _driver: ClassVar[str]
    # From the call of `drain()` on; the status doesn't tell it while the client reconnects.
    _drains = False

    def __init__(self) -> None:
        self._core: Union[Connection, Unconnected] = Unconnected()
        self._link: Optional[Driver] = None
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._subs: dict[int, Subscription] = {}
        self._current_server: Optional[Srv] = None
        self._server_info: dict[str, Any] = {}
        self._server_pool: list[Srv] = []
        self._err: Optional[Exception] = None
        self._auth_configured = False
        self._signing = Signing()
        self._resp_sub_prefix: Optional[bytearray] = None
        self._reading_task: Optional[asyncio.Task[None]] = None
        self._ping_interval_task: Optional[asyncio.Task[None]] = None
        self._reconnection_task: Optional[asyncio.Task[None]] = None
        self._attempts = Attempts()
        self._set_callbacks(None, None, None, None, None, None)
        self._reconnect_to_server_handler: Optional[ReconnectToServerHandler] = None
        self.options: dict[str, Any] = Options()
        self._stats = Stats()

    def _set_callbacks(
        self,
        error_cb: Optional[ErrorCallback],
        disconnected_cb: Optional[Callback],
        closed_cb: Optional[Callback],
        discovered_server_cb: Optional[Callback],
        reconnected_cb: Optional[Callback],
        lame_duck_mode_cb: Optional[Callback],
    ) -> None:
        self._error_cb: ErrorCallback = error_cb or default_error_callback
        self._disconnected_cb = disconnected_cb
        self._closed_cb = closed_cb
        self._discovered_server_cb = discovered_server_cb
        self._reconnected_cb = reconnected_cb
        self._lame_duck_mode_cb = lame_duck_mode_cb

    async def _report(self, error: Exception) -> None:
        """Tells `error_cb`; what it raises must not end what goes on after the error."""
        with contained("nats: error callback failed"):
            await self._error_cb(error)

    async def _call_back(self, callback: Optional[Callback]) -> None:
        """Calls a callback in the middle of work that has to go on even if it raises."""
        if callback is not None:
            with contained("nats: callback failed"):
                await callback()

    def _native(self) -> Connection:
        """The native connection, where there has to be one.

        :raises nats.errors.NotConnectedError: there was no `connect()`.
        """
        if isinstance(self._core, Unconnected):
            raise errors.NotConnectedError
        return self._core

    @property
    def _status(self) -> int:
        return self._core.status

    @_status.setter
    def _status(self, value: int) -> None:
        self._core.status = value

    @property
    def is_closed(self) -> bool:
        """Closed for good."""
        return self._core.status == CLOSED

    @property
    def is_reconnecting(self) -> bool:
        """Disconnected, and trying to change that."""
        return self._core.status == RECONNECTING

    @property
    def is_connected(self) -> bool:
        """Connected, draining or not."""
        return self._core.status in (CONNECTED, DRAINING_SUBS, DRAINING_PUBS)

    @property
    def is_connecting(self) -> bool:
        """A connection is being set up."""
        return self._core.status == CONNECTING

    @property
    def is_draining(self) -> bool:
        """:meth:`Client.drain` is under way."""
        return self._drains and not self.is_closed

    @property
    def is_draining_pubs(self) -> bool:
        """The subscriptions are drained; publishing isn't possible any more."""
        return self._core.status == DRAINING_PUBS

    async def flush(self, timeout: int = 10) -> None:
        raise AssertionError("Client implements this")

    def _fail_violation(self, violation: Violation, error: Callable[[], Exception]) -> None:
        raise AssertionError("Requests implements this")

    def _drop_link(self, graceful: bool = False) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close(graceful)
            self._native().clear_events()

    def _is_current(self, epoch: int) -> bool:
        """Whether an event of this epoch belongs to the connection in service."""
        return self._link is not None and self._link.epoch == epoch

    def _reason(self, error: Exception) -> Exception:
        """Why the current connection has ended: the error, or what TLS says instead."""
        return (self._link and self._link.failure) or error

    async def _next_answer(self, takes_info: bool) -> Any:
        """The next event of a handshake, within the time for connecting.

        The rest is left to the reading task: callbacks may take their time, and may close.
        """
        core = self._native()

        async def current() -> Any:
            while True:
                event = core.next_answer(takes_info)
                if event is None:
                    await core.event_ready()
                elif event[0] != "ended":
                    return event
                elif self._is_current(event[1][0]):
                    return "ended", self._reason(event[1][1])

        return await within(current(), self.options["connect_timeout"])

    def _start_tasks(self) -> None:
        loop = asyncio.get_running_loop()
        self._reading_task = loop.create_task(self._read_loop())
        self._ping_interval_task = loop.create_task(self._ping_interval())

    def _has_tasks(self) -> bool:
        """Whether there is something of this client that goes on by itself."""
        tasks = (self._reading_task, self._ping_interval_task, self._reconnection_task)
        return any(task is not None and not task.done() for task in tasks)

    def _is_abroad(self) -> bool:
        """Whether another loop runs than that of the client."""
        return self._loop is not asyncio.get_running_loop()

    def _stop_tasks(self) -> None:
        self._cancel(self._reading_task)
        self._cancel(self._ping_interval_task)

    # Connected

    async def _read_loop(self) -> None:
        """Handles what the server sends besides messages, one event after the other."""
        core, link = self._native(), self._link
        handling.set(core)
        # A callback may have ended the connection; it may even have made another one, or have
        # kept the cancellation of this task to itself.
        interrupted = None
        while self.is_connected and self._link is link:
            event = interrupted
            try:
                event = event or core.next_event()
                if event is None:
                    await core.event_ready()
                    continue
                if await self._process_event(*event):
                    return
                interrupted = None
            except asyncio.CancelledError:
                return
            except Exception as error:
                logger.error("nats: encountered error", exc_info=error)
                # By a signal handler, perhaps: the end of the connection isn't told twice.
                is_end = event is not None and event[0] == "ended" and interrupted is None
                interrupted = event if is_end else None

    async def _process_event(self, kind: str, value: Any) -> bool:
        """Handles one event; true if it has ended the connection."""
        if kind == "info":
            await self._process_info(parse_info(value))
        elif kind == "err":
            return await self._process_err(value)
        elif kind == "pong":
            if value is not None and not value.done():
                value.set_result(True)
        elif kind == "dropped":
            await self._report(errors.SlowConsumerError(*value))
        elif kind == "push":
            sid, report = value
            sub = self._subs.get(sid)
            if sub is not None and sub._jsi is not None:
                await sub._jsi.process_notice(report)
        elif kind == "ended":
            epoch, error = value
            if self._is_current(epoch):
                error = self._reason(error)
                # What ends connections every day isn't reported, as in nats-py; a failure of
                # our own is.
                if isinstance(error, errors.UnexpectedEOF) or type(error) is errors.Error:
                    await self._report(error)
                await self._process_op_err(error)
                return True
        return False

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """Takes over what an INFO tells about the cluster."""
        current = self._current_server
        assert current, "Client.connect must be called first"
        found = discovered_servers(
            info,
            current,
            self._server_pool,
            randomize=self.options["dont_randomize"] is not True,
        )
        self._server_pool.extend(found)
        if initial_connection:
            return
        if found:
            await self._call_back(self._discovered_server_cb)
        if info.get("ldm", False):
            await self._call_back(self._lame_duck_mode_cb)

    async def _process_err(self, err_msg: str) -> bool:
        """Handles an `-ERR`; true if it ends the connection."""
        text = text_of(err_msg)
        if is_refusal(text):
            await self._process_refusal(text)
            return True
        is_stale = text.startswith(STALE_CONNECTION)
        error = errors.StaleConnectionError() if is_stale else errors.Error(f"nats: {text}")
        self._err = error
        violation = violation_of(err_msg)
        if violation is not None:
            self._fail_violation(violation, partial(errors.Error, str(error)))
        await self._report(error)
        if is_passing(text):
            return False
        if is_stale:
            await self._process_op_err(error)
            return True
        # `_close` cancels the reading task, unless it runs in it.
        self._reading_task = asyncio.get_running_loop().create_task(
            self._close_unasked(error, not self.is_connecting)
        )
        return True

    async def _process_refusal(self, message: str) -> None:
        """The credentials aren't valid any more; fresh ones may be."""
        is_violation = AUTHORIZATION_VIOLATION in message
        error = errors.AuthorizationError() if is_violation else errors.Error(f"nats: {message}")
        link = self._link
        if not self._attempts.was_of_use():
            self._note_attempt(self._current_server, error, is_answer=True)
        await self._report(error)
        if self._link is link:
            # Else the callback has called `connect()`.
            await self._process_op_err(error)

    async def _ping_interval(self) -> None:
        """Sends keep-alive PINGs and notices when they stay unanswered."""
        core = self._native()
        while True:
            await asyncio.sleep(self.options["ping_interval"])
            if not self.is_connected:
                continue
            with contained("nats: keep-alive failed"):
                if core.count_ping() > self.options["max_outstanding_pings"]:
                    await self._process_op_err(ErrStaleConnection())
                    return
                core.ping(None, False)

    async def _round_trip(self, timeout: float) -> None:
        """One PING/PONG.

        :raises asyncio.TimeoutError: no PONG in time.
        """
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        core = self._native()
        # What handles an event can't wait for a PONG behind it.
        core.ping(future, handling.get() is core)
        await outcome(future, timeout)

    def _start_reconnecting(self) -> None:
        raise AssertionError("Reconnecting implements this")

    async def _process_op_err(self, error: Exception) -> None:
        """The connection has failed: reconnect if that's allowed, else close."""
        if self.is_closed or self.is_reconnecting:
            return
        self._log_disconnect(reason_of(error))
        if self.options["allow_reconnect"] and (self.is_connected or self.is_connecting):
            self._start_reconnecting()
        else:
            self._status = DISCONNECTED
            self._err = error
            logger.error("nats: closed, as reconnecting isn't allowed: %s", reason_of(error))
            await self._close_unasked(error)

    def _log_disconnect(self, reason: str) -> None:
        server = self._current_server
        connection_log.info(
            "nats: disconnected from %s: %s", server and address_of(server.uri), reason
        )

    def _note_attempt(self, server: Optional[Srv], error: Exception, is_answer: bool) -> None:
        """Keeps why an attempt failed, and gives a server up that refuses the credentials again."""
        self._err = error
        if server is None:
            return
        server.last_attempt = time.monotonic()
        server.reconnects += 1
        self._attempts.note(server, error, is_answer)
        if (
            self._attempts.is_refused_again(server, error)
            and not self.options.get("ignore_auth_error_abort")
            and server in self._server_pool
        ):
            self._server_pool.remove(server)

    def _cancel(self, task: Optional[asyncio.Task[Any]]) -> None:
        """Cancels a task of the client, but not the one that is running."""
        if task is not None and not task.done() and task is not asyncio.current_task():
            task.cancel()

    # Closing

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        if self.is_closed:
            self._status = status
            return
        was_connected = self.is_connected
        core, link = self._core, self._link
        if was_connected and not self.is_draining_pubs:
            for sub in list(self._subs.values()):
                sub._leave_consumer()
        self._status = CLOSED
        self._stop_tasks()
        is_abroad = self._is_abroad()
        if isinstance(core, Connection) and not is_abroad:
            core.fail_waits(core.closed_error)
        try:
            await self._end_reconnecting()
            # Lets the cancelled tasks end.
            await asyncio.sleep(0)
            # In the child of a fork it is the parent's to write.
            may_write = not is_abroad and core.in_own_process()
            if was_connected and may_write and core.pending_size > 0:
                await self._write_pending()
        finally:
            # An attempt to connect may have taken another step meanwhile.
            self._status = CLOSED
            # Also when close() is cancelled: nobody could close what it leaves.
            self._tear_down(for_good=do_cbs)
        if link is not None:
            await link.wait_closed()
        if do_cbs:
            connection_log.info("nats: closed")
            try:
                if self._disconnected_cb is not None:
                    await self._disconnected_cb()
            finally:
                if self._closed_cb is not None:
                    await self._closed_cb()
        if self._core is core:
            # Unless a callback has connected again.
            self._server_info.pop("client_id", None)
            self._server_info.pop("client_ip", None)
            self._resp_sub_prefix = None

    async def _close_unasked(self, final: Exception, do_cbs: bool = True) -> None:
        """Closes because of an error, which is what calls raise from then on.

        Nobody waits here who could be told what a callback raises.
        """
        if not self.is_closed:
            self._native().final_error = final
        with contained("nats: callback failed"):
            await self._close(CLOSED, do_cbs)

    def _tear_down(self, for_good: bool) -> None:
        for sub in list(self._subs.values()):
            sub._stop_processing()
        self._subs.clear()
        self._drop_link(graceful=True)
        if isinstance(self._core, Connection):
            if not self._is_abroad():
                # What was published while pending output left.
                self._core.fail_waits(self._core.closed_error)
            if for_good:
                self._core.shut_down()

    async def _end_reconnecting(self) -> None:
        task = self._reconnection_task
        if task is None or task.done() or task is asyncio.current_task():
            return
        task.cancel()
        await asyncio.wait([task], timeout=self.options["reconnect_time_wait"])

    async def _write_pending(self) -> None:
        core = self._native()
        core.kick()
        if core.pending_size > 0:
            with suppress(asyncio.TimeoutError):
                await outcome(core.room(0), _CLOSE_LINGER)

    async def _leave_connection(self) -> bool:
        """Makes way for a `connect()` of a client that is connected or reconnecting.

        Subscriptions and pending output stay, for the next connection.

        :returns: whether there was anything to leave.
        """
        core = self._core
        if (
            isinstance(core, Unconnected)
            # Two at once can't share a connection.
            or self._attempts.is_in_connect
            or core.is_shut_down()
            or not core.in_own_process()
            or self._is_abroad()
        ):
            return False
        self._status = CONNECTING
        core.hold()
        self._stop_tasks()
        if not self._attempts.is_in_disconnected_cb:
            # Else it looks who has connected when the callback, which may be the caller, returns.
            await self._end_reconnecting()
        self._drop_link()
        core.fail_written_publishes(errors.ConnectionReconnectingError)
        return True

    def _abandon(self, for_good: bool) -> None:
        """Lets go of the connection after a `connect()` that failed.

        :param for_good: nothing is there that another `connect()` could go on with.
        """
        if isinstance(self._core, Connection):
            self._drop_link()
            if for_good:
                self._core.shut_down()
            elif not self.is_closed:
                self._status = DISCONNECTED
