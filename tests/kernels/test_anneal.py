"""The annealing kernel: what it keeps up to date move by move, against sums from scratch."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.core.feasibility import check
from talos_opt.core.problem import MemoryRule, Objective, Problem
from talos_opt.kernels.anneal import UNREACHED, anneal
from talos_opt.solvers.fast.chain import Chain
from talos_opt.solvers.shared.instance import make_instance
from talos_opt.testing.reference.flat import Flat, channel
from tests.builders import device, link, op, problem
from tests.kernels.drawing import Ordered, ints, ordered_problems
from tests.reference.queues import (
    excess_bytes,
    groups,
    queue_schedule,
    steady_loads,
    unreached_edges,
)

MOVES = 400


def start(drawn: Ordered, seed: int = 0) -> Chain:
    """Value a placement and an order, and try no move."""
    instance = make_instance(drawn.problem)
    return Chain(drawn.problem, instance, seed, (ints(drawn.device), ints(drawn.order)))


def run(drawn: Ordered, order_share: float, seed: int = 0, *, smooth: bool = False) -> Chain:
    chain = start(drawn, seed)
    value = chain.state.value[0]
    scale = float(value) if math.isfinite(value) and value > 0 else 1.0
    chain.anneal(MOVES, scale * 0.1, scale * 1e-3, order_share, smooth=smooth)
    return chain


def watches_liveness(problem: Problem) -> bool:
    """Without any limit there is nothing to watch."""
    limited = any(device.memory is not None for device in problem.cluster.devices)
    return problem.memory_rule is MemoryRule.PEAK and limited


def worth(problem: Problem, device: list[int], order: list[int]) -> tuple[float, float]:
    """Value and excess of a point."""
    queued = queue_schedule(problem, device, order)
    lost = unreached_edges(problem, device)
    value = math.inf if queued is None else queued.value
    live = watches_liveness(problem)
    if problem.objective is Objective.BOTTLENECK and not (live and lost):
        load, carried = steady_loads(problem, device)
        value = max([*load, *carried.values()])
    over = 0.0
    if live or problem.memory_rule is MemoryRule.STATIC:
        over = excess_bytes(problem, device, queued)
    return value, over + UNREACHED * lost


def check_point(problem: Problem, home: list[int], order: list[int]) -> list[int]:
    """A placement that groups, pins and edges allow; return the device of every op."""
    flat = Flat(problem)
    device = [-1] * len(flat.ops)
    for members, d in zip(groups(problem), home, strict=True):
        for i in members:
            device[i] = d
            assert flat.time(i, d) is not None
    place = {i: position for position, i in enumerate(order)}
    assert sorted(place) == list(range(len(device)))
    assert all(place[source] < place[reader] for source, reader, _ in flat.edges)
    return device


def widest_on(problem: Problem, device: list[int], d: int) -> int:
    here = [item.memory for item, x in zip(Flat(problem).ops, device, strict=True) if x == d]
    return max((memory.workspace for memory in here), default=0)


@given(ordered_problems())
def test_a_point_is_valued_as_from_scratch(drawn: Ordered) -> None:
    state = start(drawn).state
    given = worth(drawn.problem, drawn.device, drawn.order)
    # Ops are put in the order in which they start, where that is no worse.
    value, over = worth(drawn.problem, drawn.device, state.order.tolist())
    assert (over, value) <= (given[1], given[0])
    assert state.value.tolist() == [value, over, value, over]


@given(ordered_problems(), st.sampled_from([0.0, 0.3, 0.9]))
def test_books_are_right_after_a_run(drawn: Ordered, order_share: float) -> None:
    problem = drawn.problem
    state = run(drawn, order_share).state
    device = check_point(problem, state.home.tolist(), state.order.tolist())
    assert state.device.tolist() == device
    assert state.place[state.order].tolist() == list(range(len(device)))
    ops = Flat(problem).ops
    for d in range(len(problem.cluster.devices)):
        here = [ops[i].memory for i in range(len(ops)) if device[i] == d]
        assert state.held[d] == sum(memory.weights + memory.output for memory in here)
        # It grows with every move and is found anew from time to time.
        assert state.widest[d] >= widest_on(problem, device, d)
        assert state.widest[d] in {0, *(item.memory.workspace for item in ops)}
    if problem.objective is Objective.BOTTLENECK and not watches_liveness(problem):
        load, carried = steady_loads(problem, device)
        assert np.allclose(state.load, load)
        route = problem.arrays.channel
        for a, b in np.argwhere(route >= 0).tolist():
            expected = carried.get(channel(problem.cluster, a, b), 0.0)
            assert state.channel[route[a, b]] == pytest.approx(expected, abs=1e-9)


@given(ordered_problems(), st.sampled_from([0.0, 0.3, 0.9]), st.booleans())
def test_the_value_after_a_run_is_that_of_the_point(
    drawn: Ordered, order_share: float, smooth: bool
) -> None:
    problem = drawn.problem
    state = run(drawn, order_share, smooth=smooth).state
    for home, order, (value, over) in (
        (state.home, state.order, state.value[:2]),
        (state.best_home, state.best_order, state.value[2:]),
    ):
        device = check_point(problem, home.tolist(), order.tolist())
        true_value, true_over = worth(problem, device, order.tolist())
        assert true_value == pytest.approx(value, rel=1e-9)
        assert true_over <= over  # workspaces that have left count until they are found anew


@given(ordered_problems(), st.sampled_from([0.0, 0.3]), st.booleans())
def test_the_best_is_no_worse_than_the_start(
    drawn: Ordered, order_share: float, smooth: bool
) -> None:
    before, after = start(drawn).state.value, run(drawn, order_share, smooth=smooth).state.value
    assert (after[3], after[2]) <= (before[1], before[0])
    assert (after[3], after[2]) <= (after[1], after[0])


@given(ordered_problems(), st.integers(0, 99))
def test_the_same_seed_gives_the_same_point(drawn: Ordered, seed: int) -> None:
    first, second = run(drawn, 0.3, seed).state, run(drawn, 0.3, seed).state
    for name, one, other in zip(first._fields, first, second, strict=True):
        assert one.tolist() == other.tolist(), name


# ---- one move at a time --------------------------------------------------------------------


@given(ordered_problems(), st.sampled_from([0.0, 0.5]), st.sampled_from([1e-6, 1.0]), st.booleans())
def test_a_move_that_is_not_kept_leaves_no_trace(
    drawn: Ordered, order_share: float, heat: float, smooth: bool
) -> None:
    chain = start(drawn)
    instance, state = chain.instance, chain.state
    kept_ones = ["home", "device", "order", "place", "held", "widest", "value"]
    if not watches_liveness(drawn.problem):  # there, loads are summed up anew for every move
        kept_ones += ["load", "channel"]
    for _ in range(20):
        before = {name: getattr(state, name).tolist() for name in kept_ones}
        # To value the point counts as one; unless ops were put in another order after that.
        kept = anneal(
            instance, chain.times, state, chain.allowed, 1, heat, heat, order_share, smooth
        )
        if kept == 1 and state.value[0] == before["value"][0]:
            assert {name: getattr(state, name).tolist() for name in kept_ones} == before
        for d in range(len(before["widest"])):
            here = instance.group[state.home == d, 1].max(initial=0)
            assert here <= state.widest[d] <= max(here, before["widest"][d])


# ---- ops in the order of their starts ------------------------------------------------------


def crossing() -> Chain:
    """Two tensors cross on a half-duplex link; the reader of the first one starts last.

    In the order given, ``p`` travels over in 1..4, before ``q`` comes back in 4..5. Once ``b``,
    which starts at 5, stands before ``a``, which starts at 5.5, ``p`` waits for ``q`` until 5.
    """
    ops = [
        op("p", output=3, devices="cpu"),
        op("q", 4, output=1, devices="gpu"),
        op("r", 1.5, "q", devices="gpu"),
        op("a", 1, "p", devices="gpu"),
        op("b", 1, "q", workspace=3, devices="cpu"),
    ]
    given = problem(
        ops, [device("cpu0", memory=4), device("gpu0")], [link("cpu gpu", 0, 1, duplex="half")],
        objective="makespan", rule="peak", contention="serial",
    )  # fmt: skip
    return start(Ordered(given, [0, 1, 1, 1, 0], [0, 1, 2, 3, 4], 0))


def test_the_crossing_tensors_as_they_are_ordered() -> None:
    state = crossing().state
    assert state.value.tolist() == [6.5, 0, 6.5, 0]


def test_the_best_order_is_worth_what_it_is_kept_for() -> None:
    chain = crossing()
    assert chain.schedule().end.max() == chain.state.value[2]


def test_the_best_order_fits_into_memory_if_that_is_what_it_is_kept_for() -> None:
    chain = crossing()
    assert chain.state.value[3] == 0
    assert check(chain.problem, chain.schedule()) == ()
