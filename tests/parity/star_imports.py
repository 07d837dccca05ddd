"""Print what ``from … import *`` gives from the modules named as arguments, as JSON.

Run as a script by the interpreter whose ``nats`` is meant; uses nothing but the standard library.
"""

from __future__ import annotations

import json
import sys
import types
from typing import Any


def is_of_nats(value: Any) -> bool:
    """Whether the package defines it, rather than another that it imports from."""
    home = value.__name__ if isinstance(value, types.ModuleType) else _module_of(value)
    return home is None or home.split(".")[0] == "nats"


def _module_of(value: Any) -> str | None:
    home = getattr(value, "__module__", None) or type(value).__module__
    # A value of a built-in type is a constant of the module that gives it.
    return None if home == "builtins" else str(home)


def given_by(module: str) -> dict[str, bool]:
    """The names, and whether each is one of nats-py's own."""
    names: dict[str, Any] = {}
    exec(f"from {module} import *", names)
    del names["__builtins__"]
    return {name: is_of_nats(value) for name, value in names.items()}


if __name__ == "__main__":
    print(json.dumps({module: given_by(module) for module in sys.argv[1:]}))
