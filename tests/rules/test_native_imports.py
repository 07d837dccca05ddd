"""What Rust code imports by name is there: no compiler sees these names."""

from __future__ import annotations

import importlib
import re

import pytest
from support.rust_modules import without_comments
from support.sources import files, text_of

BY_NAME = re.compile(
    r'"(?P<module>nats(?:\.\w+)+)"(?:\s*,\s*"(?P<name>\w+)"|\)\?\s*\.getattr\("(?P<attribute>\w+)")?'
    r"|import_exception!\(\s*(?P<home>[\w.]+)\s*,\s*(?P<error>\w+)\s*\)"
)


def imported() -> set[tuple[str, str]]:
    """Modules, and what is taken from them, empty where that isn't said in the same place."""
    return {
        (
            found["module"] or found["home"],
            found["name"] or found["attribute"] or found["error"] or "",
        )
        for file in files(".rs", below=("src/",))
        for found in BY_NAME.finditer(without_comments(text_of(file)))
    }


@pytest.mark.parametrize(("module", "name"), sorted(imported()))
def test_what_rust_imports_is_there(module: str, name: str) -> None:
    loaded = importlib.import_module(module)
    assert not name or hasattr(loaded, name), (
        f"src/ imports {name} of {module}: rename it there, too"
    )


def test_imports_are_seen() -> None:
    assert {("nats.errors", "TimeoutError"), ("nats.aio.client", "_NATIVE_PUBLISH")} <= imported()
