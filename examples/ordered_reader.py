"""An ordered consumer reads a stream from its start, in order, each message once."""

import asyncio

import nats
from nats.embedded import Server


async def main(url: str) -> None:
    async with await nats.connect(url) as nc:
        js = nc.jetstream()
        await js.add_stream(name="log", subjects=["log"], storage="memory")
        for number in range(1000):
            await js.publish_async("log", b"%d" % number)
        await js.publish_async_completed()

        reader = await js.subscribe("log", ordered_consumer=True)
        lines = []
        async for msg in reader.messages:
            lines.append(int(msg.data))
            if msg.metadata.num_pending == 0:
                break
        await reader.unsubscribe()
        print(f"read {len(lines)} lines, in order: {lines == sorted(lines)}")


if __name__ == "__main__":
    with Server(jetstream=True) as server:
        asyncio.run(main(server.url))
