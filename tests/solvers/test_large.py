"""The solver for large graphs and its kernels, against naive twins and the checker."""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, reject
from hypothesis import strategies as st

from talos_opt.core.feasibility import check
from talos_opt.core.metrics import measure, objective_value
from talos_opt.core.problem import MemoryRule, Objective, Problem
from talos_opt.core.result import Status
from talos_opt.kernels import graphs
from talos_opt.solvers import bounds
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.large.passes import Knobs, Passes
from talos_opt.solvers.large.trivial import model_by_model, trivial_candidates
from talos_opt.solvers.shared import paths
from talos_opt.solvers.shared.instance import make_instance
from tests.builders import device, link, op, problem
from tests.graphs import KINDS
from tests.naive import brute_force
from tests.strategies import costly, large_problems, problems

CLOSE = 1e-9


def solve(given: Problem, passes: int = 6, seed: int = 0) -> Run:
    run = Run(given, time_limit=60.0, seed=seed, workers=2)
    verdict = registry.create("large", {"passes": passes}).solve(given, run)
    if verdict.status is Status.INFEASIBLE:
        assert run.best is None
    else:
        assert (run.best is None) == (verdict.status is Status.UNKNOWN)
    return run


# ---- the solver ----------------------------------------------------------------------------


@given(st.one_of(problems(max_ops=6), large_problems()))
def test_every_schedule_passes_check(given: Problem) -> None:
    run = solve(given)  # `offer` refuses what breaks the model
    assume(run.best is not None)
    assert check(given, run.best) == ()
    assert run.value >= bounds.root_bound(given) * (1 - CLOSE) - CLOSE


@given(large_problems(memory=False, missing_routes=False))
def test_without_limits_there_is_always_a_schedule(given: Problem) -> None:
    run = Run(given, time_limit=60.0)
    verdict = registry.create("large", {"passes": 2}).solve(given, run)
    assert (verdict.status is Status.INFEASIBLE) or run.best is not None


@given(problems(max_ops=5, peak=False, missing_routes=False))
def test_what_fits_is_mostly_found(given: Problem) -> None:
    run, expected = solve(given), brute_force(given)
    if expected is None:
        assert run.best is None
        reject()
    assert run.value >= expected[0] * (1 - CLOSE) - CLOSE
    assume(run.best is not None)  # how often is counted


@pytest.mark.reaches(0.4)
@given(large_problems(), st.integers(0, 99))
def test_same_seed_and_passes_give_the_same_answer(given: Problem, seed: int) -> None:
    first, second = solve(given, seed=seed), solve(given, seed=seed)
    assert first.value == second.value
    assume(first.best is not None and second.best is not None)
    assert np.array_equal(first.best.device, second.best.device)
    assert np.array_equal(first.best.start, second.best.start)


def test_options_are_checked() -> None:
    from talos_opt.core.errors import ConfigError

    with pytest.raises(ConfigError, match="passes is -1, expected at least 0"):
        registry.create("large", {"passes": -1})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("objective", ["toct", "makespan", "bottleneck", "memory"])
def test_twenty_thousand_ops(kind: str, objective: str) -> None:
    given = KINDS[kind](20_000).with_objective(objective)
    run = solve(given, passes=8)
    assert run.best is not None
    assert check(given, run.best) == ()
    assert run.value == pytest.approx(objective_value(given, run.best))
    # These graphs are wide enough for the load bound to be near.
    if objective != "toct" or kind == "layered":
        assert run.value <= 1.25 * bounds.root_bound(given)


def test_memory_that_fits_only_the_largest_first() -> None:
    # Two devices of 10: {6, 4} and {5, 5}, which taking ops by time of readiness misses.
    ops = [op(name, 1, weights=size) for name, size in zip("abcd", (4, 5, 5, 6), strict=True)]
    devices = [device("cpu0", memory=10), device("cpu1", memory=10)]
    run = solve(problem(ops, devices))
    assert run.best is not None
    where = run.best.device.tolist()
    assert where[0] == where[3] != where[1] == where[2]


