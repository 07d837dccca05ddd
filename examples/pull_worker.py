"""Two workers share a durable pull consumer; a job that fails is delivered again."""

import asyncio

import nats
from nats.embedded import Server
from nats.errors import TimeoutError

JOBS = 20


async def worker(url: str, name: str, done: list[str]) -> None:
    async with await nats.connect(url) as nc:
        jobs = await nc.jetstream().pull_subscribe("jobs", durable="workers")
        while True:
            try:
                batch = await jobs.fetch(5, timeout=0.5)
            except TimeoutError:
                return
            for msg in batch:
                if msg.data == b"7" and msg.metadata.num_delivered == 1:
                    print(name, "fails at job 7")
                    await msg.nak()
                    continue
                await msg.ack_sync()
                done.append(msg.data.decode())


async def main(url: str) -> None:
    async with await nats.connect(url) as nc:
        js = nc.jetstream()
        await js.add_stream(name="jobs", subjects=["jobs"], retention="workqueue")
        for number in range(JOBS):
            await js.publish("jobs", b"%d" % number)

        done: list[str] = []
        await asyncio.gather(worker(url, "A", done), worker(url, "B", done))
        print(f"{len(done)} jobs done, each once: {len(set(done)) == JOBS}")
        print("left in the stream:", (await js.stream_info("jobs")).state.messages)


if __name__ == "__main__":
    with Server(jetstream=True) as server:
        asyncio.run(main(server.url))
