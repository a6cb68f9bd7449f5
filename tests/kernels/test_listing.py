"""List schedules against queues written from the model, every rule but memory included."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import assume, given

from talos_opt.core.problem import UNLIMITED, MemoryRule, Objective
from talos_opt.kernels.instance import CAPACITY
from talos_opt.kernels.listing import LAST_HOP, list_schedule
from talos_opt.kernels.liveness import peak_overflow
from talos_opt.solvers.shared.instance import make_instance, make_times, read_times
from talos_opt.testing.reference.checker import naive_check, peak_need
from talos_opt.testing.reference.flat import Flat
from tests.kernels.drawing import Ordered, ints, ordered_problems
from tests.reference.queues import excess_bytes, queue_schedule


@given(ordered_problems())
def test_schedules_are_those_of_queues(drawn: Ordered) -> None:
    problem, device, order, _ = drawn
    times = make_times(problem)
    # A pass may find what another one has left: hops are numbered, not cleared, until the
    # numbers run out.
    times.clock[1] = LAST_HOP - drawn.seed % 30 - len(times.hop_tensor)
    for one in (drawn.order, order):
        value = list_schedule(make_instance(problem), times, ints(device), ints(one), np.inf)
    expected = queue_schedule(problem, device, order)
    if expected is None:
        assert value == np.inf
    else:
        assert value == expected.value
        assert times.start.tolist() == expected.start
        assert times.end.tolist() == expected.end
        first, end = times.clock.tolist()
        columns = (
            times.hop_tensor, times.hop_source, times.hop_target, times.hop_start, times.hop_end
        )  # fmt: skip
        hops = list(zip(*(column[: end - first].tolist() for column in columns), strict=True))
        moves = [(move.tensor, *move[1:5]) for move in expected.moves]
        assert sorted(hops) == sorted(moves)
        for number, (tensor, _, target, *_) in enumerate(hops, start=first):
            assert times.sent[tensor, target] == number
        assert (times.sent >= first).sum() == len(hops)
        schedule = read_times(problem, times, ints(device))
        assert [bad for bad in naive_check(problem, schedule) if not bad.startswith("memory")] == []


@given(ordered_problems(objectives=("makespan",)))
def test_it_gives_up_on_makespans_above_the_threshold_only(drawn: Ordered) -> None:
    problem, device, order, _ = drawn
    instance, times = make_instance(problem), make_times(problem)
    value = list_schedule(instance, times, ints(device), ints(order), np.inf)
    assume(np.isfinite(value))
    assert list_schedule(instance, times, ints(device), ints(order), value) == value
    lower = np.nextafter(value, -np.inf)
    assert list_schedule(instance, times, ints(device), ints(order), lower) == np.inf


@given(ordered_problems(objectives=("toct", "bottleneck")))
def test_weighted_sums_have_no_threshold(drawn: Ordered) -> None:
    problem, device, order, _ = drawn
    assert problem.objective is not Objective.MAKESPAN
    instance, times = make_instance(problem), make_times(problem)
    value = list_schedule(instance, times, ints(device), ints(order), np.inf)
    assert list_schedule(instance, times, ints(device), ints(order), 0.0) == value


@given(ordered_problems())
def test_peaks_are_what_is_alive_at_once(drawn: Ordered) -> None:
    problem, device, order, _ = drawn
    problem = replace(problem, memory_rule=MemoryRule.PEAK)
    instance, times = make_instance(problem), make_times(problem)
    queued = queue_schedule(problem, device, order)
    assume(queued is not None)
    list_schedule(instance, times, ints(device), ints(order), np.inf)
    over = peak_overflow(instance, times, ints(device))
    assert over == excess_bytes(problem, device, queued)
    # What exceeds a memory of nothing is the peak itself.
    for d in range(len(problem.cluster.devices)):
        bare = instance.device.copy()
        bare[:, CAPACITY] = UNLIMITED
        bare[d, CAPACITY] = 0
        over = peak_overflow(instance._replace(device=bare), times, ints(device))
        flat = Flat(problem)
        assert over == peak_need(flat, device, queued.start, queued.end, queued.moves, d)
