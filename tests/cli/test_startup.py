"""Starting is quick, and nothing is imported that the command does not use."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.process import COMMAND, FIG1, best_time

#: Each takes most of a second or more to import.
HEAVY = ("torch", "tensorflow", "matplotlib", "numba", "ortools", "pulp", "highspy", "pandas")

SCRIPT = Path(sys.executable).with_name("talos-opt")


def imported_by(code: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after running the code."""
    tail = "\nimport sys, json; sys.stderr.write('@' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code + tail], capture_output=True, text=True, timeout=60, check=True
    )
    return {name.partition(".")[0] for name in json.loads(done.stderr.partition("@")[2])}


def test_importing_the_package_loads_nothing_heavy() -> None:
    modules = imported_by("import talos_opt")
    assert "talos_opt" in modules
    assert modules & {*HEAVY, "networkx"} == set()


@pytest.mark.parametrize("argv", [["--help"], ["solve", "--help"], ["--version"]])
def test_help_loads_nothing_at_all(argv: list[str]) -> None:
    modules = imported_by(f"from talos_opt.cli.main import main\nassert main({argv}) == 0")
    assert modules & {*HEAVY, "numpy", "yaml", "rich", "networkx"} == set()


def test_listing_solvers_loads_no_backend() -> None:
    modules = imported_by("from talos_opt.cli.main import main\nassert main(['solvers']) == 0")
    assert modules & set(HEAVY) == set()


def test_solving_loads_no_framework_and_no_compiler() -> None:
    modules = imported_by(
        f"from talos_opt.cli.main import main\nassert main(['solve', {str(FIG1)!r}]) == 0"
    )
    assert modules & {"torch", "tensorflow", "matplotlib", "numba"} == set()


@pytest.mark.timing
@pytest.mark.skipif(not SCRIPT.exists(), reason="the talos-opt script is not installed")
def test_help_within_half_a_second() -> None:
    assert best_time([str(SCRIPT), "--help"]) < 0.5


@pytest.mark.timing
def test_fig1_within_two_seconds() -> None:
    assert best_time([*COMMAND, "solve", str(FIG1)]) < 2


@pytest.mark.timing
def test_a_first_use_waits_for_no_kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert best_time([*COMMAND, "solve", str(FIG1)]) < 2


def test_on_a_first_use_there_is_a_schedule_before_the_kernels(tmp_path: Path) -> None:
    code = (
        "import threading, talos_opt\n"
        "problem, cancel, said = talos_opt.read('models/googlenet.yaml'), threading.Event(), []\n"
        "def look(progress):\n"
        "    if 'compiling' in progress.solver:\n"
        "        said.append(progress.value)\n"
        "        cancel.set()\n"
        "result = talos_opt.solve(problem, cancel=cancel, on_progress=look, time_limit=60)\n"
        "assert said[0] is not None\n"
        "assert min(e.time_s for e in result.history if e.value is not None) < 2\n"
        "assert talos_opt.check(problem, result.schedule) == ()\n"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=FIG1.parents[1],
        env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
        check=True,
        timeout=120,
    )
