"""What this process takes from the system."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psutil

MEGABYTE = 1024 * 1024
PROCESS = psutil.Process()


@dataclass(frozen=True)
class Usage:
    """Bytes of resident memory, open descriptors, threads."""

    memory: int
    descriptors: int
    threads: int

    @classmethod
    def now(cls) -> Usage:
        gc.collect()
        return cls(
            int(PROCESS.memory_info().rss), int(PROCESS.num_fds()), int(PROCESS.num_threads())
        )

    @classmethod
    async def at_rest(cls, *clients: Any, before: Usage | None = None) -> Usage:
        """Without what is needed only now and then, for which a busy machine may take longer:
        what was in use ``before`` is waited for.

        While its I/O thread reads, a client has one descriptor more; a little light traffic has
        the thread give the socket back to the loop.
        """
        seen: list[Usage] = []
        while len(seen) < 20 or (
            before is not None
            and len(seen) < 400
            and (seen[-1].descriptors > before.descriptors or seen[-1].threads > before.threads)
        ):
            for nc in clients:
                await nc.flush()
            await asyncio.sleep(0.025)
            seen.append(cls.now())
        return cls(
            seen[-1].memory,
            min(usage.descriptors for usage in seen),
            min(usage.threads for usage in seen),
        )


class Ticker:
    """How long the loop has kept a task waiting."""

    interval = 0.005

    def __init__(self) -> None:
        self.ticks = 0
        self.longest = 0.0
        """Seconds between two ticks."""

    @asynccontextmanager
    async def ticking(self) -> AsyncIterator[Ticker]:
        task = asyncio.create_task(self._tick())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _tick(self) -> None:
        last = time.monotonic()
        while True:
            await asyncio.sleep(self.interval)
            now = time.monotonic()
            self.longest = max(self.longest, now - last)
            self.ticks += 1
            last = now
