"""What tests of pull subscriptions share."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from support.waiting import within


async def fill(js: Any, count: int, start: int = 0) -> None:
    """Publish numbers that follow one another."""
    futures = [await js.publish_async("s.a", b"%d" % n) for n in range(start, start + count)]
    await within(js.publish_async_completed(), 20)
    assert [future.exception() for future in futures] == [None] * count


def numbers(msgs: list[Any]) -> list[int]:
    return [int(msg.data) for msg in msgs]


async def until(look: Callable[[], Awaitable[object]]) -> None:
    """Wait until what the server says is so."""

    async def ask() -> None:
        while True:
            if await look():
                return
            await asyncio.sleep(0.005)

    await within(ask())


async def waiting(sub: Any, count: int) -> None:
    """Wait until so many requests wait at the server."""

    async def look() -> bool:
        return bool((await sub.consumer_info()).num_waiting == count)

    await until(look)


async def limited_consumer(nc: Any, name: str, **limits: Any) -> None:
    """Add a consumer of the stream S with settings that ``ConsumerConfig`` may not know."""
    config = {"durable_name": name, "ack_policy": "explicit", **limits}
    request = json.dumps({"stream_name": "S", "config": config}).encode()
    reply = await nc.request(f"$JS.API.CONSUMER.DURABLE.CREATE.S.{name}", request, timeout=5)
    assert b'"error"' not in reply.data, reply.data


class Timer:
    def __enter__(self) -> Timer:
        self.start = time.monotonic()
        return self

    def __exit__(self, *args: object) -> None:
        self.seconds = time.monotonic() - self.start
