"""Publish to a subject; a handler, an iterator and single messages on the other side."""

import asyncio

import nats
from nats.aio.msg import Msg
from nats.embedded import Server


async def main(url: str) -> None:
    nc = await nats.connect(url)

    async def handler(msg: Msg) -> None:
        print(f"handler:  {msg.subject} {msg.data.decode()} {msg.headers}")

    await nc.subscribe("greet.*", cb=handler)
    iterated = await nc.subscribe("greet.sue")
    single = await nc.subscribe("greet.joe")

    await nc.publish("greet.joe", b"hello")
    await nc.publish("greet.sue", b"hi", headers={"Language": "en"})
    await nc.flush()

    msg = await single.next_msg(timeout=1)
    print(f"next_msg: {msg.subject} {msg.data.decode()}")

    await iterated.unsubscribe(limit=1)
    async for msg in iterated.messages:
        print(f"iterator: {msg.subject} {msg.data.decode()}")

    await nc.drain()


if __name__ == "__main__":
    with Server() as server:
        asyncio.run(main(server.url))
