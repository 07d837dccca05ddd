"""Connecting: choosing a server, the handshake, TLS."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import Any, ClassVar, Optional

from nats import errors
from nats._texts import reason_of

from ._attempts import is_unreadable_file
from ._info import parse_info
from ._lifecycle import CONNECTED, CONNECTING, DISCONNECTED, Lifecycle
from ._link import DRIVERS, AsyncioDriver, Driver
from ._link.tls import NoHandshakeFirst
from ._options import connect_command, credentials_for
from ._reports import connection_log, contained, default_error_callback, logger
from ._servers import WEBSOCKET, Srv, address_of
from ._types import PING_PROTO
from ._waits import within


class Connecting(Lifecycle):
    """From a pool of servers to a connection in service."""

    _driver: ClassVar[str]

    @property
    def ssl_context(self) -> ssl.SSLContext:
        raise AssertionError("ClientState implements this")

    async def _first_connect(self, goes_on: bool) -> None:
        """Tries the pool until a server takes the connection or none is left.

        :param goes_on: the client has been in service: its subscriptions and pending output wait
            for the next connection.
        """
        self._attempts.clear()
        while True:
            try:
                # It tells of its failures itself.
                await self._select_next_server()
            except errors.NoServersError as error:
                self._err = error
                raise
            try:
                await self._process_connect_init()
                self._native().release(self._subscribe_commands())
                self._has_connected("connected")
                self._start_tasks()
                self._tell_consumers()
                return
            except (errors.ConnectionClosedError, errors.InvalidUserCredentialsError):
                # Another attempt would not help.
                raise
            except (OSError, errors.Error, asyncio.TimeoutError) as error:
                await self._first_attempt_failed(self._current_server, error, is_answer=True)
                self._check_not_shut_down()
                if goes_on:
                    self._drop_link()
                else:
                    await self._close(DISCONNECTED, False)

    async def _first_attempt_failed(
        self, server: Optional[Srv], error: Exception, is_answer: bool
    ) -> None:
        """Counts and tells of an attempt that failed in `connect()`.

        :param is_answer: the server was reached.
        :raises Exception: no further attempt is made; it may be what `error_cb` raises.
        """
        self._note_attempt(server, error, is_answer)
        await self._tell_attempt(server, error)
        if is_unreadable_file(error):
            # As malformed credentials: other servers want the same file.
            raise error
        once = not self.options["allow_reconnect"] or self.options["max_reconnect_attempts"] == 0
        # Servers that a server has told of are for reconnecting.
        pool = [server for server in self._server_pool if not (once and server.discovered)]
        if self._attempts.are_over(pool, once):
            self._err = final = self._attempts.final_error()
            raise final

    async def _tell_attempt(self, server: Optional[Srv], error: Exception) -> None:
        """Tells `error_cb` of an attempt that failed, or writes one line to the log."""
        if self._error_cb is default_error_callback and server is not None:
            address, reason = address_of(server.uri), reason_of(error)
            logger.warning("nats: connecting to %s failed: %s", address, reason)
        else:
            await self._error_cb(error)

    def _has_connected(self, how: str) -> None:
        """Notes that the handshake has succeeded.

        :param how: word for the log.
        """
        server, info = self._current_server, self._server_info
        assert server
        server.reconnects = 0
        self._attempts.succeeded(server)
        connection_log.info(
            "nats: %s to %s, server %s %s, client id %s",
            how,
            address_of(server.uri),
            info.get("server_name") or info.get("server_id"),
            info.get("version"),
            info.get("client_id"),
        )

    def _tell_consumers(self) -> None:
        """What delivers to the subscriptions may not have outlasted the connection before."""
        for sub in list(self._subs.values()):
            if sub._jsi is not None:
                sub._jsi.reconnected()

    def _subscribe_commands(self) -> bytes:
        """Replays the subscriptions, each with what is left of its auto-unsubscribe limit."""
        commands: list[str] = []
        for sid, sub in list(self._subs.items()):
            if sub._draining:
                continue
            if sub._is_limit_reached():
                sub._forget_if_handled()
                continue
            limit = sub._start_count()
            commands.append(f"SUB {sub._subject} {sub._queue or ''} {sid}\r\n")
            if limit > 0:
                commands.append(f"UNSUB {sid} {limit}\r\n")
        return "".join(commands).encode()

    def _check_not_shut_down(self) -> None:
        """Ends an attempt to connect during which the client was closed for good.

        :raises nats.errors.ConnectionClosedError: it was.
        """
        if self._native().is_shut_down():
            raise self._native().closed_error()

    def _is_used_up(self, server: Srv) -> bool:
        """Whether the server has failed more often than it may; it may always if negative."""
        return bool(0 <= self.options["max_reconnect_attempts"] < server.reconnects)

    async def _select_next_server(self) -> None:
        """Connects to the next server of the pool that can be reached.

        :raises nats.errors.NoServersError: all have used up their attempts.
        """
        time_wait = self.options["reconnect_time_wait"]
        while True:
            if not self._server_pool:
                self._current_server = None
                raise self._attempts.no_servers_error()
            now = time.monotonic()
            server = self._server_pool.pop(0)
            if self._is_used_up(server):
                continue
            self._server_pool.append(server)
            if server.last_attempt is not None and now < server.last_attempt + time_wait:
                await asyncio.sleep(time_wait)
            try:
                await self._connect_to_server(server)
            except errors.ConnectionClosedError:
                raise
            except Exception as error:
                if self.is_reconnecting:
                    await self._attempt_failed(server, error)
                else:
                    await self._first_attempt_failed(server, error, is_answer=False)
                continue
            self._current_server = server
            return

    async def _attempt_failed(self, server: Optional[Srv], error: Exception) -> None:
        """Counts and tells of an attempt that failed while reconnecting."""
        self._note_attempt(server, error, is_answer=False)
        with contained("nats: error callback failed"):
            await self._tell_attempt(server, error)

    async def _connect_to_server(self, server: Srv) -> None:
        self._check_not_shut_down()
        server.last_attempt = time.monotonic()
        self._drop_link()
        link: Driver
        if server.uri.scheme in WEBSOCKET:
            link = self._websocket_link(server)
        elif self._forbids_plaintext(server):
            link = self._tls_link()
        else:
            link = DRIVERS[self._driver](self._native())
        await self._open_link(link, server)

    def _forbids_plaintext(self, server: Srv) -> bool:
        """Whether this server is told nothing in the clear, whatever its INFO says."""
        return bool(
            self.options["tls_handshake_first"]
            or (self._demands_tls(server) and not self.options.get("allow_plaintext"))
        )

    def _demands_tls(self, server: Srv) -> bool:
        """Whether TLS was asked for, or is known of this server."""
        return (
            "tls" in self.options
            or self.options["tls_handshake_first"]
            or server.uri.scheme == "tls"
            or server.secured
        )

    def _websocket_link(self, server: Srv) -> Driver:
        """
        :raises nats.errors.SecureConnWantedError: TLS is demanded, which `ws://` hasn't.
        """
        # Few clients need them.
        from . import client, transport
        from ._link.own_transport import OwnTransportDriver
        from ._link.websocket import WebSocketDriver

        is_secure = server.uri.scheme == "wss"
        if self._forbids_plaintext(server) and not is_secure:
            raise _without_tls(server, "is a ws:// URL", "Use wss://")
        headers = self.options["ws_connection_headers"]
        context = self.ssl_context if is_secure else None
        if client.WebSocketTransport is not transport.WebSocketTransport:
            own = client.WebSocketTransport(ws_headers=headers)
            return OwnTransportDriver(self._native(), own, context, self.options["connect_timeout"])
        return WebSocketDriver(
            self._native(),
            headers,
            context,
            self._tls_name(server),
            self.options.get("ws_proxy"),
        )

    def _tls_name(self, server: Srv) -> str:
        """Whom the server's certificate has to name."""
        return self.options.get("tls_hostname") or server.tls_name or server.uri.hostname or ""

    def _tls_link(self) -> AsyncioDriver:
        """Only asyncio's transport can honour any `ssl.SSLContext`."""
        return AsyncioDriver(self._native(), 0 if self.options["tls_handshake_first"] else 1)

    async def _open_link(self, link: Driver, server: Srv) -> None:
        try:
            await within(link.open(server.uri), self.options["connect_timeout"])
        except BaseException:
            # It may be open all the same: cancelled, or too late, by a turn of the loop.
            link.close(graceful=False)
            raise
        self._link = link
        self._check_not_shut_down()

    def _wants_tls(self, server: Srv, info: dict[str, Any]) -> bool:
        """Whether TLS has to follow this INFO.

        :raises nats.errors.SecureConnWantedError: we demand it, and the server hasn't any.
        """
        if info.get("tls_required") or (self._demands_tls(server) and info.get("tls_available")):
            return True
        if self._forbids_plaintext(server):
            raise _without_tls(server, "has no TLS", "Configure TLS there, or leave that out")
        return False

    async def _start_tls(self, server: Srv) -> None:
        """Goes over to TLS; the server waits for it."""
        link = self._link
        if not isinstance(link, AsyncioDriver):
            # Nothing but INFO has come over the other connection.
            self._drop_link()
            link = self._tls_link()
            await self._open_link(link, server)
            self._server_info = await self._read_info()
        name = self._tls_name(server)
        await within(link.start_tls(self.ssl_context, name), self.options["connect_timeout"])
        server.secured = True

    async def _process_connect_init(self) -> None:
        """The handshake: INFO, CONNECT, PING, PONG."""
        server = self._current_server
        core = self._native()
        assert server, "must be called only from Client.connect"
        self._status = CONNECTING
        # A WebSocket is secure from its first byte on, or not at all.
        is_settled = server.uri.scheme in WEBSOCKET
        if not is_settled and self.options["tls_handshake_first"]:
            try:
                await self._start_tls(server)
            except ssl.SSLError as error:
                if error.reason != "WRONG_VERSION_NUMBER":
                    raise
                raise _without_handshake(server, error) from None
            is_settled = True
        self._server_info = await self._read_info()
        if not is_settled and self._wants_tls(server, self._server_info):
            await self._start_tls(server)
        info = self._server_info
        if info.get("auth_required", False):
            self._auth_configured = True
        await self._process_info(info, initial_connection=True)
        if "version" in info:
            server.server_version = info["version"]
        core.send_urgent(self._connect_command())
        if self.options["verbose"]:
            await self._expect("ok")
        core.send_urgent(PING_PROTO)
        await self._expect("pong")
        self._status = CONNECTED

    async def _read_info(self) -> dict[str, Any]:
        """The INFO that a server begins with."""
        core = self._native()
        kind, value = await self._next_answer(takes_info=True)
        if kind == "ended" and isinstance(value, OSError):
            raise value
        if kind != "info":
            raise errors.Error("nats: empty response from server when expecting INFO message")
        info = parse_info(value)
        core.max_payload = info.get("max_payload", core.max_payload)
        return info

    def _connect_command(self) -> bytes:
        options, info = self.options, self._server_info
        credentials: dict[str, Any] = {}
        if self._auth_configured:
            credentials = credentials_for(self._current_server, options, info, self._signing)
        self._attempts.present(credentials)
        return connect_command(options, info, credentials)

    async def _expect(self, wanted: str) -> None:
        """Waits for an answer of the handshake, within the time for connecting.

        :raises nats.errors.Error: the server refuses.
        """
        # Not only each event: a server that goes on saying something else must not hold us.
        await within(self._expect_among(wanted), self.options["connect_timeout"])

    async def _expect_among(self, wanted: str) -> None:
        while True:
            kind, value = await self._next_answer(takes_info=False)
            if kind == wanted:
                return
            if kind == "err":
                # In the server's own words, as in nats-py: programs look for them.
                raise errors.Error(f"nats: {value}")
            if kind == "ended":
                raise value


def _without_handshake(server: Srv, error: ssl.SSLError) -> NoHandshakeFirst:
    told = NoHandshakeFirst(
        error.errno,
        f"{address_of(server.uri)} begins in the clear, not with TLS as tls_handshake_first wants "
        "it. Leave that out, or set handshake_first in the server's tls block",
    )
    told.reason = error.reason
    return told


def _without_tls(server: Srv, what: str, remedy: str) -> errors.SecureConnWantedError:
    return errors.SecureConnWantedError(
        f"{address_of(server.uri)} {what}, but tls=, tls_handshake_first, a tls:// URL or an "
        f"earlier connection asks for it; nothing was sent. {remedy}; allow_plaintext=True, or "
        "FASTNATS_ALLOW_PLAINTEXT=1 in the environment, goes on without TLS"
    )
