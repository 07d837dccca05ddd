"""What was there when a watch began: which subjects count."""

from __future__ import annotations

import pytest
from nats.js._initial import _covers


@pytest.mark.parametrize(
    ("pattern", "covered"),
    [
        ("a.>", {"a.b", "a.b.c"}),
        ("a.*", {"a.b"}),
        ("a", {"a"}),
        ("a*.>", set()),
        ("*.b.>", {"a.b.c"}),
        (">", {"a", "a.b", "a.b.c", "b"}),
    ],
)
def test_subjects_that_wildcards_cover(pattern: str, covered: set[str]) -> None:
    assert {name for name in ("a", "a.b", "a.b.c", "b") if _covers(pattern, name)} == covered
