"""What is still to be sent when a client is closed arrives, however slowly the server reads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.embedded import Server
from support.carriers import CARRIERS, carrier
from support.connecting import Connect
from support.waiting import PATIENCE, within

pytestmark = pytest.mark.usefixtures("driver")

# More than the buffers of two sockets take.
COUNT, SIZE = 60, 400_000

Given = tuple[Server, str, dict[str, Any]]


@pytest.fixture(params=CARRIERS)
async def given(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Given]:
    async with carrier(request.param, tmp_path) as found:
        yield found


@pytest.fixture(autouse=True)
def long_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the two seconds that clients give the server, which a busy machine needs for itself."""
    monkeypatch.setattr("nats.aio._closing._CLOSE_LINGER", PATIENCE)
    monkeypatch.setattr("nats.aio._link.asyncio._LINGER", PATIENCE)


async def publish(nc: Any) -> None:
    for number in range(COUNT):
        await nc.publish("last.words", b"%d " % number + bytes(SIZE))


async def assert_all_arrive(sub: Any) -> None:
    datas = [(await sub.next_msg(timeout=PATIENCE)).data for _ in range(COUNT)]
    assert [int(data.split()[0]) for data in datas] == list(range(COUNT))
    assert {len(data.partition(b" ")[2]) for data in datas} == {SIZE}


async def test_close_waits_for_a_slow_reader(given: Given, connect: Connect) -> None:
    server, url, options = given
    listener = await connect(url, **options)
    sub = await listener.subscribe("last.words")
    await within(listener.flush())
    nc = await connect(url, **options, pending_size=1 << 30)
    server.pause()
    try:
        await publish(nc)
        closing = asyncio.create_task(nc.close())
        # As far as it comes without the server.
        await asyncio.wait([closing], timeout=0.2)
        assert not closing.done()
    finally:
        server.resume()
    await within(closing)
    await assert_all_arrive(sub)


async def test_a_program_may_end_right_after_close(given: Given, connect: Connect) -> None:
    server, url, options = given
    listener = await connect(url, **options)
    sub = await listener.subscribe("last.words")
    await within(listener.flush())
    closing, make_loop = threading.Event(), type(asyncio.get_running_loop())

    async def main() -> None:
        nc = await nats.connect(url, **options, pending_size=1 << 30)
        server.pause()
        await publish(nc)
        asyncio.get_running_loop().call_soon(closing.set)
        await nc.close()

    def program() -> None:
        loop = make_loop()
        try:
            loop.run_until_complete(main())
        finally:
            closing.set()
            loop.close()

    running = asyncio.create_task(asyncio.to_thread(program))
    try:
        assert await asyncio.to_thread(closing.wait, PATIENCE)
    finally:
        server.resume()
    await within(running)
    await assert_all_arrive(sub)
