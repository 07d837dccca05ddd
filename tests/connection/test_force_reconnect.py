"""Leaving a server that works: what was published before has to reach it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.carriers import CARRIERS, carrier
from support.connecting import Connect
from support.proxy import Proxy
from support.waiting import EAGER, Events, eventually, within

pytestmark = pytest.mark.usefixtures("driver")

COUNT = 150
SIZE = 60_000


def through(proxy: Proxy, url: str) -> str:
    """The URL of a server with the proxy's port."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}:{proxy.port}"


async def numbers(sub: Any) -> list[int]:
    """The numbers that its messages carry, each at their start."""
    return [int((await sub.next_msg(1)).data[:8]) for _ in range(sub.pending_msgs)]


@pytest.mark.parametrize("how", CARRIERS)
async def test_what_was_published_right_before(connect: Connect, tmp_path: Path, how: str) -> None:
    async with carrier(how, tmp_path) as (_, url, options), Proxy(url) as proxy:
        watching = await connect(url, **options)
        sub = await watching.subscribe("bulk", pending_bytes_limit=0, pending_msgs_limit=0)
        await within(watching.flush())
        events = Events()
        nc = await connect(
            through(proxy, url), pending_size=1 << 30, **options, **events.callbacks, **EAGER
        )
        for number in range(COUNT):
            await nc.publish("bulk", b"%08d" % number + bytes(SIZE))
        await nc.force_reconnect()
        await events.wait("reconnected")
        await within(nc.flush())
        await eventually(lambda: sub.pending_msgs >= COUNT, f"{COUNT} messages")
        await within(watching.flush())
        # The first server's and the second's parts may cross on the way.
        assert sorted(await numbers(sub)) == list(range(COUNT))
        assert events.names == ["disconnected", "reconnected"]
        assert nc.stats["reconnects"] == 1
        assert proxy.accepted == 2
