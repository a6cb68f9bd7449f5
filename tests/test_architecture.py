"""The ground plan: no import goes in a circle, and a new room needs a folder and one line."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "talos_opt"
#: What a solver's folder may use of the other solvers' folders.
USES = {
    "auto": set(),
    "lns": {"cpsat"},
    "relax": {"cpsat", "ilp"},
    "coarse": {"large"},
    "bundling": {"session"},
    "robust": {"fast"},
}
#: Folders of `solvers` that are no solver.
ROOMS = {"engine", "shared", "bounds", "polish", "infeasibility"}


def is_typing(node: ast.If) -> bool:
    return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def imports(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield what a module imports, in functions too but for types alone: module and names."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing = [node for node in ast.walk(tree) if isinstance(node, ast.If) and is_typing(node)]
    unseen = {id(inner) for node in typing for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in unseen:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module, tuple(alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, ()


def import_graph() -> nx.DiGraph[str]:
    modules = {}
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        modules[name.removesuffix(".__init__")] = path
    graph: nx.DiGraph[str] = nx.DiGraph()
    for name, path in modules.items():
        for module, names in imports(path):
            for wanted in [f"{module}.{one}" for one in names] or [module]:
                found = wanted if wanted in modules else module
                if found in modules and found != name:
                    graph.add_edge(name, found)
    return graph


def test_no_import_goes_in_a_circle() -> None:
    """Imports inside functions count too."""
    circles = [sorted(c) for c in nx.strongly_connected_components(import_graph()) if len(c) > 1]
    assert circles == []


def solver_folders() -> list[Path]:
    folders = [path.parent for path in (PACKAGE / "solvers").glob("*/__init__.py")]
    return sorted(folder for folder in folders if folder.name not in ROOMS)


@pytest.mark.parametrize("folder", solver_folders(), ids=lambda folder: folder.name)
def test_a_solver_imports_no_other(folder: Path) -> None:
    allowed = ROOMS | {folder.name} | USES.get(folder.name, set())
    for path in folder.rglob("*.py"):
        for module, _ in imports(path):
            if module.startswith("talos_opt.solvers."):
                assert module.split(".")[2] in allowed, path


MINE = '''
from dataclasses import dataclass
from talos_opt.core.result import Status
from talos_opt.core.simulator import simulate
from talos_opt.solvers.engine.base import NoOptions, Solver, Verdict


class MineSolver(Solver):
    """Every op on the first device that it may use."""

    name = "mine"
    summary = "the first device"
    Options = NoOptions

    def solve(self, problem, run):
        arrays = problem.arrays
        device = arrays.allowed.argmax(axis=1)[arrays.group]
        run.offer(simulate(problem, device, arrays.rank), self.name)
        return Verdict(Status.FEASIBLE)
'''

PAIRS = """
from talos_opt.core.cluster import Cluster, Device
from talos_opt.core.graph import Graph, Model, Op
from talos_opt.core.problem import Problem


def recognises(source):
    return source.text.startswith("pairs")


def read_problem(source, *, cluster=None, objective=None):
    rows = [line.split() for line in source.text.splitlines()[1:]]
    ops = tuple(Op(name, {"cpu": float(time)}) for name, time in rows)
    return Problem(Graph("pairs", (Model("m", ops),)), cluster or Cluster((Device("c", "cpu"),)))
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package that a test may change."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, tmp_path / "talos_opt", ignore=ignored)
    return tmp_path


def add_line(path: Path, after: str, line: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.count(after) == 1
    path.write_text(text.replace(after, f"{after}\n{line}"), encoding="utf-8")


def run(folder: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "talos_opt", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_new_solver_is_one_folder_and_one_line(copy: Path) -> None:
    folder = copy / "talos_opt" / "solvers" / "mine"
    folder.mkdir()
    (folder / "__init__.py").write_text('"""`mine`."""\n', encoding="utf-8")
    (folder / "solver.py").write_text(MINE, encoding="utf-8")
    registry = copy / "talos_opt" / "solvers" / "engine" / "registry.py"
    line = '    "mine": ("talos_opt.solvers.mine.solver", "MineSolver"),'
    add_line(registry, "_SOLVERS = {", line)
    graph = str(ROOT / "models" / "fig1.yaml")
    assert "mine" in run(copy, "solvers")
    assert "solver mine" in run(copy, "solve", graph, "--solver", "mine")


def test_a_new_format_is_one_file_and_one_line(copy: Path) -> None:
    formats = copy / "talos_opt" / "formats"
    (formats / "pairs.py").write_text(PAIRS, encoding="utf-8")
    line = '        Format("pairs", "names and times", (".txt",), "pairs", writes=False),'
    add_line(formats / "__init__.py", "    for item in (", line)
    (copy / "two.txt").write_text("pairs\na 1\nb 2\n", encoding="utf-8")
    assert "makespan" in run(
        copy, "solve", "two.txt", "--objective", "makespan", "--solver", "heft"
    )