def test_room_is_kept_for_ops_that_cannot_go_elsewhere() -> None:
    # The first ops would fill the quick device, which the last one needs.
    ops = [op(f"a{i}", {"cpu": 5.0, "gpu": 1.0}, weights=2) for i in range(5)]
    ops.append(op("last", {"gpu": 1.0}, "a0", weights=4))
    devices = [device("cpu0"), device("gpu0", memory=10)]
    passes = Passes(problem(ops, devices), 0)
    found = passes.place(Knobs(0.0))
    assert found is not None
    assert found.device[5] == 1


def test_liveness_finds_room_that_the_static_rule_has_not() -> None:
    given = KINDS["chained"](3000)
    # Weights fit, weights and outputs do not; a fraction of the outputs lives at a time.
    total = int(given.arrays.weights.sum() + 0.3 * given.arrays.output.sum())
    limit = total // 8 + 32 * 2**20
    devices = tuple(replace(item, memory=limit) for item in given.cluster.devices)
    tight = replace(
        given, memory_rule=MemoryRule.PEAK, cluster=replace(given.cluster, devices=devices)
    )
    assert (given.arrays.weights + given.arrays.output).sum() > 8 * limit
    run = solve(tight)
    assert run.best is not None
    assert check(tight, run.best) == ()


def test_trivial_placements() -> None:
    chains = {f"m{j}": [op("a", size, weights=4), op("b", size, "a")] for j, size in
              enumerate((3, 1, 2))}  # fmt: skip
    passes = Passes(problem(chains, [device("cpu0", memory=20), device("cpu1", memory=8)]), 0)
    order = model_by_model(passes)
    assert order.tolist() == [2, 3, 4, 5, 0, 1]
    single, whole, sequential = (item for item in trivial_candidates(passes))
    assert single is not None
    assert whole is not None
    assert sequential is not None
    assert single.device.tolist() == [0] * 6
    assert whole.device.tolist() == [0, 0, 0, 0, 1, 1]
    assert sequential.device.tolist() == [0] * 6
    tight = Passes(problem(chains, [device("cpu0", memory=9), device("cpu1", memory=4)]), 0)
    found = list(trivial_candidates(tight))
    assert [None if item is None else item.device.tolist() for item in found] == [
        [0, 0, 0, 0, 1, 1],
        [1, 1, 0, 0, 0, 0],
    ]


def test_devices_without_a_route_are_not_mixed() -> None:
    ops = [op("a"), op("b", inputs="a"), op("c", inputs="b")]
    given = problem(ops, [device("cpu0"), device("cpu1")], links=[])
    run = solve(given)
    assert run.best is not None
    assert len(set(run.best.device.tolist())) == 1


def test_infeasible_is_said() -> None:
    given = problem([op("a", weights=6), op("b", weights=6)], [device("cpu0", memory=10)])
    verdict = registry.create("large").solve(given, Run(given))
    assert verdict.status is Status.INFEASIBLE


@costly
@given(large_problems(objectives=("bottleneck",), memory=False, missing_routes=False))
def test_single_moves_keep_loads_and_only_lower_the_bottleneck(given: Problem) -> None:
    first, run = solve(given, passes=1), solve(given, passes=4)
    assume(first.best is not None)
    assert run.best is not None
    assert run.value <= first.value
    assert run.value == pytest.approx(measure(given, run.best).bottleneck)


@given(large_problems(memory=False, missing_routes=False, colocation=False), st.integers(0, 99))
def test_single_moves_keep_their_books(given: Problem, seed: int) -> None:
    from talos_opt.kernels.relieving import relieve

    plain = replace(given, objective=Objective.BOTTLENECK, memory_rule=MemoryRule.STATIC)
    passes = Passes(plain, 0)
    start = passes.spread(1.0, plain.arrays.order)
    assert start is not None
    where = start.device.copy()
    load, channel = passes.loads(where)
    before = max(load.max(), channel.max(initial=0.0))
    held = np.bincount(where, weights=plain.arrays.weights + plain.arrays.output,
                       minlength=plain.arrays.device_count).astype(np.int64)  # fmt: skip
    seen = np.zeros(len(where) + 1, dtype=np.int64)
    state = np.array([seed], dtype=np.uint64)
    relieve(passes.instance, where, held, load, channel, passes.usable, seen, state, 300)
    true_load, true_channel = passes.loads(where)
    assert np.allclose(load, true_load)
    assert np.allclose(channel, true_channel)
    bytes_ = np.bincount(where, weights=plain.arrays.weights + plain.arrays.output,
                         minlength=plain.arrays.device_count)  # fmt: skip
    assert held.tolist() == bytes_.tolist()
    assert np.isfinite(plain.arrays.time[np.arange(len(where)), where]).all()
    # The pressure falls with every move; with a few loads it follows the largest.
    count = len(load) + len(channel)
    assert max(true_load.max(), true_channel.max(initial=0.0)) <= before * count ** (1 / 64) + CLOSE


