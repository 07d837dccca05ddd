"""Names that streams, consumers, buckets and keys can have."""

from __future__ import annotations

import re
from typing import Optional

from nats._texts import with_details

from .errors import InvalidBucketNameError

# These can't be part of a token of a subject, or of the name of a file on the server.
_INVALID_NAME_CHARS = ">*. /\\\t\r\n"

VALID_BUCKET_RE = re.compile(r"^[a-zA-Z0-9_-]+$")
VALID_KEY_RE = re.compile(r"^[-/_=\.a-zA-Z0-9]+$")


def _check_name(kind: str, name: Optional[str]) -> None:
    if not name:
        raise ValueError(f"nats: {kind} name is required")
    if any(character in _INVALID_NAME_CHARS for character in name):
        raise ValueError(f"nats: invalid {kind} name: {name!r}")


def check_stream_name(name: Optional[str]) -> None:
    """:raises ValueError: no stream can have that name."""
    _check_name("stream", name)


def check_consumer_name(name: Optional[str]) -> None:
    """:raises ValueError: no consumer can have that name."""
    _check_name("consumer", name)


def consumer_text(stream: str, consumer: str) -> str:
    """Returns what the texts of errors call a consumer."""
    return f"consumer {consumer!r} of stream {stream!r}"


def check_bucket_name(bucket: Optional[str]) -> None:
    """:raises nats.js.errors.InvalidBucketNameError: no bucket or store can have that name."""
    if VALID_BUCKET_RE.match(bucket) is None:  # type: ignore[arg-type]
        details = f"{bucket!r}: a name has letters, digits, '_' and '-' only"
        raise with_details(InvalidBucketNameError(), details)
