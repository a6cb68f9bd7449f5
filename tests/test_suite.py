"""What every test keeps to, read from the sources."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
SOURCES = sorted(TESTS.rglob("*.py"))
#: What looks at a clock to judge how long something took.
_CLOCKS = re.compile(r"\bStopwatch\(|\bbest_time\(|monotonic\(\) - |\bruntime_s\"?\]? <")

everywhere = pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(TESTS)))


def tests_in(path: Path) -> Iterator[tuple[ast.FunctionDef, str, str]]:
    """Yield the test functions of a file, with their decorators and bodies as text."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            marks = "\n".join(ast.unparse(mark) for mark in node.decorator_list)
            yield node, marks, ast.unparse(node)


@everywhere
def test_no_property_test_ends_in_silence(path: Path) -> None:
    """Hypothesis counts an example that is rejected, and none that a test returns from."""
    silent = [
        f"{path}:{inner.lineno}"
        for test, marks, _ in tests_in(path)
        if re.search(r"^given\(", marks, re.MULTILINE)
        for inner in ast.walk(test)
        if isinstance(inner, ast.Return) and inner.value is None
    ]
    assert silent == [], "reject() or assume() instead"


@everywhere
def test_what_looks_at_a_clock_is_marked(path: Path) -> None:
    for test, marks, text in tests_in(path):
        if _CLOCKS.search(text):
            assert "pytest.mark.timing" in marks, f"{path}:{test.lineno}"


@everywhere
def test_each_cp_sat_solver_is_made_where_its_hazards_are_known(path: Path) -> None:
    called = re.compile(r"\bCpSolver" + r"\(\)")
    assert not called.search(path.read_text(encoding="utf-8")), "use backend.make_solver"


@everywhere
def test_tests_need_no_benchmark(path: Path) -> None:
    imported = re.compile(r"^\s*(?:from|import) benchmarks\b", re.MULTILINE)
    assert not imported.search(path.read_text(encoding="utf-8")), "benchmarks may import tests"
