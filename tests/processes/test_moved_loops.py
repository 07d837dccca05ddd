"""Loops that are run in one thread at first and in another one later."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from typing import Any

import nats
import pytest
from nats import errors
from nats.embedded import Server
from support.event_loops import new_uvloop
from support.waiting import PATIENCE

pytestmark = pytest.mark.usefixtures("driver")


class Moved:
    """A client whose loop has moved to a thread, and a subscription to `data`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, url: str) -> None:
        self._loop = loop
        self._thread = threading.Thread(target=loop.run_forever)
        loop.run_until_complete(self._connect(url))
        self._thread.start()

    async def _connect(self, url: str) -> None:
        self.nc = await nats.connect(url, pending_size=10_000)
        self.sub = await self.nc.subscribe("data")
        await self.nc.flush()

    def start(self, coroutine: Coroutine[Any, Any, Any]) -> Future[Any]:
        """Have the loop run something."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """As `start`, with the result."""
        return self.start(coroutine).result(PATIENCE)

    def end(self) -> None:
        self.run(self.nc.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()


@pytest.fixture(params=["asyncio", "uvloop"])
def moved(request: pytest.FixtureRequest, server: Server) -> Iterator[Moved]:
    if request.param == "uvloop":
        pytest.importorskip("uvloop")
        loop = new_uvloop()
    else:
        loop = asyncio.SelectorEventLoop()
    moved = Moved(loop, server.url)
    yield moved
    moved.end()


def test_the_thread_that_connected_publishes(moved: Moved) -> None:
    # The loop sleeps: nothing but the message wakes it. The server's first PING comes after two
    # seconds at most, then none for minutes.
    for number in range(3):
        received = moved.start(moved.sub.next_msg(60))
        time.sleep(0.2)
        asyncio.run(moved.nc.publish("data", b"%d" % number))
        assert received.result(PATIENCE).data == b"%d" % number


def test_the_thread_that_connected_does_not_wait_for_room(moved: Moved) -> None:
    with pytest.raises(errors.OutboundBufferLimitError):
        asyncio.run(moved.nc.publish("data", bytes(20_000)))
    assert moved.nc.stats["out_msgs"] == 0


def test_the_thread_of_the_loop_waits_for_room(moved: Moved) -> None:
    async def publish() -> None:
        for _ in range(10):
            await moved.nc.publish("data", bytes(20_000))

    moved.run(publish())
    for _ in range(10):
        assert len(moved.run(moved.sub.next_msg(5)).data) == 20_000
