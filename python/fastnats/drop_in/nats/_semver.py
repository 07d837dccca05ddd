"""Semantic versions."""

from __future__ import annotations

from typing import Optional

# The expression that https://semver.org recommends.
SEMVER = (
    r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(?:-((?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)"
    r"(?:\.(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?"
    r"(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?$"
)
_PARTS = ("major", "minor", "patch", "prerelease", "build")


def parse_semver(text: str) -> Optional[dict[str, str]]:
    """Returns the parts of a version by their names, ``None`` if it isn't one."""
    # Only when it is needed: importing it takes a while.
    import re

    match = re.match(SEMVER, text)
    return None if match is None else dict(zip(_PARTS, match.groups(default=""), strict=True))
