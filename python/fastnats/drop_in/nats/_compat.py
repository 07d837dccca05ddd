"""Spellings that other documents have beside nats-py's own, for scripts written after those.

`sub.pending_msgs()` works beside `sub.pending_msgs`, `sub.subject()` beside `sub.subject`.
docs/differences.md lists all of them; they live here so that the rest reads like nats-py.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Coroutine, Generator
from typing import Any, Optional, TypeVar

from .errors import Error, InvalidCallbackTypeError

_T = TypeVar("_T")

# Bytes of a chunk that `async for` yields of an object.
_PIECE = 128 * 1024


def check_callback(callback: Any) -> None:
    """:raises nats.errors.InvalidCallbackTypeError: it isn't a coroutine function."""
    if callback and not inspect.iscoroutinefunction(callback):
        raise InvalidCallbackTypeError


def _callback(name: str) -> Any:
    """Returns a property for an option of `connect()`, with the check that `connect()` makes."""
    attribute = f"_{name}"

    def get(self: Any) -> Any:
        return getattr(self, attribute)

    def set(self: Any, callback: Any) -> None:
        check_callback(callback)
        setattr(self, attribute, callback)

    return property(get, set, doc=f"The option ``{name}`` of :meth:`Client.connect`.")


class CallableInt(int):
    """An int that returns itself when called; pickles and copies to a plain int."""

    def __call__(self) -> int:
        return int(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return int, (int(self),)


class CallableStr(str):
    """A str that returns itself when called; pickles and copies to a plain str."""

    __slots__ = ()

    def __call__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return self[:]

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (self[:],)


class NoReplySubjectError(Error, ValueError):
    """`Msg.respond` without a reply subject: nats-py's `Error`, and a `ValueError` as well."""


class AckTexts:
    """The acknowledgement payloads as text, beside the bytes of `Msg.Ack`."""

    ACK = "+ACK"
    NAK = "-NAK"
    PROGRESS = "+WPI"
    TERM = "+TERM"


class AssignableCallbacks:
    """Lets the client's callbacks be assigned after `connect()`, as `nc.error_cb = …`."""

    error_cb = _callback("error_cb")
    disconnected_cb = _callback("disconnected_cb")
    reconnected_cb = _callback("reconnected_cb")
    closed_cb = _callback("closed_cb")
    discovered_server_cb = _callback("discovered_server_cb")


class ReadableResult:
    """`await result.read()` and `async for chunk in result` beside `result.data`."""

    data: Optional[bytes]

    async def read(self) -> bytes:
        """Returns the whole content, however often it is called."""
        return self.data or b""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        data = self.data or b""
        for start in range(0, len(data), _PIECE):
            yield data[start : start + _PIECE]


class Listing(Coroutine[Any, Any, list[_T]]):
    """`async for item in store.list()` beside `await store.list()`."""

    def __init__(self, coroutine: Coroutine[Any, Any, list[_T]]) -> None:
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, list[_T]]:
        return self._coroutine.__await__()

    def send(self, value: Any) -> Any:
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        return self._coroutine.throw(*error)

    def close(self) -> None:
        self._coroutine.close()

    async def __aiter__(self) -> AsyncIterator[_T]:
        for item in await self._coroutine:
            yield item
