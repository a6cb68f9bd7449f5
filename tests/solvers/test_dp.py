"""`dp`: what it refuses, when it gives up, that it can be stopped, and its kernels."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import talos_opt
from talos_opt.core.errors import ConfigError, UnsupportedError
from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.solvers.bounds import root_bound
from talos_opt.solvers.dp import solver as narrow
from talos_opt.solvers.dp.ideals import IdealGraph
from talos_opt.solvers.dp.solver import DpOptions, DpSolver
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.background import run_beside
from talos_opt.solvers.engine.run import Run
from tests.builders import device, fig1, link, op, problem
from tests.clocks import Stopwatch
from tests.solvers.running import in_own_process, press_ctrl_c, run_solver
from tests.strategies import problems

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.usefixtures("compiled")


def wide(count: int) -> Problem:
    """Ops that all may come first: 2^count order ideals."""
    return problem([op(f"op{i}", {"cpu": 3 + i, "gpu": 2 + i % 3}) for i in range(count)])


def chains(count: int, length: int) -> Problem:
    return problem(
        {
            f"m{j}": [
                op(f"op{i}", {"cpu": 2 + (i + j) % 5, "gpu": 1 + i * j % 4}, f"op{i - 1}" * bool(i))
                for i in range(length)
            ]
            for j in range(count)
        }
    )


# ---- what it refuses -----------------------------------------------------------------------

WIRE = [link("cpu gpu", 0.0, 1.0)]
PAIR = [op("a", 1, output=2), op("b", 1, "a")]


@pytest.mark.parametrize(
    ("outside", "why"),
    [
        (problem(PAIR, objective="bottleneck"), "objective bottleneck"),
        (problem(PAIR, [device("cpu0", 9)], rule="peak"), "memory_rule peak"),
        (problem(PAIR, links=WIRE, contention="serial"), "contention serial"),
        (problem(PAIR, [device("cpu0", copy_engine=False)]), "copy_engine false"),
        (problem([*PAIR, op("c", 1, "a:1")], links=WIRE), "name different bytes"),
    ],
)
def test_it_refuses_by_name_what_labels_do_not_describe(outside: Problem, why: str) -> None:
    with pytest.raises(UnsupportedError, match=why):
        registry.create("dp").require(outside)
    with pytest.raises(UnsupportedError, match="use cpsat or auto"):
        talos_opt.solve(outside, "dp")


@pytest.mark.parametrize(
    "inside",
    [
        problem(PAIR, rule="peak"),
        problem(PAIR, [device("cpu0", slots=3)]),
        problem(PAIR, "cpu0 gpu0 gpu1", [*WIRE, link("gpu gpu", via="cpu0")]),
        problem([*PAIR, op("c", 1, "a:2")], links=WIRE),
    ],
    ids=["peak without limits", "slots", "via", "the same bytes"],
)
def test_it_takes_the_rest(inside: Problem) -> None:
    assert talos_opt.solve(inside, "dp").status is Status.OPTIMAL


@pytest.mark.parametrize("name", ["most_ideals", "most_labels"])
def test_bad_options_are_named(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        registry.create("dp", {name: 0})


# ---- giving up -----------------------------------------------------------------------------


def test_it_gives_up_on_wide_graphs() -> None:
    run, verdict = run_solver("dp", wide(14), most_ideals=50)
    assert run.best is None
    assert verdict.status is Status.UNKNOWN
    assert "too wide" in verdict.reason


def test_giving_up_keeps_the_incumbent_and_the_bound_so_far() -> None:
    broad = wide(14)
    warm = talos_opt.solve(broad, "tsam").schedule
    for options in ({"most_ideals": 400}, {"most_labels": 40}):
        run, verdict = run_solver("dp", broad, warm=warm, **options)
        assert verdict.status is Status.FEASIBLE
        assert run.best is warm
        assert 0 < run.lower_bound <= run.value
        assert run.lower_bound >= root_bound(broad) * 0.5


def test_no_placement_that_fits_is_infeasible() -> None:
    ops = [op(name, 1, weights=5) for name in "abc"]
    _, verdict = run_solver("dp", problem(ops, [device("cpu0", 8), device("gpu0", 8)]))
    assert verdict.status is Status.INFEASIBLE
    assert "memory" in verdict.reason


@pytest.mark.timing
def test_time_is_looked_at_within_a_layer() -> None:
    """Eight chains: single layers of labels would take many seconds."""
    watch = Stopwatch()
    run, verdict = run_solver("dp", chains(8, 40), time_limit=1.5)
    watch.check(2.5)
    assert run.best is None
    assert verdict.status is Status.UNKNOWN


@pytest.mark.timing
def test_cancelling_stops_it_within_a_second() -> None:
    cancel, watch = threading.Event(), Stopwatch()

    def stop() -> None:
        watch.start()
        cancel.set()

    timer = threading.Timer(1.0, stop)
    timer.start()
    result = talos_opt.solve(chains(8, 40), "dp", time_limit=60, cancel=cancel)
    watch.check(1)
    assert result.interrupted


# ---- the thread beside it ------------------------------------------------------------------


def test_what_the_work_raises_is_raised_here() -> None:
    def work() -> None:
        raise ValueError("from the thread")

    with pytest.raises(ValueError, match="from the thread"):
        run_beside(work, lambda: False, lambda: None)


@in_own_process
def test_ctrl_c_stops_the_work_before_it_goes_on() -> None:
    stop, ended = threading.Event(), threading.Event()

    def work() -> None:
        stop.wait(30)
        ended.set()

    press_ctrl_c(0.3)
    with pytest.raises(KeyboardInterrupt):
        run_beside(work, lambda: False, stop.set)
    assert ended.is_set()


# ---- compiling -----------------------------------------------------------------------------


def test_one_set_of_types_serves_every_problem() -> None:
    """Otherwise a problem of another kind would compile in the middle of a solve."""
    from talos_opt.kernels.labels import extend_layer

    if os.environ.get("NUMBA_DISABLE_JIT") == "1":
        pytest.skip("nothing is compiled")
    loose = problem(PAIR, [device("cpu0", 99, slots=2), device("gpu0")], WIRE, release={"m": 1.5})
    for given_ in (fig1(), fig1("makespan"), loose, chains(2, 5)):
        run_solver("dp", given_)
    assert len(extend_layer.signatures) == 1


def test_while_it_is_not_compiled_the_incumbent_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(narrow, "get_ready", lambda *_: False)
    warm = talos_opt.solve(fig1(), "aswm").schedule
    assert warm is not None
    run, verdict = run_solver("dp", fig1(), warm=warm)
    assert verdict.status is Status.FEASIBLE
    assert run.value == 12.5
    assert run_solver("dp", fig1())[1].reason == (
        "dp: the time was over before its kernels were compiled"
    )


SCRIPT = """
from talos_opt.kernels import labels
from tests.builders import fig1
from tests.solvers.running import run_solver
from tests.solvers.test_dp import chains

