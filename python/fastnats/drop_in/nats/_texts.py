"""Words that texts of errors and log lines are made of."""

from __future__ import annotations

import asyncio


def reason_of(error: BaseException) -> str:
    """Returns what an error says, in a form that fits into a sentence."""
    text = str(error).removeprefix("nats: ")
    if not text and isinstance(error, asyncio.TimeoutError):
        return "timed out"
    return text or type(error).__name__
