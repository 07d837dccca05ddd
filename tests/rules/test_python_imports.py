"""What imports what when a module is loaded, in Python.

Which layer may import which at any time, in functions as well, is import-linter's part: its
contracts are in pyproject.toml, `make lint` looks after them.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import grimp
import pytest
from support.circles import Graph, assert_circles
from support.public import HOMES, tree_of


def lines_in_functions(module: str) -> set[int]:
    """Lines that run when something is called, not when the module is loaded."""
    return {
        line
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


def imports_on_loading() -> Graph:
    """Imports outside of functions and of ``if TYPE_CHECKING``. That a package is loaded before
    its modules is taken for granted: it is no import of theirs."""
    graph = grimp.build_graph(*HOMES, exclude_type_checking_imports=True, cache_dir=None)

    def imported_by(module: str) -> Iterator[str]:
        later = lines_in_functions(module)
        for imported in graph.find_modules_directly_imported_by(module):
            details = graph.get_import_details(importer=module, imported=imported)
            if any(detail["line_number"] not in later for detail in details):
                yield imported

    return {module: set(imported_by(module)) for module in graph.modules}


@pytest.fixture(scope="module")
def graph() -> Graph:
    return imports_on_loading()


def test_no_circles(graph: Graph) -> None:
    assert_circles(
        graph,
        "python_circles",
        "modules that import each other: move what both need into one that imports neither, or "
        "import for annotations only (`if TYPE_CHECKING:`)",
    )


def test_the_graph_is_whole(graph: Graph) -> None:
    """A rule about imports is worth nothing if they aren't seen."""
    assert {"nats.aio.client", "nats.js.client", "fastnats.embedded"} <= set(graph)
    assert "nats.aio.client" in graph["nats"]
    assert "nats.js.client" not in graph["nats.aio.client"]
