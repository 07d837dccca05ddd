"""Steps shared by tests that watch key-value buckets."""

from __future__ import annotations

from typing import Any

import pytest
from nats import errors

from support.connecting import Connect


async def begin(connect: Connect, storage: str = "memory", **options: Any) -> tuple[Any, Any, Any]:
    """Client, context and the bucket B, which keeps five revisions."""
    nc = await connect(**options)
    js = nc.jetstream()
    return nc, js, await js.create_key_value(bucket="B", history=5, storage=storage)


async def seen(watcher: Any, count: int, timeout: float = 5) -> list[Any]:
    """The next updates: key, value and operation, or `None`."""
    updates = [await watcher.updates(timeout) for _ in range(count)]
    return [update and (update.key, update.value, update.operation) for update in updates]


async def silent(watcher: Any) -> None:
    with pytest.raises(errors.TimeoutError):
        await watcher.updates(timeout=0.05)
