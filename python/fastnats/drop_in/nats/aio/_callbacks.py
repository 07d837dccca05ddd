"""The callbacks of a client, and the log where there is none.

One rule: where work has to go on after a callback, what the callback raises is logged; where
somebody waits for the work, as `connect()` and `close()` do, it is passed on to them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Optional

from nats._compat import check_callback

from ._types import Callback, ErrorCallback
from ._waits import is_being_cancelled

# Failures, where programs written for nats-py look for them.
logger = logging.getLogger("nats.aio.client")
# Connections that come and go.
connection_log = logging.getLogger("nats")

_NAMES = (
    "error_cb",
    "disconnected_cb",
    "closed_cb",
    "discovered_server_cb",
    "reconnected_cb",
    "lame_duck_mode_cb",
)


async def default_error_callback(ex: Exception) -> None:
    """Logs errors for which there is no `error_cb`."""
    logger.error("nats: encountered error", exc_info=ex)


@contextmanager
def logged(message: str) -> Generator[None, None, None]:
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


def check_callbacks(options: Mapping[str, Any]) -> None:
    """:raises nats.errors.InvalidCallbackTypeError: one isn't a coroutine function."""
    for name in _NAMES:
        check_callback(options[name])


class Callbacks:
    """The six functions that an application has a client call."""

    def __init__(self) -> None:
        self.error_cb: ErrorCallback = default_error_callback
        self.disconnected_cb: Optional[Callback] = None
        self.closed_cb: Optional[Callback] = None
        self.discovered_server_cb: Optional[Callback] = None
        self.reconnected_cb: Optional[Callback] = None
        self.lame_duck_mode_cb: Optional[Callback] = None

    def assign(self, options: Mapping[str, Any]) -> None:
        """Takes the callbacks over from the options of a `connect()`."""
        for name in _NAMES:
            setattr(self, name, options[name])
        if self.error_cb is None:
            self.error_cb = default_error_callback

    @property
    def has_error_cb(self) -> bool:
        """Whether errors go to the application and not to the log."""
        return self.error_cb is not default_error_callback

    async def report(self, error: Exception) -> None:
        """Tells `error_cb`; what it raises is logged."""
        with logged("nats: error callback failed"):
            await self.error_cb(error)

    async def call(self, callback: Optional[Callback]) -> None:
        """Calls a callback, if there is one; what it raises is logged."""
        if callback is not None:
            with logged("nats: callback failed"):
                await callback()
