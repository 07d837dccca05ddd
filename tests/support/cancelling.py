"""Cancelling at every point, and what has to hold afterwards."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from support.handlers import echo, ignore
from support.waiting import eventually, within

TIMEOUT = 30.0
# More turns of the loop than any of the operations needs on an idle machine.
TURNS = range(14)


async def cancel_after(turns: int, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """Run a coroutine for so many turns of the loop, then cancel it and wait for its end."""
    task = asyncio.ensure_future(coroutine)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await ended(task)
    return task


async def ended(task: asyncio.Task[Any]) -> None:
    done, _ = await asyncio.wait([task], timeout=1)
    if not done:
        # Again, so that it doesn't get in the way of what follows.
        task.cancel()
        await asyncio.wait([task], timeout=1)
    assert done, f"goes on after it was cancelled: {task}"
    # Cancelled or completed, but nothing else.
    assert task.cancelled() or task.exception() is None


async def serve(nc: Any) -> None:
    """Answer requests to `echo`, and take those to `silence`."""

    await nc.subscribe("echo", cb=echo)
    await nc.subscribe("silence", cb=ignore)
    await nc.flush()


async def assert_works(nc: Any) -> None:
    for old_style in (False, True):
        reply = await within(nc.request("echo", b"hi", timeout=TIMEOUT, old_style=old_style))
        assert reply.data == b"hi"
    await within(nc.flush())


@contextlib.asynccontextmanager
async def nothing_stays(nc: Any) -> AsyncIterator[None]:
    """The client works afterwards and holds no more entries than it did before."""
    await assert_works(nc)
    census, subs, tasks = nc._core.census(), set(nc._subs), asyncio.all_tasks()
    yield
    await eventually(
        lambda: nc._core.census() == census, f"{census} (now {nc._core.census()})", TIMEOUT
    )
    assert set(nc._subs) == subs
    await assert_works(nc)
    assert nc._core.census() == census
    await eventually(lambda: asyncio.all_tasks() <= tasks, "no task is left", TIMEOUT)
