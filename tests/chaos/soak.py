"""Many messages of every kind: what a process takes from the system stays what it was."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from chaos.usage import MEGABYTE, Usage
from nats import errors
from nats.aio.client import Client
from nats.embedded import Server
from support.handlers import echo, ignore
from support.waiting import eventually

# Messages of one portion, by kind.
DELIVERED, REQUESTED, FETCHED, KEPT = 30_000, 10_000, 5_000, 5_000
PORTION = DELIVERED + REQUESTED + FETCHED + KEPT
WORKERS = 100
# One request in so many is never answered.
UNANSWERED = 100
# Seconds after which such a request gives up, and all others must not.
IMPATIENCE, PATIENCE = 0.02, 30.0
KEYS = 500
# Of all messages, those after which memory must not grow any more.
WARM_UP = 0.1


class Soak:
    """Sends portions of messages through two clients, and counts what comes back."""

    def __init__(self, url: str, driver: str) -> None:
        self.url = url
        self.driver = driver
        self.clients: list[Any] = []
        self.counts = dict.fromkeys(("delivered", "replies", "time_outs", "fetched", "kept"), 0)

    async def start(self) -> None:
        for _ in range(2):
            nc: Any = Client()
            nc._driver = self.driver
            await nc.connect(self.url)
            self.clients.append(nc)
        self.nc, self.other = self.clients

        async def count(msg: Any) -> None:
            self.counts["delivered"] += len(msg.data) == 128

        await self.other.subscribe("data", cb=count)
        await self.other.subscribe("echo", cb=echo)
        await self.other.subscribe("silence", cb=ignore)
        await self.other.flush()
        self.js = self.nc.jetstream(timeout=PATIENCE)
        await self.js.add_stream(name="S", subjects=["s"], max_msgs=FETCHED, storage="memory")
        self.pull = await self.js.pull_subscribe("s", durable="d")
        self.kv = await self.js.create_key_value(bucket="kv", storage="memory", direct=True)

    async def stop(self) -> None:
        for nc in self.clients:
            await nc.close()

    async def portion(self) -> None:
        await self.deliver()
        await asyncio.gather(*(self.ask(REQUESTED // WORKERS) for _ in range(WORKERS)))
        await self.fetch()
        await asyncio.gather(*(self.keep(worker) for worker in range(WORKERS)))

    async def deliver(self) -> None:
        payload = bytes(128)
        before = self.counts["delivered"]
        for start in range(0, DELIVERED, 2000):
            for _ in range(2000):
                await self.nc.publish("data", payload)
            await self.nc.flush(PATIENCE)
            await self.other.flush(PATIENCE)
            # In pieces that are handled before the next one: what waits would count as growth.
            wanted = before + start + 2000
            await eventually(lambda wanted=wanted: self.counts["delivered"] >= wanted)

    async def ask(self, count: int) -> None:
        for number in range(count):
            payload = b"%d" % number
            if number % UNANSWERED == 0:
                try:
                    await self.nc.request("silence", payload, timeout=IMPATIENCE)
                except errors.TimeoutError:
                    self.counts["time_outs"] += 1
            else:
                reply = await self.nc.request("echo", payload, timeout=PATIENCE)
                self.counts["replies"] += reply.data == payload

    async def fetch(self) -> None:
        for _ in range(0, FETCHED, 500):
            for _ in range(500):
                await self.js.publish_async("s", bytes(128))
            await self.js.publish_async_completed()
            got = 0
            while got < 500:
                for msg in await self.pull.fetch(500 - got, timeout=PATIENCE):
                    await msg.ack()
                    got += 1
            self.counts["fetched"] += got

    async def keep(self, worker: int) -> None:
        for number in range(KEPT // WORKERS // 2):
            key = f"key{(worker * 31 + number) % KEYS}"
            await self.kv.put(key, b"%d" % number)
            entry = await self.kv.get(key)
            self.counts["kept"] += bool(entry.value) + 1

    def check(self, portions: int) -> None:
        """Fail if not every message has come back."""
        unanswered = REQUESTED // UNANSWERED
        assert self.counts == {
            "delivered": portions * DELIVERED,
            "replies": portions * (REQUESTED - unanswered),
            "time_outs": portions * unanswered,
            "fetched": portions * FETCHED,
            "kept": portions * KEPT,
        }, self.counts


async def run_soak(server: Server, driver: str, messages: int, report: bool = False) -> Any:
    """Send so many messages; returns usage after the warm-up and at the end, and the counts."""
    portions = -(-messages // PORTION)
    soak = Soak(server.url, driver)
    warm = None
    try:
        await soak.start()
        for number in range(portions):
            await soak.portion()
            if warm is None and number + 1 >= portions * WARM_UP:
                warm = await Usage.at_rest(*soak.clients)
            if report and (number + 1) % 20 == 0:
                usage = Usage.now()
                print(f"{(number + 1) * PORTION} messages: {usage}", file=sys.stderr, flush=True)
        soak.check(portions)
        assert soak.nc._core.census()[:2] == (0, 0)
        return warm, await Usage.at_rest(*soak.clients, before=warm), soak.counts
    finally:
        await soak.stop()


def figures(warm: Usage, end: Usage, counts: dict[str, int]) -> dict[str, Any]:
    return {
        "messages": sum(counts.values()),
        **counts,
        "memory_mb": [round(warm.memory / MEGABYTE, 1), round(end.memory / MEGABYTE, 1)],
        "growth_percent": round((end.memory / warm.memory - 1) * 100, 2),
        "descriptors": [warm.descriptors, end.descriptors],
        "threads": [warm.threads, end.threads],
    }
