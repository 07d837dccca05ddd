"""Steps shared by tests of object stores."""

from __future__ import annotations

from typing import Any

from support.connecting import Connect


async def store(connect: Connect, **options: Any) -> tuple[Any, Any]:
    """A context, and a new store B in memory made with these options.

    Without types: more can be put than nats-py's annotations say.
    """
    js = (await connect()).jetstream()
    return js, await js.create_object_store("B", storage="memory", **options)
