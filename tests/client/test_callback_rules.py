"""The callbacks of a client by themselves: what is logged and what is passed on."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

import pytest
from nats.aio._callbacks import Callbacks, logged

NAMES = (
    "error_cb",
    "disconnected_cb",
    "closed_cb",
    "discovered_server_cb",
    "reconnected_cb",
    "lame_duck_mode_cb",
)


def none() -> dict[str, Any]:
    return dict.fromkeys(NAMES)


async def fail(*_: Any) -> None:
    raise ValueError("by the callback")


async def test_errors_go_to_the_log_where_nobody_wants_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    callbacks = Callbacks()
    callbacks.assign(none())
    assert not callbacks.has_error_cb
    await callbacks.report(ValueError("nobody's"))
    assert caplog.record_tuples == [
        ("nats.aio.client", logging.ERROR, "nats: encountered error"),
    ]


async def test_what_a_callback_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    callbacks = Callbacks()
    callbacks.assign({**none(), "error_cb": fail, "closed_cb": fail})
    assert callbacks.has_error_cb
    await callbacks.report(ValueError("an error"))
    await callbacks.call(callbacks.closed_cb)
    await callbacks.call(callbacks.reconnected_cb)
    assert [record.getMessage() for record in caplog.records] == [
        "nats: error callback failed",
        "nats: callback failed",
    ]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="a task can't tell who is cancelled")
async def test_what_a_callback_waited_for_was_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    waited_for = asyncio.get_running_loop().create_future()
    waited_for.cancel()
    with logged("nats: callback failed"):
        await waited_for
    assert [record.getMessage() for record in caplog.records] == ["nats: callback failed"]


async def test_cancellation_of_the_task_itself() -> None:
    async def sleep() -> None:
        with logged("nats: callback failed"):
            await asyncio.sleep(60)

    task = asyncio.get_running_loop().create_task(sleep())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
