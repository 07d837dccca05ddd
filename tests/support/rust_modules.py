"""Which module of the Rust crate uses which, read from its text.

It takes paths that begin with ``crate``, ``super``, ``self`` or a module below, in ``use`` and
elsewhere, follows names through re-exports to where they are defined, and leaves tests out. A
re-export itself is no use: a module may be the face of those below it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from support.sources import files, text_of

USE = re.compile(r"(?P<public>pub(?:\([^)]*\))?\s+)?\buse\s+(?P<tree>[^;]+);")
PATH = re.compile(r"\b(?:crate|super|self)(?:\s*::\s*\w+)+")
TESTS = re.compile(
    r"#\[cfg\((?:all\()?(?:test|fastnats_loom)\b[^\]]*\]\s*(?:mod|use)\b[^{;]*([{;])"
)
COMMENTS = re.compile(r"//[^\n]*")
COMMENTS_AND_STRINGS = re.compile(rf'{COMMENTS.pattern}|"(?:\\.|[^"\\])*"', re.DOTALL)

Path = tuple[str, ...]


def module_of(file: str) -> Path:
    """``src/client/mod.rs`` and ``src/client.rs`` are both ``crate::client``."""
    parts = file.removeprefix("src/").removesuffix(".rs").split("/")
    if parts[-1] in ("mod", "lib"):
        parts.pop()
    return ("crate", *parts)


def without_comments(text: str) -> str:
    return COMMENTS.sub("", text)


def without_tests(text: str) -> str:
    text = COMMENTS_AND_STRINGS.sub("", text)
    while found := TESTS.search(text):
        end = found.end()
        depth = int(found[1] == "{")
        while depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        text = text[: found.start()] + text[end:]
    return text


def expanded(tree: str) -> Iterator[Path]:
    """The paths of a ``use``: ``a::{b, c::d}`` stands for ``a::b`` and ``a::c::d``."""
    tree = re.sub(r"\bas\s+\w+", "", tree)
    prefix, brace, inner = tree.partition("{")
    head = tuple(re.findall(r"\w+|\*", prefix))
    if not brace:
        yield head
        return
    inner = inner.rpartition("}")[0]
    depth, start = 0, 0
    for position, character in enumerate(inner + ","):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == "," and depth == 0:
            if part := inner[start:position].strip():
                yield from (head + rest for rest in expanded(part))
            start = position + 1


class Crate:
    """The modules of ``src``, tests left out."""

    def __init__(self) -> None:
        self._text = {
            module_of(file): without_tests(text_of(file))
            for file in files(".rs", below=("src/",))
            if not file.endswith("_tests.rs")
        }
        self._named = {module: dict(self._names(module)) for module in self._text}

    def uses(self) -> dict[str, set[str]]:
        """For each module the other modules that it uses, as ``crate::a::b``."""
        return {
            "::".join(module): {"::".join(used) for used in self._used_by(module)}
            - {"::".join(module)}
            for module in self._text
        }

    def _used_by(self, module: Path) -> Iterator[Path]:
        text = self._text[module]
        for found in USE.finditer(text):
            if found["public"] is None:
                yield from self._resolved(module, expanded(found["tree"]))
        elsewhere = USE.sub("", text)
        yield from self._resolved(
            module, (tuple(re.findall(r"\w+", path)) for path in PATH.findall(elsewhere))
        )

    def _names(self, module: Path) -> Iterator[tuple[str, Path]]:
        """Names that a module has from others, and their absolute paths."""
        for found in USE.finditer(self._text[module]):
            for path in expanded(found["tree"]):
                if absolute := self._absolute(module, path):
                    yield path[-1], absolute

    def _absolute(self, module: Path, path: Path) -> Path | None:
        """The path from ``crate``; None for those of other crates."""
        if path[0] == "crate":
            return path
        if path[0] == "self":
            return module + path[1:]
        here = module
        while path and path[0] == "super":
            here, path = here[:-1], path[1:]
        if here is not module or module + path[:1] in self._text:
            return here + path
        return None

    def _resolved(self, module: Path, paths: Iterator[Path]) -> Iterator[Path]:
        for path in paths:
            absolute = self._absolute(module, path)
            if absolute is not None:
                yield self._home(absolute)

    def _home(self, path: Path) -> Path:
        """The module that defines what an absolute path leads to."""
        module = path
        while module not in self._text:
            module = module[:-1]
        name = path[len(module)] if len(path) > len(module) else ""
        target = self._named[module].get(name)
        return module if target is None or target == path else self._home(target)
