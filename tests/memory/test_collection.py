"""What the garbage collector sees, and what its finalizers may look at."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest
from nats._core import (
    Connection,
    EntryFeed,
    EntryShape,
    InitialValues,
    ObjectReader,
    SubscriptionCore,
)
from nats.aio.client import Client
from nats.aio.msg import Msg


class Text(str):
    """A string that the collector tracks."""


@pytest.fixture
async def core() -> SubscriptionCore:
    loop = asyncio.get_running_loop()
    connection = Connection(loop, Client(), {}, "asyncio", Msg)
    return SubscriptionCore(connection, 1, 0, 0, False, None)


async def test_what_holds_objects_is_traversed(core: SubscriptionCore) -> None:
    bucket, key = Text("bucket"), Text("key")
    shape = EntryShape(dict, bucket, key, "subject")
    assert {id(part) for part in (dict, bucket, key)} <= {id(x) for x in gc.get_referents(shape)}
    initial = InitialValues(0, 0, False)
    feed = EntryFeed(core, dict, bucket, "", False, initial)
    assert {id(part) for part in (core, dict, bucket, initial)} <= {
        id(x) for x in gc.get_referents(feed)
    }
    assert core in gc.get_referents(ObjectReader(core, None))
    assert core in gc.get_referents(core.begin_fetch(1, None, None))


class Nosy:
    """Looks at a message, and assigns to it, while it goes."""

    def __init__(self, msg: Msg, seen: list[Any]) -> None:
        self._msg = msg
        self._seen = seen

    def __del__(self) -> None:
        msg = self._msg
        self._seen.append((msg.subject, msg.reply, msg.data, msg.headers))
        msg.data = b"assigned"
        msg.headers = {"assigned": "yes"}


@pytest.mark.parametrize(
    "name", ["subject", "reply", "data", "headers", "_client", "_sid", "_metadata", "_ackd"]
)
def test_a_part_that_is_replaced_may_look_at_its_message(name: str) -> None:
    msg = Msg(_client=None, subject="s", reply="r", data=b"d", headers={"a": "b"})  # type: ignore[arg-type]
    seen: list[Any] = []
    setattr(msg, name, Nosy(msg, seen))
    setattr(msg, name, None)
    assert len(seen) == 1
