"""The NATS client."""

from __future__ import annotations

import asyncio
import os
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, ClassVar, Optional, Union

from nats import errors
from nats._compat import AssignableCallbacks
from nats._core import (
    Connection,
    __version__,
    check_queue,
    check_subscribe_subject,
)
from nats.nuid import NUID
from nats.protocol import command as prot_command
from nats.protocol.parser import (
    AUTHORIZATION_VIOLATION,
    PERMISSIONS_ERR,
    PONG,
    STALE_CONNECTION,
    Parser,
)

from . import _types
from ._compat import ClientPrivates
from ._message_class import MessageClass
from ._options import ConnectOptions
from ._properties import ClientProperties
from ._requests import check_responders
from ._servers import ReconnectToServerHandler, Server, ServerVersion, Srv
from ._session import Session
from ._status import (
    CLOSED,
    CONNECTED,
    CONNECTING,
    DISCONNECTED,
    DRAINING_PUBS,
    DRAINING_SUBS,
    RECONNECTING,
)
from ._types import *
from ._types import __lang__
from ._unconnected import Unconnected
from .errors import ErrInvalidUserCredentials, ErrStaleConnection
from .msg import Msg
from .subscription import (
    DEFAULT_SUB_PENDING_BYTES_LIMIT,
    DEFAULT_SUB_PENDING_MSGS_LIMIT,
    Subscription,
)
from .transport import TcpTransport, Transport, WebSocketTransport

if TYPE_CHECKING:
    import nats.js
else:
    # Annotations name it, and programs resolve them at run time.
    nats = sys.modules["nats"]

# Names that nats-py's module has; some are only re-exported here.
__all__ = [
    "AUTHORIZATION_VIOLATION",
    "DEFAULT_SUB_PENDING_BYTES_LIMIT",
    "DEFAULT_SUB_PENDING_MSGS_LIMIT",
    "NUID",
    "PERMISSIONS_ERR",
    "PONG",
    "STALE_CONNECTION",
    "Client",
    "ErrInvalidUserCredentials",
    "ErrStaleConnection",
    "Msg",
    "Parser",
    "ReconnectToServerHandler",
    "Server",
    "ServerVersion",
    "Srv",
    "Subscription",
    "TcpTransport",
    "Transport",
    "WebSocketTransport",
    "__lang__",
    "__version__",
    "asyncio",
    "errors",
    "nats",
    "prot_command",
]
__all__ += _types.__all__


