"""The public modules of the package, from their sources."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
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


def bound_by(statement: ast.stmt) -> Iterator[str]:
    """Names that a statement of a module defines; imports define nothing."""
    match statement:
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            yield statement.name
        case ast.Assign(targets=targets):
            yield from (target.id for target in targets if isinstance(target, ast.Name))
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name
        case ast.If() | ast.Try() | ast.With():
            for inner in ast.iter_child_nodes(statement):
                if isinstance(inner, ast.stmt):
                    yield from bound_by(inner)


def defined_in(module: str) -> set[str]:
    """The public names that a module defines itself."""
    tree = tree_of(module)
    names = {name for statement in tree.body for name in bound_by(statement)}
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    return {name for name in names - imported if not name.startswith("_")}


def declared_in(module: str) -> set[str]:
    """What its ``__all__`` says."""
    for statement in tree_of(module).body:
        if isinstance(statement, ast.Assign) and "__all__" in bound_by(statement):
            return set(ast.literal_eval(statement.value))
    return set()
