"""Orders of small peak memory, and what has to be in memory whatever the order."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import talos_opt
from talos_opt.core.feasibility import check
from talos_opt.core.problem import MemoryRule, Problem
from talos_opt.core.result import Status
from talos_opt.solvers.beam.orders import OrderSearch, Tensors
from talos_opt.solvers.bounds.cuts import MomentCuts
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.shared.moments import fullest_moment
from talos_opt.solvers.shared.obstacles import find_obstacle
from tests.builders import device, link, op
from tests.builders import problem as make
from tests.naive import best_schedule, brute_force
from tests.strategies import costly, problems

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "sets" / "memory"


def never() -> bool:
    return False


@st.composite
def one_device(draw: st.DrawFn) -> Problem:
    """Ops on one device with a limit that no order comes near."""
    count = draw(st.integers(1, 8))
    ops = []
    for i in range(count):
        inputs = draw(st.sets(st.integers(0, i - 1), max_size=3)) if i else set()
        sizes = [draw(st.integers(0, 9)) for _ in range(3)]
        ops.append(
            op(
                f"o{i}",
                draw(st.integers(0, 3)),
                " ".join(f"o{k}" for k in sorted(inputs)),
                weights=sizes[0],
                output=sizes[1],
                workspace=sizes[2],
            )
        )
    return make(ops, [device("cpu0", 10**6)], objective="makespan", rule=MemoryRule.PEAK)


def least_peak(problem: Problem) -> int:
    """Peak of the best order of one device, by all ideals; weights left out."""
    arrays = problem.arrays
    count = arrays.op_count
    inputs: list[set[int]] = [set() for _ in range(count)]
    readers: list[set[int]] = [set() for _ in range(count)]
    for a, b in zip(arrays.edge_src.tolist(), arrays.edge_dst.tolist(), strict=True):
        inputs[b].add(a)
        readers[a].add(b)

    @cache
    def solve(done: frozenset[int]) -> float:
        if len(done) == count:
            return 0
        alive = sum(int(arrays.output[u]) for u in done if readers[u] - done)
        best = math.inf
        for i in range(count):
            if i not in done and inputs[i] <= done:
                now = alive + int(arrays.output[i] + arrays.workspace[i])
                if arrays.time[i, 0] == 0:
                    now = 0  # model.md: what lasts no time holds nothing
                best = min(best, max(now, solve(done | {i})))
        return best

    return int(solve(frozenset()))


@costly
@given(one_device(), st.integers(0, 9))
def test_a_wide_beam_finds_the_least_peak(problem: Problem, seed: int) -> None:
    expected = least_peak(problem)
    arrays = problem.arrays
    search = OrderSearch(Tensors.of(arrays), arrays.order.copy(), seed, never)
    assert search.reach(expected)
    assert search.peak == expected == search.tensors.peak(search.order)
    position = np.argsort(search.order)
    assert (position[arrays.edge_src] < position[arrays.edge_dst]).all()
    assert not OrderSearch(Tensors.of(arrays), arrays.order.copy(), seed, never).reach(expected - 1)


@given(one_device())
def test_no_moment_holds_more_than_the_best_order(problem: Problem) -> None:
    moment = fullest_moment(problem.arrays)
    assert (moment is None) == (problem.arrays.time.max() == 0)
    if moment is not None:
        assert moment.held <= least_peak(problem) + problem.arrays.weights.sum()


@given(one_device())
def test_no_cut_holds_more_than_the_best_order(problem: Problem) -> None:
    arrays = problem.arrays
    search = OrderSearch(Tensors.of(arrays), arrays.order.copy(), 0, never)
    cuts, weights = MomentCuts(arrays), int(arrays.weights.sum())
    moment = cuts.fullest(search.tops(), -1, 2**60, never)
    forced = fullest_moment(arrays)
    assert (moment is None) == (forced is None)
    if moment is not None and forced is not None:
        assert forced.held <= moment.held <= least_peak(problem) + weights
        assert cuts.fullest(search.tops(), moment.held, 2**60, never) is None
        less = cuts.fullest(search.tops(), -1, moment.held - 1, never)
        assert less is not None
        assert less.held == moment.held


def test_what_may_come_before_or_after_is_put_where_it_needs_least() -> None:
    # p, which q alone reads, may come before d or after it: 9 bytes of p, or 3 of q, or none.
    ops = [
        op("a", output=4),
        op("p", output=9),
        op("q", 1, "p", output=3),
        op("d", 1, "a", output=5),
    ]
    given = make([*ops, op("f", 1, "d q")], [device("cpu0", 14)], rule=MemoryRule.PEAK)
    search = OrderSearch(Tensors.of(given.arrays), given.arrays.order.copy(), 0, never)
    moment = MomentCuts(given.arrays).fullest(search.tops(), -1, 2**60, never)
    assert moment == (2, 12)
    assert moment.held == least_peak(given)


@given(problems(max_ops=5, tight=True))
def test_no_obstacle_where_there_is_a_schedule(problem: Problem) -> None:
    if find_obstacle(problem):
        assert brute_force(problem) is None


def test_a_moment_that_does_not_fit_is_named() -> None:
    ops = [op("a", output=4), op("b", output=4), op("c", 1, "a b", output=4), op("d", 1, "c a")]
    problem = make(ops, [device("cpu0", 11)], rule=MemoryRule.PEAK)
    assert find_obstacle(problem).startswith("while m/c runs, its inputs and output")
    assert "need 12 bytes" in find_obstacle(problem)
    fits = make(ops, [device("cpu0", 12)], rule=MemoryRule.PEAK)
    assert find_obstacle(fits) == ""


def test_tensors_may_wait_where_nothing_runs() -> None:
    ops = [op(f"u{k}", {"cpu0": 1}, output=10) for k in (1, 2, 3)]
    ops.append(op("i", {"gpu0": 1}, "u1:0 u2:0 u3:0"))
    ops += [op(f"k{k}", {"tpu0": 1}, f"u{k} i:0") for k in (1, 2, 3)]
    links = [
        link("cpu0 tpu0", via="host0"), link("cpu0 host0", 1.0), link("host0 tpu0", 1.0),
        link("cpu0 gpu0"), link("gpu0 tpu0"),
    ]  # fmt: skip
    for room in (30, None):
        devices = [device("cpu0", 10), device("gpu0", 1), device("tpu0", 10), device("host0", room)]
        problem = make(ops, devices, links, rule=MemoryRule.PEAK, objective="makespan")
        assert find_obstacle(problem) == ""
        schedule = best_schedule(problem)
        assert schedule is not None
        assert check(problem, schedule) == ()


def test_two_devices_share_what_one_cannot_hold() -> None:
    ops = [op("a", 1.0, weights=6, output=1)]
    for k, name in enumerate("bcdefgh"):
        ops.append(op(name, 1.0, "abcdefgh"[k], weights=6, output=1))
    problem = make(ops, [device("cpu0", 27), device("cpu1", 27)], rule=MemoryRule.PEAK)
    run = Run(problem, time_limit=10.0, workers=1)
    assert registry.create("beam").solve(problem, run).status is Status.FEASIBLE
    assert run.best is not None
    assert len(set(run.best.device.tolist())) == 2


@pytest.mark.skipif(
    not FOLDER.is_dir(), reason="the instance sets (../shared/data/sets) are not here"
)
@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("random_n100_1gpu_80.json", Status.OPTIMAL),
        ("random_n500_1gpu_90.json.gz", Status.OPTIMAL),
        ("random_n500_1gpu_80.json.gz", Status.INFEASIBLE),
        ("random_n1000_1gpu_60.json.gz", Status.INFEASIBLE),
    ],
)
def test_tight_memory_on_public_graphs(name: str, status: Status) -> None:
    found = talos_opt.solve(FOLDER / name, time_limit=30.0, explain=False)
    assert found.status is status
