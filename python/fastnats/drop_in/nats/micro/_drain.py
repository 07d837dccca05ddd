"""Ending subscriptions without losing what they have received."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

from nats import errors
from nats.aio.subscription import Subscription


async def _drain(subscription: Subscription) -> None:
    try:
        await subscription.drain()
    except errors.BadSubscriptionError:
        # It has ended already.
        pass


async def drain_all(subscriptions: Iterable[Subscription], timeout: float) -> bool:
    """Drains subscriptions at the same time; returns ``False`` if the time was up and handlers were
    cancelled.

    :param timeout: seconds.
    :raises nats.errors.Error: a subscription can't be drained.
    """
    loop = asyncio.get_running_loop()
    draining = {loop.create_task(_drain(each)): each for each in subscriptions}
    if not draining:
        return True
    done, late = await asyncio.wait(draining, timeout=timeout)
    for task in late:
        with contextlib.suppress(errors.Error):
            await draining[task].unsubscribe()
        task.cancel()
    # The exceptions of all tasks are retrieved, or asyncio reports them as forgotten.
    failed = [error for error in [task.exception() for task in done] if error]
    if failed:
        raise failed[0]
    return not late
