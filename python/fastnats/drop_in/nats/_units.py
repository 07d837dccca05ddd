"""What the wire counts in, and how it says what went wrong: durations and status codes.

Durations are seconds in Python and nanoseconds on the wire, as Go's ``time.Duration``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

NANOSECONDS = 10**9
"""Nanoseconds in a second."""

MAX_NANOSECONDS = 2**63 - 1
"""The longest duration that the server can hold."""

# All significant digits that the shortest text of a float can have.
_FLOAT_DIGITS = 17

# Codes of the errors in answers of the JetStream API.
BAD_REQUEST = 400
NOT_FOUND = 404
SERVER_ERROR = 500
SERVICE_UNAVAILABLE = 503

STATUS_HEADER = "Status"
"""The header that the parser makes of the status line of a message, as in ``NATS/1.0 503``."""

# Such statuses. Codes in them are text, as headers are.
CONTROL_STATUS = "100"
NO_MESSAGES_STATUS = "404"
REQUEST_TIMEOUT_STATUS = "408"
CONFLICT_STATUS = "409"
NO_RESPONDERS_STATUS = "503"


def to_seconds(nanoseconds: int) -> float:
    """Returns nanoseconds as seconds."""
    return nanoseconds / NANOSECONDS


def to_nanoseconds(seconds: Optional[float]) -> int:
    """Returns seconds as nanoseconds, 0 for ``None``.

    Integers are exact. A float counts as the decimal number that it is written as, without
    fractions of a nanosecond: 1.001 is 1 001 000 000 ns.
    """
    if seconds is None:
        # Go takes no null for a number.
        return 0
    if not isinstance(seconds, float):
        return int(seconds * NANOSECONDS)

    from decimal import Context, Decimal

    # A context of our own: the application may have lowered the precision of its thread.
    written = Decimal(float.__repr__(seconds))
    nanoseconds = int(written.scaleb(9, Context(prec=_FLOAT_DIGITS)))
    # The float nearest to the limit is above it; what the server sent has to go back.
    if nanoseconds > MAX_NANOSECONDS and seconds == MAX_NANOSECONDS / NANOSECONDS:
        return MAX_NANOSECONDS
    return nanoseconds


def to_timeout_nanoseconds(seconds: float) -> int:
    """Returns seconds as nanoseconds, as near as a duration that isn't negative can be."""
    return max(min(to_nanoseconds(seconds), MAX_NANOSECONDS), 0)


def status_of(headers: Optional[Mapping[str, Any]]) -> Optional[str]:
    """Returns the status among the headers of a message, ``None`` if it has none."""
    return headers.get(STATUS_HEADER) if headers else None
