"""Circles in what uses what."""

from __future__ import annotations

from collections.abc import Mapping, Set

from support.sources import assert_only

Graph = Mapping[str, Set[str]]


def reached_from(graph: Graph, start: str) -> set[str]:
    """What a node leads to, itself only if it is in a circle."""
    reached: set[str] = set()
    pending = [start]
    while pending:
        for target in graph.get(pending.pop(), set()) - reached:
            reached.add(target)
            pending.append(target)
    return reached


def circles(graph: Graph) -> list[set[str]]:
    """The largest sets of nodes each of which leads to every other one."""
    reach = {node: reached_from(graph, node) for node in graph}
    found: list[set[str]] = []
    for node in sorted(graph):
        if node in reach[node] and not any(node in circle for circle in found):
            found.append({other for other in reach[node] if node in reach[other]})
    return found


def assert_circles(graph: Graph, name: str, advice: str) -> None:
    """Fail for what is in a circle beyond a list of today's, if there is one; it may only shrink.

    The list has a line for each use within a circle, ``user -> used``.
    """
    uses = [
        f"{user} -> {used}"
        for circle in circles(graph)
        for user in circle
        for used in graph[user] & circle
    ]
    assert_only(uses, name, advice)
