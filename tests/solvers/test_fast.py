"""The annealing solver and its kernels, against brute force and the simulator."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, reject
from hypothesis import strategies as st

from talos_opt.core.feasibility import check
from talos_opt.core.metrics import measure
from talos_opt.core.problem import Objective, Problem
from talos_opt.core.simulator import simulate
from talos_opt.core.transfers import NoRouteError
from talos_opt.kernels.listing import list_schedule, upward_ranks
from talos_opt.kernels.liveness import peak_overflow
from talos_opt.kernels.loads import placement_loads
from talos_opt.kernels.sorting import stable_order
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.shared.instance import make_instance, make_times, read_times
from talos_opt.solvers.shared.paths import best_times, tails
from tests.naive import brute_force
from tests.strategies import large_problems, placed_problems, problems

CLOSE = 1e-9


def anneal(problem: Problem, moves: int = 3000, seed: int = 0) -> Run:
    run = Run(problem, time_limit=60.0, seed=seed, workers=2)
    registry.create("fast", {"moves": moves}).solve(problem, run)
    return run


@given(problems(max_ops=5))
def test_fast_is_feasible_and_mostly_ends_at_the_optimum(problem: Problem) -> None:
    expected = brute_force(problem)
    run = anneal(problem)
    if expected is None:
        assert run.best is None
        reject()
    assert run.value >= expected[0] * (1 - CLOSE) - CLOSE
    assume(run.best is not None)
    assert check(problem, run.best) == ()
    assume(run.value <= expected[0] * (1 + CLOSE) + CLOSE)  # how often is counted


@given(problems(max_ops=5, memory=False, serial=False, no_copy_engine=False))
def test_fast_finds_the_optimum_of_tiny_problems_without_limits(problem: Problem) -> None:
    expected = brute_force(problem)
    assume(expected is not None)
    run = anneal(problem)
    assert run.best is not None
    assert run.value == pytest.approx(expected[0], rel=1e-6, abs=1e-9)


@pytest.mark.reaches(0.4)
@given(large_problems(max_ops=40))
def test_fast_passes_check_on_larger_problems(problem: Problem) -> None:
    run = anneal(problem, moves=500)
    assume(run.best is not None)
    assert check(problem, run.best) == ()


@given(problems(max_ops=5))
def test_same_seed_and_moves_give_the_same_answer(problem: Problem) -> None:
    first, second = anneal(problem, 1000, seed=7), anneal(problem, 1000, seed=7)
    assert first.value == second.value
    assume(first.best is not None and second.best is not None)
    assert np.array_equal(first.best.device, second.best.device)
    assert np.array_equal(first.best.start, second.best.start)


@given(placed_problems(peak=False), st.randoms(use_true_random=False))
def test_list_schedule_agrees_with_the_simulator(placed: object, random: object) -> None:
    problem, device, _ = placed  # type: ignore[misc]
    device = np.asarray(device, dtype=np.int64)
    order = topological(problem, random)
    instance, times = make_instance(problem), make_times(problem)
    value = list_schedule(instance, times, device, order, np.inf)
    try:
        expected = simulate(problem, device, np.argsort(order), insertion=False)
    except NoRouteError:
        assert value == np.inf
        reject()
    contended = bool((problem.arrays.channel >= 0).any()) or not problem.arrays.copy_engine.all()
    wide = bool((problem.arrays.slots > 1).any())
    if np.isfinite(value) and not contended and not wide:
        # One slot and free links: both are the same queues.
        assert np.allclose(times.end, expected.end)
    schedule = read_times(problem, times, device)
    broken = [item for item in check(problem, schedule) if item.rule != "memory"]
    assert broken == []


def topological(problem: Problem, random: object) -> np.ndarray:
    """Return a random topological order."""
    arrays = problem.arrays
    missing = np.diff(arrays.in_ptr).tolist()
    ready = [i for i, count in enumerate(missing) if count == 0]
    order = []
    while ready:
        i = ready.pop(random.randrange(len(ready)))  # type: ignore[attr-defined]
        order.append(i)
        for reader in arrays.edge_dst[arrays.out_ptr[i] : arrays.out_ptr[i + 1]].tolist():
            missing[reader] -= 1
            if missing[reader] == 0:
                ready.append(reader)
    return np.array(order, dtype=np.int64)


@given(placed_problems(), st.randoms(use_true_random=False))
def test_kernel_loads_and_peaks_agree_with_the_metrics(placed: object, random: object) -> None:
    problem, device, _ = placed  # type: ignore[misc]
    device = np.asarray(device, dtype=np.int64)
    instance, times = make_instance(problem), make_times(problem)
    order = topological(problem, random)
    assume(np.isfinite(list_schedule(instance, times, device, order, np.inf)))
    schedule = read_times(problem, times, device)
    metrics = measure(problem, schedule)
    load = np.zeros(problem.arrays.device_count)
    channel = np.zeros(len(times.channel))
    size = np.zeros(problem.arrays.device_count, dtype=np.int64)
    placement_loads(instance, device, size, load, channel)
    assert np.allclose(load, list(metrics.load.values()))
    assert max(load.max(), channel.max(initial=0.0)) == pytest.approx(metrics.bottleneck)
    over = np.array(list(metrics.peak_memory.values())) - problem.arrays.capacity
    assert peak_overflow(instance, times, device) == np.maximum(over, 0).sum()


@given(problems(max_ops=6, missing_routes=False), st.integers(0, 2**32))
def test_upward_ranks_are_longest_paths(problem: Problem, seed: int) -> None:
    arrays = problem.arrays
    assume(arrays.allowed.any(axis=1).all())
    pick = np.random.default_rng(seed)
    home = np.array([pick.choice(np.flatnonzero(row)) for row in arrays.allowed])
    device = home[arrays.group].astype(np.int64)
    rank = upward_ranks(make_instance(problem), device, arrays.order.copy())

    def longest(i: int) -> float:
        below = [0.0]
        for e in range(arrays.out_ptr[i], arrays.out_ptr[i + 1]):
            reader, size = int(arrays.edge_dst[e]), int(arrays.edge_bytes[e])
            hops = arrays.path(int(device[i]), int(device[reader])) or ()
            below.append(sum(arrays.transfer_time(a, b, size) for a, b in hops) + longest(reader))
        return float(arrays.time[i, device[i]]) + max(below)

    assert np.allclose(rank, [longest(i) for i in range(arrays.op_count)])


@given(problems(max_ops=6))
def test_tails_are_the_least_time_that_follows(problem: Problem) -> None:
    arrays = problem.arrays
    assume(arrays.allowed.any(axis=1).all())
    best = np.where(arrays.allowed[arrays.group], arrays.time, np.inf).min(axis=1)

    def after(i: int) -> float:
        readers = arrays.edge_dst[arrays.out_ptr[i] : arrays.out_ptr[i + 1]].tolist()
        return max((best[r] + after(r) for r in readers), default=0.0)

    assert np.allclose(
        tails(arrays, best_times(arrays)), [after(i) for i in range(arrays.op_count)]
    )


@given(st.lists(st.integers(-5, 5).map(float), max_size=200))
def test_stable_order_sorts_like_numpy(keys: list[float]) -> None:
    found = stable_order(np.array(keys, dtype=np.float64))
    assert found.tolist() == np.argsort(np.array(keys), kind="stable").tolist()


@pytest.mark.parametrize("objective", [item for item in Objective if item is not Objective.STEP])
def test_an_interrupted_run_keeps_its_start(objective: Objective) -> None:
    from talos_opt.solvers.engine.warmup import tiny_problem

    problem = tiny_problem().with_objective(objective)
    run = Run(problem, time_limit=0.0)
    registry.create("fast").solve(problem, run)
    run.cancel.set()
    registry.create("fast").solve(problem, run)
    assert run.best is not None
