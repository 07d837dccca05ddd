"""The project's files as the rules see them, and the lists of what the rules still tolerate."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]
LISTS = ROOT / "tests" / "rules" / "lists"


@functools.cache
def _names() -> tuple[str, ...]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    names = sorted(set(listed.stdout.split("\0")) - {""})
    # What git knows and the tree doesn't have is being moved or removed.
    return tuple(name for name in names if (ROOT / name).is_file())


def files(*suffixes: str, below: tuple[str, ...] = ("",)) -> list[str]:
    """Files of the project with one of these suffixes, by their paths from its directory."""
    return [name for name in _names() if name.endswith(suffixes) and name.startswith(below)]


@functools.cache
def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def at(name: str, offset: int) -> str:
    """Where a place of a file's text is, as editors understand it."""
    return f"{name}:{text_of(name).count(chr(10), 0, offset) + 1}"


def tolerated(name: str) -> list[str]:
    """The entries of a list in ``tests/rules/lists``: one a line, after ``#`` a remark. A rule
    without a list tolerates nothing."""
    file = LISTS / f"{name}.txt"
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    return [entry for line in lines if (entry := line.partition("#")[0].strip())]


def assert_only(found: Iterable[str], name: str, advice: str) -> None:
    """Fail for what a rule has found beyond its list, and for what the list needn't hold any
    more: it may only shrink.

    :param found: the faults, each in a form that stays when lines move.
    :param name: the list's name in ``tests/rules/lists``, without its suffix.
    :param advice: what to do about a fault.
    """
    faults, known = set(found), set(tolerated(name))
    new = "".join(f"\n  {fault}" for fault in sorted(faults - known))
    assert not new, f"{advice}{new}"
    gone = "".join(f"\n  {entry}" for entry in sorted(known - faults))
    assert not gone, f"mended: delete these lines of tests/rules/lists/{name}.txt{gone}"
