"""The public modules of the package, from their sources."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

from support.sources import ROOT

HOMES = {
    "nats": ROOT / "python" / "fastnats" / "drop_in" / "nats",
    "fastnats": ROOT / "python" / "fastnats",
}


def source_of(module: str) -> Path:
    """The file of a module, ``__init__.py`` for a package."""
    package, *parts = module.split(".")
    path = HOMES[package].joinpath(*parts)
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@functools.cache
def tree_of(module: str) -> ast.Module:
    return ast.parse(source_of(module).read_text(encoding="utf-8"))


def public_modules() -> list[str]:
    """Modules no part of whose name begins with an underscore."""
    found = set()
    for package, home in HOMES.items():
        for source in home.rglob("*.py"):
            parts = [package, *source.relative_to(home).with_suffix("").parts]
            if parts[-1] == "__init__":
                parts.pop()
            if parts[:2] != ["fastnats", "drop_in"] and not any(
                part.startswith("_") for part in parts
            ):
                found.add(".".join(parts))
    return sorted(found)