assert not hasattr(labels.extend_layer, "signatures"), "numba is on"
for given in (fig1(), fig1("makespan"), chains(2, 4)):
    interpreted, _ = run_solver("dp", given)
    exact, _ = run_solver("cpsat", given)
    assert interpreted.proven
    assert abs(interpreted.value - exact.value) < 1e-9
"""


def test_interpreted_the_kernels_say_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr


# ---- dominance -----------------------------------------------------------------------------


@given(
    st.integers(0, 2).flatmap(
        lambda exact: st.tuples(
            st.just(exact),
            st.lists(st.tuples(*[st.integers(0, 3)] * (exact + 3)), min_size=1, max_size=25),
        )
    )
)
def test_undominated_against_its_slow_twin(case: tuple[int, list[tuple[int, ...]]]) -> None:
    from talos_opt.kernels.labels import undominated

    exact, rows = case
    table = np.array(rows, dtype=float)
    found = undominated(table, len(rows), table.shape[1], exact, np.zeros(1, dtype=np.bool_))
    kept = {rows[i] for i in found.tolist()}
    assert len(kept) == len(found), "of equal rows one is kept"
    assert kept == {row for row in rows if not any(beats(other, row, exact) for other in rows)}
    sums = [sum(rows[i][: len(rows[0]) - exact]) for i in found.tolist()]
    assert sums == sorted(sums)


def beats(one: tuple[int, ...], other: tuple[int, ...], exact: int) -> bool:
    free = len(one) - exact
    return (
        one != other
        and one[free:] == other[free:]
        and all(a <= b for a, b in zip(one[:free], other[:free], strict=True))
    )


@pytest.mark.timing
def test_dominance_can_be_stopped() -> None:
    """A hundred thousand rows of which none dominates another: five billion comparisons."""
    from talos_opt.kernels.labels import undominated

    count = 100_000
    rows = np.column_stack([np.arange(count), count - np.arange(count)]).astype(float)
    stop = np.zeros(1, dtype=np.bool_)
    timer = threading.Timer(0.2, stop.fill, [True])
    timer.start()
    watch = Stopwatch()
    found = undominated(rows, count, 2, 0, stop)
    watch.check(1.5)
    assert 0 < len(found) < count


# ---- order ideals --------------------------------------------------------------------------


@given(problems(max_ops=5))
def test_layers_are_all_order_ideals(drawn: Problem) -> None:
    """Against all subsets of ops that hold the predecessors of their members."""
    arrays = drawn.arrays
    edges = list(zip(arrays.edge_src.tolist(), arrays.edge_dst.tolist(), strict=True))
    expected = {
        subset
        for subset in range(2**arrays.op_count)
        if all(subset >> a & 1 or not subset >> b & 1 for a, b in edges)
    }
    graph = IdealGraph(arrays)
    layer, seen = [graph.bottom], {0}
    for _ in range(arrays.op_count):
        above, into = graph.above(layer, 10**6)
        for ideal, ways in zip(above, into, strict=True):
            assert {layer[p].members | 1 << added for p, added in ways} == {ideal.members}
        layer = above
        seen |= {ideal.members for ideal in layer}
    assert seen == expected


def test_a_second_layer_that_is_too_wide_is_known_before_it_is_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("talos_opt.solvers.dp.solver.IdealGraph", None)  # calling it would raise
    many = problem({f"m{j}": [op("a")] for j in range(30)})
    run = Run(many, time_limit=30.0)
    verdict = DpSolver(DpOptions(most_ideals=434)).solve(many, run)
    assert "too wide" in verdict.reason
    with pytest.raises(TypeError):  # 30 * 29 / 2 ideals would do
        DpSolver(DpOptions(most_ideals=435)).solve(many, run)


def test_listing_ideals_can_be_stopped() -> None:
    graph = IdealGraph(problem([op("a"), op("b"), op("c")]).arrays)
    layer, _ = graph.above([graph.bottom], 10)
    assert len(layer) == 3
    looks = iter((False, True))
    assert graph.above(layer, 10, lambda: next(looks)) == ([], [])


def test_the_best_without_stages_that_breaks_them() -> None:
    given = problem([op("a", 1), op("b", 1, "a")], "gpu0 gpu1").with_stages(
        {"rule": "any", "use_all": True}
    )
    run, verdict = run_solver("dp", given)
    assert run.best is None
    assert run.lower_bound == pytest.approx(2)
    assert verdict.status is Status.UNKNOWN
    assert verdict.reason == "dp: what is best without the rule on stages breaks it"
