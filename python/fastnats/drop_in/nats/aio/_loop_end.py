"""Noticing that the event loop of a client is closed."""

from __future__ import annotations

import asyncio
import os
import socket
import weakref
from typing import Any

from nats._core import Connection

# Seconds until the timer below is set anew. It does nothing else: some loops count milliseconds
# in 32 bits.
_RENEWED_AFTER = 1e6


class LoopEnd:
    """Tells a connection that its loop is closed.

    Nothing announces that. But a loop drops its timers when it is closed, on asyncio as on uvloop,
    and a timer is the only one to hold this object.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, core: Connection, publish_time: float
    ) -> None:
        self._loop = weakref.ref(loop)
        self._core = weakref.ref(core)
        self._publish_time = publish_time
        self._renew()

    def _renew(self) -> None:
        loop, core = self._loop(), self._core()
        if loop is not None and core is not None and not core.is_shut_down():
            core.set_loop_timer(weakref.ref(loop.call_later(_RENEWED_AFTER, self._renew)))

    def __del__(self) -> None:
        core, loop = self._core(), self._loop()
        if core is None or core.is_shut_down() or (loop is not None and not loop.is_closed()):
            return
        transport = core.leave_loop(self._publish_time)
        if transport is not None:
            _hang_up(transport)


def _hang_up(transport: Any) -> None:
    """Ends the connection of a transport whose loop can't do that any more."""
    sock = transport.get_extra_info("socket")
    number = -1 if sock is None else sock.fileno()
    if number < 0:
        return
    with socket.socket(fileno=os.dup(number)) as duplicate:
        try:
            duplicate.shutdown(socket.SHUT_RDWR)
        except OSError:
            # The server was faster.
            pass
