"""Waiting for what clients report, always with a limit."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

T = TypeVar("T")

PATIENCE = 30.0

# Clients that try again at once instead of waiting for seconds.
EAGER: dict[str, Any] = {"reconnect_time_wait": 0.05, "connect_timeout": 2}


async def within(awaitable: Awaitable[T], seconds: float = PATIENCE) -> T:
    """Return the result of an awaitable that has to end in time."""
    return await asyncio.wait_for(awaitable, seconds)


async def eventually(
    condition: Callable[..., object], what: str = "", seconds: float = PATIENCE
) -> None:
    """Return when the condition holds, which may be a coroutine function that asks a server.

    Called without arguments; it may have some that are bound by their defaults.
    """
    deadline = time.monotonic() + seconds
    while True:
        holds = condition()
        if inspect.isawaitable(holds):
            holds = await within(holds, seconds)
        if holds:
            return
        assert time.monotonic() < deadline, f"never came true: {what or condition}"
        await asyncio.sleep(0.005)


class Events:
    """Callbacks for ``connect(**events.callbacks)`` that note what they are called for."""

    def __init__(self) -> None:
        self.names: list[str] = []
        """``disconnected``, ``reconnected``, ``closed``, ``discovered`` and ``lame duck``."""
        self.errors: list[Exception] = []

    @property
    def callbacks(self) -> dict[str, Any]:
        async def error_cb(error: Exception) -> None:
            self.errors.append(error)

        return {
            "error_cb": error_cb,
            "disconnected_cb": self._noting("disconnected"),
            "reconnected_cb": self._noting("reconnected"),
            "closed_cb": self._noting("closed"),
            "discovered_server_cb": self._noting("discovered"),
            "lame_duck_mode_cb": self._noting("lame duck"),
        }

    def count(self, name: str) -> int:
        return self.names.count(name)

    async def wait(self, name: str, count: int = 1, seconds: float = PATIENCE) -> None:
        """Wait until a callback has been called so often."""
        await eventually(lambda: self.count(name) >= count, f"{count} x {name}", seconds)

    async def wait_error(self, kind: type[Exception] = Exception, text: str = "") -> Exception:
        """Wait for an error of this type with this text in it."""
        found: list[Exception] = []

        def look() -> bool:
            found[:] = [e for e in self.errors if isinstance(e, kind) and text in str(e)]
            return bool(found)

        await eventually(look, f"{kind.__name__} {text!r} in {self.errors!r}")
        return found[0]

    def _noting(self, name: str) -> Callable[[], Awaitable[None]]:
        async def callback() -> None:
            self.names.append(name)

        return callback


@contextlib.asynccontextmanager
async def disconnected(connect: Callable[..., Awaitable[Any]]) -> AsyncIterator[Any]:
    """A client that has lost its connection, and has another one after the block."""
    lost, go_on, events = asyncio.Event(), asyncio.Event(), Events()

    async def hold() -> None:
        lost.set()
        await go_on.wait()

    nc = await connect(**{**events.callbacks, "disconnected_cb": hold}, **EAGER)
    await nc.force_reconnect()
    await within(lost.wait())
    yield nc
    go_on.set()
    await events.wait("reconnected")
    await within(nc.flush())
