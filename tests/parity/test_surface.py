"""Everything public in nats-py exists here too and is equal."""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from parity import surface
from parity.interpreters import FOLDER, OURS, environment_of, reference

# Names that have to exist, with contents of their own choosing.
OPAQUE = {
    "nats.protocol.parser.Parser": "parses for the client's own methods; nobody else can use it",
}

# Modules whose regular expressions are how they work, not something to import.
PRIVATE_PATTERNS = ("nats.protocol.parser",)

# Deliberate differences, by the beginning of the line that would report them.
ALLOWED = {
    "nats.js.object_store.ObjectStore.list is async": "both awaitable and an async iterator",
}

# Those of the packages are found by the script, and have to be these.
MODULES = (
    *surface.MODULES,
    "nats.js",
    "nats.js.api",
    "nats.js.client",
    "nats.js.errors",
    "nats.js.kv",
    "nats.js.manager",
    "nats.js.object_store",
    "nats.micro",
    "nats.micro.request",
    "nats.micro.service",
)

Surface = dict[str, Any]


@functools.cache
def surface_of(python: str) -> dict[str, Surface]:
    run = subprocess.run(
        [python, str(FOLDER / "surface.py")],
        env=environment_of(python),
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert run.returncode == 0, run.stderr
    printed: dict[str, Surface] = json.loads(run.stdout)
    return printed


def test_modules_are_those_of_the_reference() -> None:
    assert set(surface_of(reference())) == set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_module(module: str) -> None:
    theirs = surface_of(reference())[module]
    assert "error" not in theirs, f"nats-py's {module} cannot be imported: {theirs['error']}"
    ours = surface_of(OURS).get(module, {"error": "not found"})
    lines = list(compare_modules(module, theirs, ours))
    found = [line for line in lines if not line.startswith(tuple(ALLOWED))]
    assert not found, f"{len(found)} differences from nats-py:\n" + "\n".join(found)
    unused = [
        allowed
        for allowed in ALLOWED
        if module_of(allowed) == module and not any(line.startswith(allowed) for line in lines)
    ]
    assert not unused, f"no difference any more, remove from ALLOWED: {unused}"


def module_of(line: str) -> str:
    name = line.partition(" ")[0]
    return max((m for m in MODULES if name == m or name.startswith(f"{m}.")), key=len, default="")


def compare_modules(module: str, theirs: Surface, ours: Surface) -> Iterator[str]:
    if "error" in ours:
        yield f"{module} cannot be imported: {ours['error']}"
        return
    missing = set(theirs["all"]) - set(ours["all"]) if ours["all"] else set()
    if missing:
        yield f"{module}.__all__ lacks {sorted(missing)}"
    yield from compare_names(module, theirs["names"], ours["names"])


def compare_names(owner: str, theirs: Surface, ours: Surface) -> Iterator[str]:
    for name, reference_entry in theirs.items():
        path = f"{owner}.{name}"
        if reference_entry["kind"] == "pattern" and owner in PRIVATE_PATTERNS:
            continue
        entry = ours.get(name)
        if entry is None:
            yield f"{path} is missing ({reference_entry['kind']})"
        elif path not in OPAQUE:
            yield from compare_entries(path, reference_entry, entry)


def compare_entries(path: str, theirs: Surface, ours: Surface) -> Iterator[str]:
    if theirs["kind"] != ours["kind"]:
        yield f"{path} is a {ours['kind']}, not a {theirs['kind']}"
        return
    if theirs["kind"] == "class":
        yield from compare_classes(path, theirs, ours)
        return
    for key in ("value", "of"):
        if theirs.get(key) != ours.get(key):
            yield f"{path} is {ours[key]}, not {theirs[key]}"
    # Only what the reference lets programs assign has to be assignable; natively defined
    # attributes do not tell.
    if theirs.get("settable") and ours.get("settable") is False:
        yield f"{path} cannot be assigned"
    if theirs.get("async") != ours.get("async"):
        yield f"{path} is async: {ours['async']}, not {theirs['async']}"
    yield from compare_hints(path, theirs, ours)
    if "parameters" in theirs:
        yield from compare_parameters(path, theirs["parameters"], ours["parameters"])


def compare_hints(path: str, theirs: Surface, ours: Surface) -> Iterator[str]:
    # Native attributes have none.
    if theirs.get("hints") and not ours.get("hints", True):
        yield f"{path} has annotations that don't resolve"


def compare_classes(path: str, theirs: Surface, ours: Surface) -> Iterator[str]:
    yield from compare_hints(path, theirs, ours)
    # Others may come between them, in the same order.
    bases = iter(ours["bases"])
    lost = [base for base in theirs["bases"] if base not in bases]
    if lost:
        yield f"{path} has the bases {ours['bases']}, which lack {lost}"
    if theirs["abstract"] != ours["abstract"]:
        yield f"{path} is abstract: {ours['abstract']}, not {theirs['abstract']}"
    for key in ("members", "text", "instances"):
        for name, value in theirs.get(key, {}).items():
            got = ours.get(key, {}).get(name, "missing")
            if got != value:
                yield f"{path} {key}[{name}] is {got}, not {value}"
    if "parameters" in theirs:
        yield from compare_parameters(f"{path}()", theirs["parameters"], ours.get("parameters"))
    yield from compare_fields(path, theirs, ours)
    yield from compare_names(path, theirs.get("attributes", {}), ours.get("attributes", {}))


def compare_fields(path: str, theirs: Surface, ours: Surface) -> Iterator[str]:
    if "fields" not in theirs:
        return
    if "fields" not in ours:
        yield f"{path} is no dataclass"
        return
    if theirs["frozen"] != ours["frozen"]:
        yield f"{path} is frozen: {ours['frozen']}, not {theirs['frozen']}"
    by_name = {field["name"]: field for field in ours["fields"]}
    for field in theirs["fields"]:
        got = by_name.get(field["name"])
        if got is None:
            yield f"{path} lacks the field {field['name']}"
        elif got != field:
            yield f"{path} has the field {got}, not {field}"
    order = [name for name in by_name if name in {f["name"] for f in theirs["fields"]}]
    if order != [field["name"] for field in theirs["fields"] if field["name"] in by_name]:
        yield f"{path} has its fields in another order: {order}"
    if theirs.get("repr") != ours.get("repr") and len(by_name) == len(theirs["fields"]):
        yield f"{path}() is shown as {ours.get('repr')}, not {theirs.get('repr')}"


def compare_parameters(
    path: str, theirs: list[Any] | None, ours: list[Any] | None
) -> Iterator[str]:
    """Every call that works on nats-py works here; parameters may be added if they are optional."""
    if theirs is None:
        return
    if ours is None:
        yield f"{path} has no signature, nats-py's is {spelled(theirs)}"
        return
    rest = list(ours)
    for index, parameter in enumerate(theirs):
        if parameter in rest:
            rest.remove(parameter)
            ordered = "KEYWORD" not in parameter[1] or "POSITIONAL" in parameter[1]
            if ordered and ours[: index + 1] != theirs[: index + 1]:
                yield f"{path} takes {spelled(ours)}, not {spelled(theirs)}"
                return
        else:
            yield f"{path} takes {spelled(ours)}, not {spelled(theirs)}"
            return
    required = [p[0] for p in rest if p[2] is None and not p[1].startswith("VAR_")]
    if required:
        yield f"{path} requires {required}, which nats-py does not have"


def spelled(parameters: list[Any]) -> str:
    stars = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**", "KEYWORD_ONLY": "*, "}
    words = [
        stars.get(kind, "") + name + ("" if default is None else f"={default}")
        for name, kind, default in parameters
    ]
    return f"({', '.join(words)})"
