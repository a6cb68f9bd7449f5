"""The run: what it keeps of schedules and bounds, and what it takes for a contradiction."""

from __future__ import annotations

import math

import pytest

from talos_opt.core.errors import InfeasibleScheduleError, RefutedProofError
from talos_opt.core.problem import Problem
from talos_opt.core.result import OPTIMALITY_TOLERANCE
from talos_opt.core.schedule import Schedule
from talos_opt.solvers.engine.run import GRACE, Progress, Run
from tests.builders import device, op, problem, schedule


def pair(release: float = 0.0, **more: str) -> Problem:
    release_of = {"m": release}
    return problem([op("a", 1), op("b", 1)], "cpu0 cpu1", release=release_of, **more)  # type: ignore[arg-type]


def ending(given: Problem, value: float) -> Schedule:
    """Both ops on one device, the second ends at `value`."""
    first = float(given.arrays.release[0])
    return schedule(given, {"a": ("cpu0", first), "b": ("cpu0", value - 1)})


class Clock:
    """A clock that stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_limit_counts_on_the_clock_that_was_given() -> None:
    clock = Clock()
    run = Run(pair(), time_limit=10, clock=clock)
    assert (run.elapsed, run.remaining, run.stopped) == (0, 10, False)
    clock.now += 4
    assert (run.elapsed, run.remaining) == (4, 6)
    part = run.limited(2)
    assert (part.remaining, run.remaining) == (2, 6)
    clock.now += 2
    assert part.stopped
    assert not run.stopped
    clock.now += 4
    assert run.stopped
    assert not run.overdue  # nothing is in hand
    clock.now += GRACE
    assert run.overdue


@pytest.mark.notes("found")
def test_a_part_of_a_run_shares_all_but_the_budget() -> None:
    clock, given = Clock(), pair()
    run = Run(given, time_limit=10, clock=clock)
    part = run.limited(5, lambda: run.best is not None)
    assert not part.spent
    part.offer(ending(given, 20), "mine")
    part.raise_bound(2, "mine")
    part.note("found")
    assert part.spent
    assert (part.remaining, run.remaining) == (0, 10)
    assert (run.value, run.best_solver) == (20, "mine")
    assert run.lower_bound == pytest.approx(2)
    assert (run.notes, run.history) == (["found"], part.history)
    run.offer(ending(given, 2), "yours")
    assert part.best is run.best
    assert part.proven


def test_the_target_is_what_a_better_schedule_is_below() -> None:
    given = pair(release=100.0)
    run = Run(given)
    assert run.target == math.inf
    run.offer(ending(given, 140.0), "mine")
    assert run.forced == 100.0
    assert run.target == 140.0 - 0.5 * OPTIMALITY_TOLERANCE * 40.0


def test_a_run_has_defaults_and_nothing_is_settled_or_forced() -> None:
    run = Run(pair(), clock=Clock())
    assert (run.remaining, run.seed, run.workers, run.settled) == (10.0, 0, 1, False)
    assert Progress(0.0, None, 0.0, "x").forced == 0.0
    assert GRACE == 0.5


def test_what_is_settled_stays() -> None:
    given = pair()
    run = Run(given)
    run.offer(ending(given, 20.0), "mine")
    worse = ending(given, 21.0)
    run.settle(worse)
    assert run.settled
    assert run.best is worse


def test_what_is_no_better_is_not_kept() -> None:
    given = pair()
    run = Run(given)
    tidy = schedule(given, {"a": ("cpu0", 0), "b": ("cpu0", 1)})
    assert run.offer(tidy, "mine") is True
    assert run.offer(ending(given, 3.0), "worse") is False
    assert run.best is tidy
    untidy = schedule(given, {"a": ("cpu0", 0), "b": ("cpu1", 1)})  # cpu1 waits first
    assert run.offer(untidy, "as good") is False
    assert (run.best, run.best_solver) == (tidy, "mine")
    assert [event.solver for event in run.history] == ["mine"]


def test_a_placement_that_memory_does_not_hold_is_no_bug_of_who_did_not_know() -> None:
    ops = [op("a", 1, weights=6), op("b", 1, weights=6)]
    given = problem(ops, [device("cpu0", 10), device("cpu1", 10)])
    run = Run(given)
    assert run.consider(schedule(given, {"a": ("cpu0", 0), "b": ("cpu1", 0)}), "good") is True
    run = Run(given)
    assert run.consider(schedule(given, {"a": ("cpu0", 0), "b": ("cpu0", 1)}), "full") is False
    assert run.best is None
    with pytest.raises(InfeasibleScheduleError):
        run.consider(schedule(given, {"a": ("cpu0", 0), "b": ("cpu0", 0)}), "at once")
    with pytest.raises(InfeasibleScheduleError):
        run.settle(schedule(given, {"a": ("cpu0", 0), "b": ("cpu0", 1)}))


def test_what_a_proof_may_be_off_by_counts_from_what_is_forced() -> None:
    given = pair(release=2.0**20)
    value = 2.0**20 + 2.0**10
    for share, wrong in ((9.0, False), (10.9, True)):
        run = Run(given)
        run.offer(ending(given, value), "mine")
        bound = value + share * OPTIMALITY_TOLERANCE * 2.0**10
        if wrong:
            with pytest.raises(RefutedProofError):
                run.raise_bound(bound, "wrong")
        else:
            run.raise_bound(bound, "rounded")
            assert run.lower_bound <= value


def test_nothing_infeasible_is_settled_though_it_is_worse() -> None:
    given = pair()
    run = Run(given)
    run.offer(ending(given, 20.0), "mine")
    with pytest.raises(InfeasibleScheduleError):
        run.settle(schedule(given, {"a": ("cpu0", 39.5), "b": ("cpu0", 39)}))
    assert not run.settled


def test_a_withdrawn_bound_is_gone() -> None:
    given = pair()
    run = Run(given)
    run.offer(ending(given, 20.0), "mine")
    run.raise_bound(15.0, "wrong")
    run.withdraw_bound(2.0)
    assert run.lower_bound == 2.0
    run.withdraw_bound(30.0)
    assert run.lower_bound == 20.0


def test_a_bound_within_the_tolerance_proves_and_one_beyond_does_not() -> None:
    given = pair()
    run = Run(given)
    run.offer(ending(given, 2.0**20), "mine")
    allowed = OPTIMALITY_TOLERANCE * 2.0**20
    run.raise_bound(2.0**20 - 1.01 * allowed, "mine")
    assert not run.proven
    run.raise_bound(2.0**20 - 0.99 * allowed, "mine")
    assert run.proven


def test_a_run_inside_another_ends_with_it() -> None:
    clock = Clock()
    run = Run(pair(), time_limit=10, clock=clock)
    clock.now += 8
    inner = Run(pair(3.0), time_limit=5, inside=run)
    assert (inner.elapsed, inner.remaining) == (0, 2)
    assert inner.best is None
    run.cancel.set()
    assert inner.stopped


@pytest.mark.parametrize("excess", [0.0, 4.4e-16, 1e-15])
def test_a_bound_that_rounding_put_above_the_value_never_falls(excess: float) -> None:
    given = pair()
    run = Run(given)
    run.raise_bound(2 + excess, "mine")
    run.offer(ending(given, 2), "mine")
    bounds = [event.lower_bound for event in run.history]
    assert bounds == sorted(bounds)
    assert run.lower_bound <= 2
    assert run.proven


@pytest.mark.parametrize("at", [0.0, 3.6e9, 1.76e12])
def test_proofs_are_measured_above_the_releases(at: float) -> None:
    given = pair(at)
    run = Run(given)
    assert run.lower_bound == run.forced == at
    run.offer(ending(given, at + 3), "mine")
    run.raise_bound(at + 2, "mine")
    assert not run.proven
    run.offer(ending(given, at + 2), "mine")
    assert run.proven


def test_a_value_below_the_bound_is_kept_and_the_bound_is_not() -> None:
    given = pair()
    run = Run(given)
    run.offer(ending(given, 20), "mine")
    run.raise_bound(15, "mine")
    with pytest.raises(RefutedProofError, match=r"found 2\.0, below the bound 14\.9+"):
        run.offer(ending(given, 2), "yours")
    assert (run.value, run.lower_bound, run.best_solver) == (2, 0, "yours")


@pytest.mark.parametrize("bound", [2.001, 3.0, math.inf])
def test_a_bound_above_the_value_is_refused(bound: float) -> None:
    given = pair()
    run = Run(given)
    run.offer(ending(given, 2), "mine")
    run.raise_bound(1, "mine")
    with pytest.raises(RefutedProofError, match="above the known value"):
        run.raise_bound(bound, "mine")
    assert run.lower_bound == pytest.approx(1)


def test_a_bound_is_nothing_without_progress() -> None:
    run = Run(pair())
    run.raise_bound(math.nan, "mine")
    run.raise_bound(-1.0, "mine")
    assert (run.lower_bound, run.history) == (0, [])


def test_what_breaks_the_model_is_refused_and_what_only_lacks_memory_may_be_asked() -> None:
    given = problem(
        [op("a", 1, weights=6), op("b", 1, weights=6)],
        [device("cpu0", 10), device("cpu1", 10)],
    )
    run = Run(given)
    together = schedule(given, {"a": ("cpu0", 0), "b": ("cpu0", 1)})
    with pytest.raises(InfeasibleScheduleError, match="memory"):
        run.offer(together, "mine")
    assert not run.consider(together, "mine")
    overlapping = schedule(pair(), {"a": ("cpu0", 0), "b": ("cpu0", 0)})
    with pytest.raises(InfeasibleScheduleError, match="slots"):
        Run(pair()).consider(overlapping, "mine")
    assert run.consider(schedule(given, {"a": ("cpu0", 0), "b": ("cpu1", 0)}), "mine")


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_ties_are_told_at_any_scale(scale: float) -> None:
    ops = [op("a", 2 * scale), op("b", 1 * scale)]
    given = problem({"m": ops, "n": [op("c", 3 * scale)]}, "cpu0 cpu1", objective="makespan")
    run = Run(given)
    late = {"m/a": ("cpu0", 0.0), "m/b": ("cpu1", 4 * scale), "n/c": ("cpu1", 0.0)}
    gap = late | {"m/b": ("cpu0", 4 * scale)}
    close = late | {"m/b": ("cpu1", 3 * scale), "n/c": ("cpu1", 0.0)}
    assert run.offer(schedule(given, gap), "mine")  # 5, idle 2
    assert run.offer(schedule(given, late), "mine")  # 5, idle 1
    assert not run.offer(schedule(given, gap), "mine")
    assert not run.offer(schedule(given, late), "mine")
    assert run.offer(schedule(given, close), "mine")  # 4
    assert run.value == 4 * scale


def test_progress_is_told_with_its_gap() -> None:
    told: list[Progress] = []
    given = pair(100.0)
    run = Run(given, on_progress=told.append)
    run.raise_bound(101, "mine")
    run.offer(ending(given, 104), "mine")
    assert [item.gap for item in told] == [None, pytest.approx(0.75)]


def test_bounds_go_up_to_the_next_possible_value() -> None:
    given = pair()
    run = Run(given)
    run.raise_bound(0.6, "mine")
    assert run.lower_bound == pytest.approx(0.6)
    run.count_in(0.5)
    run.raise_bound(1.0 + 1e-4, "mine")  # no more than what proofs may be off by
    assert run.lower_bound == pytest.approx(1.0, abs=2e-4)
    run.raise_bound(1.01, "mine")
    assert run.lower_bound == pytest.approx(1.5)
    assert run.lower_bound <= 1.5 * (1 - 1e-12)  # as far may sums be of times that count as ticks
    run.offer(ending(given, 2.0), "yours")
    run.limited(5).raise_bound(1.51, "mine")
    assert run.proven


def test_a_bound_without_end_before_there_is_a_schedule_says_nothing() -> None:
    run = Run(pair())
    run.count_in(0.5)
    run.raise_bound(math.inf, "mine")
    assert run.lower_bound == 0.0


def test_a_bound_that_goes_up_to_more_than_is_known_is_refused() -> None:
    given = pair()
    run = Run(given)
    run.count_in(0.5)
    run.offer(ending(given, 2.25), "mine")  # one that waits: some optimal schedule ends at 2
    run.raise_bound(2.1, "mine")
    assert run.lower_bound == 2.25
    with pytest.raises(RefutedProofError, match="above the known value"):
        run.raise_bound(2.3, "mine")
