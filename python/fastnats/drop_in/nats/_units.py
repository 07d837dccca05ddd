"""Durations: seconds in Python, nanoseconds on the wire."""

from __future__ import annotations

from typing import Optional

NANOSECONDS = 10**9
"""Nanoseconds in a second."""

# Durations are Go's `time.Duration` on the server.
MAX_NANOSECONDS = 2**63 - 1
# All significant digits that the shortest text of a float can have.
_FLOAT_DIGITS = 17


def to_nanoseconds(seconds: Optional[float]) -> int:
    """Returns seconds as nanoseconds, 0 for ``None``.

    Integers are exact. Of a float it is the decimal number it is written as that counts, to
    which fractions of a nanosecond don't belong: 1.001 are 1 001 000 000 ns.
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
