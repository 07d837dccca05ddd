"""The connection of a client from one server to the next: who has it, and in which state it is.

No other code of the client sets the status in Python. Everything that runs user code or decides
between servers is in Python and not in Rust: it is rare, and nats-py's exact order of callbacks is
easiest to keep in its own language.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Optional

from nats import errors
from nats._core import Connection
from nats._texts import reason_of

from ._attempts import is_unreadable_file
from ._callbacks import Callbacks, connection_log, logged, logger
from ._closing import Closing
from ._events import Events
from ._handshake import Handshake
from ._link import DRIVERS, Driver
from ._loop_end import LoopEnd
from ._options import ConnectSettings, check_options, kept_options, settings_of
from ._pool import ServerPool
from ._reconnecting import Reconnecting
from ._requests import Requests
from ._server_errors import Violation
from ._servers import Srv, address_of, parse_server_option
from ._stats import Stats
from ._status import (
    CLOSED,
    CONNECTED,
    CONNECTING,
    DISCONNECTED,
    DRAINING_PUBS,
    DRAINING_SUBS,
    IN_SERVICE,
    RECONNECTING,
)
from ._subscriptions import Subscriptions
from ._unconnected import Unconnected
from .msg import Msg

if TYPE_CHECKING:
    from .client import Client
    from .transport import WebSocketTransport


class Session:
    """Owns the link, the server's INFO and what follows from both, the status above all; knows
    the other owners of state."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.settings = ConnectSettings()
        self.callbacks = Callbacks()
        self.pool = ServerPool()
        self.subscriptions = Subscriptions()
        self.stats = Stats()
        self.requests = Requests(self)
        self.events = Events(self)
        self.reconnecting = Reconnecting(self)
        self.closing = Closing(self)
        self.loop: Optional[asyncio.AbstractEventLoop] = None
        self.link: Optional[Driver] = None
        self.server_info: dict[str, Any] = {}
        self.last_error: Optional[Exception] = None
        self.authenticates = False
        """Whether CONNECT proves who the client is, because it can or because it has to."""
        self._is_in_connect = False

    # What others ask

    @property
    def options(self) -> dict[str, Any]:
        """The client's: programs change them, and put another dict in their place."""
        return self.client.options

    def native(self) -> Connection:
        """The native connection, where there has to be one.

        :raises nats.errors.NotConnectedError: there was no `connect()`.
        """
        core = self.client._core
        if isinstance(core, Unconnected):
            raise errors.NotConnectedError
        return core

    @property
    def status(self) -> int:
        """One of the numbers in `_status`."""
        return self.client._core.status

    @property
    def is_closed(self) -> bool:
        return self.status == CLOSED

    @property
    def is_connected(self) -> bool:
        """Draining or not."""
        return self.status in IN_SERVICE

    @property
    def is_connecting(self) -> bool:
        return self.status == CONNECTING

    @property
    def is_reconnecting(self) -> bool:
        return self.status == RECONNECTING

    @property
    def is_draining_pubs(self) -> bool:
        return self.status == DRAINING_PUBS

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """A subclass of the client may have its own."""
        return self.client.ssl_context

    @property
    def websocket_transport(self) -> type[WebSocketTransport]:
        """An application may have put its own in the place of ours."""
        return self.client._websocket_transport()

    def is_current(self, epoch: int) -> bool:
        """Whether an event of this epoch belongs to the connection in service."""
        return self.link is not None and self.link.epoch == epoch

    def reason_of_end(self, error: Exception) -> Exception:
        """Why the current connection has ended: the error, or what TLS says instead."""
        return (self.link and self.link.failure) or error

    def is_abroad(self) -> bool:
        """Whether another loop runs than that of the client."""
        return self.loop is not asyncio.get_running_loop()

    def has_tasks(self) -> bool:
        """Whether there is something of this client that goes on by itself."""
        tasks = (self.events.reading_task, self.events.keep_alive_task, self.reconnecting.task)
        return any(task is not None and not task.done() for task in tasks)

    def check_not_shut_down(self) -> None:
        """Ends an attempt to connect during which the client was closed for good.

        :raises nats.errors.ConnectionClosedError: it was.
        """
        if self.native().is_shut_down():
            raise self.native().closed_error()

    # The status

    def _enter(self, status: int) -> None:
        self.client._core.status = status

    def begin_to_reconnect(self) -> None:
        """The connection is lost, or given up for another one."""
        self._enter(RECONNECTING)

    def return_to(self, status: int) -> None:
        """What was begun could not be."""
        self._enter(status)

    @property
    def may_reconnect(self) -> bool:
        """Whether nobody has closed the client, or connected it, since the connection was lost."""
        return self.status in (RECONNECTING, DISCONNECTED)

    def begin_to_drain(self) -> None:
        """The subscriptions are being drained, where there is a connection."""
        if self.is_connected:
            self._enter(DRAINING_SUBS)

    def end_publishing(self) -> None:
        """The subscriptions are drained."""
        self._enter(DRAINING_PUBS)

    def mark_closed(self) -> None:
        """The client is closed."""
        self._enter(CLOSED)

    # Connecting

    async def connect(self, given: Mapping[str, Any]) -> None:
        """Connects, or goes over to another connection, as the arguments say."""
        check_options(given)
        servers = parse_server_option(given["servers"])
        self.settings = settings = settings_of(given)
        options = self.options
        options.update(kept_options(given))
        self.pool.servers.extend(servers)
        self.callbacks.assign(given)
        self.requests.set_inbox_prefix(given["inbox_prefix"])
        self.authenticates = settings.has_credentials or self.pool.has_credentials()
        if options["dont_randomize"] is False:
            self.pool.shuffle()

        goes_on = await self._leave_connection()
        if not goes_on:
            if isinstance(self.client._core, Connection) and (self.has_tasks() or self.is_abroad()):
                # Left open by another loop: they would go on beside those of the new connection.
                await self.closing.end(calls_back=False)
                self.client._core.shut_down()
                self.subscriptions.clear()
            self._make_core()
        core = self.native()
        core.max_pending = settings.pending_size
        core.set_skip_subject_validation(given["skip_subject_validation"])
        self.client._choose_message_class()
        self._is_in_connect = True
        try:
            await self._connect_at_first(goes_on)
        except BaseException:
            self._abandon(for_good=not goes_on)
            raise
        finally:
            self._is_in_connect = False

    def _make_core(self) -> None:
        """Starts a native connection for this `connect()`."""
        client, before = self.client, self.client._core
        if before.in_own_process():
            self.stats.restart(before.counters())
        self.requests.close_inbox()
        self.loop = asyncio.get_running_loop()
        core = Connection(self.loop, client, self.subscriptions.by_sid, client._driver, Msg)
        core.status = before.status
        client._core = core
        core.open()
        LoopEnd(self.loop, core, client._publish_time_after_loop)

    async def _leave_connection(self) -> bool:
        """Makes way for a `connect()` of a client that is connected or reconnecting.

        Subscriptions and pending output stay, for the next connection.

        :returns: whether there was anything to leave.
        """
        core = self.client._core
        if (
            isinstance(core, Unconnected)
            # Two at once can't share a connection.
            or self._is_in_connect
            or core.is_shut_down()
            or not core.in_own_process()
            or self.is_abroad()
        ):
            return False
        self._enter(CONNECTING)
        core.hold()
        self.events.stop()
        if not self.reconnecting.is_in_disconnected_cb:
            # Else it looks who has connected when the callback, which may be the caller, returns.
            await self.reconnecting.end()
        self.drop_link()
        core.fail_written_publishes(errors.ConnectionReconnectingError)
        return True

    def _abandon(self, for_good: bool) -> None:
        """Lets go of the connection after a `connect()` that failed.

        :param for_good: nothing is there that another `connect()` could go on with.
        """
        core = self.client._core
        if isinstance(core, Connection):
            self.drop_link()
            if for_good:
                core.shut_down()
            elif not self.is_closed:
                self._enter(DISCONNECTED)

    async def _connect_at_first(self, goes_on: bool) -> None:
        """Tries the pool until a server takes the connection or none is left.

        :param goes_on: the client has been in service: its subscriptions and pending output wait
            for the next connection.
        """
        self.pool.attempts.clear()
        while True:
            try:
                # It tells of its failures itself.
                handshake = await self.dial_next()
            except errors.NoServersError as error:
                self.last_error = error
                raise
            try:
                await self.shake_hands(handshake)
                self.take_up_service("connected")
                return
            except (errors.ConnectionClosedError, errors.InvalidUserCredentialsError):
                # Another attempt would not help.
                raise
            except (OSError, errors.Error, asyncio.TimeoutError) as error:
                await self._first_attempt_failed(self.pool.current, error, is_answer=True)
                self.check_not_shut_down()
                if goes_on:
                    self.drop_link()
                elif self.is_closed:
                    self._enter(DISCONNECTED)
                else:
                    await self.closing.end(calls_back=False)

    async def dial_next(self) -> Handshake:
        """Connects to the next server of the pool that can be reached.

        :raises nats.errors.NoServersError: all have used up their attempts.
        :raises nats.errors.ConnectionClosedError: the client was closed meanwhile.
        :raises Exception: amid `connect()`, what `_first_attempt_failed` raises.
        """
        options = self.options
        time_wait = options["reconnect_time_wait"]
        while True:
            now = time.monotonic()
            server = self.pool.take_next(options["max_reconnect_attempts"])
            if server.last_attempt is not None and now < server.last_attempt + time_wait:
                await asyncio.sleep(time_wait)
            try:
                handshake = Handshake(self, server)
                await handshake.dial()
            except errors.ConnectionClosedError:
                raise
            except Exception as error:
                if self.is_reconnecting:
                    await self.attempt_failed(server, error)
                else:
                    await self._first_attempt_failed(server, error, is_answer=False)
                continue
            self.pool.current = server
            return handshake

    async def shake_hands(self, handshake: Handshake) -> None:
        """Has the server that was dialled accept the client."""
        self._enter(CONNECTING)
        await handshake.run()
        self._enter(CONNECTED)

    def take_up_service(self, how: str) -> None:
        """Goes on with a connection that was accepted: subscriptions first, then what is pending.

        :param how: word for the log.
        """
        self.pool.succeeded()
        self._log_connection(how)
        self.native().release(self.subscriptions.replay())
        self.events.start()
        self.subscriptions.reconnected()

    async def _first_attempt_failed(
        self, server: Optional[Srv], error: Exception, is_answer: bool
    ) -> None:
        """Counts and tells of an attempt that failed in `connect()`.

        :param is_answer: the server was reached.
        :raises Exception: no further attempt is made; it may be what `error_cb` raises.
        """
        self.note_failure(server, error, is_answer)
        await self._tell_attempt(server, error)
        if is_unreadable_file(error):
            # As malformed credentials: other servers want the same file.
            raise error
        once = not self.options["allow_reconnect"] or self.options["max_reconnect_attempts"] == 0
        if self.pool.is_hopeless(once=once):
            self.last_error = final = self.pool.attempts.final_error()
            raise final

    async def attempt_failed(self, server: Optional[Srv], error: Exception) -> None:
        """Counts and tells of an attempt that failed while reconnecting."""
        self.note_failure(server, error, is_answer=False)
        with logged("nats: error callback failed"):
            await self._tell_attempt(server, error)

    def note_failure(self, server: Optional[Srv], error: Exception, is_answer: bool) -> None:
        """Keeps why an attempt failed."""
        self.last_error = error
        if server is not None:
            keeps_refusing = bool(self.options.get("ignore_auth_error_abort"))
            self.pool.failed(server, error, is_answer=is_answer, keeps_refusing=keeps_refusing)

    async def _tell_attempt(self, server: Optional[Srv], error: Exception) -> None:
        """Tells `error_cb` of an attempt that failed, or writes one line to the log."""
        if self.callbacks.has_error_cb or server is None:
            await self.callbacks.error_cb(error)
        else:
            address, reason = address_of(server.uri), reason_of(error)
            logger.warning("nats: connecting to %s failed: %s", address, reason)

    # The link

    def make_link(self) -> Driver:
        """A link in the clear, of the kind that the client is set to."""
        return DRIVERS[self.client._driver](self.native())

    def drop_link(self, graceful: bool = False) -> None:
        """Leaves the server.

        :param graceful: what a transport still holds is sent before.
        """
        link, self.link = self.link, None
        if link is not None:
            link.close(graceful)
            self.native().clear_events()

    # In service

    def discover(self, info: dict[str, Any]) -> bool:
        """Takes over what an INFO tells about the cluster; true if there are new servers."""
        randomize = self.options["dont_randomize"] is not True
        return bool(self.pool.discover(info, randomize=randomize))

    def fail_violation(self, violation: Violation, error: Callable[[], Exception]) -> None:
        """Fails what waits for something that the server's refusal keeps from coming.

        :param error: makes the exception.
        """
        self.subscriptions.fail_violation(violation, error)
        self.requests.fail_violation(violation, error)

    async def lost(self, error: Exception) -> None:
        """The connection has failed: reconnect if that's allowed, else close."""
        if self.is_closed or self.is_reconnecting:
            return
        self.log_disconnection(reason_of(error))
        if self.options["allow_reconnect"] and (self.is_connected or self.is_connecting):
            self.reconnecting.start()
        else:
            self._enter(DISCONNECTED)
            self.last_error = error
            logger.error("nats: closed, as reconnecting isn't allowed: %s", reason_of(error))
            await self.closing.end_because(error)

    def _log_connection(self, how: str) -> None:
        server, info = self.pool.current, self.server_info
        assert server
        connection_log.info(
            "nats: %s to %s, server %s %s, client id %s",
            how,
            address_of(server.uri),
            info.get("server_name") or info.get("server_id"),
            info.get("version"),
            info.get("client_id"),
        )

    def log_disconnection(self, reason: str) -> None:
        """Writes the log's line for a connection that was lost or left."""
        server = self.pool.current
        connection_log.info(
            "nats: disconnected from %s: %s", server and address_of(server.uri), reason
        )
