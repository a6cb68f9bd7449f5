"""Pages for a browser: one file that holds everything, and needs no network.

`write_report` writes all there is to see of a graph and its schedules, `write_gantt_page` the
Gantt chart of one schedule alone. Scripts and styles are files of this package, put into the page.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from talos_opt.core.problem import Problem
from talos_opt.reports.page.answers import Answer
from talos_opt.reports.page.assemble import write_page
from talos_opt.reports.page.frame import gantt_data
from talos_opt.reports.page.report import report_data
from talos_opt.reports.view import View

__all__ = ["SUFFIXES", "Answer", "write_gantt_page", "write_report"]

#: Suffixes that browsers take for a page.
SUFFIXES = (".html", ".htm")


def write_gantt_page(view: View, target: str | os.PathLike[str]) -> None:
    """Write the Gantt chart of a schedule as a page, whole or not at all.

    Parameters
    ----------
    view : View
    target : str or path
        ``-``: standard output.

    Raises
    ------
    FormatError
        If the target cannot be written.
    """
    write_page(gantt_data(view), target)


def write_report(
    problem: Problem,
    answers: Sequence[Answer],
    target: str | os.PathLike[str],
    *,
    changes: Mapping[str, Any] | None = None,
    on_progress: Callable[[float, str], None] | None = None,
) -> None:
    """Write a report on a problem and its schedules as a page, whole or not at all.

    Parameters
    ----------
    problem : Problem
        Values are those of its objective, recomputed.
    answers : sequence of Answer
        At least one; their schedules are feasible, which is not looked at.
    target : str or path
        ``-``: standard output.
    changes : mapping, optional
        What single changes would be worth, as `talos-opt whatif` documents it (talos-whatif/1).
    on_progress : callable, optional
        Called with the share that is done (0 to 1), and with what is done next.

    Raises
    ------
    InputError
        If an answer states a bound above the value of a schedule, so that it is not a bound.
    FormatError
        If the target cannot be written.
    """
    write_page(report_data(problem, answers, on_progress, changes), target)
