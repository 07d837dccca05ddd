"""Streams that are filled with numbers, and what is asked of their consumers."""

from __future__ import annotations

import json
import time
from typing import Any

from support.connecting import Connect
from support.waiting import eventually, within


async def begin(
    connect: Connect, count: int = 0, storage: str = "memory", **options: Any
) -> tuple[Any, Any]:
    """A client and its context, with the stream S of messages `0`, `1`, ..."""
    nc = await connect(**options)
    js = nc.jetstream()
    await js.add_stream(name="S", subjects=["s.>"], storage=storage)
    await fill(js, count)
    return nc, js


async def fill(js: Any, count: int, start: int = 0, digits: int = 1) -> None:
    """Publish numbers that follow one another, with at least so many digits."""
    numbers = range(start, start + count)
    futures = [await js.publish_async("s.a", b"%0*d" % (digits, number)) for number in numbers]
    await within(js.publish_async_completed(), 20)
    assert [future.exception() for future in futures] == [None] * count


def numbers(msgs: list[Any]) -> list[int]:
    return [int(msg.data) for msg in msgs]


async def waiting(sub: Any, count: int) -> None:
    """Wait until so many requests wait at the server."""

    async def look() -> bool:
        return bool((await sub.consumer_info()).num_waiting == count)

    await eventually(look, f"{count} requests wait")


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
