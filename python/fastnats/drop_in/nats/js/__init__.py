"""JetStream: streams, consumers, key-value and object stores."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import api
    from .client import JetStreamContext
    from .manager import JetStreamManager

__all__ = ["JetStreamContext", "JetStreamManager", "api"]

# nats-py imports all of these with the package, so `nats.js.errors` and the like work without an
# import of their own; here they are imported when first asked for.
_MODULES = ("api", "client", "errors", "kv", "manager", "object_store")
_CLASSES = {"JetStreamContext": "client", "JetStreamManager": "manager"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _CLASSES:
        value = getattr(import_module(f"{__name__}.{_CLASSES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, *_CLASSES})
