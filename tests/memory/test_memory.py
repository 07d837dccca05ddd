"""Messages that are kept or queued keep little more than themselves in memory."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from nats.embedded import Server

# A script with `MAIN`, whose last part is what is measured: `pub` publishes to `nc`, and between
# small messages large ones fill the read buffers.
SCRIPT = """
import asyncio, gc, sys, nats
ROUNDS = 1500
LARGE = bytes(30_000)

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6

async def drop(msg):
    msg.data

async def publish_between_noise(pub, nc, publish):
    for i in range(ROUNDS):
        await publish(i)
        await pub.publish("noise", LARGE)
        await pub.publish("noise", LARGE)
        if i % 20 == 19:
            await pub.flush()
            await nc.flush()

async def main():
    nc, pub = await nats.connect(sys.argv[1]), await nats.connect(sys.argv[1])
    js = nc.jetstream()
    await nc.subscribe("noise", cb=drop, pending_bytes_limit=1 << 40)
    kept = []
    async def small(i):
        await pub.publish("small", b"small")
    async def small_with_more(i):
        await pub.publish("small", b"small", reply="to", headers={"Key": "value"})
MAIN
    gc.collect()
    print(len(kept), round(resident() - before))
    await nc.close()
    await pub.close()

asyncio.run(main())
"""

START = """
    await nc.flush()
    gc.collect()
    before = resident()
"""

CALLBACK = f"""
    async def keep(msg):
        kept.append(msg)
    await nc.subscribe("small", cb=keep)
    {START}
    await publish_between_noise(pub, nc, small)
"""
SUSPENDING = f"""
    async def keep(msg):
        await asyncio.sleep(0)
        kept.append(msg)
    await nc.subscribe("small", cb=keep)
    {START}
    await publish_between_noise(pub, nc, small_with_more)
    while len(kept) < ROUNDS:
        await asyncio.sleep(0.01)
"""
ITERATOR = f"""
    sub = await nc.subscribe("small")
    async def keep():
        async for msg in sub.messages:
            kept.append(msg)
    task = asyncio.create_task(keep())
    {START}
    await publish_between_noise(pub, nc, small_with_more)
    while len(kept) < ROUNDS:
        await asyncio.sleep(0.01)
"""
NEXT_MSG = f"""
    sub = await nc.subscribe("small")
    {START}
    async def publish(i):
        await small(i)
        await pub.flush()
        kept.append(await sub.next_msg(10))
    await publish_between_noise(pub, nc, publish)
"""
REQUESTS = f"""
    async def answer(msg):
        await msg.respond(b"reply")
    await pub.subscribe("service", cb=answer)
    await pub.flush()
    {START}
    async def request(i):
        kept.append(await nc.request("service", b"", timeout=10))
    await publish_between_noise(pub, nc, request)
"""
FETCH = f"""
    await js.add_stream(name="S", subjects=["small"])
    config = nats.js.api.ConsumerConfig(max_ack_pending=-1)
    sub = await js.pull_subscribe("small", "d", config=config)
    {START}
    async def fetch(i):
        await pub.request("small", b"small", timeout=10)
        kept.extend(await sub.fetch(1, timeout=10))
    await publish_between_noise(pub, nc, fetch)
"""
# 300 messages of 100 bytes for each.
QUEUED = f"""
    subs = [await nc.subscribe(f"s.{{i}}") for i in range(40)]
    {START}
    async def publish(i):
        for j in range(8):
            await pub.publish(f"s.{{(8 * i + j) % 40}}", bytes(100))
    await publish_between_noise(pub, nc, publish)
    kept = [sub for sub in subs for _ in range(sub.pending_msgs)][:: 8]
"""
WAYS = {
    "callback": CALLBACK,
    "suspending callback": SUSPENDING,
    "iterator": ITERATOR,
    "next_msg": NEXT_MSG,
    "requests": REQUESTS,
    "fetch": FETCH,
    "queued": QUEUED,
}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("way", WAYS)
def test_small_messages_keep_no_read_buffers(js_server: Server, driver: str, way: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.replace("MAIN", WAYS[way]), js_server.url],
        env={**os.environ, "FASTNATS_DRIVER": driver},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stderr == ""
    count, megabytes = map(int, done.stdout.split())
    assert count == 1500
    # A read buffer for each, or for every other, would come to 50 MB and more.
    assert megabytes < 25
