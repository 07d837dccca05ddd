"""Limits as the core and the server count them."""

from __future__ import annotations

from typing import Union

_MOST = 2**63 - 1
# Messages that a server counts up to; it takes a larger limit for none that is left.
MOST_MESSAGES = 999_999_999


def message_limit(messages: Union[int, float]) -> int:
    """After how many messages a subscription ends, as the core counts them; 0 for never."""
    limit = max(whole(messages), 0)
    return limit if limit <= MOST_MESSAGES else 0


def whole(limit: Union[int, float]) -> int:
    """A limit as the core counts it, which knows neither fractions nor infinity."""
    if limit >= _MOST:
        return _MOST
    return -_MOST if limit <= -_MOST else int(limit)
