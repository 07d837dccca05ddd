"""Telling of failures, and of connections that come and go."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator
from contextlib import contextmanager

from ._waits import is_being_cancelled

# Failures, where programs written for nats-py look for them.
logger = logging.getLogger("nats.aio.client")
# Connections that come and go.
connection_log = logging.getLogger("nats")


async def default_error_callback(ex: Exception) -> None:
    """Logs errors for which there is no `error_cb`."""
    logger.error("nats: encountered error", exc_info=ex)


@contextmanager
def contained(message: str) -> Generator[None, None, None]:
    """Logs what a callback raises instead of passing it on.

    So it does with the cancellation of something that the callback has waited for, but not with
    that of the task in which it runs.
    """
    try:
        yield
    except asyncio.CancelledError as failure:
        if is_being_cancelled():
            raise
        logger.error(message, exc_info=failure)
    except Exception as failure:
        logger.error(message, exc_info=failure)
