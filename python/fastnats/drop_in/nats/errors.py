"""Exceptions of the core client.

What is a kind of what::

    Exception
        Error
            TimeoutError (also asyncio.TimeoutError)
                FlushTimeoutError
                DrainTimeoutError
            NoRespondersError
            StaleConnectionError
                UnexpectedEOF
            OutboundBufferLimitError
            ConnectionClosedError
            NotConnectedError (also AssertionError)
            WrongLoopError (also RuntimeError)
            SecureConnRequiredError
            SecureConnWantedError
            SecureConnFailedError
            BadSubscriptionError
            BadSubjectError
            BadHeaderError
            SlowConsumerError
            BadTimeoutError
            AuthorizationError
            NoServersError
            JsonParseError
            MaxPayloadError
            ConnectionDrainingError
            ConnectionReconnectingError
            InvalidUserCredentialsError
            InvalidCallbackTypeError
            ProtocolError
            ServerNotInPoolError
            NotJSMessageError
            MsgAlreadyAckdError
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Optional

from nats._texts import reason_of

if TYPE_CHECKING:
    import nats
    import nats.aio.msg
    import nats.aio.subscription
else:
    # Where type hints are resolved at run time. The package is there by then; to import it from
    # here would be a circle.
    nats = sys.modules[__package__]

__all__ = [
    "AuthorizationError",
    "BadHeaderError",
    "BadSubjectError",
    "BadSubscriptionError",
    "BadTimeoutError",
    "ConnectionClosedError",
    "ConnectionDrainingError",
    "ConnectionReconnectingError",
    "DrainTimeoutError",
    "Error",
    "FlushTimeoutError",
    "InvalidCallbackTypeError",
    "InvalidUserCredentialsError",
    "JsonParseError",
    "MaxPayloadError",
    "MsgAlreadyAckdError",
    "NoRespondersError",
    "NoServersError",
    "NotConnectedError",
    "NotJSMessageError",
    "OutboundBufferLimitError",
    "ProtocolError",
    "SecureConnFailedError",
    "SecureConnRequiredError",
    "SecureConnWantedError",
    "ServerNotInPoolError",
    "SlowConsumerError",
    "StaleConnectionError",
    "TimeoutError",
    "UnexpectedEOF",
    "WrongLoopError",
    "asyncio",
]

# Servers that one text names; a cluster may have very many.
_NAMED = 10


def _detailed(text: str, error: Exception) -> str:
    """A text with what the error was made with, if anything, behind it."""
    return f"{text}: {error.args[0]}" if error.args else text


class Error(Exception):
    """Base of all errors of this package; also what the server reports with ``-ERR``."""


class TimeoutError(Error, asyncio.TimeoutError):
    """An operation took longer than its timeout.

    ``details`` says what JetStream was asked for; the text ends with it.
    """

    # Not in `vars()`: an error made without arguments is like nats-py's.
    details = ""

    def _text(self) -> str:
        return "nats: timeout"

    def __str__(self) -> str:
        return f"{self._text()} ({self.details})" if self.details else self._text()


class NoRespondersError(Error):
    """Nobody is subscribed to the subject of a request, which is named."""

    def __str__(self) -> str:
        return _detailed("nats: no responders available for request", self)


class StaleConnectionError(Error):
    """The server has stopped answering PINGs, or says that we have."""

    def __str__(self) -> str:
        return "nats: stale connection"


class OutboundBufferLimitError(Error):
    """No room, or no permission, to buffer a message while disconnected."""

    def __str__(self) -> str:
        return _detailed("nats: outbound buffer limit exceeded", self)


class UnexpectedEOF(StaleConnectionError):
    """The server closed the connection."""

    def __str__(self) -> str:
        return "nats: unexpected EOF"


class FlushTimeoutError(TimeoutError):
    """No PONG came back in time, or pending output didn't leave in time."""

    def __str__(self) -> str:
        return "nats: flush timeout"


