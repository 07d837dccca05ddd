"""Drain on shutdown: messages that have arrived are handled before the client closes."""

import asyncio

import nats
from nats.aio.msg import Msg
from nats.embedded import Server


async def main(url: str) -> None:
    closed = asyncio.Event()

    async def on_closed() -> None:
        closed.set()

    nc = await nats.connect(url, closed_cb=on_closed, drain_timeout=10)
    handled = 0

    async def slow(msg: Msg) -> None:
        nonlocal handled
        await asyncio.sleep(0.001)
        handled += 1

    sub = await nc.subscribe("work", cb=slow)
    for _ in range(100):
        await nc.publish("work", b"item")
    await nc.flush()

    print("waiting:", sub.pending_msgs > 0)
    await nc.drain()
    await closed.wait()
    print("handled:", handled)


if __name__ == "__main__":
    with Server() as server:
        asyncio.run(main(server.url))
