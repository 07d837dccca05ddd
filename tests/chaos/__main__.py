"""The long form of the chaos tests, see ``make chaos``.

Prints the seed first, which replays a run with ``--seed``, and the figures as JSON last. The
operations and faults of a seed are always the same; how they interleave is up to the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import random
import sys
import time
from collections.abc import Callable
from typing import Any

from nats.embedded import Server

from chaos.promises import Book
from chaos.rounds import run_rounds

# Rounds on one server and one loop before both are made anew.
SLICE = 125


def loops() -> list[tuple[str, Callable[[], asyncio.AbstractEventLoop]]]:
    """The event loops to take turns."""
    found: list[tuple[str, Any]] = [("asyncio", asyncio.SelectorEventLoop)]
    if importlib.util.find_spec("uvloop") is not None:
        import uvloop

        found.append(("uvloop", uvloop.new_event_loop))
    return found


def run_on(factory: Callable[[], asyncio.AbstractEventLoop], main: Any) -> Any:
    loop = factory()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


def chaos(seed: int, rounds: int) -> dict[str, Any]:
    book = Book()
    kinds = loops()
    for number, start in enumerate(range(0, rounds, SLICE)):
        name, factory = kinds[number % len(kinds)]
        count = min(SLICE, rounds - start)
        with Server(jetstream=True) as server:
            part: Book = run_on(factory, run_rounds(server, seed + number, count))
        print(f"rounds {start + 1}-{start + count} on {name}: {dict(part.broken)}", file=sys.stderr)
        for note in part.notes:
            print(f"seed {seed + number}: {note}", file=sys.stderr)
        book.add(part)
    return {"made": dict(sorted(book.made.items())), "broken": dict(book.broken)}


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    rounds = commands.add_parser("rounds", help="kill the server under random operations")
    rounds.add_argument("--rounds", type=int, default=1000)
    for command in commands.choices.values():
        command.add_argument("--seed", type=int, help="replay a run")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(1 << 32)
    print(f"seed {seed}", file=sys.stderr)
    start = time.monotonic()
    figures = chaos(seed, options.rounds)
    figures = {"seed": seed, "seconds": round(time.monotonic() - start), **figures}
    print(json.dumps(figures))
    return int(any(figures["broken"].values()))


if __name__ == "__main__":
    sys.exit(main())
