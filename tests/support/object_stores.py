"""Steps shared by tests of object stores."""

from __future__ import annotations

from typing import Any

from nats.js.object_store import ObjectStore

from support.connecting import Connect


async def store(connect: Connect, **options: Any) -> tuple[Any, ObjectStore]:
    """A context, and a new store B in memory made with these options."""
    js = (await connect()).jetstream()
    return js, await js.create_object_store("B", storage="memory", **options)
