"""The task that calls the handler of a subscription."""

from __future__ import annotations

import asyncio
import inspect
import types
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from nats import errors

from ._waits import is_being_cancelled

if TYPE_CHECKING:
    from .subscription import Subscription


async def handle_messages(sub: Subscription) -> None:
    """Calls the handler of a subscription for one message after the other, until it ends."""
    core = sub._core
    run = core.run_handler
    report = sub._conn._fastnats.callbacks.report
    cb = sub._cb
    assert cb is not None
    try:
        while True:
            try:
                suspended = run(cb)
                if suspended is not None:
                    await _finish(*suspended)
                    continue
            except asyncio.CancelledError as cancelled:
                if core.stopped or is_being_cancelled():
                    break
                # Passed on, it would end the subscription without anybody knowing.
                error = errors.Error("nats: what a handler waited for was cancelled")
                error.__cause__ = cancelled
                await report(error)
                continue
            except Exception as error:
                await report(error)
                continue
            try:
                if core.stopped or sub._is_complete():
                    break
                await sub._ready()
            except Exception as error:
                # By a signal handler: nobody would know that the subscription has ended.
                await report(error)
    except asyncio.CancelledError:
        pass
    finally:
        core.handled()
        if sub._is_complete() and not core.stopped:
            sub._forget()


@types.coroutine
def _finish(handler: Any, waits_for: Any) -> Generator[Any, Any, None]:
    """Awaits a handler that the core has run up to its first suspension; `waits_for` is `None`
    where the core left an unusual awaitable alone."""
    if waits_for is not None or inspect.iscoroutine(handler):
        while True:
            try:
                yield waits_for
            except BaseException as error:
                try:
                    waits_for = handler.throw(error)
                except StopIteration:
                    return
            else:
                break
    yield from handler.__await__()
