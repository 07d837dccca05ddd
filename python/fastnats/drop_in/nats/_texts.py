"""Words that texts of errors and log lines are made of."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol, TypeVar


class _Detailed(Protocol):
    details: str


_E = TypeVar("_E", bound=_Detailed)


def reason_of(error: BaseException) -> str:
    """Returns what an error says, in a form that fits into a sentence."""
    text = str(error).removeprefix("nats: ")
    if not text and isinstance(error, asyncio.TimeoutError):
        return "timed out"
    return text or type(error).__name__


def with_details(error: _E, details: str, **attributes: Any) -> _E:
    """Returns an error, with details.

    :param details: what the error is about; its text ends with it.
    :param attributes: attributes of its class that say the same.
    """
    error.details = details
    for name, value in attributes.items():
        setattr(error, name, value)
    return error
