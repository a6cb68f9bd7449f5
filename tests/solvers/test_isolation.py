"""The two library clashes: TensorFlow before OR-Tools, and highspy 1.15 beside it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest

import talos_opt
from talos_opt import DependencyError, SolverError, Status
from talos_opt.core.problem import Problem
from talos_opt.solvers.cpsat import backend
from talos_opt.solvers.engine import isolation
from talos_opt.solvers.engine.run import Progress, Run
from tests.builders import device, fig1, op, problem
from tests.cli.process import COMMAND, FIG1
from tests.clocks import Stopwatch
from tests.solvers.running import layered

ROOT = Path(__file__).resolve().parents[2]
CP_MODEL = "ortools.sat.python.cp_model"


@pytest.fixture
def tensorflow_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process in which something called tensorflow was imported before OR-Tools."""
    monkeypatch.delitem(sys.modules, CP_MODEL, raising=False)
    monkeypatch.setitem(sys.modules, "tensorflow", ModuleType("tensorflow"))
    assert backend.needs_own_process()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that the isolated path starts."""
    processes: list[subprocess.Popen[bytes]] = []

    def start(*argv: str, **streams: object) -> subprocess.Popen[bytes]:
        processes.append(start_python(*argv, **streams))
        return processes[-1]

    start_python = isolation.start_python
    monkeypatch.setattr(isolation, "start_python", start)
    return processes


# ---- when it is needed ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "needed"),
    [
        ([], False),
        ([CP_MODEL], False),
        ([CP_MODEL, "tensorflow"], False),
        (["tensorflow"], True),
        (["tensorflow", CP_MODEL], True),
    ],
)
def test_only_tensorflow_first_needs_a_process(
    monkeypatch: pytest.MonkeyPatch, order: list[str], needed: bool
) -> None:
    monkeypatch.setattr(sys, "modules", {name: ModuleType(name) for name in order})
    assert backend.needs_own_process() is needed


# ---- the isolated path, with a stand-in ----------------------------------------------------


def test_the_value_is_that_of_the_direct_path(
    tensorflow_first: None, started: list[subprocess.Popen[bytes]]
) -> None:
    told: list[Progress] = []
    result = talos_opt.solve(fig1(), "cpsat", time_limit=60, on_progress=told.append)
    assert len(started) == 1
    assert result.status is Status.OPTIMAL
    assert (result.value, result.lower_bound) == (9, 9)
    assert {progress.solver for progress in told} >= {"cpsat"}
    assert_reaped(started)


def test_auto_takes_it_too(
    request: pytest.FixtureRequest, started: list[subprocess.Popen[bytes]]
) -> None:
    small = layered(12, models=3, width=2)
    direct = talos_opt.solve(small, "auto", time_limit=60)
    assert direct.status is Status.OPTIMAL
    assert not started
    request.getfixturevalue("tensorflow_first")
    result = talos_opt.solve(small, "auto", time_limit=60)
    assert len(started) == 1
    assert result.status is Status.OPTIMAL
    assert result.value == pytest.approx(direct.value)
    assert_reaped(started)


@pytest.mark.timing
def test_the_time_limit_counts_from_the_start_of_the_child(
    tensorflow_first: None, started: list[subprocess.Popen[bytes]]
) -> None:
    watch = Stopwatch()
    result = talos_opt.solve(layered(150), "cpsat", time_limit=2)
    watch.check(2 * 1.05 + 1)
    assert result.status in (Status.FEASIBLE, Status.UNKNOWN)
    assert not result.interrupted
    assert_reaped(started)


@pytest.mark.timing
def test_cancelling_ends_the_child_and_keeps_the_incumbent(
    tensorflow_first: None, started: list[subprocess.Popen[bytes]]
) -> None:
    big, cancel = layered(150), threading.Event()
    warm = talos_opt.solve(big, "etf").schedule
    watch = Stopwatch()

    def stop() -> None:
        watch.start()
        cancel.set()

    timer = threading.Timer(2.0, stop)
    timer.start()
    result = talos_opt.solve(big, "cpsat", time_limit=60, cancel=cancel, warm_start=warm)
    watch.check(1)
    assert result.interrupted
    assert result.status is Status.FEASIBLE
    assert_reaped(started)


def test_a_warm_start_and_a_bound_reach_the_child(
    tensorflow_first: None, started: list[subprocess.Popen[bytes]]
) -> None:
    warm = talos_opt.solve(fig1(), "talos").schedule
    result = talos_opt.solve(fig1(), "cpsat", time_limit=60, warm_start=warm)
    assert result.status is Status.OPTIMAL
    assert result.value == 9
    assert_reaped(started)


def test_infeasibility_comes_back_with_its_reason(
    tensorflow_first: None, started: list[subprocess.Popen[bytes]]
) -> None:
    ops = [op(name, weights=4) for name in "abc"]
    full = problem(ops, [device("cpu0", 7), device("gpu0", 7)])
    result = talos_opt.solve(full, "cpsat", time_limit=60)
    assert len(started) == 2, "the search, and what would make the problem feasible"
    assert result.status is Status.INFEASIBLE
    assert "give a device more memory" in result.reason
    assert_reaped(started)


def test_an_error_of_the_child_is_raised_here(
    tensorflow_first: None, started: list[subprocess.Popen[bytes]], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    fake_highspy(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # seen by the child alone
    with pytest.raises(DependencyError, match=r"highspy 1\.15\.0"):
        talos_opt.solve(fig1(), "cpsat")
    assert_reaped(started)


def test_a_child_that_dies_is_an_error(
    tensorflow_first: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "start_python", start_failing)
    with pytest.raises(SolverError, match="ended unexpectedly"):
        talos_opt.solve(fig1(), "cpsat")


@pytest.mark.notes("the CP-SAT process ended unexpectedly")
def test_a_child_that_dies_costs_no_incumbent(
    tensorflow_first: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "start_python", start_failing)
    warm = talos_opt.solve(fig1(), "aswm").schedule
    result = talos_opt.solve(fig1(), "cpsat", time_limit=60, warm_start=warm)
    assert result.status is Status.FEASIBLE
    assert result.value == 12.5
    assert "ended unexpectedly" in result.notes[0]


def test_a_child_that_cannot_be_started_is_an_error(
    tensorflow_first: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(SolverError, match="no process can be started"):
        talos_opt.solve(fig1(), "cpsat")


def test_what_a_library_prints_in_the_child_breaks_nothing() -> None:
    """The child's own standard output is kept for messages alone."""
    code = (
        "import os, sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from talos_opt.solvers.cpsat import child, solver\n"
        "solve = solver.CpsatSolver.solve\n"
        "def noisy(self, problem, run):\n"
        "    print('hello'); os.write(1, b'from below')\n"
        "    return solve(self, problem, run)\n"
        "solver.CpsatSolver.solve = noisy\n"
        "child.main()\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    run = Run(fig1(), time_limit=20)
    messages = exchange(child, run.problem)
    assert messages[-1][0] == "answer"
    assert {kind for kind, _ in messages} == {"schedule", "bound", "answer"}


def exchange(child: subprocess.Popen[bytes], asked: Problem) -> list[tuple[str, object]]:
    import io
    import pickle

    from talos_opt.solvers.cpsat.solver import CpsatOptions

    request = pickle.dumps((asked, time.time() + 20, 0, 1, None, 0.0, CpsatOptions()))
    out, _ = child.communicate(request, timeout=60)
    stream, messages = io.BytesIO(out), []
    while stream.tell() < len(out):
        messages.append(pickle.load(stream))
    return messages


def start_failing(*argv: str, **streams: object) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", "import os; os._exit(11)"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def assert_reaped(processes: list[subprocess.Popen[bytes]]) -> None:
    """All processes have ended and been waited for: none is left as a zombie."""
    assert processes
    for process in processes:
        assert process.returncode is not None
        with pytest.raises(ProcessLookupError):
            os.kill(process.pid, 0)


# ---- the real thing ------------------------------------------------------------------------

SCRIPT = """
import {first}
import {second}
import json
import sys
import talos_opt
from tests.solvers.running import layered

small = layered(24, models=3, width=2)
answers = []
for solver in ("cpsat", "auto"):
    result = talos_opt.solve(small, solver, time_limit=3, workers=2)
    answers.append((result.status, result.value, result.notes))
print(json.dumps(answers))
"""


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None, reason="TensorFlow is not installed"
)
@pytest.mark.parametrize(
    ("first", "second"),
    [("tensorflow", CP_MODEL), (CP_MODEL, "tensorflow")],
)
def test_tensorflow_in_either_order(first: str, second: str) -> None:
    """Two dozen ops: unguarded, CP-SAT crashes beyond toy size where TensorFlow came first."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(first=first, second=second)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    for status, value, notes in json.loads(done.stdout.splitlines()[-1]):
        assert status in ("optimal", "feasible")
        assert value > 0
        assert not any("ended" in note for note in notes)


# ---- highspy -------------------------------------------------------------------------------


def fake_highspy(folder: Path, version: str = "1.15.0") -> None:
    """A package whose metadata alone says that a highspy is installed."""
    info = folder / f"highspy-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: highspy\nVersion: {version}\n")


@pytest.fixture
def new_highspy(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        return "1.15.0" if name == "highspy" else found(name)

    found = metadata.version
    monkeypatch.setattr(metadata, "version", version)


@pytest.mark.parametrize("solver", ["cpsat", "ilp", "auto"])
def test_a_new_highspy_is_refused(new_highspy: None, solver: str) -> None:
    with pytest.raises(DependencyError) as caught:
        talos_opt.solve(fig1(), solver)
    for part in ("highspy 1.15.0", "OR-Tools", "expected 1.12, 1.13 or 1.16", "pip install"):
        assert part in str(caught.value)


@pytest.mark.parametrize("version", ["1.12.0", "1.13.1", "1.16.0"])
def test_other_versions_of_highspy_are_fine(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: version)
    assert talos_opt.solve(fig1(), "cpsat").value == 9


@pytest.mark.parametrize("version", ["1.15.0", "1.15.1", "1.15.dev3"])
def test_every_highspy_1_15_is_refused(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setattr(metadata, "version", lambda name: version)
    with pytest.raises(DependencyError, match="highspy"):
        backend.load()


def test_no_highspy_is_no_trouble_for_cpsat(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    assert talos_opt.solve(fig1(), "cpsat").value == 9


def test_without_ortools_the_message_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in sys.modules if name.startswith("ortools.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ortools", None)
    with pytest.raises(DependencyError, match="pip install 'ortools"):
        talos_opt.solve(fig1(), "cpsat")


@pytest.mark.parametrize("solver", ["cpsat", "auto"])
def test_the_command_line_refuses_it_with_exit_2(tmp_path: Path, solver: str) -> None:
    fake_highspy(tmp_path)
    done = subprocess.run(
        [*COMMAND, "solve", str(FIG1), "--solver", solver],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "highspy 1.15.0 cannot share a process with OR-Tools" in done.stderr
    assert "Traceback" not in done.stderr
