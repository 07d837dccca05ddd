"""The short form of the chaos run; ``make chaos`` is the long one."""

from __future__ import annotations

import random

from chaos.rounds import run_rounds
from nats.embedded import Server

ROUNDS = 8


async def test_rounds(js_server: Server) -> None:
    """One client on each driver, so that each combination with a loop is there."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    book = await run_rounds(js_server, seed, ROUNDS)
    book.check()
    assert book.made["rounds"] == ROUNDS
    assert book.made["acked"] > 0
    assert book.made["flushed"] > 0
