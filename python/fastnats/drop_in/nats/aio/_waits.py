"""Waiting no longer than a time.

`asyncio.wait_for` forgets before Python 3.12 that it was cancelled, if what it waits for ends in
the same turn of the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Optional, TypeVar

T = TypeVar("T")


def retrieve(outcome: asyncio.Future[Any]) -> None:
    """Looks at an outcome that nobody may be left to look at."""
    if not outcome.cancelled():
        outcome.exception()


def cancel(task: Optional[asyncio.Task[Any]]) -> None:
    """Cancels a task, if there is one, but not the one that is running."""
    if task is not None and not task.done() and task is not asyncio.current_task():
        task.cancel()


def is_being_cancelled() -> bool:
    """Whether a `CancelledError` is meant for the running task, and doesn't come from something
    that it has waited for."""
    cancelling = getattr(asyncio.current_task(), "cancelling", None)
    # Before Python 3.11 a task can't tell.
    return cancelling is None or cancelling() > 0


async def wait_for(coroutine: Coroutine[Any, Any, T], timeout: Optional[float]) -> T:
    """Runs a coroutine, in a task of its own.

    :param timeout: seconds; `None` waits forever.
    :raises asyncio.TimeoutError: not done after `timeout` seconds.
    """
    task = asyncio.get_running_loop().create_task(coroutine)
    try:
        done, _ = await asyncio.wait({task}, timeout=timeout)
        if not done:
            task.cancel()
            await asyncio.wait({task})
            raise asyncio.TimeoutError
    except BaseException:
        task.cancel()
        task.add_done_callback(retrieve)
        raise
    return task.result()


async def wait_for_future(future: asyncio.Future[T], timeout: Optional[float]) -> T:
    """Waits for a future that nobody else waits for: it is cancelled along with the caller.

    :param timeout: seconds; `None` waits forever.
    :raises asyncio.TimeoutError: not done after `timeout` seconds, which the future then raises,
        too.
    """
    if timeout is None or future.done():
        return await future
    loop = asyncio.get_running_loop()
    timer = (
        loop.call_later(timeout, _expire, future)
        if timeout > 0
        else loop.call_soon(_expire, future)
    )
    try:
        # Not through anything between: the task itself knows what came first.
        return await future
    except asyncio.TimeoutError:
        # Another than the future's, which would hold the frames that hold the future.
        raise asyncio.TimeoutError from None
    finally:
        timer.cancel()
        del future


def _expire(future: asyncio.Future[Any]) -> None:
    if not future.done():
        future.set_exception(asyncio.TimeoutError())
