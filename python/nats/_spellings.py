"""Spellings beside nats-py's own, for scripts written after other documents.

`sub.pending_msgs()` works beside `sub.pending_msgs`, `sub.subject()` beside `sub.subject`.
docs/differences.md lists all of them; they live here so that the rest reads like nats-py.
"""

from __future__ import annotations

import inspect
from typing import Any

from .errors import Error, InvalidCallbackTypeError


def _callback(attribute: str) -> Any:
    """A property for a callback, with the check that `connect()` makes."""

    def get(client: Any) -> Any:
        return getattr(client, attribute)

    def set(client: Any, callback: Any) -> None:
        if callback and not inspect.iscoroutinefunction(callback):
            raise InvalidCallbackTypeError
        setattr(client, attribute, callback)

    return property(get, set)


class CallableInt(int):
    """An int that gives itself when called; pickles and copies to a plain int."""

    def __call__(self) -> int:
        return int(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return int, (int(self),)


class CallableStr(str):
    """A str that gives itself when called; pickles and copies to a plain str."""

    __slots__ = ()

    def __call__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return self[:]

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (self[:],)


class NoReplySubjectError(Error, ValueError):
    """`Msg.respond` without a reply subject: nats-py's `Error`, and a `ValueError`."""


class AckTexts:
    """The acknowledgement payloads as text, beside the bytes of `Msg.Ack`."""

    ACK = "+ACK"
    NAK = "-NAK"
    PROGRESS = "+WPI"
    TERM = "+TERM"


class AssignableCallbacks:
    """Lets the client's callbacks be assigned after `connect()`, as `nc.error_cb = …`."""

    error_cb = _callback("_error_cb")
    disconnected_cb = _callback("_disconnected_cb")
    reconnected_cb = _callback("_reconnected_cb")
    closed_cb = _callback("_closed_cb")
    discovered_server_cb = _callback("_discovered_server_cb")
