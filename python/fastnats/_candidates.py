"""What the path holds under the name ``nats``."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional

from ._activation import DROP_IN, are_same


@dataclass(frozen=True)
class Candidate:
    """One ``nats`` on the path."""

    entry: str
    """The entry of the path that it lies in."""
    kind: str
    """``fastnats``, ``another fastnats``, ``nats-py``, ``namespace`` or ``another module``."""
    version: Optional[str]
    """That of its distribution, where there is one beside it."""
    location: str

    @property
    def is_ours(self) -> bool:
        """Whether it is the package of the fastnats that looks."""
        return self.kind == "fastnats"

    @property
    def named(self) -> str:
        """What it is, in words."""
        name = {"another module": "a module of another kind"}.get(self.kind, self.kind)
        return f"{name} {self.version}" if self.version else name


def candidates() -> list[Candidate]:
    """Every ``nats`` on the path, the first that ``import nats`` could take ahead.

    Directories without ``__init__.py`` count only where there is nothing else, so they come last.
    """
    found = list(_search())
    return sorted(found, key=lambda candidate: candidate.kind == "namespace")


def distribution_version(name: str, entry: Optional[str] = None) -> Optional[str]:
    """The version of an installed distribution, in one entry of the path or in all."""
    path = sys.path if entry is None else [entry]
    try:
        for distribution in importlib.metadata.distributions(name=name, path=path):
            return str(distribution.version)
    except Exception:  # Whatever a broken installation leaves there.
        return None
    return None


def _search() -> Iterator[Candidate]:
    seen: set[str] = set()
    for entry in sys.path:
        directory = os.path.abspath(entry or os.curdir)
        if directory in seen:
            continue
        seen.add(directory)
        package = os.path.join(directory, "nats")
        if os.path.isfile(os.path.join(package, "__init__.py")):
            yield _package(directory, package)
        elif os.path.isfile(package + ".py"):
            yield Candidate(directory, "another module", None, package + ".py")
        elif os.path.isdir(package):
            yield Candidate(directory, "namespace", None, package)


def _package(entry: str, package: str) -> Candidate:
    if are_same(entry, DROP_IN):
        return Candidate(entry, "fastnats", distribution_version("fastnats"), package)
    if os.path.isfile(os.path.join(package, "_core.pyi")):
        home = os.path.dirname(os.path.dirname(entry))
        version = distribution_version("fastnats", home)
        return Candidate(entry, "another fastnats", version, package)
    if os.path.isfile(os.path.join(package, "aio", "client.py")):
        return Candidate(entry, "nats-py", distribution_version("nats-py", entry), package)
    return Candidate(entry, "another module", None, package)
