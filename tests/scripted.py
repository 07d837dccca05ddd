"""Steps shared by tests that script what a server sends."""

from __future__ import annotations

from typing import Any

from fake_server import FakeConnection
from waiting import within

# Seconds that a message may take.
TIMEOUT = 5.0


async def admit(client: FakeConnection) -> None:
    """Let a client in that subscribes and flushes."""
    await client.handshake()
    await client.expect(b"SUB ")
    await client.expect(b"PING")
    await client.write(b"PONG\r\n")


async def subscribed(nc: Any, subject: str = "a") -> Any:
    sub = await nc.subscribe(subject)
    await within(nc.flush())
    return sub


async def payloads(sub: Any, count: int) -> list[bytes]:
    return [(await sub.next_msg(TIMEOUT)).data for _ in range(count)]