# ---- kernels -------------------------------------------------------------------------------


def longest(given: Problem, time: np.ndarray, start: np.ndarray) -> list[float]:
    """End of the longest path to each op, by its definition."""
    arrays = given.arrays
    edges = list(zip(arrays.edge_src.tolist(), arrays.edge_dst.tolist(), strict=True))
    end: dict[int, float] = {}

    def visit(i: int) -> float:
        if i not in end:
            before = [visit(source) for source, reader in edges if reader == i]
            end[i] = max([float(start[i]), *before]) + float(time[i])
        return end[i]

    return [visit(i) for i in range(arrays.op_count)]


@given(st.one_of(problems(max_ops=7), large_problems()))
def test_longest_paths(given: Problem) -> None:
    arrays = given.arrays
    time = paths.best_times(arrays)
    assume(np.isfinite(time).all())
    release = arrays.release[arrays.model]
    ends = graphs.earliest_ends(arrays.order, arrays.out_ptr, arrays.edge_dst, time, release)
    assert ends.tolist() == longest(given, time, release)
    assert ends.tolist() == paths.earliest_ends(arrays, time, release).tolist()
    assert release.tolist() == arrays.release[arrays.model].tolist(), "inputs are left alone"
    tail = graphs.least_tails(arrays.order, arrays.out_ptr, arrays.edge_dst, time)
    assert tail.tolist() == paths.tails(arrays, time).tolist()


@given(large_problems())
def test_depth_first_order_follows_the_edges(given: Problem) -> None:
    arrays = given.arrays
    order = graphs.depth_first_order(arrays.order, arrays.out_ptr, arrays.edge_dst, arrays.in_ptr)
    place = np.empty(arrays.op_count, dtype=np.int64)
    place[order] = np.arange(arrays.op_count)
    assert sorted(order.tolist()) == list(range(arrays.op_count))
    assert (place[arrays.edge_src] < place[arrays.edge_dst]).all()


def test_depth_first_order_goes_down_before_it_goes_on() -> None:
    ops = [op("a"), op("b"), op("a1", 1, "a"), op("b1", 1, "b"), op("c", 1, "a1 b1")]
    arrays = problem(ops).arrays
    order = graphs.depth_first_order(arrays.order, arrays.out_ptr, arrays.edge_dst, arrays.in_ptr)
    assert order.tolist() == [0, 2, 1, 3, 4]


def naive_heft(given: Problem, rank: np.ndarray) -> list[int]:
    """HEFT without insertion, for free links and one slot."""
    arrays = given.arrays
    free = [0.0] * arrays.device_count
    end: dict[int, float] = {}
    where = [-1] * arrays.op_count
    missing = np.diff(arrays.in_ptr).tolist()
    ready = [(-rank[i], i) for i in range(arrays.op_count) if missing[i] == 0]
    heapq.heapify(ready)
    while ready:
        _, i = heapq.heappop(ready)
        edges = arrays.in_edge[arrays.in_ptr[i] : arrays.in_ptr[i + 1]]
        inputs = [end[j] for j in arrays.edge_src[edges].tolist()]
        begin = max([float(arrays.release[arrays.model[i]]), *inputs])
        ends = [max(begin, free[d]) + float(arrays.time[i, d]) for d in range(len(free))]
        where[i] = int(np.argmin(ends))
        end[i] = ends[where[i]]
        if arrays.time[i, where[i]] > 0:
            free[where[i]] = end[i]
        for j in arrays.edge_dst[arrays.out_ptr[i] : arrays.out_ptr[i + 1]].tolist():
            missing[j] -= 1
            if missing[j] == 0:
                heapq.heappush(ready, (-rank[j], j))
    return where


