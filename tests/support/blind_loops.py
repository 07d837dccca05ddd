"""Event loops that can't watch descriptors, as the default one of Windows."""

from __future__ import annotations

from typing import Any


def blind(base: type) -> type:
    """The loop class without `add_reader`; its own transports don't need it."""

    def refuse(self: Any, *args: Any) -> None:
        raise NotImplementedError

    # The base needs its public `remove_writer` to connect sockets.
    names = ("add_reader", "remove_reader")
    return type(f"Blind{base.__name__}", (base,), dict.fromkeys(names, refuse))