class ConnectionClosedError(Error):
    """The client is closed. If it has given up, text and ``__cause__`` tell the final error."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        if self._final is not None:
            self.__cause__ = self._final

    @property
    def _final(self) -> Optional[BaseException]:
        return self.args[0] if self.args and isinstance(self.args[0], BaseException) else None

    def __str__(self) -> str:
        text = "nats: connection closed"
        return text if self._final is None else f"{text}: {reason_of(self._final)}"


class NotConnectedError(Error, AssertionError):
    """Asked of a client that has never been connected. nats-py has a bare `AssertionError`."""

    def __str__(self) -> str:
        return "nats: not connected: Client.connect must be called, and awaited, first"


class WrongLoopError(Error, RuntimeError):
    """The client belongs to another event loop than the one that runs here. Only ``publish``
    works from any loop and thread."""

    def __init__(self, is_closed: bool = False) -> None:
        self.is_closed = is_closed
        """Whether that other loop is closed."""

    def __str__(self) -> str:
        if self.is_closed:
            return (
                "nats: the event loop that the client belongs to is closed; "
                "connect() again in this one"
            )
        return (
            "nats: the client belongs to another event loop; run this there, with "
            "asyncio.run_coroutine_threadsafe(), or connect a client in this one"
        )


class SecureConnRequiredError(Error):
    """The server demands TLS."""

    def __str__(self) -> str:
        return "nats: secure connection required"


class SecureConnWantedError(Error):
    """TLS was demanded of a server that has none; an argument says which, and what to do."""

    def __str__(self) -> str:
        return _detailed("nats: secure connection not available", self)


class SecureConnFailedError(Error):
    """The TLS handshake failed."""

    def __str__(self) -> str:
        return "nats: secure connection failed"


class BadSubscriptionError(Error):
    """The subscription has ended already."""

    def __str__(self) -> str:
        return "nats: invalid subscription"


class BadSubjectError(Error):
    """A subject, reply subject or queue group that isn't well formed; it is quoted."""

    def __str__(self) -> str:
        return _detailed("nats: invalid subject", self)


class BadHeaderError(Error):
    """A header name that isn't an RFC 7230 token; kept in ``key``."""

    def __init__(self, key: str = "") -> None:
        self.key = key

    def __str__(self) -> str:
        return f"nats: invalid header: {self.key!r}" if self.key else "nats: invalid header"


class SlowConsumerError(Error):
    """A message was dropped because its subscription is over a pending limit."""

    def __init__(
        self, subject: str, reply: str, sid: int, sub: nats.aio.subscription.Subscription
    ) -> None:
        self.subject = subject
        self.reply = reply
        self.sid = sid
        self.sub = sub

    def __str__(self) -> str:
        return (
            "nats: slow consumer, messages dropped "
            f"subject: {self.subject}, sid: {self.sid}, sub: {self.sub}"
        )


class BadTimeoutError(Error):
    """A timeout that is zero or negative where a wait is needed."""

    def __str__(self) -> str:
        return "nats: timeout invalid"


class AuthorizationError(Error):
    """The server has revoked the connection's authorization."""

    def __str__(self) -> str:
        return "nats: authorization failed"


class NoServersError(Error):
    """No server of the pool is left to try.

    ``failures`` tells why: the last error of each server, by its address.
    """

    failures: Mapping[str, Exception] = MappingProxyType({})

    def __str__(self) -> str:
        reasons = [f"{address}: {reason_of(each)}" for address, each in self.failures.items()]
        if len(reasons) > _NAMED:
            reasons[_NAMED:] = [f"and {len(reasons) - _NAMED} more"]
        text = "nats: no servers available for connection"
        return f"{text}: {'; '.join(reasons)}" if reasons else text


class JsonParseError(Error):
    """The server sent JSON that can't be parsed."""

    def __str__(self) -> str:
        return "nats: connect message, json parse err"


class MaxPayloadError(Error):
    """Headers and payload are larger than the server accepts (``Client.max_payload`` bytes)."""

    def __str__(self) -> str:
        return "nats: maximum payload exceeded"


class DrainTimeoutError(TimeoutError):
    """Not all messages were handled within ``drain_timeout`` seconds."""

    def __str__(self) -> str:
        return "nats: draining connection timed out"


class ConnectionDrainingError(Error):
    """Not possible while the client drains."""

    def __str__(self) -> str:
        return "nats: connection draining"


class ConnectionReconnectingError(Error):
    """Not possible while the client is disconnected."""

    def __str__(self) -> str:
        return "nats: connection reconnecting"


class InvalidUserCredentialsError(Error):
    """A credentials file without usable credentials."""

    def __str__(self) -> str:
        return "nats: invalid user credentials"


class InvalidCallbackTypeError(Error):
    """A callback that isn't a coroutine function."""

    def __str__(self) -> str:
        return "nats: callbacks must be coroutine functions"


class ProtocolError(Error):
    """The server sent what isn't NATS protocol."""

    def __str__(self) -> str:
        return "nats: protocol error"


class ServerNotInPoolError(Error):
    """``reconnect_to_server_handler`` chose a server that isn't in the pool."""

    def __str__(self) -> str:
        return "nats: selected server is not in the pool"


class NotJSMessageError(Error):
    """A JetStream operation on a message that no stream has delivered."""

    def __str__(self) -> str:
        return "nats: not a JetStream message"


class MsgAlreadyAckdError(Error):
    """A second acknowledgement of the same message."""

    def __init__(self, msg: Optional[nats.aio.msg.Msg] = None) -> None:
        self._msg: Any = msg

    def __str__(self) -> str:
        return f"nats: message was already acknowledged: {self._msg}"
