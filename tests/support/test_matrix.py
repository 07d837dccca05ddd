"""Which pairs of event loop and I/O driver a test runs on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from support.matrix import DRIVERS, LOOPS, PAIRS, is_chosen

NAMES = [f"test_{number}" for number in range(50)]


def chosen(folder: str, name: str, driver: bool = True, **options: Any) -> list[str]:
    """The pairs, or loops, on which a test of this folder runs."""
    config: Any = SimpleNamespace(getoption=lambda option: options.get(option.strip("-")))
    found = []
    for loop, factory in LOOPS.items():
        for other in DRIVERS if driver else (None,):
            params = {"loop": factory, **({"driver": other} if other else {})}
            item: Any = SimpleNamespace(
                nodeid=f"tests/{folder}/test_file.py::{name}[{loop}-{other}]",
                path=Path("tests", folder, "test_file.py"),
                callspec=SimpleNamespace(params=params),
            )
            if is_chosen(item, config):
                found.append(f"{loop}-{other}" if other else loop)
    return found


def test_the_data_path_meets_both_loops_and_both_drivers() -> None:
    assert {tuple(chosen("messages", name)) for name in NAMES} == {
        ("asyncio-tokio", "uvloop-asyncio"),
        ("asyncio-asyncio", "uvloop-tokio"),
    }
    assert chosen("messages", "test_it", driver=False) == ["asyncio", "uvloop"]


def test_what_is_above_it_runs_once_and_everywhere() -> None:
    runs = [chosen("js", name) for name in NAMES]
    assert {len(pairs) for pairs in runs} == {1}
    assert {pair for pairs in runs for pair in pairs} == set(PAIRS)


@pytest.mark.parametrize("folder", ["messages", "js"])
@pytest.mark.parametrize("pair", PAIRS)
def test_a_single_pair(folder: str, pair: str) -> None:
    assert chosen(folder, "test_it", pair=pair) == [pair]


@pytest.mark.parametrize("folder", ["messages", "js"])
def test_the_full_matrix(folder: str) -> None:
    assert chosen(folder, "test_it", **{"full-matrix": True}) == PAIRS
