"""Starting and stopping, by hand or by ``with``, with an event loop or without."""

from __future__ import annotations

from types import TracebackType
from typing import TypeVar

from ._threads import run_blocking

# Not `Self`, which programs that resolve annotations at run time don't find before Python 3.11.
_Startable = TypeVar("_Startable", bound="Startable")


class Startable:
    """What a server and a cluster have in common."""

    def start(self: _Startable) -> _Startable:
        """Starts it; one that is started is left alone."""
        raise NotImplementedError

    def stop(self, timeout: float = 10.0) -> None:
        """Stops it, within ``timeout`` seconds."""
        raise NotImplementedError

    async def astart(self: _Startable) -> _Startable:
        """``start`` without blocking the event loop; stops again when cancelled."""
        return await run_blocking(self.start, undo=self.stop)

    async def astop(self, timeout: float = 10.0) -> None:
        """``stop`` without blocking the event loop.

        :param timeout: seconds, as for ``stop``.
        """
        await run_blocking(lambda: self.stop(timeout))

    def __enter__(self: _Startable) -> _Startable:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    async def __aenter__(self: _Startable) -> _Startable:
        return await self.astart()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.astop()
