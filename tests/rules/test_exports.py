"""``__all__``: what a module offers is said by the module."""

from __future__ import annotations

from support.public import declared_in, defined_in, public_modules
from support.sources import assert_only


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
