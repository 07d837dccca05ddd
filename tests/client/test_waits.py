"""Waiting with a limit: no cancellation is forgotten, whatever else happens in the same turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from nats.aio._waits import wait_for, wait_for_future

pytestmark = pytest.mark.usefixtures("quiet_loop")

TIMEOUT = 30.0


def future() -> asyncio.Future[Any]:
    return asyncio.get_running_loop().create_future()


async def passed_on(waited_for: asyncio.Future[Any]) -> Any:
    return await waited_for


Wait = Callable[[asyncio.Future[Any], float], Any]
WAYS: dict[str, Wait] = {
    "wait_for_future": wait_for_future,
    "wait_for": lambda waited_for, timeout: wait_for(passed_on(waited_for), timeout),
}
each_way = pytest.mark.parametrize("wait", list(WAYS.values()), ids=list(WAYS))


@each_way
@pytest.mark.parametrize("timeout", [TIMEOUT, None])
async def test_result(wait: Wait, timeout: float) -> None:
    waited_for = future()
    waiting = asyncio.ensure_future(wait(waited_for, timeout))
    await asyncio.sleep(0)
    waited_for.set_result("done")
    assert await waiting == "done"
    assert await wait(waited_for, timeout) == "done"


@each_way
async def test_error(wait: Wait) -> None:
    waited_for = future()
    waiting = asyncio.ensure_future(wait(waited_for, TIMEOUT))
    await asyncio.sleep(0)
    waited_for.set_exception(ValueError("wrong"))
    with pytest.raises(ValueError, match="wrong"):
        await waiting


@each_way
@pytest.mark.parametrize("timeout", [0.001, 0, -1])
async def test_timeout(wait: Wait, timeout: float) -> None:
    waited_for = future()
    with pytest.raises(asyncio.TimeoutError) as caught:
        await wait(waited_for, timeout)
    assert type(caught.value) is asyncio.TimeoutError
    assert str(caught.value) == ""
    assert waited_for.done(), "nobody has to bring a result any more"


@each_way
async def test_cancelling_takes_the_future_along(wait: Wait) -> None:
    waited_for = future()
    waiting = asyncio.ensure_future(wait(waited_for, TIMEOUT))
    for _ in range(3):
        await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert waiting.cancelled()
    for _ in range(3):
        await asyncio.sleep(0)
    assert waited_for.cancelled()


@each_way
@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("fails", [False, True], ids=["result", "error"])
async def test_cancelled_as_the_outcome_arrives(wait: Wait, turns: int, fails: bool) -> None:
    waited_for = future()
    waiting = asyncio.ensure_future(wait(waited_for, TIMEOUT))
    for _ in range(3):
        await asyncio.sleep(0)
    if fails:
        waited_for.set_exception(ValueError())
    else:
        waited_for.set_result("done")
    for _ in range(turns):
        await asyncio.sleep(0)
    is_in_time = waiting.cancel()
    await asyncio.wait([waiting])
    assert turns > 0 or is_in_time
    if is_in_time:
        assert waiting.cancelled()
    else:
        waiting.exception()


async def test_cancelled_as_the_time_is_up() -> None:
    waited_for = future()
    waiting = asyncio.ensure_future(wait_for_future(waited_for, 0.001))
    # Called before the task goes on: callbacks of a future run in their order.
    waited_for.add_done_callback(lambda _: waiting.cancel())
    await asyncio.wait([waiting])
    assert waiting.cancelled()
