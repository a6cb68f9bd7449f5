"""No module of the core is imported, directly or over others, by what it imports itself."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

CORE = Path(__file__).parents[2] / "talos_opt" / "core"


def imported(path: Path) -> set[str]:
    """Modules of the core that one imports, inside functions too; types alone do not count."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name.split(".")[2] for name in names if name.startswith("talos_opt.core.")}
    return found


def test_the_core_has_no_import_circle() -> None:
    graph = {path.stem: imported(path) for path in CORE.glob("*.py")}
    assert graph["graph"] >= {"columns", "model", "networkx_bridge"}
    tuple(TopologicalSorter(graph).static_order())  # a CycleError names the circle
