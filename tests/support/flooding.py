"""More than a client can want, and what becomes of its memory."""

from __future__ import annotations

import ctypes
import gc

import psutil

from support.fake_server import FakeConnection

MB = 1 << 20

# What a client may grow by while it is flooded: buffers of both ends and the limits of the core.
SLACK = 64 * MB

# Seconds: a flood takes a busy machine long.
PATIENCE = 120.0


def memory() -> int:
    """Bytes of this process that are resident, without what the allocator keeps though it is free.

    How much that is depends on all that has run before: glibc learns from large blocks that were
    freed, and keeps up to twice the largest of them.
    """
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)
    return int(psutil.Process().memory_info().rss)


async def flood(client: FakeConnection, data: bytes, total: int) -> None:
    """Send ``data`` over and over until the client goes away or ``total`` bytes are sent."""
    chunk = data * max(1, 262_144 // len(data))
    for _ in range(total // len(chunk)):
        await client.write(chunk)
