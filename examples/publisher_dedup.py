"""Publishing to a stream: acknowledgements, duplicates, expectations, and many at once."""

import asyncio

import nats
from nats.embedded import Server
from nats.js.api import Header
from nats.js.errors import APIError


async def main(url: str) -> None:
    async with await nats.connect(url) as nc:
        js = nc.jetstream(publish_async_max_pending=500)
        await js.add_stream(name="orders", subjects=["orders.*"], storage="memory")

        for _ in range(2):
            ack = await js.publish("orders.new", b"one pen", headers={Header.MSG_ID: "order-1"})
            print(f"stored at {ack.seq}, duplicate: {bool(ack.duplicate)}")

        try:
            await js.publish("orders.new", b"late", headers={Header.EXPECTED_LAST_SEQUENCE: "7"})
        except APIError as error:
            print("refused: ", error.description)

        acks = [await js.publish_async("orders.new", b"%d" % number) for number in range(2000)]
        await js.publish_async_completed()
        print("many:    ", acks[-1].result().seq - acks[0].result().seq + 1, "messages stored")


if __name__ == "__main__":
    with Server(jetstream=True) as server:
        asyncio.run(main(server.url))
