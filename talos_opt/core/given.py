"""What a public function is given: things of the right kind, and a schedule of this very problem.

Rules of the model are for `feasibility.check`; this is what it takes to look at a schedule at all.
"""

from __future__ import annotations

from talos_opt.core import units
from talos_opt.core.errors import InputError
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule


def require_problem(problem: object) -> None:
    """Refuse what is not a problem.

    Raises
    ------
    InputError
    """
    if not isinstance(problem, Problem):
        raise InputError(
            f"problem is {units.describe(problem)}, expected a Problem; talos_opt.read makes one "
            "of a file"
        )


def require_kinds(problem: object, schedule: object) -> None:
    """Refuse what is not a problem, or not a schedule.

    Raises
    ------
    InputError
    """
    require_problem(problem)
    if not isinstance(schedule, Schedule):
        raise InputError(
            f"schedule is {units.describe(schedule)}, expected a Schedule, such as that of a "
            "result: result.schedule"
        )


def require_schedule(problem: Problem, schedule: Schedule) -> None:
    """Refuse what is not a schedule of a problem's ops on its devices.

    Raises
    ------
    InputError
        If one of the two is something else, such as a result in place of its schedule.
    ScheduleError
        If the schedule has other ops or devices.
    """
    require_kinds(problem, schedule)
    schedule.require_of(problem)
