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

from chaos.blocked import CONFIG, is_kept, run_blocked
from chaos.pressure import run_pressure
from chaos.promises import Book
from chaos.rounds import run_rounds
from chaos.soak import figures, run_soak
from chaos.storm import run_storm
from nats.embedded import Server

# Rounds on one server and one loop before both are made anew.
SLICE = 125
# What resident memory may become after the warm-up of the soak.
MAX_GROWTH = 1.02
# What a stalled publisher may take, in terms of `pending_size`: the output itself, the buffer
# being written, and what the allocator rounds up.
MAX_PRESSURE = 3


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
    made = dict(sorted(book.made.items()))
    return {"made": made, "broken": dict(book.broken), "ok": not book.notes}


def soak(seed: int, messages: int) -> dict[str, Any]:
    """On the default driver and the loop that is there."""
    name, factory = loops()[-1]
    with Server(jetstream=True) as server:
        main = run_soak(server, "tokio", messages, report=True)
        warm, end, counts = run_on(factory, main)
    result = {"loop": name, **figures(warm, end, counts)}
    kept = end.descriptors <= warm.descriptors and end.threads <= warm.threads
    return {**result, "ok": kept and end.memory <= warm.memory * MAX_GROWTH}


def storm(seed: int, seconds: float) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for name, factory in loops():
        with Server(jetstream=True) as server:
            result[name] = run_on(factory, run_storm(server, seed, seconds))
    return {**result, "ok": True}


def pressure(seed: int, seconds: float) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for driver, (name, factory) in zip(("tokio", "asyncio"), loops() * 2, strict=False):
        with Server() as server:
            result[f"{driver} on {name}"] = run_on(factory, run_pressure(server, driver, seconds))
    kept = [
        each["received"] == each["published"]
        and each["memory_growth"] < MAX_PRESSURE * each["pending_size"]
        for each in result.values()
    ]
    return {**result, "ok": all(kept)}


def blocked(seed: int, seconds: float) -> dict[str, Any]:
    result: dict[str, Any] = {}
    kept = True
    for name, factory in loops():
        for driver in ("tokio", "asyncio"):
            with Server(config=CONFIG) as server:
                figures = run_on(factory, run_blocked(server, driver, seconds))
            result[f"{driver} on {name}"] = figures
            kept = kept and is_kept(driver, figures)
    return {**result, "ok": kept}


# What to run, the option that says how much of it, and its default.
COMMANDS: dict[str, tuple[Callable[[int, Any], dict[str, Any]], str, int, str]] = {
    "rounds": (chaos, "rounds", 1000, "kill the server under random operations"),
    "soak": (soak, "messages", 10_000_000, "see whether many messages leave anything behind"),
    "storm": (storm, "seconds", 60, "cancel tasks at random"),
    "pressure": (pressure, "seconds", 60, "publish to a server that has stopped reading"),
    "blocked": (blocked, "seconds", 30, "block the loop in a handler"),
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parsers = parser.add_subparsers(dest="command", required=True)
    for name, (_, option, default, text) in COMMANDS.items():
        command = parsers.add_parser(name, help=text)
        command.add_argument(f"--{option}", type=int, default=default)
        command.add_argument("--seed", type=int, help="replay a run")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(1 << 32)
    print(f"seed {seed}", file=sys.stderr)
    run, option, _, _ = COMMANDS[options.command]
    start = time.monotonic()
    result = run(seed, getattr(options, option))
    seconds = round(time.monotonic() - start)
    print(json.dumps({"run": options.command, "seed": seed, "took": seconds, **result}))
    return 0 if result["ok"] else 1


if __name__ == "__main__":
    sys.exit(main())
