"""The ways of moving bytes, each bringing a connection up for the native core.

`TokioDriver` leaves reading and writing to the core's I/O thread. `AsyncioDriver` lets an
asyncio transport carry the bytes; the protocol work is the same native code. TLS and WebSocket
are asyncio's on either setting.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Union

from nats._core import Connection

from .asyncio import AsyncioDriver
from .tokio import TokioDriver

__all__ = ["DRIVERS", "AsyncioDriver", "Driver", "TokioDriver"]

Driver = Union[TokioDriver, AsyncioDriver]

DRIVERS: dict[str, Callable[[Connection], Driver]] = {
    "tokio": TokioDriver,
    "asyncio": AsyncioDriver,
}
