"""A publisher that is faster than its server, which has stopped reading."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from chaos.usage import Ticker, Usage
from nats.aio.client import Client
from nats.embedded import Server
from support.waiting import eventually

PAYLOAD = bytes(4096)
PUBLISHERS = 10
PENDING_SIZE = 4 * 1024 * 1024
# Seconds in which what was held back has to arrive.
CATCH_UP = 60.0


async def run_pressure(server: Server, driver: str, seconds: float) -> dict[str, Any]:
    """Have publishers wait for a frozen server for so long, then let it go on; returns figures."""
    clients: list[Any] = []
    for _ in range(2):
        nc = Client()
        nc._driver = driver  # type: ignore[misc]
        await nc.connect(server.url, pending_size=PENDING_SIZE, max_outstanding_pings=1000)
        clients.append(nc)
    nc, receiver = clients
    received = published = waiting = 0
    over = asyncio.Event()

    async def count(msg: Any) -> None:
        nonlocal received
        received += 1

    async def publish() -> None:
        nonlocal published, waiting
        while not over.is_set():
            waiting += 1
            # Nobody else sees this count unless the publisher waits.
            await nc.publish("data", PAYLOAD)
            waiting -= 1
            published += 1

    await receiver.subscribe("data", cb=count, pending_bytes_limit=0, pending_msgs_limit=0)
    await receiver.flush()
    before = peak = Usage.now().memory
    largest = 0
    ticker = Ticker()
    server.pause()
    try:
        async with ticker.ticking():
            publishing = [asyncio.create_task(publish()) for _ in range(PUBLISHERS)]
            await eventually(lambda: waiting == PUBLISHERS, "all publishers wait", CATCH_UP)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                largest = max(largest, nc.pending_data_size)
                peak = max(peak, Usage.now().memory)
                await asyncio.sleep(seconds / 20)
            stuck = waiting
    finally:
        over.set()
        server.resume()
    await asyncio.wait_for(asyncio.gather(*publishing), CATCH_UP)
    await eventually(lambda: received == published, f"{published} messages arrive", CATCH_UP)
    figures = {
        "seconds": seconds,
        "published": published,
        "received": received,
        "waiting_publishers": stuck,
        "pending_size": PENDING_SIZE,
        "largest_pending": largest,
        "memory_growth": peak - before,
        "ticks": ticker.ticks,
        "longest_gap": round(ticker.longest, 3),
        "reconnects": nc.stats["reconnects"],
    }
    for each in clients:
        await each.close()
    return figures
