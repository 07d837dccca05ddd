"""The modules of errors draw which error is a kind of which."""

from __future__ import annotations

import asyncio
import inspect
import textwrap
from collections.abc import Iterator
from types import ModuleType

import nats.errors
import nats.js.errors
import pytest


def errors_of(module: ModuleType) -> list[type]:
    return [
        thing
        for thing in vars(module).values()
        if inspect.isclass(thing) and thing.__module__ == module.__name__
    ]


def name_of(kind: type, module: ModuleType) -> str:
    if kind is asyncio.TimeoutError:
        # The built-in one since CPython 3.11.
        return "asyncio.TimeoutError"
    is_foreign = kind.__module__ not in (module.__name__, "builtins")
    return f"{kind.__module__}.{kind.__name__}" if is_foreign else kind.__name__


def branch(module: ModuleType, kind: type) -> Iterator[str]:
    """A line for a class, with what else it is behind it, and indented those that derive from
    it."""
    others = ", ".join(name_of(base, module) for base in kind.__bases__[1:])
    yield name_of(kind, module) + (
        f" (also {others})" if others and kind in errors_of(module) else ""
    )
    for derived in errors_of(module):
        if derived.__bases__[0] is kind:
            yield from (f"    {line}" for line in branch(module, derived))


def tree_of(module: ModuleType) -> str:
    ours = errors_of(module)
    roots = dict.fromkeys(kind.__bases__[0] for kind in ours if kind.__bases__[0] not in ours)
    return "\n".join(line for root in roots for line in branch(module, root))


@pytest.mark.parametrize("module", [nats.errors, nats.js.errors], ids=["nats", "nats.js"])
def test_the_tree_is_drawn(module: ModuleType) -> None:
    tree = tree_of(module)
    if not inspect.cleandoc(module.__doc__ or "").endswith(
        "::\n\n" + textwrap.indent(tree, "    ")
    ):
        pytest.fail(f"end the docstring of {module.__name__} with '::' and this tree:\n{tree}")
