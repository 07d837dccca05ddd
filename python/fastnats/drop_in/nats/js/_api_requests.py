"""Requests to the JetStream API: names in them, and what they are about."""

from __future__ import annotations

import json
from typing import Any, Optional

# What the server can't have in the name of a file or in a token of a subject.
_INVALID_NAME_CHARS = ">*. /\\\t\r\n"


def _validate_name(kind: str, name: Optional[str]) -> None:
    if not name:
        raise ValueError(f"nats: {kind} name is required")
    if any(character in _INVALID_NAME_CHARS for character in name):
        raise ValueError(f"nats: invalid {kind} name: {name!r}")


def validate_stream_name(name: Optional[str]) -> None:
    """:raises ValueError: no stream can have that name."""
    _validate_name("stream", name)


def validate_consumer_name(name: Optional[str]) -> None:
    """:raises ValueError: no consumer can have that name."""
    _validate_name("consumer", name)


def encode(request: dict[str, Any]) -> bytes:
    """Returns the payload of a request."""
    return json.dumps(request).encode()


def asked_about(subject: str) -> str:
    """Returns which stream and consumer a request is about, in words.

    :param subject: without the API's prefix, such as `.CONSUMER.INFO.ORDERS.worker`.
    """
    kind, *names = subject.removeprefix(".").split(".")
    # The verb, in two tokens for `MSG.GET` and `DURABLE.CREATE`.
    names = names[2 if names[:1] in (["MSG"], ["DURABLE"]) else 1 :]
    if not names:
        return ""
    if kind == "CONSUMER" and len(names) > 1:
        return f"consumer {names[1]!r} of stream {names[0]!r}"
    return f"stream {names[0]!r}"
