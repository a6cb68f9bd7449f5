"""Coarsening: packs are convex and keep every constraint; the way back, and the solver."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from talos_opt.core.errors import ConfigError, GraphError
from talos_opt.core.feasibility import check
from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.solvers.coarse.coarsening import Caps, coarsen
from talos_opt.solvers.coarse.levels import find_levels
from talos_opt.solvers.coarse.unpacking import offer_unpacked
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.shared.obstacles import find_obstacle
from talos_opt.solvers.shared.quotient import Packed
from talos_opt.testing.reference.checker import naive_check
from tests.builders import device, op, problem
from tests.clocks import Stopwatch
from tests.solvers.running import layered, run_solver
from tests.strategies import large_problems, problems

CAPS = st.builds(
    Caps,
    packs=st.sampled_from([1, 3, 10]),
    memory=st.sampled_from([1.0, 0.25]),
    stretch=st.sampled_from([1.1, 100.0]),
)
DRAWN = st.one_of(problems(max_ops=7), large_problems(max_ops=50))


def packed(drawn: Problem, caps: Caps) -> Packed | None:
    """Return the packs of a problem; None where there is an obstacle, or one pack fits nowhere."""
    if find_obstacle(drawn):
        return None
    try:
        return coarsen(drawn, caps)
    except GraphError:
        assert drawn.memory_rule == "peak"
        return None


# ---- packs ---------------------------------------------------------------------------------


@given(DRAWN, CAPS)
def test_packs_are_convex(drawn: Problem, caps: Caps) -> None:
    """Packs stand one after another in some topological order, so nothing leads out and back."""
    found = packed(drawn, caps)
    assume(found is not None)
    arrays, small = drawn.arrays, found.problem.arrays
    assert sorted(i for pack in found.packs for i in pack) == list(range(arrays.op_count))
    assert len(small.order) == len(found.packs), "the graph of packs has a cycle"
    place = {i: k for k, i in enumerate(i for p in small.order.tolist() for i in found.packs[p])}
    for source, target in zip(arrays.edge_src.tolist(), arrays.edge_dst.tolist(), strict=True):
        assert place[source] < place[target]


@given(DRAWN, CAPS)
def test_packs_keep_groups_devices_slots_and_models(drawn: Problem, caps: Caps) -> None:
    found = packed(drawn, caps)
    assume(found is not None)
    arrays, small = drawn.arrays, found.problem.arrays
    home = np.empty(arrays.op_count, dtype=np.int64)
    for p, pack in enumerate(found.packs):
        home[list(pack)] = p
    assert (arrays.model == small.model[home]).all()
    assert (arrays.demand == small.demand[home]).all()
    # Ops of one group are in packs of one group, which may go where they may.
    for members in arrays.members:
        assert len(set(small.group[home[members]].tolist())) == 1
    may = small.allowed[small.group[home]]
    assert (may <= arrays.allowed[arrays.group]).all()
    if drawn.memory_rule == "static":
        need = np.array([_need(drawn, home, small.group, g) for g in range(small.group_count)])
        fits = need[:, None] <= arrays.capacity
        assert (fits & small.allowed).any(axis=1).all()


def _need(drawn: Problem, home: np.ndarray, group: np.ndarray, g: int) -> int:
    arrays, here = drawn.arrays, group[home] == g
    return int((arrays.weights + arrays.output)[here].sum() + arrays.workspace[here].max())


def test_a_chain_becomes_as_many_packs_as_asked_for() -> None:
    ops = [op(f"op{i}", 1, f"op{i - 1}" if i else "") for i in range(64)]
    assert [len(pack) for pack in coarsen(problem(ops), Caps(4)).packs] == [16] * 4


def test_groups_merge_within_their_share_of_memory() -> None:
    ops = [
        op(f"op{i}", 1, f"op{i - 1}" if i else "", weights=1, colocate=f"g{i}") for i in range(16)
    ]
    devices = [device("cpu0", memory=16), device("gpu0", memory=32)]
    for share, packs in ((1.0, 1), (0.25, 4), (0.01, 16)):
        found = coarsen(problem(ops, devices), Caps(1, memory=share))
        assert len(found.packs) == found.problem.arrays.group_count == packs


def test_forward_and_backward_ops_of_a_layer_stay_together() -> None:
    """A backward op reads its forward op: neither edge is the only way in or out."""
    count = 8
    ops = [op(f"f{i}", 1, f"f{i - 1}" if i else "", colocate=f"g{i}") for i in range(count)]
    for i in reversed(range(count)):
        reads = f"f{i}" if i == count - 1 else f"f{i} b{i + 1}"
        ops.append(op(f"b{i}", 1, reads, colocate=f"g{i}"))
    found = coarsen(problem(ops), Caps(4))
    assert len(found.packs) <= 6
    assert found.problem.arrays.group_count <= 4


def test_ops_that_suit_other_devices_stay_apart() -> None:
    fast, slow = {"cpu": 1.0, "gpu": 1.3}, {"cpu": 1.3, "gpu": 1.0}
    ops = [op(f"op{i}", (fast, slow)[i // 4 % 2], f"op{i - 1}" if i else "") for i in range(16)]
    assert len(coarsen(problem(ops), Caps(1)).packs) == 4
    assert len(coarsen(problem(ops), Caps(1, stretch=100.0)).packs) == 2


# ---- the way back --------------------------------------------------------------------------


@given(
    large_problems(max_ops=50, peak=False, serial=False, no_copy_engine=False, slots=False), CAPS
)
def test_unpacked_it_is_no_worse_without_contention(drawn: Problem, caps: Caps) -> None:
    """With one slot each, what packs wait for has come for their members too."""
    found = packed(drawn, caps)
    assume(found is not None)
    above, _ = run_solver("fast", found.problem, moves=100)
    assume(above.best is not None)
    run = Run(drawn, time_limit=60.0)
    assert offer_unpacked(found, above.best, run, "coarse")
    assert run.best is not None
    assert run.value <= above.value * (1 + 1e-9) + 1e-9
    assert naive_check(drawn, run.best) == []


@given(DRAWN, CAPS)
def test_whatever_is_kept_is_feasible(drawn: Problem, caps: Caps) -> None:
    found = packed(drawn, caps)
    assume(found is not None)
    above, _ = run_solver("fast", found.problem, moves=50)
    assume(above.best is not None)
    run = Run(drawn, time_limit=60.0)
    kept = offer_unpacked(found, above.best, run, "coarse")
    assert kept == (run.best is not None)
    if run.best is not None:
        assert naive_check(drawn, run.best) == []
    elif drawn.memory_rule == "static":
        raise AssertionError("bytes are counted exactly: what fits packed fits unpacked")


# ---- the solver ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ready(compiled: None) -> None:
    """Compile what only this solver uses, so that no test pays for it within its time limit."""
    run_solver("coarse", problem([op("a"), op("b", 1, "a")]), time_limit=0.01)


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize("objective", ["toct", "makespan", "bottleneck"])
@pytest.mark.parametrize("rule", ["static", "peak"])
def test_every_schedule_passes_check(objective: str, rule: str) -> None:
    drawn = layered(600, objective=objective, rule=rule, contention="serial", copy_engine=False)
    run, verdict = run_solver("coarse", drawn, time_limit=0.6, share=0.9)
    assert verdict.status is Status.FEASIBLE
    assert run.best is not None
    assert check(drawn, run.best) == ()


@pytest.mark.timing
@pytest.mark.usefixtures("ready")
def test_it_ends_in_time_and_is_never_worse() -> None:
    drawn = layered(2000)
    first, _ = run_solver("heft", drawn)
    for options in ({}, {"share": 1.0}, {"packs": 20}):
        watch = Stopwatch()
        run, verdict = run_solver("coarse", drawn, time_limit=1.0, warm=first.best, **options)
        watch.check(2.05)
        assert verdict.status is Status.FEASIBLE
        assert run.value <= first.value
        assert all(event.solver in ("warm", "coarse", "fast") or event.value <= first.value
                   for event in run.history)  # fmt: skip


@pytest.mark.timing
@pytest.mark.usefixtures("ready")
def test_cancelled_it_returns_what_it_has() -> None:
    cancel, watch = threading.Event(), Stopwatch()
    threading.Timer(0.7, cancel.set).start()
    drawn = layered(2000)
    run = Run(drawn, time_limit=60.0, workers=2, cancel=cancel)
    verdict = registry.create("coarse").solve(drawn, run)
    watch.check(3)
    assert verdict.status is Status.FEASIBLE
    assert run.best_solver == "coarse"


@pytest.mark.timing
@pytest.mark.usefixtures("ready")
def test_far_behind_the_ops_it_gives_up_early() -> None:
    """Where packs serialise what could run side by side, the time is left to others."""
    drawn = layered(2000)
    best, _ = run_solver("fast", drawn, time_limit=1.0)
    assert best.best is not None
    run, watch = Run(drawn, time_limit=40.0, workers=2), Stopwatch()
    run.offer(best.best, "warm")
    run._known.value /= 100  # as good as no pack can be
    registry.create("coarse", {"share": 1.0}).solve(drawn, run)
    watch.check(10)


@pytest.mark.usefixtures("ready")
def test_what_hardly_contracts_is_left_alone() -> None:
    drawn = problem([op(f"op{i}", 1) for i in range(50)], [device("cpu0"), device("gpu0")])
    run, verdict = run_solver("coarse", drawn, time_limit=5.0, share=1.0)
    assert run.best is None
    assert verdict.status is Status.UNKNOWN
    assert verdict.reason == "coarse: the graph hardly contracts"
    run, verdict = run_solver("coarse", drawn, time_limit=0.2)
    assert run.value == 25


def test_infeasible_is_said() -> None:
    drawn = problem([op("a", weights=6), op("b", weights=6)], [device("cpu0", memory=10)])
    verdict = registry.create("coarse").solve(drawn, Run(drawn))
    assert verdict.status is Status.INFEASIBLE
    assert "short by 2 bytes" in verdict.reason


def test_options_are_checked() -> None:
    for option, value in (("packs", -1), ("share", 0.0), ("share", 1.5)):
        with pytest.raises(ConfigError, match=f"{option} is {value}, expected"):
            registry.create("coarse", {option: value})


def test_levels_have_fewer_and_fewer_packs() -> None:
    drawn = replace(layered(2000), objective="makespan")  # type: ignore[arg-type]
    levels = find_levels(drawn, 0)
    sizes = [2000, *(len(level.packs) for level in levels)]
    assert levels
    assert sizes == sorted(sizes, reverse=True)
    for below, above in zip([drawn, *(level.problem for level in levels)], levels, strict=False):
        assert above.original is below
