"""Streams and consumers: created, inspected, changed and removed, with keywords or objects."""

import asyncio

import nats
from nats.embedded import Server
from nats.js.api import ConsumerConfig, RetentionPolicy, StreamConfig
from nats.js.errors import NotFoundError


async def main(url: str) -> None:
    async with await nats.connect(url) as nc:
        js = nc.jetstream()

        await js.add_stream(name="orders", subjects=["orders.*"], max_age=3600, storage="memory")
        config = StreamConfig(name="jobs", subjects=["jobs"], retention=RetentionPolicy.WORK_QUEUE)
        await js.add_stream(config)
        print("streams: ", sorted(str(info.config.name) for info in await js.streams_info()))
        print("lookup:  ", await js.find_stream_name_by_subject("orders.new"))

        config.max_msgs = 1000
        updated = await js.update_stream(config)
        print("limit:   ", updated.config.max_msgs)

        await js.add_consumer("orders", ConsumerConfig(durable_name="billing", ack_wait=10))
        for number in range(3):
            await js.publish("orders.new", b"%d" % number)
        info = await js.consumer_info("orders", "billing")
        print("consumer:", info.name, "has", info.num_pending, "messages to deliver")

        await js.delete_stream("orders")
        try:
            await js.stream_info("orders")
        except NotFoundError as error:
            print("deleted: ", error.description)


if __name__ == "__main__":
    with Server(jetstream=True) as server:
        asyncio.run(main(server.url))
