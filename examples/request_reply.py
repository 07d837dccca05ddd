"""A service that answers requests, several at once, and a request that nobody answers."""

import asyncio

import nats
from nats.aio.msg import Msg
from nats.embedded import Server
from nats.errors import NoRespondersError


async def main(url: str) -> None:
    async with await nats.connect(url) as nc:

        async def double(msg: Msg) -> None:
            await msg.respond(str(int(msg.data) * 2).encode())

        await nc.subscribe("math.double", cb=double)

        reply = await nc.request("math.double", b"21", timeout=1)
        print("one request:   ", reply.data.decode())

        numbers = [b"%d" % number for number in range(5)]
        replies = await asyncio.gather(*(nc.request("math.double", n, timeout=1) for n in numbers))
        print("five at once:  ", [reply.data.decode() for reply in replies])

        try:
            await nc.request("math.halve", b"42", timeout=1)
        except NoRespondersError as error:
            print("nobody there:  ", error)


if __name__ == "__main__":
    with Server() as server:
        asyncio.run(main(server.url))
