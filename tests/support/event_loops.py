"""The event loops that tests run on beside asyncio's own."""

from __future__ import annotations

import asyncio
from typing import Any


def new_uvloop() -> asyncio.AbstractEventLoop:
    import uvloop

    return uvloop.new_event_loop()


def blind(base: type) -> type:
    """The loop class without `add_reader`, as the default one of Windows; its own transports
    don't need it."""

    def refuse(self: Any, *args: Any) -> None:
        raise NotImplementedError

    # The base needs its public `remove_writer` to connect sockets.
    names = ("add_reader", "remove_reader")
    return type(f"Blind{base.__name__}", (base,), dict.fromkeys(names, refuse))
