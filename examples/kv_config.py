"""Configuration in a key-value bucket, watched for changes."""

import asyncio

import nats
from nats.embedded import Server
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError


async def main(url: str) -> None:
    async with await nats.connect(url) as nc:
        js = nc.jetstream()
        config = await js.create_key_value(bucket="config", history=5)
        await config.put("log.level", b"info")
        revision = await config.put("workers", b"4")

        watcher = await config.watchall()
        async for entry in watcher:
            if entry is None:
                break
            print("start:  ", entry.key, "=", entry.value.decode())

        await config.update("workers", b"8", last=revision)
        try:
            await config.update("workers", b"16", last=revision)
        except KeyWrongLastSequenceError:
            print("conflict: somebody else has changed it")
        await config.delete("log.level")
        for _ in range(2):
            entry = await watcher.updates(timeout=1)
            print("change: ", entry.key, "=", entry.operation or entry.value.decode())
        await watcher.stop()

        try:
            await config.get("log.level")
        except KeyNotFoundError:
            print("gone:    log.level")
        revisions = await config.history("workers")
        print("history:", [entry.value.decode() for entry in revisions if entry.value])


if __name__ == "__main__":
    with Server(jetstream=True) as server:
        asyncio.run(main(server.url))
