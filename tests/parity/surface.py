"""Print the public surface of the installed ``nats`` package as JSON.

Run as a script by the interpreter whose ``nats`` is meant; uses nothing but the standard library,
so that it runs where only the client is installed.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
import inspect
import json
import pkgutil
import re
import sys
import types
import typing
from typing import Any

MODULES = (
    "nats",
    "nats.aio",
    "nats.aio.client",
    "nats.aio.errors",
    "nats.aio.msg",
    "nats.aio.subscription",
    "nats.aio.transport",
    "nats.errors",
    "nats.nuid",
    "nats.protocol",
    "nats.protocol.command",
    "nats.protocol.parser",
)
PACKAGES = ("nats.js", "nats.micro")

# Special methods a program calls by syntax; the others come with Python itself.
SPECIAL_METHODS = (
    "__aenter__",
    "__aexit__",
    "__aiter__",
    "__anext__",
    "__call__",
    "__enter__",
    "__exit__",
    "__iter__",
    "__next__",
)

# Arguments for exceptions that cannot be made without any.
SAMPLES: dict[str, tuple[Any, ...]] = {
    "nats.errors.SlowConsumerError": ("subject", "reply", 7, None),
    "nats.aio.errors.ErrSlowConsumer": ("subject", "reply", 7, None),
    "nats.errors.BadHeaderError": ("a key",),
    "nats.errors.MsgAlreadyAckdError": ("message",),
    "nats.js.errors.APIError": (503, "text", 10, "stream", 1),
    "nats.js.errors.ConsumerSequenceMismatchError": (3, 2, 5),
    "nats.micro.request.ServiceError": ("400", "text"),
}

ALIAS = type(typing.Optional[int]), type(typing.List[int]), type(typing.Any)  # noqa: UP006
VALUES = (bool, int, float, str, bytes, bytearray, tuple, list, dict, frozenset, set)


def is_ours(name: str | None) -> bool:
    return name is not None and (name == "nats" or name.startswith("nats."))


def belongs_to(module: str, obj: Any) -> bool:
    """Say whether this is where it is defined, as far as programs are concerned."""
    home = obj.__module__.split(".")
    return obj.__module__ == module or any(part.startswith("_") for part in home)


def qualified(obj: Any) -> str:
    return f"{obj.__module__}.{obj.__qualname__}"


def text_of(value: Any) -> str:
    """Return a repr without addresses and with types and functions by name."""
    if isinstance(value, type) or inspect.isroutine(value):
        return qualified(value)
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def signature(function: Any, *, bound: bool) -> Any:
    """Return the parameters as ``[name, kind, default or None]``, None if they are unknown."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
    if bound:
        parameters = parameters[1:]
    return [
        [p.name, p.kind.name, None if p.default is p.empty else text_of(p.default)]
        for p in parameters
    ]


def hints_resolve(annotated: Any) -> bool:
    """Say whether programs that look at annotations can do so, as those that inject dependencies
    or make schemas do."""
    try:
        typing.get_type_hints(annotated)
    except Exception:
        return False
    return True


def callable_surface(function: Any, kind: str, *, bound: bool) -> dict[str, Any]:
    # A native function can only say that it is one by the marker of inspect.markcoroutinefunction.
    is_async = inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)
    return {
        "kind": kind,
        "async": is_async,
        "parameters": signature(function, bound=bound),
        "hints": hints_resolve(function),
    }


def member_surface(cls: type, name: str) -> dict[str, Any] | None:
    static = inspect.getattr_static(cls, name)
    if isinstance(static, staticmethod):
        return callable_surface(static.__func__, "staticmethod", bound=False)
    if isinstance(static, classmethod | types.ClassMethodDescriptorType):
        return callable_surface(getattr(cls, name), "classmethod", bound=False)
    if isinstance(static, type):
        return class_surface(static)
    if inspect.isroutine(static):
        return callable_surface(static, "method", bound=True)
    if isinstance(static, property):
        hints = hints_resolve(static.fget)
        return {"kind": "property", "settable": static.fset is not None, "hints": hints}
    if inspect.isdatadescriptor(static):
        # Slots, and the attributes of native classes, whose settability shows at run time only.
        return {"kind": "property", "settable": None}
    return {"kind": "value", "value": text_of(static)}


