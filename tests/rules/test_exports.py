"""``__all__``: what a module offers is said by the module."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from support.public import public_modules, tree_of
from support.sources import assert_only


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
    names = {name for statement in tree_of(module).body for name in bound_by(statement)}
    return {name for name in names if not name.startswith("_")}


def declared_in(module: str) -> set[str]:
    for statement in tree_of(module).body:
        if isinstance(statement, ast.Assign) and "__all__" in bound_by(statement):
            return set(ast.literal_eval(statement.value))
    return set()


def test_all_is_complete() -> None:
    missing = [
        f"{module}.{name}"
        for module in public_modules()
        for name in defined_in(module) - declared_in(module)
    ]
    assert_only(
        missing,
        "unexported",
        "put these names into __all__ of their modules, or begin them with an underscore",
    )
