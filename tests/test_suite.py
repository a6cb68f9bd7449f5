"""What every test keeps to, read from the sources."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
SOURCES = sorted(TESTS.rglob("*.py"))
#: What looks at a clock to judge how long something took.
_CLOCKS = re.compile(r"\bStopwatch\(|\bbest_time\(|monotonic\(\) - |\bruntime_s\"?\]? <")


def read_tests(path: Path) -> Iterator[tuple[ast.FunctionDef, str, str]]:
    """Yield the test functions of a file, with their decorators and bodies as text."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            marks = "\n".join(ast.unparse(mark) for mark in node.decorator_list)
            yield node, marks, ast.unparse(node)


def test_no_property_test_ends_in_silence() -> None:
    """Hypothesis counts an example that is rejected, and none that a test returns from.

    Where the other arm asserts as well, `else` says so.
    """
    silent = {
        f"{path.relative_to(TESTS)}:{test.name}"
        for path in SOURCES
        for test, marks, _ in read_tests(path)
        if re.search(r"^given\(", marks, re.MULTILINE)
        for inner in ast.walk(test)
        if isinstance(inner, ast.Return) and inner.value is None
    }
    assert silent == set(), "reject() or assume() instead"


def test_what_looks_at_a_clock_is_marked() -> None:
    for path in SOURCES:
        for test, marks, text in read_tests(path):
            if _CLOCKS.search(text):
                assert "pytest.mark.timing" in marks, f"{path}:{test.lineno}"


def test_each_cp_sat_solver_is_made_where_its_hazards_are_known() -> None:
    called = re.compile(r"\bCpSolver" + r"\(\)")
    found = [path for path in SOURCES if called.search(path.read_text(encoding="utf-8"))]
    assert found == [], "use backend.make_solver"


def test_tests_need_no_benchmark() -> None:
    imported = re.compile(r"^\s*(?:from|import) benchmarks\b", re.MULTILINE)
    found = [path for path in SOURCES if imported.search(path.read_text(encoding="utf-8"))]
    assert found == [], "benchmarks may import from tests, not the reverse"
