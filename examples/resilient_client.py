"""Callbacks for what happens to a connection, here while its server restarts."""

import asyncio

import nats
from nats.embedded import Server


async def main(server: Server) -> None:
    disconnected = asyncio.Event()
    reconnected = asyncio.Event()

    async def on_error(error: Exception) -> None:
        print("error:       ", error)

    async def on_disconnected() -> None:
        print("disconnected")
        disconnected.set()

    async def on_reconnected() -> None:
        print("reconnected")
        reconnected.set()

    async def on_closed() -> None:
        print("closed")

    nc = await nats.connect(
        server.url,
        reconnect_time_wait=0.1,
        max_reconnect_attempts=-1,
        error_cb=on_error,
        disconnected_cb=on_disconnected,
        reconnected_cb=on_reconnected,
        closed_cb=on_closed,
    )
    sub = await nc.subscribe("news")
    await nc.flush()

    await server.ashutdown()
    await disconnected.wait()
    await nc.publish("news", b"written while disconnected")
    print("pending bytes:", nc.pending_data_size)

    await server.astart()
    await asyncio.wait_for(reconnected.wait(), 10)
    msg = await sub.next_msg(timeout=5)
    print("received:    ", msg.data.decode())
    print("reconnects:  ", nc.stats["reconnects"])
    await nc.close()


if __name__ == "__main__":
    with Server() as server:
        asyncio.run(main(server))
