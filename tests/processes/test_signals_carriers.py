"""Alarms that limit time, as signal handlers that raise do, whatever carries the bytes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from nats.aio._link.websocket import _FramedTransport
from support.alarms import Alarm, Alarms
from support.carriers import CARRIERS, carrier
from support.connecting import Connect
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")

ALARMS = 30
# Long enough for a publisher to fill more than what leaves before the turn of the loop ends.
DELAY = 0.01
PAYLOAD = bytes(1000)
LAST = 1000


@pytest.fixture
def alarms() -> Iterator[Alarms]:
    alarms = Alarms()
    before = signal.signal(signal.SIGALRM, alarms.ring)
    yield alarms
    alarms.set(0)
    signal.signal(signal.SIGALRM, before)


Given = tuple[str, dict[str, Any]]


@pytest.fixture(params=CARRIERS)
async def given(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Given]:
    async with carrier(request.param, tmp_path) as (_, url, options):
        yield url, options


class Numbers:
    """Messages that are numbered."""

    def __init__(self) -> None:
        self.received: list[int] = []

    async def handle(self, msg: Any) -> None:
        assert msg.data.endswith(PAYLOAD)
        self.received.append(int(msg.data[:9]))


def numbered(number: int) -> bytes:
    return b"%09d" % number + PAYLOAD


# Where it rings between the two.
@pytest.mark.filterwarnings("ignore:coroutine 'Client.publish' was never awaited")
async def test_a_publisher_gets_every_alarm(given: Given, connect: Connect, alarms: Alarms) -> None:
    url, options = given
    numbers, events = Numbers(), Events()
    listener = await connect(url, **options)
    await listener.subscribe(
        "data", cb=numbers.handle, pending_msgs_limit=-1, pending_bytes_limit=-1
    )
    await within(listener.flush())
    nc = await connect(url, **options, **events.callbacks, pending_size=1 << 30)
    published: list[int] = []
    number = raised = 0

    # Not in the `try` itself, which doesn't cover the end of a loop in it on CPython 3.13.
    async def publish_until_it_rings(turn: int) -> None:
        nonlocal number
        alarms.set(DELAY)
        while alarms.rung == turn:
            number += 1
            await nc.publish("data", numbered(number))
            published.append(number)

    for turn in range(ALARMS):
        try:
            await publish_until_it_rings(turn)
        except Alarm:
            raised += 1
        # With a flush, with a turn of the loop, or without.
        if turn % 3 == 0:
            await within(nc.flush())
        elif turn % 3 == 1:
            await asyncio.sleep(0)
    assert (raised, alarms.rung) == (ALARMS, ALARMS)
    await within(nc.flush())
    await eventually(lambda: numbers.received and numbers.received[-1] >= published[-1])
    assert numbers.received == sorted(set(numbers.received))
    assert set(published) <= set(numbers.received)
    assert nc.is_connected
    assert (events.names, events.errors) == ([], [])


async def test_an_alarm_amid_the_writing_ends_the_connection(
    tmp_path: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How much has been written isn't known then: what follows might be taken for its rest."""
    write, contexts = _FramedTransport.write, list[dict[str, Any]]()
    interrupted: list[bytes] = []

    def write_interrupted(self: _FramedTransport, data: bytes) -> None:
        if b"PUB" in data and not interrupted:
            interrupted.append(data)
            raise Alarm
        write(self, data)

    monkeypatch.setattr(_FramedTransport, "write", write_interrupted)
    asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts.append(context))
    async with carrier("ws", tmp_path) as (server, url, options):
        numbers, events = Numbers(), Events()
        listener = await connect(server)
        await listener.subscribe("data", cb=numbers.handle)
        await listener.flush()
        nc = await connect(url, **options, **EAGER, **events.callbacks)
        # Of which the first piece is lost, not what was still pending.
        for number in range(LAST):
            await nc.publish("data", numbered(number))
        await events.wait("reconnected")
        await nc.publish("data", numbered(LAST))
        await within(nc.flush())
        await eventually(lambda: numbers.received and numbers.received[-1] == LAST)
        lost = interrupted[0].count(b"PUB data")
        if not interrupted[0].endswith(b"\r\n"):
            # The last one was cut: the server can't have it, so that it was sent again.
            lost -= 1
        assert 0 < lost < LAST
        assert numbers.received == list(range(lost, LAST + 1))
        assert events.names == ["disconnected", "reconnected"]
    assert [type(context["exception"]) for context in contexts] == [Alarm]


async def test_a_publisher_without_limit_lets_the_loop_write(
    given: Given, connect: Connect
) -> None:
    url, options = given
    numbers = Numbers()
    listener = await connect(url, **options)
    await listener.subscribe(
        "data", cb=numbers.handle, pending_msgs_limit=-1, pending_bytes_limit=-1
    )
    await within(listener.flush())
    nc = await connect(url, **options, pending_size=0)
    most = 0
    for number in range(6000):
        await nc.publish("data", numbered(number))
        most = max(most, nc.pending_data_size)
    if options or not url.startswith("nats:"):
        # Else the client may write to its socket itself.
        assert 1 << 16 < most < 5 << 19
    await within(nc.flush())
    await eventually(lambda: len(numbers.received) == 6000)
    assert numbers.received == list(range(6000))
