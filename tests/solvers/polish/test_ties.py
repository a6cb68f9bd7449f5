"""Polishing over ties: what it promises, at what cost, and where it stops."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import talos_opt
from talos_opt.analysis.moves import MoveError, moved
from talos_opt.core.errors import DependencyError
from talos_opt.core.feasibility import check
from talos_opt.core.metrics import measure
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import MemoryDeadlockError, simulate
from talos_opt.core.ties import standing
from talos_opt.core.transfers import NoRouteError
from talos_opt.kernels.inserting import insert_all
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.polish import polish, reserve, setup
from talos_opt.solvers.polish import ties as phase
from tests.builders import device, link, op, problem
from tests.solvers.running import layered
from tests.strategies import large_problems, placed_problems

MODELS = Path(__file__).resolve().parents[3] / "models"

#: A chain on a GPU. Its ReLU costs the same on the CPU, as `late` takes longer than all of it.
RELU = problem(
    {
        "net": [
            op("conv", {"gpu": 2}, output=64),
            op("relu", {"cpu": 1, "gpu": 1}, "conv", output=64),
            op("head", {"gpu": 2}, "relu"),
        ],
        "late": [op("long", {"cpu": 20}, devices="cpu1")],
    },
    [device("gpu0"), device("cpu0"), device("cpu1")],
    [link("gpu cpu", latency=1.0), link("cpu0 cpu1")],
    objective="makespan",
)


def at(given_problem: Problem, *devices: str) -> Schedule:
    where = [given_problem.device_ids.index(name) for name in devices]
    return simulate(given_problem, np.array(where, dtype=np.int64), range(len(where)))


def run_from(given_problem: Problem, start: Schedule, seconds: float = 60.0) -> Run:
    run = Run(given_problem, time_limit=seconds)
    run.offer(start, "start")
    return run


def better_move(given_problem: Problem, schedule: Schedule) -> tuple[str, str] | None:
    """Return a move that `explain` shows and that makes a schedule better, None if there is none.

    As the model says it: no larger value, then less idle time, then fewer bytes.
    """
    rank = standing(given_problem, schedule)
    before = measure(given_problem, schedule)
    for i, here in enumerate(schedule.device.tolist()):
        for d, name in enumerate(given_problem.device_ids):
            if d == here:
                continue
            try:
                after = measure(given_problem, moved(given_problem, schedule, i, d))
            except MoveError:
                continue
            gain = after.value(given_problem.objective) - rank.value
            idle = after.total_idle - before.total_idle
            fewer = after.transferred_bytes < before.transferred_bytes
            tidier = idle < -rank.idle_slack or (idle <= rank.idle_slack and fewer)
            if gain < -rank.value_slack or (gain <= rank.value_slack and tidier):
                return given_problem.names[i], name
    return None


@st.composite
def started(
    draw: st.DrawFn, source: st.SearchStrategy[Problem] | None = None, **features: bool
) -> tuple[Problem, Schedule]:
    """Draw a problem and a feasible schedule of it, which leaves much to be tidied up."""
    given_problem, where, priority = draw(placed_problems(source, **features))
    try:
        made = simulate(given_problem, np.array(where, dtype=np.int64), priority)
    except (NoRouteError, MemoryDeadlockError):
        made = None
    assume(made is not None and not check(given_problem, made))
    assert made is not None
    return given_problem, made


# ---- what it promises ----------------------------------------------------------------------


@given(started())
def test_no_move_that_is_explained_is_better(drawn: tuple[Problem, Schedule]) -> None:
    given_problem, start = drawn
    run = run_from(given_problem, start)
    polish(given_problem, run)
    assert run.best is not None
    assert better_move(given_problem, run.best) is None
    assert run.value <= standing(given_problem, start).value


@settings(max_examples=15)
@given(started(large_problems(peak=False)))
def test_the_same_with_compiled_trials(drawn: tuple[Problem, Schedule]) -> None:
    given_problem, start = drawn
    answers = []
    for loading_s in (np.inf, -1.0):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(setup, "_LOADING_S", loading_s)
            patch.setattr(phase, "MOST_S", 60.0)
            run = run_from(given_problem, start)
            polish(given_problem, run)
        assert run.best is not None
        answers.append(run.best)
    slow, fast = answers
    assert slow.device.tolist() == fast.device.tolist()
    assert slow.start.tolist() == fast.start.tolist()
    assert len(insert_all.signatures) == 1  # compiled once, for all kinds of problems
    assert better_move(given_problem, fast) is None


def test_a_relu_comes_home_even_where_the_value_is_proven() -> None:
    run = run_from(RELU, at(RELU, "gpu0", "cpu0", "gpu0", "cpu1"))
    run.raise_bound(20.0, "test")
    assert run.proven
    assert run.stopped
    assert run.best is not None
    assert better_move(RELU, run.best) == ("net/relu", "gpu0")
    polish(RELU, run)
    assert run.best.device.tolist() == [0, 0, 0, 2]
    assert run.value == 20.0
    assert measure(RELU, run.best).total_idle == 0.0
    assert measure(RELU, run.best).transferred_bytes == 0


def test_runs_of_ops_come_home_together() -> None:
    # On its own, each of the two would leave the CPU waiting for it just as long.
    given_problem = problem(
        {
            "net": [
                op("conv", {"gpu": 2}, output=64),
                op("relu", {"cpu": 1, "gpu": 1}, "conv", output=64),
                op("norm", {"cpu": 1, "gpu": 1}, "relu", output=64),
                op("head", {"gpu": 2}, "norm"),
            ],
            "late": [op("long", {"cpu": 20}, devices="cpu1")],
        },
        [device("gpu0"), device("cpu0"), device("cpu1")],
        [link("gpu cpu"), link("cpu0 cpu1")],
        objective="makespan",
    )
    run = run_from(given_problem, at(given_problem, "gpu0", "cpu0", "cpu0", "gpu0", "cpu1"))
    polish(given_problem, run)
    assert run.best is not None
    assert run.best.device.tolist() == [0, 0, 0, 0, 2]


@pytest.mark.parametrize("objective", ["toct", "makespan"])
@pytest.mark.parametrize(
    ("name", "solver"),
    [
        ("alexnet", "dp"),
        ("squeezenet", "dp"),
        ("resnet50", "dp"),
        ("resnet50", "auto"),
        ("pair_resnet50_squeezenet", "auto"),
    ],
)
def test_no_move_on_a_published_model_is_better(
    name: str, solver: str, objective: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_problem = talos_opt.read(MODELS / f"{name}.yaml", objective=objective)
    result = talos_opt.solve(given_problem, solver, time_limit=5, workers=2)
    assert result.schedule is not None
    # Once more and without a clock, as the machine may be busy.
    monkeypatch.setattr(phase, "MOST_S", 600.0)
    run = run_from(given_problem, result.schedule, seconds=600.0)
    polish(given_problem, run)
    assert run.best is not None
    assert better_move(given_problem, run.best) is None
    assert run.value <= standing(given_problem, result.schedule).value


# ---- where it stops ------------------------------------------------------------------------


def test_it_hears_cancel_and_keeps_the_time_limit() -> None:
    start = at(RELU, "gpu0", "cpu0", "gpu0", "cpu1")
    run = run_from(RELU, start)
    run.cancel.set()
    polish(RELU, run)
    assert run.best is start
    run = run_from(RELU, start, seconds=-1.0)
    polish(RELU, run)
    assert run.best is start


def test_what_was_found_before_the_time_was_over_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_from(RELU, at(RELU, "gpu0", "cpu0", "gpu0", "cpu1"))
    trials = phase.make_trials

    def make(*args: object) -> object:
        made = trials(*args)  # type: ignore[arg-type]
        accept = made.attempt

        def attempt(where: np.ndarray, limit: float, order: np.ndarray | None = None) -> bool:
            found = accept(where, limit, order)
            if found:
                run.cancel.set()
            return found

        made.attempt = attempt  # type: ignore[method-assign]
        return made

    monkeypatch.setattr(phase, "make_trials", make)
    polish(RELU, run)
    assert run.best is not None
    assert run.best.device.tolist() == [0, 0, 0, 2]


def test_without_numba_it_comes_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(run: Run, name: str) -> bool:
        raise DependencyError("compiled kernels need numba")

    monkeypatch.setattr(setup, "_LOADING_S", -1.0)
    monkeypatch.setattr(setup, "get_ready", missing)
    run = run_from(RELU, at(RELU, "gpu0", "cpu0", "gpu0", "cpu1"))
    polish(RELU, run)
    assert run.best is not None
    assert run.best.device.tolist() == [0, 0, 0, 2]
    assert run.notes == []


def test_a_run_without_a_schedule_is_left_alone() -> None:
    run = Run(RELU, time_limit=10)
    polish(RELU, run)
    assert run.best is None


def test_what_is_kept_for_it_is_bounded() -> None:
    assert reserve(RELU, 10.0) < 0.01
    assert reserve(layered(2000), 10.0) == 1.0
    assert reserve(layered(2000), 1000.0) == phase.MOST_S
    assert reserve(layered(2000), 0.0) == 0.0


def test_large_problems_are_not_worked_on_for_long() -> None:
    large = layered(4000)
    start = simulate(large, np.zeros(4000, dtype=np.int64), large.arrays.order)
    run = run_from(large, start)
    setup.use_inserting()
    began = time.process_time()
    polish(large, run)
    assert time.process_time() - began < 4 * phase.MOST_S
    assert run.value < standing(large, start).value


@pytest.mark.parametrize("solver", ["auto", "cpsat", "ilp", "dp"])
def test_exact_solvers_are_polished(solver: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = threading.Event()

    def note(given_problem: Problem, run: Run) -> None:
        assert run.proven
        seen.set()

    monkeypatch.setattr("talos_opt.solvers.session.polish", note)
    assert talos_opt.solve(RELU, solver, workers=1).value == 20.0
    assert seen.is_set()
