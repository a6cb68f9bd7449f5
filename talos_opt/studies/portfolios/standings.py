"""What several solves of one problem have come to together, after a check of their claims."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from talos_opt import api
from talos_opt.core.errors import InfeasibleScheduleError, RefutedProofError
from talos_opt.core.metrics import forced_value, objective_value
from talos_opt.core.problem import Problem
from talos_opt.core.result import OPTIMALITY_TOLERANCE, Event, relative_gap
from talos_opt.core.schedule import Schedule
from talos_opt.core.ties import Standing, standing, value_slack

#: A bound may be above a value by so many times what counts as proven: rounding of both.
_SLACK = 10


@dataclass
class Standings:
    """The best schedule and the best bound, whoever found them.

    Parameters
    ----------
    problem : Problem
    """

    problem: Problem
    schedule: Schedule | None = None
    value: float = math.inf
    bound: float = -math.inf
    infeasible: str = ""
    history: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        #: What releases alone force of the value.
        self.forced = forced_value(self.problem)
        self.bound = self.forced
        self._rank: Standing | None = None

    @property
    def gap(self) -> float | None:
        """Gap of the best value above the best bound; None without a schedule."""
        if self.schedule is None:
            return None
        return relative_gap(self.value, self.bound, self.forced)

    @property
    def proven(self) -> bool:
        """Whether nothing is left to find."""
        gap = self.gap
        return bool(self.infeasible) or (gap is not None and gap <= OPTIMALITY_TOLERANCE)

    def offer(self, schedule: Schedule, who: str, time_s: float) -> bool:
        """Keep a schedule if it is better, or as good and tidier; tell whether it was kept.

        Raises
        ------
        InfeasibleScheduleError
            If it breaks a rule of the model.
        RefutedProofError
            If it is better than what is proven.
        """
        violations = api.check(self.problem, schedule)
        if violations:
            raise InfeasibleScheduleError([str(item) for item in violations])
        if self.infeasible:
            raise RefutedProofError(f"{who} found a schedule, but there is none: {self.infeasible}")
        value = objective_value(self.problem, schedule)
        slack = value_slack(self.problem, value)
        if value > self.value + slack:
            return False
        improves = value < self.value - slack
        rank = standing(self.problem, schedule, value)
        if not improves and self._rank is not None and not rank.tidier(self._rank):
            return False
        self.schedule, self.value, self._rank = schedule, value, rank
        self.bound = min(self._require_consistent(who), value)
        if improves:
            self._record(who, time_s)
        return True

    def raise_bound(self, bound: float, who: str, time_s: float) -> bool:
        """Keep a bound if it is better, and tell whether it is.

        Raises
        ------
        RefutedProofError
            If it is above the best value.
        """
        if not bound > self.bound:
            return False
        self.bound = bound
        self.bound = min(self._require_consistent(who), self.value)
        self._record(who, time_s)
        return True

    def refute(self, reason: str, who: str) -> None:
        """Take it as proven that there is no schedule.

        Raises
        ------
        RefutedProofError
            If there is one.
        """
        if self.schedule is not None:
            raise RefutedProofError(f"{who} says that there is no schedule, but there is one")
        self.infeasible = reason or "there is no schedule"

    def _require_consistent(self, who: str) -> float:
        """Return the bound, which is no higher than the value but for rounding."""
        allowed = _SLACK * OPTIMALITY_TOLERANCE * (self.value - self.forced)
        if self.schedule is not None and self.bound - self.value > allowed:
            raise RefutedProofError(
                f"the bound {self.bound!r} is above the value {self.value!r}, after news of {who}"
            )
        return self.bound

    def _record(self, who: str, time_s: float) -> None:
        value = None if self.schedule is None else self.value
        self.history.append(Event(time_s, value, self.bound, who))