class Client(ClientProperties, MessageClass, AssignableCallbacks, ClientPrivates):
    """An asyncio client of NATS; make it with :func:`nats.connect`."""

    DISCONNECTED = DISCONNECTED
    CONNECTED = CONNECTED
    CLOSED = CLOSED
    RECONNECTING = RECONNECTING
    CONNECTING = CONNECTING
    DRAINING_SUBS = DRAINING_SUBS
    DRAINING_PUBS = DRAINING_PUBS

    # Who moves the bytes: "tokio" (the core's own thread) or "asyncio" (the event loop).
    _driver: ClassVar[str] = os.environ.get("FASTNATS_DRIVER", "tokio")

    # Seconds for which publish() works after the end of the event loop.
    _publish_time_after_loop: ClassVar[float] = 120.0

    def __repr__(self) -> str:
        return f"<nats client v{__version__}>"

    def __init__(self) -> None:
        # Made by the session, and kept here: publishing finds it by one look.
        self._core: Union[Connection, Unconnected] = Unconnected()
        self.options: dict[str, Any] = ConnectOptions()
        # Not `_session`, which is what subclasses may have of their own.
        self._fastnats = Session(self)

    async def connect(
        self,
        servers: Union[str, list[str]] = "nats://localhost:4222",
        error_cb: Optional[ErrorCallback] = None,
        disconnected_cb: Optional[Callback] = None,
        closed_cb: Optional[Callback] = None,
        discovered_server_cb: Optional[Callback] = None,
        reconnected_cb: Optional[Callback] = None,
        name: Optional[str] = None,
        pedantic: bool = False,
        verbose: bool = False,
        allow_reconnect: bool = True,
        connect_timeout: int = DEFAULT_CONNECT_TIMEOUT,
        reconnect_time_wait: int = DEFAULT_RECONNECT_TIME_WAIT,
        max_reconnect_attempts: int = DEFAULT_MAX_RECONNECT_ATTEMPTS,
        ping_interval: int = DEFAULT_PING_INTERVAL,
        max_outstanding_pings: int = DEFAULT_MAX_OUTSTANDING_PINGS,
        dont_randomize: bool = False,
        flusher_queue_size: int = DEFAULT_MAX_FLUSHER_QUEUE_SIZE,
        no_echo: bool = False,
        tls: Optional[Union[ssl.SSLContext, str, os.PathLike[str]]] = None,
        tls_hostname: Optional[str] = None,
        tls_handshake_first: bool = False,
        user: Optional[Union[str, CredentialCallback]] = None,
        password: Optional[Union[str, CredentialCallback]] = None,
        token: Optional[Union[str, TokenCallback]] = None,
        drain_timeout: int = DEFAULT_DRAIN_TIMEOUT,
        signature_cb: Optional[SignatureCallback] = None,
        user_jwt_cb: Optional[JWTCallback] = None,
        user_credentials: Optional[Credentials] = None,
        nkeys_seed: Optional[str] = None,
        nkeys_seed_str: Optional[str] = None,
        inbox_prefix: Union[str, bytes] = DEFAULT_INBOX_PREFIX,
        pending_size: int = DEFAULT_PENDING_SIZE,
        flush_timeout: Optional[float] = None,
        ws_connection_headers: Optional[dict[str, list[str]]] = None,
        reconnect_to_server_handler: Optional[ReconnectToServerHandler] = None,
        lame_duck_mode_cb: Optional[Callback] = None,
        skip_subject_validation: bool = False,
        *,
        ignore_auth_error_abort: bool = False,
        allow_plaintext: bool = False,
        ws_proxy: Optional[str] = None,
    ) -> None:
        """Connects to the first server of the pool that takes the connection.

        :param servers: a URL such as ``nats://user:pass@host:4222``, or a list; scheme and
            port may be left out.
        :param error_cb: gets errors that no call could raise; logs them by default.
        :param disconnected_cb: the connection was lost or closed.
        :param closed_cb: the client is closed for good.
        :param discovered_server_cb: the cluster has told of new servers.
        :param reconnected_cb: connected again, subscriptions included.
        :param lame_duck_mode_cb: the server is about to shut down.
        :param name: shown in the server's monitoring.
        :param pedantic: have the server check subjects strictly.
        :param verbose: have the server answer every command with ``+OK``.
        :param allow_reconnect: reconnect when the connection is lost, and retry at first.
        :param connect_timeout: seconds for one attempt.
        :param reconnect_time_wait: seconds between attempts at the same server.
        :param max_reconnect_attempts: attempts per server; negative for endless.
        :param ping_interval: seconds between keep-alive PINGs; ``None`` for no PINGs.
        :param max_outstanding_pings: unanswered ones that make a connection stale; ``None`` for
            any number.
        :param dont_randomize: try servers in the given order.
        :param flusher_queue_size: accepted for compatibility; there is no such queue here.
        :param no_echo: don't receive one's own messages.
        :param tls: how to trust and prove identity where the server wants TLS; a path is a CA
            bundle for an otherwise default context. The system's roots if not given.
        :param tls_hostname: name that the certificate has to be for, if not the URL's host.
        :param tls_handshake_first: start with TLS instead of the server's INFO.
        :param user, password, token: values, or functions called at each (re)connect.
        :param signature_cb: signs the server's nonce, returns the signature in base64.
        :param user_jwt_cb: returns the user's JWT to go with the signature.
        :param user_credentials: a credentials file, its text as ``RawCredentials``, or a pair
            of files with JWT and seed; read anew for each connection.
        :param nkeys_seed, nkeys_seed_str: the file that holds an NKey's seed, or the seed.
        :param drain_timeout: seconds that :meth:`drain` gives the handlers.
        :param inbox_prefix: first token(s) of reply subjects.
        :param pending_size: bytes of output that may wait: while connected, publishers wait
            above it; while disconnected, they fail.
        :param flush_timeout: seconds a publisher waits for room before ``error_cb`` is told.
        :param reconnect_to_server_handler: chooses the server of each reconnect attempt.
        :param skip_subject_validation: don't check subjects; a caller can then inject
            protocol lines.
        :param ignore_auth_error_abort: go on trying a server that has refused the same
            credentials twice in a row, which is given up otherwise.
        :param allow_plaintext: go on in the clear where ``tls`` or a ``tls://`` URL asks for TLS
            and the server has none, as nats-py does; so does ``FASTNATS_ALLOW_PLAINTEXT=1`` in
            the environment.
        :param ws_connection_headers: go with the request for a WebSocket, values or lists of
            values by their names.
        :param ws_proxy: ``http://user:password@host:port`` of a proxy for WebSocket connections;
            empty for none. By default what ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and
            ``NO_PROXY`` in the environment say, but none for this machine.
        :raises nats.errors.NoServersError: no attempt succeeded; its ``failures`` say why.
        :raises nats.errors.SecureConnWantedError: a server has no TLS although ``tls``,
            ``tls_handshake_first`` or a ``tls://`` URL asks for it; without reconnecting, as is
            ``ssl.SSLError`` for a handshake that fails.
        :raises nats.errors.InvalidUserCredentialsError: a seed or credentials file is malformed.
        :raises nats.errors.InvalidCallbackTypeError: a callback isn't a coroutine function.
        :raises TypeError: an option is of a wrong type.
        :raises nats.errors.Error: a URL or option that can't be used.
        """
        await self._fastnats.connect(locals())

    async def force_reconnect(self) -> None:
        """Leaves the current server and connects anew; does nothing while not connected."""
        await self._fastnats.reconnecting.force()

    async def close(self) -> None:
        """Closes the connection and the client; it doesn't reconnect any more."""
        await self._fastnats.closing.close()

    async def drain(self) -> None:
        """Ends all subscriptions, has every message received handled, then closes.

        Takes at most ``drain_timeout`` seconds for the handlers; if that isn't enough,
        ``error_cb`` gets a :class:`nats.errors.DrainTimeoutError`. New messages can be
        published until the subscriptions are drained.

        Called in a handler, ``lame_duck_mode_cb``, ``discovered_server_cb`` or ``error_cb`` it
        returns at once, and the client drains beside it.

        :raises nats.errors.ConnectionClosedError: the client is closed.
        :raises nats.errors.ConnectionReconnectingError: it isn't connected right now.
        """
        await self._fastnats.closing.drain()

    async def publish(
        self,
        subject: str,
        payload: bytes = b"",
        reply: str = "",
        headers: Optional[dict[str, str]] = None,
    ) -> None:
        """Publishes a message.

        Returns once the message is in the pending output, which leaves within one turn of
        the event loop; waits only while more than ``pending_size`` bytes are pending.
        May be called from a thread that doesn't run the loop: see docs/threads.md.

        :param subject: where to publish.
        :param payload: any bytes-like object.
        :param reply: subject at which an answer is expected.
        :param headers: names and values; names must be RFC 7230 tokens.
        :raises nats.errors.BadSubjectError: a subject is empty or holds blanks.
        :raises nats.errors.BadHeaderError: a header name isn't a token.
        :raises nats.errors.MaxPayloadError: headers and payload are larger than the server takes.
        :raises nats.errors.ConnectionClosedError: the client is closed.
        :raises nats.errors.ConnectionDrainingError: the client is about to close.
        :raises nats.errors.OutboundBufferLimitError: disconnected, and no room to buffer.
        """
        room = self._core.publish(subject, payload, reply, headers)
        if room is not None:
            await self._fastnats.requests.wait_for_room(room)

    async def request(
        self,
        subject: str,
        payload: bytes = b"",
        timeout: float = 0.5,
        old_style: bool = False,
        headers: Optional[dict[str, Any]] = None,
    ) -> Msg:
        """Publishes ``payload`` as a request and waits for the first answer.

        :param payload: any bytes-like object.
        :param timeout: seconds; ``None`` waits forever.
        :param old_style: use a subscription per request instead of a shared inbox; takes no
            headers.
        :raises nats.errors.NoRespondersError: nobody is subscribed to the subject.
        :raises nats.errors.TimeoutError: no answer in time.
        """
        requests = self._fastnats.requests
        if old_style or not requests.reply_prefix or not self._publishes_natively():
            return await requests.request(subject, payload, timeout, old_style, headers)
        # Not in a coroutine of `Requests`: a request would take a fifth more instructions.
        core = self._fastnats.native()
        future, token, room = core.request(subject, payload, headers, timeout)
        try:
            if room is not None:
                await requests.send_before(future, requests.wait_for_room(room))
            msg: Msg = await future
        except BaseException:
            core.forget_request(token)
            raise
        if msg.headers:
            check_responders(msg, subject)
        return msg

    def new_inbox(self) -> str:
        """Returns a subject that nobody else uses, for replies."""
        return self._fastnats.requests.new_inbox()

    def _publishes_natively(self) -> bool:
        """Whether no application has put its own `publish` in the place of ours."""
        return getattr(self.publish, "__func__", None) is _NATIVE_PUBLISH

    def _requests_natively(self) -> bool:
        """Whether no application has put its own `request` in the place of ours."""
        return getattr(self.request, "__func__", None) is _NATIVE_REQUEST

    async def subscribe(
        self,
        subject: str,
        queue: str = "",
        cb: Optional[Callable[[Msg], Awaitable[None]]] = None,
        future: Optional[asyncio.Future[Msg]] = None,
        max_msgs: int = 0,
        pending_msgs_limit: int = DEFAULT_SUB_PENDING_MSGS_LIMIT,
        pending_bytes_limit: int = DEFAULT_SUB_PENDING_BYTES_LIMIT,
    ) -> Subscription:
        """Subscribes to a subject, which may hold the wildcards ``*`` and ``>``.

        :param queue: queue group; each message goes to one of its members.
        :param cb: coroutine function that handles the messages one after the other. Without
            it, use ``sub.messages`` or ``sub.next_msg()``.
        :param future: gets the first message instead, after which the subscription ends.
        :param max_msgs: messages after which the subscription ends; 0 for no limit.
        :param pending_msgs_limit: messages that may wait; further ones are dropped and
            reported to ``error_cb`` as :class:`nats.errors.SlowConsumerError`. 0 for no limit.
        :param pending_bytes_limit: the same in payload bytes.
        :raises nats.errors.BadSubjectError: the subject or queue group isn't well formed.
        :raises nats.errors.ConnectionClosedError: the client is closed.
        :raises nats.errors.ConnectionDrainingError: the client drains.
        :raises nats.errors.Error: ``cb`` isn't a coroutine function.
        """
        if self.options.get("skip_subject_validation"):
            if not subject:
                raise errors.BadSubjectError('""')
        else:
            check_subscribe_subject(subject or "")
            check_queue(queue or "")
        if self.is_closed:
            raise self._core.closed_error()
        if self.is_draining:
            raise errors.ConnectionDrainingError
        core = self._fastnats.native()
        core.check_loop()
        self._choose_message_class()
        subscriptions = self._fastnats.subscriptions
        sub = Subscription(
            self,
            subscriptions.new_sid(),
            subject,
            queue=queue,
            cb=cb,
            future=future,
            max_msgs=max_msgs,
            pending_msgs_limit=pending_msgs_limit,
            pending_bytes_limit=pending_bytes_limit,
        )
        sub._start()
        subscriptions.add(sub)
        subscriptions.send_subscribe(core, sub)
        return sub

    async def rtt(self, timeout: int = DEFAULT_FLUSH_TIMEOUT) -> float:
        """Returns the seconds that a PING/PONG round trip takes.

        :param timeout: seconds.
        :raises nats.errors.TimeoutError: no PONG in time.
        :raises nats.errors.BadTimeoutError: the timeout isn't positive.
        """
        self._check_round_trip(timeout)
        start = time.perf_counter()
        try:
            await self._fastnats.events.round_trip(timeout)
        except asyncio.TimeoutError:
            raise errors.TimeoutError from None
        return time.perf_counter() - start

    async def flush(self, timeout: int = DEFAULT_FLUSH_TIMEOUT) -> None:
        """Waits until the server has processed everything published so far.

        While disconnected it returns at once, as there is no server to ask.

        :param timeout: seconds.
        :raises nats.errors.FlushTimeoutError: no PONG in time.
        :raises nats.errors.BadTimeoutError: the timeout isn't positive.
        """
        self._check_round_trip(timeout)
        if not self.is_connected or not self._fastnats.events.is_reading():
            return
        try:
            await self._fastnats.events.round_trip(timeout)
        except asyncio.TimeoutError:
            raise errors.FlushTimeoutError from None

    def _check_round_trip(self, timeout: float) -> None:
        if timeout <= 0:
            raise errors.BadTimeoutError
        if self.is_closed:
            raise self._core.closed_error()
        self._fastnats.native().check_loop()

    def _websocket_transport(self) -> type[WebSocketTransport]:
        """What an application may have assigned to this module."""
        return WebSocketTransport

    async def __aenter__(self) -> Client:
        """Makes the client usable in ``async with``."""
        return self

    async def __aexit__(self, *exc_info: Any) -> None:
        """Closes the client."""
        # Not a subclass's, as in nats-py.
        await Client.close(self)

    def jetstream(self, **opts: Any) -> nats.js.JetStreamContext:
        """Returns a context for publishing to and consuming from streams.

        :param opts: see :class:`nats.js.JetStreamContext`: ``prefix``, ``domain``, ``timeout``,
            ``publish_async_max_pending``.
        """
        from nats.js.client import JetStreamContext

        return JetStreamContext(self, **opts)

    def jsm(self, **opts: Any) -> nats.js.JetStreamManager:
        """Returns a context for managing streams and consumers.

        :param opts: see :class:`nats.js.JetStreamManager`: ``prefix``, ``timeout``.
        """
        from nats.js.manager import JetStreamManager

        return JetStreamManager(self, **opts)


# Kept here: an application may replace methods on the class as well.
_NATIVE_PUBLISH = Client.publish
_NATIVE_REQUEST = Client.request
