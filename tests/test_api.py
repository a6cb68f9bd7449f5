"""The Python API: threads, processes, pickles, errors, and what importing it costs."""

from __future__ import annotations

import json
import math
import multiprocessing
import pickle
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import talos_opt
from talos_opt import api
from talos_opt.core.errors import TalosError
from talos_opt.core.problem import Problem
from tests.builders import device, fig1, op, problem
from tests.clocks import Stopwatch
from tests.solvers.running import in_own_process, layered, press_ctrl_c

ROOT = Path(__file__).parents[1]
FIG1 = ROOT / "models" / "fig1.yaml"


def solve_fig1(solver: str) -> float | None:
    return talos_opt.solve(FIG1, solver, time_limit=20).value


def test_the_exported_members() -> None:
    assert sorted(talos_opt.__all__) == sorted(
        [
            "Builder", "Bundle", "Bundles", "bundled",
            "Cluster", "Comparison", "ConfigError", "DependencyError", "Device", "Event",
            "Explanation", "FormatError", "Gains", "gains", "Graph", "GraphError",
            "InfeasibleScheduleError", "Input",
            "InputError", "InternalError", "Interrupted", "Link", "Memory", "MemoryRule", "Metrics",
            "Model", "ModuleRow", "MoveCost", "modules_by_device", "Objective", "Op", "Problem",
            "Progress", "RefutedProofError", "Relaxation", "Replan", "Result", "Risk", "Robustness",
            "Schedule", "ScheduleError",
            "SolveConfig", "SolverError", "Status", "TalosError", "Transfers", "UnsupportedError",
            "Violation", "apply_relaxations", "check", "compare", "list_solvers", "load_config",
            "measure", "plot", "read", "read_schedule", "replan", "solve", "solve_robust",
            "write_problem",
            "write_schedule",
            "Noise", "analyze", "compare_policies", "compare_traces", "compile_kernels", "explain",
            "by_module", "export", "export_forms", "Fitted", "fit", "join_models",
            "pipeline_steps", "profile", "profile_llm", "profile_traces", "read_results",
            "read_schema", "run", "simulate_noise", "sweep", "what_if", "what_would_help",
            "write_plot", "write_report", "write_trace",
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


def test_the_time_of_a_path_counts_from_when_its_caller_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = api.Session
    given = []

    def spy(*args: Any, started: float, **options: Any) -> Any:
        given.append(started)
        return session(*args, started=started, **options)

    monkeypatch.setattr(api, "Session", spy)
    talos_opt.solve(FIG1, "heft", started=-50.0)
    assert given == [-50.0]


def test_threads_do_not_disturb_each_other() -> None:
    with ThreadPoolExecutor(4) as pool:
        values = list(pool.map(solve_fig1, ["cpsat", "auto", "talos", "tsam"] * 2))
    assert values == [9.0, 9.0, 9.0, 11.5] * 2


def test_spawned_processes_solve_too() -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        assert list(pool.map(solve_fig1, ["auto", "aswm"])) == [9.0, 12.5]


def test_threads_may_share_a_problem() -> None:
    """Arrays are built once and read-only; nothing else is shared."""
    shared = layered(40)
    alone = {name: talos_opt.solve(shared, name).value for name in ("heft", "etf", "talos")}

    def solve(name: str) -> tuple[str, float | None]:
        return name, talos_opt.solve(shared, name).value

    with ThreadPoolExecutor(6) as pool:
        for name, value in pool.map(solve, [*alone] * 6):
            assert value == alone[name]


def test_a_spawned_process_takes_a_problem_and_returns_a_result() -> None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        result = pool.submit(talos_opt.solve, fig1(), "cpsat", time_limit=20).result()
        assert result.value == 9
        assert talos_opt.check(fig1(), result.schedule) == ()
        with pytest.raises(talos_opt.UnsupportedError, match="objective bottleneck"):
            pool.submit(talos_opt.solve, fig1("bottleneck"), "dp").result()


def test_problems_and_results_pickle() -> None:
    result = talos_opt.solve(fig1(), time_limit=20)
    again = pickle.loads(pickle.dumps(result))
    assert again.placement == result.placement
    assert again.to_dict() == result.to_dict()
    assert again.metrics == result.metrics
    problem_ = pickle.loads(pickle.dumps(fig1()))
    assert problem_.names == fig1().names
    assert not problem_.arrays.time.flags.writeable
    assert again.schedule is not None
    assert not again.schedule.start.flags.writeable
    assert not again.schedule.transfers.start.flags.writeable
    assert talos_opt.solve(problem_, "talos").value == 9
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


@pytest.mark.parametrize("solver", ["single", "cpsat", "auto"])
def test_every_result_is_strict_json(solver: str) -> None:
    for limit in (1e-6, 20):
        result = talos_opt.solve(layered(12, models=2), solver, time_limit=limit)
        document = json.loads(json.dumps(result.to_dict(), allow_nan=False))
        assert document["status"] == result.status
        assert (document["value"] is None) == (result.schedule is None) == bool(result.reason)
        assert document["schema"] == "talos-schedule/1"


BAD = [
    ({"solver": "cpsatt"}, "did you mean 'cpsat'"),
    ({"solver": 5}, "solver is 5"),
    ({"solver": ""}, "solver is ''"),
    ({"objective": "speed"}, "toct, makespan, bottleneck"),
    ({"time_limit": -1.0}, "time_limit is -1"),
    ({"time_limit": 0}, "time_limit is 0"),
    ({"time_limit": math.nan}, "time_limit is nan"),
    ({"time_limit": math.inf}, "time_limit is inf"),
    ({"time_limit": "soon"}, "time_limit"),
    ({"seed": -1}, "seed is -1"),
    ({"seed": 1.5}, "seed is 1.5"),
    ({"workers": 0}, "workers is 0"),
    ({"workers": True}, "workers is True"),
    ({"options": {"nobody": {}}}, "unknown solver 'nobody'"),
    ({"options": ["cpsat"]}, "options is a list"),
    ({"options": {"cpsat": 3}}, "options of 'cpsat' are 3"),
    ({"options": {"cpsat": {"speed": 1}}}, "options.cpsat.speed: unknown option"),
    ({"options": {"heft": {"a": 1}}}, "unknown option 'a', expected none: it has no options"),
    ({"solver": "talos", "options": {"talos": {"batches": 2}}}, "expected one of: batch"),
    ({"solver": "talos", "options": {"talos": {"batch": 0}}}, "batch is 0"),
    ({"solver": "cpsat", "options": {"cpsat": {"deterministic": 1}}}, "a value like False"),
    ({"config": "fast"}, "expected a SolveConfig"),
    ({"warm_start": [1, 2]}, "warm_start is a list"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD, ids=[str(one[0]) for one in BAD])
def test_bad_arguments_raise_the_packages_own_errors(
    arguments: dict[str, object], said: str
) -> None:
    with pytest.raises(talos_opt.InputError) as caught:
        talos_opt.solve(fig1(), **arguments)  # type: ignore[arg-type]
    assert said in str(caught.value)


@pytest.mark.parametrize("source", [5, None, b"graph.yaml", ["graph.yaml"], {}])
def test_what_is_no_problem_is_refused(source: object) -> None:
    with pytest.raises(talos_opt.InputError, match="expected a Problem or the path"):
        talos_opt.solve(source)  # type: ignore[arg-type]
    with pytest.raises(talos_opt.InputError, match="expected a Problem"):
        talos_opt.compare([source], ["single"])  # type: ignore[list-item]


def test_a_missing_file_and_a_missing_configuration() -> None:
    with pytest.raises(talos_opt.FormatError, match="no_such"):
        talos_opt.solve("no_such.yaml")
    with pytest.raises(talos_opt.ConfigError, match="no configuration is called 'fastest'"):
        talos_opt.load_config("fastest")


def test_numpy_numbers_are_numbers() -> None:
    result = talos_opt.solve(
        fig1(), "heft", seed=np.int64(3), time_limit=np.float64(5), workers=np.int32(1)
    )  # type: ignore[arg-type]
    assert result.seed == 3


def test_more_workers_than_cp_sat_takes() -> None:
    assert talos_opt.solve(fig1(), "cpsat", workers=10**6).value == 9


def test_compare_takes_names_not_a_name() -> None:
    with pytest.raises(talos_opt.ConfigError, match=r"\['cpsat'\]"):
        talos_opt.compare(fig1(), "cpsat")
    with pytest.raises(talos_opt.ConfigError, match="unknown solver 'nope'"):
        talos_opt.compare(fig1(), ["single", "nope"])


def test_an_argument_wins_over_the_configuration() -> None:
    config = talos_opt.SolveConfig(solver="aswm", objective="makespan", seed=4)
    result = talos_opt.solve(fig1(), config=config)
    assert (result.solver, result.seed, result.problem.objective) == ("aswm", 4, "makespan")
    assert talos_opt.solve(fig1(), "tsam", config=config, objective="toct").value == 11.5


# ---- interruption --------------------------------------------------------------------------


@pytest.mark.timing
@pytest.mark.parametrize("solver", ["cpsat", "auto", "dp", "fast", "lns"])
@in_own_process
def test_ctrl_c_returns_the_incumbent(solver: str) -> None:
    """In the main thread of a caller who has no handler of his own."""
    talos_opt.solve(fig1(), solver, time_limit=1)  # libraries are loaded, kernels compiled
    big = layered(150) if solver != "dp" else wide_chains()
    warm = talos_opt.solve(big, "heft").schedule
    press_ctrl_c(1.2)
    watch = Stopwatch()
    result = talos_opt.solve(
        big, solver, time_limit=60, warm_start=warm, workers=2, catch_interrupt=True
    )
    watch.check(20)
    assert result.interrupted
    assert result.status is talos_opt.Status.FEASIBLE
    assert talos_opt.check(big, result.schedule) == ()
    assert not [one for one in threading.enumerate() if one.name in ("cpsat", "talos_opt")]


def wide_chains() -> talos_opt.Problem:
    return problem(
        {
            f"m{j}": [
                op(f"op{i}", {"cpu": 2 + (i + j) % 5, "gpu": 1 + i * j % 4}, f"op{i - 1}" * bool(i))
                for i in range(40)
            ]
            for j in range(8)
        }
    )


@in_own_process
def test_ctrl_c_before_there_is_a_schedule() -> None:
    talos_opt.solve(fig1(), "cpsat", time_limit=60)  # libraries are loaded
    # So many ops that even a rule, which cpsat begins with, needs far longer for its schedule.
    big = layered(8000, rule="peak", contention="serial", copy_engine=False)
    press_ctrl_c(0.8)
    result = talos_opt.solve(big, "cpsat", time_limit=60, catch_interrupt=True)
    assert result.interrupted
    assert result.status is talos_opt.Status.UNKNOWN
    assert "interrupted" in result.reason


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
    given, found = talos_opt.read(path), threading.Event()

    def stop(progress: talos_opt.Progress) -> None:
        if progress.value is not None:
            found.set()

    result = talos_opt.solve(given, "auto", workers=2, cancel=found, on_progress=stop)
    assert result.schedule is not None
    assert talos_opt.check(given, result.schedule) == ()
    assert 0 < result.lower_bound <= result.value


def test_graphs_of_one_name_are_compared_apart() -> None:
    fast = problem({"m": [op("a", {"cpu": 1})]})
    slow = problem({"m": [op("a", {"cpu": 10})]})
    assert fast.graph.name == slow.graph.name
    name = fast.graph.name
    seen: list[str] = []
    found = talos_opt.compare(
        [fast, slow, slow], ["single", "heft"], on_row=lambda row: seen.append(row.graph)
    )
    assert seen == [name, name, f"{name} (2)", f"{name} (2)", f"{name} (3)", f"{name} (3)"]
    assert found.best == {name: 1.0, f"{name} (2)": 10.0, f"{name} (3)": 10.0}
    assert [found.ratio(row) for row in found.rows] == [1.0] * 6
    rows = found.to_dict()["rows"]
    assert [row["graph"] for row in rows] == seen
    assert {row["ratio_to_best"] for row in rows} == {1.0}


def test_a_name_that_looks_like_a_number_of_another() -> None:
    def named(name: str) -> Problem:
        made = problem({"m": [op("a", {"cpu": 1})]})
        return replace(made, graph=replace(made.graph, name=name))

    given = [named("g"), named("g (2)"), named("g"), named("g (2)")]
    found = talos_opt.compare(given, ["single"])
    assert [row.graph for row in found.rows] == ["g", "g (2)", "g (3)", "g (2) (2)"]
