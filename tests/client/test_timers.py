"""The one timer of a client that serves all of its deadlines."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from nats import errors
from nats.embedded import Server
from support.connecting import Connect

pytestmark = pytest.mark.usefixtures("driver")

FAR = 1000.0


class Timers:
    """Timers of the running loop that are far in the future."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._handles: list[Any] = []
        loop = asyncio.get_running_loop()
        call_later = loop.call_later

        def noting(delay: float, *args: Any, **kwargs: Any) -> Any:
            handle = call_later(delay, *args, **kwargs)
            # Not that through which the end of the loop is noticed.
            if FAR / 2 < delay < 2 * FAR:
                self._handles.append(handle)
            return handle

        monkeypatch.setattr(loop, "call_later", noting)

    def count(self) -> int:
        return sum(not handle.cancelled() for handle in self._handles)


async def test_short_waits_beside_a_long_one(
    server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    timers = Timers(monkeypatch)
    nc = await connect(ping_interval=FAR / 4)
    quiet = await nc.subscribe("quiet")
    waiter = asyncio.get_running_loop().create_task(quiet.next_msg(timeout=FAR))
    await asyncio.sleep(0)
    assert timers.count() == 1
    other = await nc.subscribe("other")
    for _ in range(20):
        with pytest.raises(errors.TimeoutError):
            await other.next_msg(timeout=0.001)
    assert timers.count() == 1
    await nc.publish("quiet", b"x")
    assert (await waiter).data == b"x"


async def test_ever_earlier_deadlines(
    server: Server, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    timers = Timers(monkeypatch)
    nc = await connect(ping_interval=FAR / 4)
    subs = [await nc.subscribe(f"data.{number}") for number in range(20)]
    waiters = []
    for number, sub in enumerate(subs):
        waiters.append(asyncio.get_running_loop().create_task(sub.next_msg(FAR - number)))
        await asyncio.sleep(0)
    assert timers.count() == 1
    with pytest.raises(errors.TimeoutError):
        await (await nc.subscribe("none")).next_msg(0.001)
    assert not any(waiter.done() for waiter in waiters)
    for number, waiter in enumerate(waiters):
        await nc.publish(f"data.{number}", b"%d" % number)
        assert (await waiter).data == b"%d" % number
