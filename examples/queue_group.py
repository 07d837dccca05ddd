"""Three workers share the messages of a queue group; draining one of them loses nothing."""

import asyncio
from collections import Counter

import nats
from nats.aio.msg import Msg
from nats.embedded import Server

MESSAGES = 3000


async def main(url: str) -> None:
    handled: Counter[str] = Counter()
    workers = {}
    for name in ("ann", "bob", "cid"):
        workers[name] = await nats.connect(url, name=name)

        async def work(msg: Msg, name: str = name) -> None:
            handled[name] += 1

        await workers[name].subscribe("jobs", queue="workers", cb=work)
        await workers[name].flush()

    publisher = await nats.connect(url)
    for number in range(MESSAGES):
        await publisher.publish("jobs", b"%d" % number)
        if number == MESSAGES // 2:
            await publisher.flush()
            draining = asyncio.create_task(workers["cid"].drain())
    await publisher.drain()
    await draining
    await workers["ann"].drain()
    await workers["bob"].drain()

    for name in sorted(handled):
        print(f"{name} handled {'some' if handled[name] else 'no'} messages")
    print(f"{sum(handled.values())} of {MESSAGES} messages handled")
    assert sum(handled.values()) == MESSAGES


if __name__ == "__main__":
    with Server() as server:
        asyncio.run(main(server.url))
