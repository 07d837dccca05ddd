"""What uses what among the modules of the Rust crate."""

from __future__ import annotations

from support.circles import assert_circles
from support.rust_modules import Crate, expanded, without_tests


def test_no_circles() -> None:
    assert_circles(
        Crate().uses(),
        "rust_circles",
        "Rust modules that use each other: move what both need into one that uses neither",
    )


def test_the_graph_is_whole() -> None:
    """A rule about modules is worth nothing if their uses aren't seen."""
    uses = Crate().uses()
    assert len(uses) > 45
    assert "crate::connection::outbox" in uses["crate::connection::dispatch"]
    assert "crate::protocol::frame" in uses["crate::protocol::parser"]
    assert not any("tests" in module for module in uses)


def test_trees_of_uses() -> None:
    assert list(expanded("crate::a::{b, c::{d, self}, E as F}, ")) == [
        ("crate", "a", "b"),
        ("crate", "a", "c", "d"),
        ("crate", "a", "c", "self"),
        ("crate", "a", "E"),
    ]


def test_tests_are_left_out() -> None:
    assert without_tests('use a; // b\n#[cfg(test)]\nmod tests { fn c() { "}" } }\nuse d;') == (
        "use a; \n\nuse d;"
    )
