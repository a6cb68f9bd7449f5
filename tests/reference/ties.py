"""Of all schedules of the optimal value, the least idle time, then the fewest bytes, by search.

The search of `talos_opt.testing.reference.brute` with the idle time as a small part of the value.
Of two ways to one state neither may be dropped here: their devices may have been left at different
times.
"""

from __future__ import annotations

import math
from fractions import Fraction

from talos_opt.core.problem import Problem
from talos_opt.testing.reference.brute import Budget, _Search, make_plan, placements
from talos_opt.testing.reference.ticks import Ticks

#: Whatever values differ by, it counts more than all idle time.
_SCALE = 2**60


class _TieSearch(_Search):
    def bound(self, starts: list[int | None], now: int) -> int:
        ends = [0] * len(starts)
        for k in self.plan.order:
            act, begin = self.plan.acts[k], starts[k]
            if begin is None:
                begin = max(now, act.release, *(ends[before] for before in act.before))
            ends[k] = begin + act.time
        return self._value(ends[: len(self.device)]) * _SCALE + self._idle(ends)

    def _spent(self, starts: list[int | None]) -> float:  # type: ignore[override]
        return math.nan

    def _idle(self, ends: list[int]) -> int:
        """Idle ticks over all devices, times what every number of slots divides."""
        idle, devices = 0, self.problem.cluster.devices
        shared = math.lcm(*(device.slots for device in devices))
        for d, device in enumerate(devices):
            on = [k for k, home in enumerate(self.device) if home == d]
            for number, (_, source, target, _, _) in enumerate(self.plan.hops):
                if d in (source, target) and not device.copy_engine:
                    on.append(len(self.device) + number)
            busy = sum(
                self.plan.acts[k].time * (self.flat.ops[k].slots if k < len(self.device) else 1)
                for k in on
            )
            idle += shared * max((ends[k] for k in on), default=0) - busy * shared // device.slots
        return idle


def best_tie(problem: Problem) -> tuple[float, float, int] | None:
    """Return value, total idle time and bytes of the best schedule; None if there is none.

    Parameters
    ----------
    problem : Problem
        Up to four ops or so.
    """
    flat, best = Ticks(problem), None
    for device in placements(problem):
        plan = make_plan(problem, device, flat)
        if plan is None:
            continue
        moved = sum(size for _, _, _, size, _ in plan.hops)
        # A placement that comes to the same has to be found too: it may move less.
        limit = math.inf if best is None else best[0] + 1
        search = _TieSearch(flat, device, plan, limit, Budget(math.inf))
        search.walk(0, 0, [None] * len(plan.acts))
        if search.found is not None:
            found = int(search.limit), moved
            best = found if best is None else min(best, found)
    if best is None:
        return None
    value, idle = divmod(best[0], _SCALE)
    shared = math.lcm(*(device.slots for device in problem.cluster.devices))
    return float(flat.in_units(value)), float(Fraction(idle, shared * flat.per_unit)), best[1]
