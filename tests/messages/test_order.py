"""What goes on first when several things arrive at once."""

from __future__ import annotations

from typing import Any

import pytest
from nats.embedded import Server
from support.connecting import Connect

pytestmark = pytest.mark.usefixtures("driver")


async def test_flush_returns_behind_the_handlers(server: Server, connect: Connect) -> None:
    """Of messages that came before its PONG, as in nats-py."""
    nc = await connect()
    got: list[tuple[int, bytes]] = []
    for number in range(3):

        async def handler(msg: Any, number: int = number) -> None:
            got.append((number, msg.data))

        await nc.subscribe("data", cb=handler)
    for turn in range(100):
        await nc.publish("data", b"%d" % turn)
        await nc.flush()
        assert sorted(got) == [(number, b"%d" % turn) for number in range(3)]
        got.clear()
