"""Starting and stopping, by hand or by ``with``, with an event loop or without."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import TYPE_CHECKING

from ._threads import run_blocking

if TYPE_CHECKING:
    from typing_extensions import Self


class Startable(ABC):
    """What a server and a cluster have in common."""

    @abstractmethod
    def start(self) -> Self:
        """Starts it; one that is started is left alone."""

    @abstractmethod
    def stop(self, timeout: float = 10.0) -> None:
        """Stops it, within ``timeout`` seconds."""

    async def astart(self) -> Self:
        """``start`` without blocking the event loop; stops again when cancelled."""
        return await run_blocking(self.start, undo=self.stop)

    async def astop(self, timeout: float = 10.0) -> None:
        """``stop`` without blocking the event loop.

        :param timeout: seconds, as for ``stop``.
        """
        await run_blocking(lambda: self.stop(timeout))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await self.astart()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.astop()
