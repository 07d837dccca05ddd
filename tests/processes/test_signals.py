"""Signal handlers that raise, as alarms that limit time do, in the middle of anything.

What a signal handler would raise inside of the loop's methods is raised there by a loop that has
been tampered with, before or after the call has done its work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from nats import errors
from nats.embedded import Server
from support.alarms import Alarm
from support.connecting import Connect
from support.proxy import Proxy
from support.waiting import PATIENCE, Events, eventually

pytestmark = pytest.mark.usefixtures("driver")


class Interrupting:
    """Has the next call of a method of the loop interrupted."""

    def __init__(self, call: Callable[..., Any], after: bool) -> None:
        self._call = call
        self._after = after
        self.is_due = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        interrupt, self.is_due = self.is_due, False
        if interrupt and not self._after:
            raise Alarm
        result = self._call(*args, **kwargs)
        if interrupt:
            raise Alarm
        return result


@pytest.fixture(params=[False, True], ids=["before", "after"])
def interrupting(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Interrupting]:
    def tamper(name: str) -> Interrupting:
        loop = asyncio.get_running_loop()
        tampered = Interrupting(getattr(loop, name), request.param)
        monkeypatch.setattr(loop, name, tampered)
        return tampered

    return tamper


async def test_deadlines_after_an_interrupted_one(
    connect: Connect, interrupting: Callable[[str], Interrupting]
) -> None:
    call_later = interrupting("call_later")
    nc = await connect()
    await nc.subscribe("silent")
    sub = await nc.subscribe("other")
    uses: list[Callable[[], Awaitable[Any]]] = [
        lambda: nc.request("silent", timeout=0.1),
        lambda: sub.next_msg(timeout=0.1),
    ]
    with pytest.raises(errors.TimeoutError):
        # The first request subscribes to the inbox of replies.
        await uses[0]()
    for interrupted in uses:
        census = nc._core.census()
        call_later.is_due = True
        with pytest.raises(Alarm):
            await interrupted()
        assert nc._core.census() == census
        for use in uses:
            with pytest.raises(errors.TimeoutError):
                await asyncio.wait_for(use(), PATIENCE)


async def test_deadlines_beside_one_that_cannot_be_told(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    create_future = loop.create_future
    is_due = False

    class Interrupted(asyncio.Future[Any]):
        def set_exception(self, *_: Any) -> None:
            raise Alarm

    def create() -> asyncio.Future[Any]:
        return Interrupted(loop=loop) if is_due else create_future()

    monkeypatch.setattr(loop, "create_future", create)
    contexts: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))
    nc = await connect()
    await nc.subscribe("silent")
    is_due = True
    untold = asyncio.ensure_future(nc.request("silent", timeout=0.1))
    await asyncio.sleep(0)
    is_due = False
    for _ in range(2):
        requests = [nc.request("silent", timeout=0.1) for _ in range(3)]
        outcomes = await asyncio.wait_for(
            asyncio.gather(*requests, return_exceptions=True), PATIENCE
        )
        assert [type(outcome) for outcome in outcomes] == [errors.TimeoutError] * 3
    untold.cancel()
    assert [type(context["exception"]) for context in contexts] == [Alarm]


async def test_output_after_an_interrupted_kick(
    server: Server, connect: Connect, interrupting: Callable[[str], Interrupting]
) -> None:
    call_soon = interrupting("call_soon")
    nc, other = await connect(), await connect()
    sub = await other.subscribe("data")
    await other.flush()
    call_soon.is_due = True
    with pytest.raises(Alarm):
        await nc.publish("data", b"0")
    await nc.publish("data", b"1")
    assert [(await sub.next_msg(PATIENCE)).data for _ in range(2)] == [b"0", b"1"]


async def test_a_subscription_goes_on_after_its_wait_was_interrupted(
    server: Server, connect: Connect, interrupting: Callable[[str], Interrupting]
) -> None:
    other, events = await connect(), Events()
    create_future = interrupting("create_future")
    nc = await connect(**events.callbacks)
    received: list[bytes] = []

    async def handler(msg: Any) -> None:
        received.append(msg.data)
        # The next one is that of the subscription, which waits for more.
        create_future.is_due = msg.data == b"0"

    await nc.subscribe("data", cb=handler)
    await nc.flush()
    for number in range(3):
        await other.publish("data", b"%d" % number)
        await eventually(lambda number=number: len(received) == number + 1)
    assert received == [b"0", b"1", b"2"]
    assert [type(error) for error in events.errors] == [Alarm]


async def test_keep_alive_goes_on_after_it_was_interrupted(
    server: Server, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    class Limit(int):
        compared = 0

        def __lt__(self, other: object) -> bool:
            self.compared += 1
            if self.compared == 1:
                raise Alarm
            return super().__lt__(other)  # type: ignore[operator]

    nc = await connect(ping_interval=0.01, max_outstanding_pings=1000)
    limit = nc.options["max_outstanding_pings"] = Limit(1000)
    await eventually(lambda: limit.compared > 2)
    assert "Alarm" in caplog.text
    assert nc.is_connected


@pytest.mark.filterwarnings("ignore:coroutine 'Reconnecting._run' was never awaited")
async def test_reconnecting_is_begun_though_it_was_interrupted(
    server: Server,
    connect: Connect,
    interrupting: Callable[[str], Interrupting],
    caplog: pytest.LogCaptureFixture,
) -> None:
    events = Events()
    async with Proxy(server.url) as proxy:
        nc = await connect(proxy.url, reconnect_time_wait=0.05, **events.callbacks)
        sub = await nc.subscribe("data")
        create_task = interrupting("create_task")
        create_task.is_due = True
        proxy.cut()
        await events.wait("reconnected")
        await nc.publish("data", b"there")
        assert (await sub.next_msg(PATIENCE)).data == b"there"
        assert events.names == ["disconnected", "reconnected"]
        await nc.close()
    assert "Alarm" in caplog.text
