"""What no file of the project may be or contain. What is in Python's or Rust's grammar (unused
suppressions, prints, breakpoints, code in comments) ruff and clippy look for."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from support.sources import assert_only, at, files, text_of

LONGEST = 499

CODE = (".py", ".pyi", ".rs", ".sh")
WRITTEN_BY_HAND = (
    *CODE, ".in", ".md", ".toml", ".txt", ".yaml", ".yml", "Makefile", ".ci/audit", ".ci/run",
)  # fmt: skip
# Locked requirements and results of benchmarks.
GENERATED = re.compile(r"requirements/.*\.txt|benches/results/.*|Cargo\.lock")
# A docstring, or a Rust module's own documentation, behind what the system reads first.
HEAD = re.compile(r'(?:#!.*\n)?(?:r?"""|//!)')
THESE_RULES = "tests/rules/"


def written_by_hand() -> list[str]:
    return [name for name in files(*WRITTEN_BY_HAND) if not GENERATED.fullmatch(name)]


def places(pattern: str, names: list[str], flags: int = re.MULTILINE) -> Iterator[str]:
    for name in names:
        for found in re.finditer(pattern, text_of(name), flags):
            yield f"{at(name, found.start())}: {found[0].strip()}"


def assert_nowhere(pattern: str, names: list[str], advice: str) -> None:
    found = "".join(f"\n  {place}" for place in places(pattern, names))
    assert not found, f"{advice}{found}"


def test_files_are_short() -> None:
    long = [name for name in written_by_hand() if text_of(name).count("\n") > LONGEST]
    assert_only(long, "long_files", "500 lines or more: give each of its jobs a file of its own")


def test_files_say_what_they_are_for() -> None:
    silent = [
        name
        for name in files(".py", ".rs")
        if text_of(name).strip()
        and not name.endswith("_tests.rs")
        and not HEAD.match(text_of(name))
    ]
    assert not silent, f"begin these files with a docstring, or //! in Rust: {silent}"


def test_nothing_is_suppressed_for_a_whole_file() -> None:
    assert_nowhere(
        r"^\s*# *(?:ruff: *noqa|flake8: *noqa|mypy:|pyright: *(?!ignore)|type: *ignore\b).*"
        r"|^\s*#!\[(?:allow|expect)\b.*",
        [name for name in files(*CODE) if not name.startswith(THESE_RULES)],
        "say it on the lines that need it, with a code; or in pyproject.toml, with the reason, "
        "where it holds for a whole directory:",
    )


@pytest.mark.parametrize(
    ("pattern", "advice"),
    [
        (r"\b(?:TODO|FIXME|XXX|HACK)\b", "do it, or file an issue:"),
        (r"^(?:<{7}|={7}|>{7})(?: .*)?$", "left over from a merge:"),
        (
            r"(?<![\w.])/(?:home|root|Users|work|workspace)/[\w.-]+",
            "a path of one machine: take it from the environment, or relative to the file:",
        ),
        (
            r"--(?:extra-)?index-url|--find-links|--trusted-host|\bindex-url *=",
            "packages come from where the environment says:",
        ),
        (
            r"https?://[\w.-]*(?:mirror|proxy|artifactory|nexus|registry)[\w.-]*/",
            "a package registry's host: leave it to the environment:",
        ),
    ],
    ids=["unfinished", "conflict", "path", "index", "registry"],
)
def test_nothing_is_left_over(pattern: str, advice: str) -> None:
    names = [*written_by_hand(), *files(".txt", below=("requirements/",))]
    assert_nowhere(pattern, [name for name in names if not name.startswith(THESE_RULES)], advice)


def test_unsafe_code_is_in_the_bridge() -> None:
    """The compiler denies it (``unsafe_code``) and clippy asks for SAFETY notes; here is where
    exceptions may be made."""
    assert_nowhere(
        r"allow\([^)]*\bunsafe_code\b|\bunsafe\s*(?:\{|fn\b|impl\b|extern\b)",
        [
            name
            for name in files(".rs")
            if name != "src/bridge.rs" and not name.startswith("src/bridge/")
        ],
        "unsafe code belongs into src/bridge.rs or below src/bridge/, with a SAFETY note:",
    )


def test_the_project_is_seen() -> None:
    """Rules that look at nothing would go unnoticed."""
    assert len(written_by_hand()) > 300
    assert len(files(".rs", below=("src/",))) > 50
    assert list(places("^LONGEST = .*", ["tests/rules/test_files.py"]))
