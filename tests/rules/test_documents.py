"""Documents name files that exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from support.public import HOMES
from support.sources import ROOT, assert_only, files, text_of

FOLDERS = "|".join(
    ["python", "src", "tests", "docs", "benches", "fuzz", "examples", "requirements", *HOMES]
)
IN_BACKTICKS = re.compile(rf"`((?:{FOLDERS})/[\w./*-]+|\w+\.(?:pyi?|rs))`")
LINKS = re.compile(r"\]\((?!\w+:|#)([^)#]+)(?:#[^)]*)?\)")
# What a benchmark has written, and what was true of an earlier version.
RECORDS = ("benches/results/", "CHANGELOG.md")


def documents() -> list[str]:
    return [name for name in files(".md") if not name.startswith(RECORDS)]


def is_there(path: str) -> bool:
    """Whether files match a path from the project's directory, or one has this bare name.
    ``nats/…`` is the package, ``nats.py`` a file of an application's."""
    if "/" not in path:
        return path == "nats.py" or any(name.endswith(f"/{path}") for name in files(path))
    package, _, rest = path.partition("/")
    base, pattern = (HOMES[package], rest) if package in HOMES else (ROOT, path)
    return any(base.glob(pattern.rstrip("/")))


def missing_in(document: str) -> Iterator[str]:
    text = text_of(document)
    yield from (path for path in IN_BACKTICKS.findall(text) if not is_there(path))
    folder = ROOT / Path(document).parent
    yield from (path for path in LINKS.findall(text) if not (folder / path).exists())


def test_named_files_exist() -> None:
    missing = (f"{document}: {path}" for document in documents() for path in missing_in(document))
    assert_only(missing, "missing_files", "documents name files that aren't there:")


def test_names_are_seen() -> None:
    assert "src/bridge.rs" in IN_BACKTICKS.findall(text_of("ARCHITECTURE.md"))
    assert "ARCHITECTURE.md" in LINKS.findall(text_of("CONTRIBUTING.md"))
    assert not is_there("nats/aio/nothing.py")
