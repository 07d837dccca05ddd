"""The short forms of the soak, of the storm of cancellations, and of publishing under
back-pressure; ``make soak`` and ``make storm`` are the long ones."""

from __future__ import annotations

import random

import pytest
from chaos.pressure import PAYLOAD, PENDING_SIZE, PUBLISHERS, run_pressure
from chaos.soak import PORTION, run_soak
from chaos.storm import run_storm
from chaos.usage import MEGABYTE
from nats.embedded import Server

pytestmark = pytest.mark.timeout(300)

# The rest of a run of tests leaves its mark on the allocator; `make soak` allows 2 %.
MAX_GROWTH = 8 * MEGABYTE


async def test_soak(js_server: Server, driver: str) -> None:
    warm, end, _ = await run_soak(js_server, driver, 2 * PORTION)
    assert end.memory - warm.memory < MAX_GROWTH
    assert end.descriptors <= warm.descriptors
    assert end.threads <= warm.threads


async def test_storm(js_server: Server) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    await run_storm(js_server, seed, 1.5)


async def test_back_pressure(server: Server, driver: str) -> None:
    figures = await run_pressure(server, driver, 1.5)
    assert figures["received"] == figures["published"]
    assert figures["waiting_publishers"] == PUBLISHERS
    # Each publisher may have one message over the limit.
    assert figures["largest_pending"] < PENDING_SIZE + (PUBLISHERS + 1) * (len(PAYLOAD) + 100)
    assert figures["memory_growth"] < 3 * PENDING_SIZE
    assert figures["longest_gap"] < 10
    assert figures["reconnects"] == 0
