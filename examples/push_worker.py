"""A push consumer delivers to a group of handlers; what isn't acknowledged comes again."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import nats
from nats.aio.msg import Msg
from nats.embedded import Server
from nats.js.api import ConsumerConfig

ORDERS = 100


async def main(url: str) -> None:
    async with await nats.connect(url) as nc:
        js = nc.jetstream()
        await js.add_stream(name="orders", subjects=["orders.*"], storage="memory")
        handled: Counter[str] = Counter()
        finished = asyncio.Event()

        def member(name: str) -> Callable[[Msg], Awaitable[None]]:
            async def handle(msg: Msg) -> None:
                handled[name] += 1
                await msg.ack()
                if handled.total() == ORDERS:
                    finished.set()

            return handle

        config = ConsumerConfig(ack_wait=5)
        for name in ("first", "second"):
            await js.subscribe(
                "orders.*", queue="billing", cb=member(name), config=config, manual_ack=True
            )
        for number in range(ORDERS):
            await js.publish("orders.new", b"%d" % number)
        await asyncio.wait_for(finished.wait(), 10)
        print("handled:", handled.total(), "by", len(handled), "members")
        await nc.flush()
        info = await js.consumer_info("orders", "billing")
        print("unacknowledged:", info.num_ack_pending)


if __name__ == "__main__":
    with Server(jetstream=True) as server:
        asyncio.run(main(server.url))
