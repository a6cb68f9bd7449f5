"""Single moves that even out loads: which are tried, and which are kept, move by move."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given

from talos_opt.core.problem import Problem
from talos_opt.kernels.loads import placement_loads
from talos_opt.kernels.relieving import relieve
from talos_opt.solvers.shared.instance import make_instance
from talos_opt.testing.reference.flat import Flat, route
from tests.kernels.drawing import Ordered, ints, ordered_problems
from tests.reference.queues import capacity, groups, steady_loads, unreached_edges
from tests.reference.randomness import SplitMix

TRIES = 25


def pressure(lines: list[float], top: float) -> float:
    return sum((line / top) ** 64 for line in lines)


def all_loads(problem: Problem, device: list[int]) -> list[float]:
    load, carried = steady_loads(problem, device)
    return [*load, *carried.values()]


def may_go(problem: Problem, device: list[int], members: list[int], target: int) -> bool:
    """Whether a group's ops run on a device, fit there and can exchange their tensors."""
    flat = Flat(problem)
    moved = [target if i in members else d for i, d in enumerate(device)]
    return (
        all(problem.arrays.allowed[problem.arrays.group[i], target] for i in members)
        and flat.static_need(moved, target) <= capacity(problem, target)
        and all(
            route(problem.cluster, moved[a], moved[b]) is not None
            for a, b, _ in flat.edges
            if a in members or b in members
        )
    )


@given(ordered_problems(objectives=("bottleneck",), peak=False))
def test_every_move_tried_is_kept_if_and_only_if_it_relieves(drawn: Ordered) -> None:
    problem, device, _, seed = drawn
    flat, arrays = Flat(problem), problem.arrays
    devices = range(arrays.device_count)
    assume(all(flat.static_need(device, d) <= capacity(problem, d) for d in devices))
    instance, where = make_instance(problem, near=False), ints(device)
    load, channel = np.zeros(arrays.device_count), np.zeros(int(arrays.channel.max(initial=-1)) + 1)
    placement_loads(instance, where, np.zeros(len(load), dtype=np.int64), load, channel)
    held = np.zeros(len(load), dtype=np.int64)
    np.add.at(held, where, arrays.weights + arrays.output)
    seen, usable = np.zeros(len(where) + 1, dtype=np.int64), arrays.allowed.copy()
    state, draw = np.array([seed], dtype=np.uint64), SplitMix(seed)
    for _ in range(TRIES):
        before = where.tolist()
        kept = relieve(instance, where, held, load, channel, usable, seen, state, 1)
        op, target = draw.below(len(before)), draw.below(len(load))
        assert int(state[0]) == draw.state
        members = next(members for members in groups(problem) if op in members)
        moved = [target if i in members else d for i, d in enumerate(before)]
        assert where.tolist() == (moved if kept else before)
        top = max(all_loads(problem, before))
        if before[op] == target or top <= 0 or not may_go(problem, before, members, target):
            assert not kept
        else:
            change = pressure(all_loads(problem, moved), top) / pressure(
                all_loads(problem, before), top
            )
            if abs(change - 1) > 1e-9:
                assert kept == (change < 1)
        true_load, carried = steady_loads(problem, where.tolist())
        assert np.allclose(load, true_load, atol=1e-9)
        busy = sorted(time for time in carried.values() if time > 0)
        assert np.allclose(sorted(channel[channel > 1e-9]), busy)
        assert unreached_edges(problem, where.tolist()) <= unreached_edges(problem, before)
        for d in range(len(load)):
            here = [flat.ops[i].memory for i, x in enumerate(where.tolist()) if x == d]
            assert held[d] == sum(memory.weights + memory.output for memory in here)
