"""What clients cost that have nothing to do."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import pytest
from nats.embedded import Server
from support.connecting import Connect
from support.waiting import PATIENCE

CLIENTS = 40


def switches_of_io_thread() -> int:
    """How often the I/O thread of this process has gone to sleep."""
    for task in Path("/proc/self/task").iterdir():
        lines = dict(line.split(":", 1) for line in (task / "status").read_text().splitlines())
        if lines["Name"].strip() == "fastnats-io":
            return int(lines["voluntary_ctxt_switches"])
    raise AssertionError("there is no I/O thread")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
@pytest.mark.parametrize("driver", ["tokio"], indirect=True)
async def test_idle_clients_sleep(server: Server, connect: Connect, driver: str) -> None:
    for _ in range(CLIENTS):
        nc = await connect(server)
        await nc.subscribe("x")
        await nc.flush()
    # Two seconds after it has been connected to, a server asks for a first PONG.
    await asyncio.sleep(3)
    before, since = switches_of_io_thread(), time.monotonic()
    await asyncio.sleep(3)
    rate = (switches_of_io_thread() - before) / (time.monotonic() - since)
    # A timer for each client would come to twice as many as there are clients.
    assert rate < CLIENTS / 4


@pytest.mark.parametrize("driver", ["tokio"], indirect=True)
async def test_a_loop_that_blocks_after_a_pause_is_noticed(connect: Connect, driver: str) -> None:
    with Server(config='ping_interval: "1s"\nping_max: 2\n') as server:
        nc = await connect(server, allow_reconnect=False)
        sub = await nc.subscribe("a")
        for _ in range(3):
            # Light traffic, whose first message the I/O thread has looked at, and a pause.
            await nc.publish("a", b"x")
            await sub.next_msg(PATIENCE)
            await asyncio.sleep(1)
            # On purpose: nobody but the I/O thread can answer the PINGs.
            time.sleep(4)  # noqa: ASYNC251
            assert nc.is_connected
        await nc.flush()
        assert "Stale Client Connection" not in server.log
