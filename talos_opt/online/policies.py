"""What is done when models arrive: four rules, none of which knows what will come."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from talos_opt import api
from talos_opt.core.errors import TalosError
from talos_opt.core.feasibility import require_feasible
from talos_opt.core.problem import Problem
from talos_opt.core.replanning import MoveCost, Replanning, freeze
from talos_opt.core.schedule import Schedule
from talos_opt.online.replan import place_around, solve_left
from talos_opt.online.trace import Trace

#: The policies, and the rule that places what arrives; resolve: everything that has not started.
POLICIES = {"resolve": "auto", "keep": "heft", "fifo": "aswm", "talos": "talos"}
SUMMARIES = {
    "resolve": "plan all that has not started again",
    "keep": "place new ops where they end first, in gaps too; what is planned stays",
    "fifo": "append each new model as a whole where it ends first",
    "talos": "append new ops by Talos' rule",
}


class NoScheduleError(TalosError):
    """There is no schedule for what has arrived, or none was found."""


@dataclass(frozen=True)
class Setting:
    """How a policy is run.

    Parameters
    ----------
    time_limit : float
        Seconds for each arrival.
    seed : int
    workers : int, optional
    options : mapping, optional
        Of single solvers, by name.
    move_cost : MoveCost, optional
        Of `resolve`.
    """

    time_limit: float = 10.0
    seed: int = 0
    workers: int | None = None
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    move_cost: MoveCost | None = None

    def arguments(self) -> dict[str, Any]:
        """Return it as arguments of `solve`."""
        names = ("time_limit", "seed", "workers", "options")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Lived:
    """What became of a trace under a policy.

    Parameters
    ----------
    policy : str
    schedule : Schedule
        Of all models.
    moves : int
        Ops that ran elsewhere than they were planned to at some time, as often as that happened.
    runtime_s : float
        Seconds of all decisions.
    decided_s : tuple of float
        Of each.
    """

    policy: str
    schedule: Schedule
    moves: int
    runtime_s: float
    decided_s: tuple[float, ...] = field(default=())


def live(
    trace: Trace,
    policy: str,
    setting: Setting,
    *,
    cancel: threading.Event | None = None,
    on_arrival: Callable[[], None] | None = None,
) -> Lived | None:
    """Let models arrive, and decide each time by a policy.

    Parameters
    ----------
    trace : Trace
    policy : str
        One of `POLICIES`.
    setting : Setting
    cancel : threading.Event, optional
    on_arrival : callable, optional
        Called after each decision.

    Returns
    -------
    Lived or None
        None if cancelled.

    Raises
    ------
    NoScheduleError
        If the policy finds no schedule for what has arrived.
    """
    schedule: Schedule | None = None
    moves, spent = 0, []
    for k, arrival in enumerate(trace.arrivals, start=1):
        problem, began = trace.arrived(k), time.monotonic()
        found, moved = _decide(problem, schedule, arrival.at, policy, setting, cancel)
        spent.append(time.monotonic() - began)
        if cancel is not None and cancel.is_set():
            return None
        if found is None:
            raise NoScheduleError(
                f"policy {policy} finds no schedule when {', '.join(arrival.models)} arrives at "
                f"{arrival.at:g} {problem.graph.time_unit}"
            )
        schedule, moves = found, moves + moved
        if on_arrival is not None:
            on_arrival()
    assert schedule is not None, "a trace has arrivals"
    require_feasible(trace.problem, schedule)
    return Lived(policy, schedule, moves, sum(spent), tuple(spent))


def _decide(
    problem: Problem,
    running: Schedule | None,
    moment: float,
    policy: str,
    setting: Setting,
    cancel: threading.Event | None,
) -> tuple[Schedule | None, int]:
    """Return the schedule after an arrival, and how many ops move."""
    solver, asked = POLICIES[policy], {**setting.arguments(), "cancel": cancel, "explain": False}
    if running is None:
        return api.solve(problem, solver, **asked).schedule, 0
    if policy != "resolve":
        left = Replanning(problem, running, moment, ())
        return place_around(left, solver, **asked).schedule, 0
    left = freeze(problem, running, moment, move_cost=setting.move_cost)
    again = solve_left(left, solver, **asked)
    if again.schedule is None:
        return None, 0
    old = len(running.device)
    return again.schedule, int((again.schedule.device[:old] != running.device).sum())
