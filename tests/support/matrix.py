"""On which event loops and I/O drivers a test runs.

A test that is a coroutine can run on asyncio's loop and on uvloop, one that uses the fixture
``driver`` on both I/O drivers. Of the four pairs, each test of the data path runs on two, so that
it meets both loops and both drivers: asyncio with one driver and uvloop with the other, the other
way round in every second test. Tests of what stands on the data path run on one pair, another one
from test to test. ``--full-matrix`` runs all, ``--pair`` a single one.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from support.event_loops import new_uvloop

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": new_uvloop,
}
DRIVERS = ("tokio", "asyncio")
PAIRS = [f"{loop}-{driver}" for loop in LOOPS for driver in DRIVERS]

# Folders of tests that run on one pair of loop and driver each.
ABOVE_THE_DATA_PATH = ("js", "kv", "micro", "objects")


def add_options(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full-matrix", action="store_true", help="run every loop with every I/O driver"
    )
    parser.addoption("--pair", choices=PAIRS, help="run on this loop with this I/O driver alone")


def is_chosen(item: pytest.Item, config: pytest.Config) -> bool:
    """Whether this run of the tests has a test on its loop and its driver."""
    if config.getoption("--full-matrix"):
        return True
    loop, driver = loop_of(item), _params(item).get("driver")
    pair: str | None = config.getoption("--pair")
    if pair is not None:
        return loop in (None, pair.split("-")[0]) and driver in (None, pair.split("-")[1])
    if loop is None:
        return True
    choice = zlib.crc32(item.nodeid.partition("[")[0].encode())
    if item.path.parent.name in ABOVE_THE_DATA_PATH and (loop == "uvloop") != bool(choice & 2):
        return False
    return driver is None or (loop == "uvloop") ^ (driver == "tokio") ^ bool(choice & 1)


def loop_of(item: pytest.Item) -> str | None:
    """The event loop that a test is run on, if it is run on one."""
    params = _params(item).values()
    return next((name for name, factory in LOOPS.items() if factory in params), None)


def _params(item: pytest.Item) -> dict[str, Any]:
    return item.callspec.params if hasattr(item, "callspec") else {}
