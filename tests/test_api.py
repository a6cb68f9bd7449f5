"""The Python API: threads, processes, pickles, errors, and what importing it costs."""

from __future__ import annotations

import json
import math
import multiprocessing
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

import talos_opt
from talos_opt.core.errors import TalosError
from tests.builders import device, fig1, op, problem

ROOT = Path(__file__).parents[1]
FIG1 = ROOT / "models" / "fig1.yaml"


def solve_fig1(solver: str) -> float | None:
    return talos_opt.solve(FIG1, solver, time_limit=20).value


def test_the_exported_members() -> None:
    assert sorted(talos_opt.__all__) == sorted(
        [
            "Cluster", "Comparison", "ConfigError", "DependencyError", "Device", "Event",
            "FormatError", "Graph", "GraphError", "InfeasibleScheduleError", "Input",
            "InputError", "Link", "Memory", "MemoryRule", "Metrics", "Model", "Objective", "Op",
            "Problem", "Progress", "Result", "Schedule", "ScheduleError", "SolveConfig",
            "SolverError", "Status", "TalosError", "Transfers", "UnsupportedError", "Violation",
            "check", "compare", "list_solvers", "load_config", "measure", "read",
            "read_schedule", "solve", "write_problem", "write_schedule",
        ]
    )  # fmt: skip
    for name in talos_opt.__all__:
        assert getattr(talos_opt, name) is not None


def test_importing_loads_no_backend() -> None:
    code = (
        "import sys, talos_opt; talos_opt.solve; talos_opt.list_solvers(); "
        "print([m for m in ('ortools', 'pulp', 'highspy', 'numba', 'torch', 'tensorflow', "
        "'matplotlib', 'networkx') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"


def test_threads_do_not_disturb_each_other() -> None:
    with ThreadPoolExecutor(4) as pool:
        values = list(pool.map(solve_fig1, ["cpsat", "auto", "talos", "tsam"] * 2))
    assert values == [9.0, 9.0, 9.0, 11.5] * 2


def test_spawned_processes_solve_too() -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        assert list(pool.map(solve_fig1, ["auto", "aswm"])) == [9.0, 12.5]


def test_problems_and_results_pickle() -> None:
    result = talos_opt.solve(fig1(), time_limit=20)
    again = pickle.loads(pickle.dumps(result))
    assert again.placement == result.placement
    assert again.to_dict() == result.to_dict()
    error = pickle.loads(pickle.dumps(talos_opt.GraphError("bad", path="a.b", line=3)))
    assert str(error) == "line 3: a.b: bad"


def test_an_infeasible_result_is_json_too() -> None:
    ops = [op(f"o{i}", 1, weights=6) for i in range(2)]
    result = talos_opt.solve(problem(ops, [device("cpu0", memory=10)]), time_limit=5)
    assert result.status is talos_opt.Status.INFEASIBLE
    assert "short by 2 bytes" in result.reason
    document = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert document["ops"] == []
    assert document["value"] is None
    assert result.placement == {}


@pytest.mark.parametrize(
    "arguments",
    [
        {"solver": "cpsatt"},
        {"objective": "speed"},
        {"time_limit": -1.0},
        {"time_limit": math.nan},
        {"workers": 0},
        {"options": {"nobody": {}}},
        {"solver": "talos", "options": {"talos": {"batches": 2}}},
        {"solver": "talos", "options": {"talos": {"batch": 0}}},
    ],
)
def test_bad_arguments_raise_the_packages_own_errors(arguments: dict[str, object]) -> None:
    with pytest.raises(TalosError):
        talos_opt.solve(fig1(), **arguments)  # type: ignore[arg-type]


def test_a_warm_start_must_fit_the_problem() -> None:
    other = talos_opt.solve(problem([op("a", 1)]), "single", time_limit=5)
    with pytest.raises(TalosError, match="warm start"):
        talos_opt.solve(fig1(), "cpsat", warm_start=other.schedule, time_limit=5)


def test_a_warm_start_is_never_lost() -> None:
    best = talos_opt.solve(fig1(), time_limit=20)
    again = talos_opt.solve(fig1(), "aswm", warm_start=best.schedule, time_limit=5)
    assert again.value == 9.0


def test_compare_gives_refusals_a_row() -> None:
    given = problem([op("a", 1, weights=1)], [device("cpu0", memory=4)], rule="peak")
    comparison = talos_opt.compare(given, ["single", "ilp"], time_limit=5)
    assert [row.result is None for row in comparison.rows] == [False, True]
    assert "peak" in comparison.rows[1].error
    assert comparison.ratio(comparison.rows[0]) == 1.0


@pytest.mark.parametrize("path", sorted((ROOT / "models").glob("*.yaml")), ids=lambda p: p.stem)
def test_every_model_file_solves(path: Path) -> None:
    given = talos_opt.read(path)
    result = talos_opt.solve(given, "heft", time_limit=10)
    assert result.schedule is not None
    assert talos_opt.check(given, result.schedule) == ()
    assert 0 < result.lower_bound <= result.value
