"""A connection that is cut at every point of the protocol, byte by byte."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from nats.embedded import Server
from support.connecting import Connect
from support.handlers import ignore
from support.proxy import Proxy
from support.waiting import EAGER, eventually, within

pytestmark = pytest.mark.usefixtures("driver")

MESSAGES = 6
PAYLOAD = bytes(range(256))
# Points at which connections are cut; a stride that isn't a divisor of anything on the wire.
STRIDE = 53


class Session:
    """A client that subscribes and publishes to itself, and looks at what comes back."""

    def __init__(self) -> None:
        self.got: list[int] = []

    async def run(self, connect: Connect, proxy: Proxy) -> Any:
        async def note(msg: Any) -> None:
            # A message that was cut off must never be seen.
            assert msg.data == PAYLOAD
            self.got.append(int(msg.headers["number"]))

        nc = await connect(proxy, error_cb=ignore, max_reconnect_attempts=-1, **EAGER)
        await nc.subscribe("cut", cb=note)
        for number in range(MESSAGES):
            await nc.publish("cut", PAYLOAD, headers={"number": str(number)})
        return nc

    async def check(self, nc: Any) -> None:
        """The client is well, and nothing came twice or in another order."""
        # A message that is flushed comes back, at the latest with the second connection.
        last = MESSAGES
        while True:
            await nc.publish("cut", PAYLOAD, headers={"number": str(last)})
            await within(nc.flush(5))
            if nc.is_connected and last in self.got:
                break
            last += 1
            await asyncio.sleep(0.005)
        assert self.got == sorted(set(self.got))


async def measure(server: Server, connect: Connect) -> tuple[int, int]:
    """Bytes that a session that isn't cut sends to the client and to the server."""
    async with Proxy(server.url) as proxy:
        session = Session()
        nc = await session.run(connect, proxy)
        await eventually(lambda: len(session.got) == MESSAGES)
        sizes = proxy.bytes_to_client, proxy.bytes_to_server
        await nc.close()
    return sizes


async def cut(server: Server, connect: Connect, limits: dict[str, int]) -> None:
    async with Proxy(server.url, **limits) as proxy:
        session = Session()
        running = asyncio.ensure_future(session.run(connect, proxy))
        # It's the first connection that is cut.
        await eventually(lambda: proxy.ended > 0)
        proxy.cut_after = proxy.cut_after_sent = None
        nc = await within(running)
        await session.check(nc)
        assert proxy.accepted > 1
        await nc.close()


async def test_while_the_server_sends(server: Server, connect: Connect, half: slice) -> None:
    """In INFO, before and in the PONG of the handshake, in and between messages."""
    size, _ = await measure(server, connect)
    for limit in range(0, size, STRIDE)[half]:
        await cut(server, connect, {"cut_after": limit or 1})


async def test_while_the_client_sends(server: Server, connect: Connect, half: slice) -> None:
    """In CONNECT, between it and PING, in SUB, in the control line, headers and payload of a
    message."""
    _, size = await measure(server, connect)
    for limit in range(0, size, STRIDE)[half]:
        await cut(server, connect, {"cut_after_sent": limit or 1})
