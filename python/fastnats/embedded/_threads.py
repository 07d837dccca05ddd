"""Blocking work away from the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def run_blocking(work: Callable[[], T], undo: Callable[[], object] | None = None) -> T:
    """Runs ``work`` in a thread; when cancelled, waits for it to end, then runs ``undo``.

    A thread cannot be cancelled, so leaving early would let it go on behind the caller's back: a
    server could appear after the code that wanted it is gone.
    """
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await _settled(task)
        if undo is not None and not task.cancelled() and task.exception() is None:
            await _settled(asyncio.ensure_future(asyncio.to_thread(undo)))
        raise


async def _settled(task: asyncio.Future[T]) -> None:
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            continue
