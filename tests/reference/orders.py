"""A second way to the optimum, without the search over events: every order of starting.

Sort the acts of a feasible schedule by their starts, and start them anew in this order, each as
early as releases, what it waits for and free slots and links allow, but not before the one ahead
of it. By induction nothing starts later than it did. So one of these schedules is optimal where
all limits are of slots and links, which an earlier start never strains; under the ``peak`` rule
waiting can save memory, and this is no way there.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from talos_opt.core.problem import Problem
from talos_opt.testing.reference.brute import Plan, as_schedule, make_plan, placements
from talos_opt.testing.reference.checker import exact_value


def best_by_orders(problem: Problem) -> Fraction | None:
    """Return the optimum of a problem without limits under the ``peak`` rule.

    The value is that of the schedule's floats, which round each moment once.
    """
    values = [
        exact_value(problem, as_schedule(plan, device, starts))
        for device in placements(problem)
        if (plan := make_plan(problem, device)) is not None
        for starts in _all_starts(plan)
    ]
    return min(values, default=None)


def longest_plan(problem: Problem) -> int:
    """Return how many acts the largest plan has: the orders are at most its factorial."""
    plans = (make_plan(problem, device) for device in placements(problem))
    return max((len(plan.acts) for plan in plans if plan is not None), default=0)


def _all_starts(plan: Plan) -> Iterator[list[int]]:
    starts: dict[int, int] = {}

    def extend() -> Iterator[list[int]]:
        if len(starts) == len(plan.acts):
            yield [starts[k] for k in range(len(plan.acts))]
            return
        for k, act in enumerate(plan.acts):
            if k not in starts and all(before in starts for before in act.before):
                starts[k] = _earliest(plan, k, starts)
                yield from extend()
                del starts[k]

    yield from extend()


def _earliest(plan: Plan, k: int, starts: dict[int, int]) -> int:
    act = plan.acts[k]
    ends = {other: start + plan.acts[other].time for other, start in starts.items()}
    ready = max([act.release, *starts.values(), *(ends[before] for before in act.before)])
    moments = sorted({ready, *(end for end in ends.values() if end > ready)})
    return next(moment for moment in moments if _has_room(plan, k, moment, starts, ends))


def _has_room(plan: Plan, k: int, now: int, starts: dict[int, int], ends: dict[int, int]) -> bool:
    """Whether an act can start; everything that may run beside it later starts no earlier."""
    for what, amount in plan.acts[k].holds:
        held = sum(
            other_amount
            for other, start in starts.items()
            for name, other_amount in plan.acts[other].holds
            if name == what and start <= now < ends[other]
        )
        if held + amount > plan.limits[what]:
            return False
    return True
