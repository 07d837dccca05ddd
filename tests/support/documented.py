"""Everything public of the package that can have a docstring, and what the docstrings leave out."""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import inspect
import re
import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from support.public import declared_in, public_modules
from support.sources import files, text_of

# Parameters and fields that are a time or a size, by the last parts of their names.
SECONDS = re.compile(
    r"(?:^|_)(?:timeout|delay|interval|wait|ttl|duration|max_age|duplicate_window|heartbeat|backoff"
    r"|inactive_threshold|processing_time)$"
)
BYTES = re.compile(
    r"(?:^|_)(?:bytes|bytes_limit|buffer_size|pending_size|msg_size|value_size|chunk_size|max_payload"
    r"|max_memory)$"
)


class Documented(NamedTuple):
    name: str
    """As programs write it, ``nats.aio.client.Client.publish``."""
    thing: Any
    """A module, class, function or property."""
    text: str
    """Its docstring, with those of what it overrides."""

    def fields(self) -> list[str]:
        """Those of a dataclass."""
        is_dataclass = isinstance(self.thing, type) and dataclasses.is_dataclass(self.thing)
        return [field.name for field in dataclasses.fields(self.thing)] if is_dataclass else []

    def parameters(self) -> list[str]:
        """Those that a caller chooses: none that are private, and no ``self``."""
        if not inspect.isroutine(self.thing):
            return []
        parameters = inspect.signature(self.thing).parameters.values()
        return [
            parameter.name
            for parameter in parameters
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            and parameter.name not in ("self", "cls")
            and not parameter.name.startswith("_")
        ]

    def raised(self) -> set[str]:
        """Names of the exceptions that the function itself raises."""
        if not inspect.isfunction(self.thing):
            return set()
        tree = ast.parse(textwrap.dedent(inspect.getsource(self.thing)))
        kinds = {
            node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            for node in ast.walk(tree)
            if isinstance(node, ast.Raise) and node.exc is not None
        }
        names = {ast.unparse(kind).rpartition(".")[2] for kind in kinds}
        # Not what a variable holds, nor what ends an iteration.
        return {name for name in names if name[:1].isupper()} - {"StopAsyncIteration"}

    def gaps(self) -> Iterator[str]:
        """What the docstring leaves out."""
        if not self.text.strip():
            yield "docstring"
            return
        for name in self.parameters():
            if not self._says(name):
                yield name
        for name in self.parameters() + self.fields():
            if SECONDS.search(name) and not self._says("(?:[Nn]anos|S|s)econds?"):
                yield f"{name} in seconds"
            if BYTES.search(name) and not self._says("[Bb]ytes?|[KM]iB"):
                yield f"{name} in bytes"
        for name in self.raised():
            # Told by the name of a base as well: callers catch that.
            if not any(self._says(base) for base in bases_of(name, self.thing.__module__)):
                yield name
        yield from self.stale()

    def stale(self) -> Iterator[str]:
        """What the docstring names and isn't there."""
        if not inspect.isfunction(self.thing):
            return
        parameters = inspect.signature(self.thing).parameters
        takes_any = any(each.kind is each.VAR_KEYWORD for each in parameters.values())
        for name in re.findall(r":param (\w+):", self.text):
            if name not in parameters and not takes_any:
                yield f"no parameter {name}"
        for name in re.findall(r":raises ([\w.]+):", self.text):
            if error(name, self.thing.__module__) is None:
                yield f"no error {name}"

    def _says(self, word: str) -> bool:
        return re.search(rf"\b(?:{word})\b", self.text) is not None


def error(name: str, module: str) -> type[BaseException] | None:
    """The exception of this name: a whole path, or what is built in, in a module, or in the
    package around it."""
    homes = [name.rpartition(".")[0]] if "." in name else ["builtins", module]
    homes.append(module.rpartition(".")[0] or module)
    found = [
        getattr(importlib.import_module(home), name.rpartition(".")[2], None) for home in homes
    ]
    errors = (kind for kind in found if isinstance(kind, type) and issubclass(kind, BaseException))
    return next(errors, None)


def bases_of(name: str, module: str) -> list[str]:
    """The names by which an exception may be told, its own first."""
    kind = error(name, module)
    bases = kind.__mro__ if kind is not None else ()
    return [name, *(base.__name__ for base in bases if base not in (object, *Exception.__mro__))]


def is_ours(thing: Any) -> bool:
    return str(getattr(thing, "__module__", "")).partition(".")[0] in ("nats", "fastnats")


def public_names() -> Iterator[tuple[str, str, Any]]:
    for module in public_modules():
        for name in declared_in(module):
            yield module, name, getattr(importlib.import_module(module), name)


@functools.cache
def attribute_docstrings() -> Mapping[str, list[str]]:
    """Strings in the bodies of the package's classes, by the names of these: modules give other
    ones than their own as the homes of classes, so that `inspect` doesn't find them."""
    found: dict[str, list[str]] = defaultdict(list)
    for name in files(".py", below=("python/",)):
        for kind in ast.walk(ast.parse(text_of(name))):
            if isinstance(kind, ast.ClassDef):
                found[kind.name] += [
                    ast.unparse(node) for node in kind.body if isinstance(node, ast.Expr)
                ]
    return found


def docstrings_of(kind: type) -> str:
    """The docstring of a class, and those of its attributes. A dataclass without a docstring has
    its signature in that place."""
    text = vars(kind).get("__doc__") or ""
    if not text or text.startswith(f"{kind.__name__}("):
        return ""
    return "\n".join([text, *attribute_docstrings()[kind.__name__]])


def members(name: str, kind: type, public: set[type]) -> Iterator[Documented]:
    """A class and what it has of its own, or from bases of ours that aren't public themselves."""
    yield Documented(name, kind, docstrings_of(kind))
    for attribute in dir(kind):
        owners = [base for base in kind.__mro__ if attribute in vars(base)]
        if attribute.startswith("_") or not owners or not is_ours(owners[0]):
            continue
        if owners[0] is not kind and owners[0] in public:
            continue
        inner = f"{name}.{attribute}"
        thing = vars(owners[0])[attribute]
        text = "\n".join(getattr(vars(owner)[attribute], "__doc__", None) or "" for owner in owners)
        if isinstance(thing, type):
            if thing not in public:
                yield from members(inner, thing, public)
        elif isinstance(thing, staticmethod | classmethod):
            yield Documented(inner, thing.__func__, text)
        elif isinstance(thing, property) or inspect.isroutine(thing):
            yield Documented(inner, getattr(thing, "fget", thing), text)


def order(name: tuple[str, str, Any]) -> tuple[bool, int, str, str]:
    """Things under the names of their own modules first, bases before what derives from them."""
    module, inner, thing = name
    is_foreign = getattr(thing, "__module__", "") != module
    return is_foreign, len(getattr(thing, "__mro__", ())), module, inner


def documented() -> Iterator[Documented]:
    """Each thing once, under the name of the module that defines it if that is a public one."""
    for module in public_modules():
        loaded = importlib.import_module(module)
        yield Documented(module, loaded, loaded.__doc__ or "")
    seen: set[int] = set()
    names = sorted(public_names(), key=order)
    public = {thing for _, _, thing in names if isinstance(thing, type)}
    for module, name, thing in names:
        if not is_ours(thing):
            continue
        if isinstance(thing, type):
            found = list(members(f"{module}.{name}", thing, public))
        elif inspect.isroutine(thing):
            found = [Documented(f"{module}.{name}", thing, thing.__doc__ or "")]
        else:
            continue
        for each in found:
            if id(each.thing) not in seen:
                seen.add(id(each.thing))
                yield each
