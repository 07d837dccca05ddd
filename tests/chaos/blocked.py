"""A handler that blocks the loop for longer than the server waits for an answer to its PINGs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import nats
from chaos.usage import Ticker
from nats import errors
from nats.aio.client import Client
from nats.embedded import Server
from support.handlers import ignore
from support.waiting import Events

# The server gives a client up that answers no PING for 4 to 6 seconds, and this one would give
# the server up in the same time.
PING_INTERVAL = 2
MAX_PINGS = 2
CONFIG = f'ping_interval: "{PING_INTERVAL}s"\nping_max: {MAX_PINGS}\n'
# Messages that others publish at a time, and seconds between that.
BURST = 200
PAUSE = 0.1
TIMEOUT = 10.0
# Seconds in which everything has to be well again.
CATCH_UP = 30.0


async def run_blocked(server: Server, driver: str, seconds: float) -> dict[str, Any]:
    """Block the loop for so long while another thread publishes; returns figures."""
    events = Events()
    nc: Any = Client()
    nc._driver = driver
    await nc.connect(
        server.url,
        ping_interval=PING_INTERVAL,
        max_outstanding_pings=MAX_PINGS,
        max_reconnect_attempts=-1,
        reconnect_time_wait=0.05,
        **events.callbacks,
    )
    received: list[int] = []
    blocked = asyncio.Event()

    async def block(msg: Any) -> None:
        time.sleep(seconds)  # noqa: ASYNC251
        blocked.set()

    async def note(msg: Any) -> None:
        received.append(int(msg.data))

    try:
        await nc.subscribe("data", cb=note)
        await nc.subscribe("silence", cb=ignore)
        await nc.subscribe("block", cb=block)
        await nc.flush()
        publishing = asyncio.create_task(
            asyncio.to_thread(asyncio.run, _publish(server.url, time.monotonic() + seconds))
        )
        # Asked before the loop stops, it ends when the loop goes on.
        asked = asyncio.create_task(nc.request("silence", b"", timeout=1))
        await nc.publish("block")
        await asyncio.wait_for(blocked.wait(), seconds + TIMEOUT)
        start = time.monotonic()
        async with Ticker().ticking() as ticker:
            published = await publishing
            with contextlib.suppress(errors.TimeoutError):
                await asyncio.wait_for(asked, TIMEOUT)
            await _be_heard(nc, received, published)
            well_after = time.monotonic() - start
        numbers = [number for number in received if number < published]
        return {
            "seconds": seconds,
            "published": published,
            "received": len(numbers),
            "in_order": numbers == sorted(set(numbers)),
            "reconnects": nc.stats["reconnects"],
            "events": list(events.names),
            "errors": [repr(error) for error in events.errors],
            "well_after": round(well_after, 3),
            "longest_gap": round(ticker.longest, 3),
        }
    finally:
        await nc.close()


async def _publish(url: str, end: float) -> int:
    """Publish numbers from another thread; returns how many."""
    nc = await nats.connect(url)
    number = 0
    try:
        while time.monotonic() < end:
            for _ in range(BURST):
                await nc.publish("data", b"%d" % number)
                number += 1
            await nc.flush()
            await asyncio.sleep(PAUSE)
    finally:
        await nc.close()
    return number


async def _be_heard(nc: Any, received: list[int], number: int) -> None:
    """Publish further numbers until the client gets one itself."""
    deadline = time.monotonic() + CATCH_UP
    first = number
    while not (received and received[-1] >= first):
        assert time.monotonic() < deadline, f"nothing arrives any more: {nc.last_error!r}"
        await nc.publish("data", b"%d" % number)
        number += 1
        with contextlib.suppress(errors.FlushTimeoutError):
            await nc.flush(1)
        await asyncio.sleep(0.01)


def is_kept(driver: str, result: dict[str, Any]) -> bool:
    """Whether that is what the driver promises.

    Only the I/O thread answers while the loop is blocked. With the asyncio driver the server
    closes the connection, and what it sent after that is lost, as with any reconnect.
    """
    events = result["events"]
    if events and driver == "tokio":
        return False
    complete = result["received"] == result["published"] > 0
    ended = events and set(events) == {"disconnected", "reconnected"}
    return bool(result["in_order"] and (complete or ended))
