"""From a server's address to a connection that it has accepted."""

from __future__ import annotations

import ssl
import time
from typing import TYPE_CHECKING, Any

from nats import errors

from ._connect_command import connect_command, credentials_for
from ._info import parse_info
from ._link import AsyncioDriver, Driver
from ._link.tls import NoHandshakeFirst
from ._servers import WEBSOCKET, Srv, address_of
from ._types import PING_PROTO
from ._waits import wait_for

if TYPE_CHECKING:
    from ._session import Session


class Handshake:
    """One attempt at one server: INFO, TLS, CONNECT, PONG."""

    def __init__(self, session: Session, server: Srv) -> None:
        self._session = session
        self._core = session.native()
        self._server = server

    @property
    def _options(self) -> dict[str, Any]:
        return self._session.options

    async def dial(self) -> None:
        """Brings the link to the server up.

        :raises nats.errors.ConnectionClosedError: the client was closed meanwhile.
        :raises nats.errors.SecureConnWantedError: TLS is demanded, which `ws://` hasn't.
        :raises asyncio.TimeoutError: it took longer than ``connect_timeout``.
        :raises OSError: the server can't be reached.
        """
        server, session = self._server, self._session
        session.check_not_shut_down()
        server.last_attempt = time.monotonic()
        session.drop_link()
        link: Driver
        if server.uri.scheme in WEBSOCKET:
            link = self._websocket_link()
        elif self._forbids_plaintext():
            link = self._tls_link()
        else:
            link = session.make_link()
        await self._open(link)

    async def run(self) -> None:
        """Has the server accept the client.

        :raises nats.errors.SecureConnWantedError: TLS is demanded, and the server has none.
        :raises nats.errors.Error: the server refuses, in its own words.
        :raises asyncio.TimeoutError: an answer took longer than ``connect_timeout``.
        :raises OSError: the connection has ended, or TLS has failed.
        """
        session, server = self._session, self._server
        # A WebSocket is secure from its first byte on, or not at all.
        is_settled = server.uri.scheme in WEBSOCKET
        if not is_settled and self._options["tls_handshake_first"]:
            try:
                await self._start_tls()
            except ssl.SSLError as error:
                if error.reason != "WRONG_VERSION_NUMBER":
                    raise
                raise _without_handshake(server, error) from None
            is_settled = True
        session.server_info = await self._read_info()
        if not is_settled and self._wants_tls(session.server_info):
            await self._start_tls()
        info = session.server_info
        session.discover(info)
        if "version" in info:
            server.server_version = info["version"]
        self._core.send_urgent(self._connect_command(info))
        if self._options["verbose"]:
            await self._expect("ok")
        self._core.send_urgent(PING_PROTO)
        await self._expect("pong")

    async def _open(self, link: Driver) -> None:
        try:
            await wait_for(link.open(self._server.uri), self._options["connect_timeout"])
        except BaseException:
            # It may be open all the same: cancelled, or too late, by a turn of the loop.
            link.close(graceful=False)
            raise
        self._session.link = link
        self._session.check_not_shut_down()

    # Which way

    def _demands_tls(self) -> bool:
        """Whether TLS was asked for, or is known of this server."""
        return (
            "tls" in self._options
            or self._options["tls_handshake_first"]
            or self._server.uri.scheme == "tls"
            or self._server.secured
        )

    def _forbids_plaintext(self) -> bool:
        """Whether this server is told nothing in the clear, whatever its INFO says."""
        return bool(
            self._options["tls_handshake_first"]
            or (self._demands_tls() and not self._options.get("allow_plaintext"))
        )

    def _wants_tls(self, info: dict[str, Any]) -> bool:
        """Whether TLS has to follow this INFO.

        :raises nats.errors.SecureConnWantedError: we demand it, and the server hasn't any.
        """
        if info.get("tls_required") or (self._demands_tls() and info.get("tls_available")):
            return True
        if self._forbids_plaintext():
            raise _without_tls(self._server, "has no TLS", "Configure TLS there, or leave that out")
        return False

    def _websocket_link(self) -> Driver:
        """
        :raises nats.errors.SecureConnWantedError: TLS is demanded, which `ws://` hasn't.
        """
        # Few clients need them.
        from ._link.own_transport import OwnTransportDriver
        from ._link.websocket import WebSocketDriver
        from .transport import WebSocketTransport

        options = self._options
        is_secure = self._server.uri.scheme == "wss"
        if self._forbids_plaintext() and not is_secure:
            raise _without_tls(self._server, "is a ws:// URL", "Use wss://")
        headers = options["ws_connection_headers"]
        context = self._session.ssl_context if is_secure else None
        transport = self._session.websocket_transport
        if transport is not WebSocketTransport:
            own = transport(ws_headers=headers)
            return OwnTransportDriver(self._core, own, context, options["connect_timeout"])
        return WebSocketDriver(
            self._core, headers, context, self._tls_name(), options.get("ws_proxy")
        )

    def _tls_link(self) -> AsyncioDriver:
        """Only asyncio's transport can honour any `ssl.SSLContext`."""
        return AsyncioDriver(self._core, 0 if self._options["tls_handshake_first"] else 1)

    def _tls_name(self) -> str:
        """Whom the server's certificate has to name."""
        server = self._server
        return self._options.get("tls_hostname") or server.tls_name or server.uri.hostname or ""

    async def _start_tls(self) -> None:
        """Goes over to TLS; the server waits for it."""
        session = self._session
        link = session.link
        if not isinstance(link, AsyncioDriver):
            # Nothing but INFO has come over the other connection.
            session.drop_link()
            link = self._tls_link()
            await self._open(link)
            session.server_info = await self._read_info()
        starting = link.start_tls(session.ssl_context, self._tls_name())
        await wait_for(starting, self._options["connect_timeout"])
        self._server.secured = True

    # What is said

    async def _read_info(self) -> dict[str, Any]:
        """The INFO that a server begins with."""
        kind, value = await self._next_answer(takes_info=True)
        if kind == "ended" and isinstance(value, OSError):
            raise value
        if kind != "info":
            raise errors.Error("nats: empty response from server when expecting INFO message")
        info = parse_info(value)
        self._core.max_payload = info.get("max_payload", self._core.max_payload)
        return info

    def _connect_command(self, info: dict[str, Any]) -> bytes:
        session, options = self._session, self._options
        if info.get("auth_required", False):
            session.authenticates = True
        credentials: dict[str, Any] = {}
        if session.authenticates:
            # `set_server_pool` may have another URL for this server by now.
            credentials = credentials_for(
                session.pool.current, options, info, session.settings.signing
            )
        session.pool.attempts.present(credentials)
        return connect_command(options, info, credentials)

    async def _expect(self, wanted: str) -> None:
        """Waits for an answer, within the time for connecting.

        :raises nats.errors.Error: the server refuses.
        """
        # Not only each event: a server that goes on saying something else must not hold us.
        await wait_for(self._expect_among(wanted), self._options["connect_timeout"])

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

    async def _next_answer(self, takes_info: bool) -> Any:
        """The next event, within the time for connecting.

        The rest is left to the reading task: callbacks may take their time, and may close.
        """
        core, session = self._core, self._session

        async def current() -> Any:
            while True:
                event = core.next_answer(takes_info)
                if event is None:
                    await core.event_ready()
                elif event[0] != "ended":
                    return event
                elif session.is_current(event[1][0]):
                    return "ended", session.reason_of_end(event[1][1])

        return await wait_for(current(), self._options["connect_timeout"])


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