@given(
    large_problems(links=False, memory=False, slots=False, colocation=False, pins=False,
                   no_copy_engine=False, serial=False),
    st.integers(0, 2**32),
)  # fmt: skip
def test_a_pass_by_rank_is_heft(given: Problem, seed: int) -> None:
    passes = Passes(given, 0)
    draw = random.Random(seed)
    passes.rank = np.array([draw.random() for _ in range(given.arrays.op_count)])
    found = passes.place(Knobs(0.0, window=1.0))
    assert found is not None
    assert found.device.tolist() == naive_heft(given, passes.rank)


@given(large_problems(colocation=True))
def test_passes_keep_groups_pins_and_memory(given: Problem) -> None:
    plain = replace(given, memory_rule=MemoryRule.STATIC)
    passes = Passes(plain, 0)
    arrays = plain.arrays
    turn = np.arange(arrays.device_count)
    for found in (
        passes.place(Knobs(2.0, 0.1)),
        passes.spread(3.0, arrays.order),
        passes.fill(arrays.order, turn, passes.usable, 5.0, arrays.order),
    ):
        if found is None:
            continue
        home = np.full(arrays.group_count, -1)
        home[arrays.group] = found.device
        assert np.array_equal(home[arrays.group], found.device)
        assert arrays.allowed[np.arange(len(home)), home].all()
        for d in range(arrays.device_count):
            here = found.device == d
            held = int((arrays.weights + arrays.output)[here].sum())
            held += int(arrays.workspace[here].max(initial=0))
            assert held <= arrays.capacity[d]


def test_filling_turns_to_the_next_device_at_the_target() -> None:
    ops = [op(f"o{i}", 1, f"o{i - 1}" if i else "") for i in range(6)]
    passes = Passes(problem(ops, [device("cpu0"), device("cpu1")]), 0)
    order = passes.arrays.order
    found = passes.fill(order, np.array([1, 0]), passes.usable, 4.0, order)
    assert found is not None
    assert found.device.tolist() == [1, 1, 1, 1, 0, 0]


def test_a_held_model_comes_later() -> None:
    given = problem({"m1": [op("a", 5)], "m2": [op("a", 1)]}, [device("cpu0")])
    passes = Passes(given, 0)
    assert passes.hold.tolist() == [1.0, 0.0], "the shorter job first"
    together, apart = passes.place(Knobs(0.0, 1.0)), passes.place(Knobs(0.0, 0.0, stagger=1.0))
    assert together is not None
    assert apart is not None
    assert together.order.tolist() == [0, 1]
    assert apart.order.tolist() == [1, 0]


@given(large_problems())
def test_instances_without_neighbours_are_the_same_otherwise(given: Problem) -> None:
    whole, bare = make_instance(given), make_instance(given, near=False)
    for name, ours, theirs in zip(whole._fields, whole, bare, strict=True):
        if not name.startswith("near"):
            assert np.array_equal(ours, theirs), name
    assert len(bare.near) == 0


def test_a_sample_of_the_groups_prices_the_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    from talos_opt.solvers.bounds import root

    given = KINDS["layered"](3000)
    work = root.group_work(given.arrays)
    exact, _ = root.load_shares(work)
    monkeypatch.setattr(root, "_SAMPLE", 500)
    bound, shares = root.load_shares(work)
    assert math.isclose(float(shares.sum()), 1.0)
    assert 0.9 * exact <= bound <= 1.02 * exact
    priced = np.where(np.isfinite(work), work * shares, np.inf).min(axis=1).sum()
    assert bound == pytest.approx(priced)


def test_a_slow_link_keeps_a_chain_together() -> None:
    ops = [op("a", output=8), op("b", 1, "a", output=8), op("c", 1, "b")]
    given = problem(ops, [device("cpu0"), device("cpu1")], links=[link("cpu0 cpu1", 9, 1)])
    run = solve(given)
    assert run.best is not None
    assert len(run.best.transfers) == 0