def fields_surface(cls: type) -> list[dict[str, Any]]:
    described = []
    for field in dataclasses.fields(cls):
        default = None
        if field.default is not dataclasses.MISSING:
            default = text_of(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            default = f"factory {text_of(field.default_factory)}"
        described.append(
            {
                "name": field.name,
                "default": default,
                "flags": [field.init, field.repr, field.compare, field.kw_only],
            }
        )
    return described


def sample_surface(cls: type) -> dict[str, Any]:
    """Describe instances made without arguments, and with those of SAMPLES."""
    described: dict[str, Any] = {}
    for label, args in (("default", ()), ("sample", SAMPLES.get(qualified(cls)))):
        if args is None:
            continue
        try:
            made = cls(*args)
            shown = {"str": str(made), "attributes": text_of(dict(sorted(vars(made).items())))}
        except Exception as error:
            shown = {"raises": type(error).__name__}
        described[label] = shown
    return described


def class_surface(cls: type) -> dict[str, Any]:
    described: dict[str, Any] = {
        "kind": "class",
        "bases": [qualified(base) for base in cls.__mro__[1:] if base is not object],
        "abstract": inspect.isabstract(cls),
    }
    if issubclass(cls, enum.Enum):
        described["members"] = {name: repr(m.value) for name, m in cls.__members__.items()}
        described["text"] = {name: str(m) for name, m in cls.__members__.items()}
        return described
    described["parameters"] = signature(cls, bound=False)
    described["hints"] = hints_resolve(cls) and hints_resolve(cls.__init__)
    if dataclasses.is_dataclass(cls):
        described["fields"] = fields_surface(cls)
        described["frozen"] = cls.__dataclass_params__.frozen  # type: ignore[attr-defined]
    if issubclass(cls, Exception):
        described["instances"] = sample_surface(cls)
    elif dataclasses.is_dataclass(cls):
        try:
            described["repr"] = text_of(cls())
        except TypeError:
            pass
    inherited = {
        name
        for base in cls.__mro__
        if is_ours(base.__module__)
        for name in vars(base)
        if not name.startswith("_") or name in SPECIAL_METHODS
    }
    if "fields" in described:
        # A field's default is a class attribute by accident, and slots would take it away.
        inherited -= {field["name"] for field in described["fields"]}
    described["attributes"] = {name: member_surface(cls, name) for name in sorted(inherited)}
    return described


def name_surface(module: str, value: Any) -> dict[str, Any] | None:
    """Describe one public name of a module; None if it only is there because it was imported."""
    if inspect.ismodule(value) or value is None or value is True or value is False:
        return None
    if isinstance(value, type) and not isinstance(value, types.GenericAlias):
        if not is_ours(value.__module__):
            return None
        if not belongs_to(module, value):
            return {"kind": "re-export", "of": qualified(value)}
        return class_surface(value)
    if inspect.isroutine(value):
        if not is_ours(value.__module__):
            return None
        if not belongs_to(module, value):
            return {"kind": "re-export", "of": qualified(value)}
        return callable_surface(value, "function", bound=False)
    if isinstance(value, re.Pattern):
        return {"kind": "pattern", "value": repr(value.pattern)}
    if isinstance(value, VALUES):
        return {"kind": "constant", "value": repr(value)}
    if isinstance(value, (*ALIAS, types.GenericAlias, types.UnionType)) or (
        typing.get_origin(value) is not None
    ):
        # What typing exports is not the module's own.
        return None if getattr(typing, str(value).partition(".")[2], None) else {"kind": "alias"}
    return None


def module_surface(name: str) -> dict[str, Any]:
    try:
        module = importlib.import_module(name)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    names = {}
    for public in sorted(dir(module)):
        if not public.startswith("_") and public not in ("TYPE_CHECKING", "annotations"):
            described = name_surface(name, getattr(module, public))
            if described is not None:
                names[public] = described
    return {"all": sorted(getattr(module, "__all__", ())), "names": names}


def modules() -> list[str]:
    found = list(MODULES)
    for name in PACKAGES:
        found.append(name)
        try:
            package = importlib.import_module(name)
        except Exception:
            continue
        found += [
            sub.name
            for sub in pkgutil.walk_packages(package.__path__, f"{name}.")
            if not any(part.startswith("_") for part in sub.name.split("."))
        ]
    return found


if __name__ == "__main__":
    json.dump({name: module_surface(name) for name in modules()}, sys.stdout, indent=1)
