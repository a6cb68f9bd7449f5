"""Files that people look at: pictures and pages of schedules, reports, and traces."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from talos_opt.analysis.breakdown import break_down
from talos_opt.core.errors import InputError
from talos_opt.core.feasibility import check, require_feasible
from talos_opt.core.metrics import objective_value
from talos_opt.core.problem import Problem
from talos_opt.core.result import Result
from talos_opt.core.schedule import Schedule
from talos_opt.formats.chrome_trace import write_schedule_trace
from talos_opt.reports.page import SUFFIXES, Answer
from talos_opt.reports.page import write_report as write_page
from talos_opt.reports.view import View, view_of
from talos_opt.studies.single_changes import what_would_help


def write_plot(
    found: Result | Schedule,
    target: str | os.PathLike[str],
    *,
    problem: Problem | None = None,
    devices: Iterable[str] | None = None,
    models: Iterable[str] | None = None,
    start: float | None = None,
    end: float | None = None,
    width: float | None = None,
    dpi: float | None = None,
    memory: bool = True,
    dark: bool = False,
) -> None:
    """Draw a schedule into a file: ``talos-opt plot``. `talos_opt.plot` draws into axes.

    Parameters
    ----------
    found : Result or Schedule
        A schedule needs its problem too.
    target : str or path
        ``.png``, ``.svg`` or ``.pdf``, which need matplotlib; ``.html``, a page to zoom and search
        in, which takes no other argument; ``-``: standard output, as PNG.
    problem : Problem, optional
        That of the schedule; default: the result's.
    devices : iterable of str, optional
        Only these: ids, or kinds.
    models : iterable of str, optional
        Only these have colours.
    start, end : float, optional
        Only this stretch of time, in the graph's unit.
    width, dpi : float, optional
        Inches (12) and dots per inch (150) of a picture.
    memory : bool
        Whether memory over time is drawn.
    dark : bool
        Whether lines and text are light, on dark paper.

    Raises
    ------
    DependencyError
        If matplotlib is missing.
    InputError
        If there is no schedule, what is named does not exist, or the target cannot be written.
    """
    from talos_opt.reports.gantt import WIDTH, Options, write_gantt
    from talos_opt.reports.page import write_gantt_page
    from talos_opt.reports.selection import only_devices
    from talos_opt.reports.style import DARK, DPI, LIGHT, require_matplotlib

    view = _view(found, problem)
    if Path(os.fspath(target)).suffix.lower() in SUFFIXES:
        write_gantt_page(view, target)
        return
    require_matplotlib()
    if devices is not None:
        view = only_devices(view, devices)
    options = Options(
        width=width or WIDTH,
        start=start,
        end=end,
        models=None if models is None else tuple(models),
        memory=memory,
        theme=DARK if dark else LIGHT,
    )
    write_gantt(view, os.fspath(target), options, dpi=dpi or DPI)


def _view(found: Result | Schedule, problem: Problem | None) -> View:
    if isinstance(found, Schedule):
        if problem is None:
            raise InputError("a Schedule is drawn with its problem, expected problem=")
        return view_of(problem, found)
    return view_of(problem or found.problem, _schedule_of(found), found.to_dict(rows=False))


def _schedule_of(found: Result) -> Schedule:
    if found.schedule is None:
        raise InputError(f"the result has no schedule: it is {found.status}")
    return found.schedule


def write_report(
    found: Result | Mapping[str, Result | Schedule],
    target: str | os.PathLike[str],
    *,
    problem: Problem | None = None,
    whatif: float | None = None,
    seed: int = 0,
    workers: int | None = None,
    on_progress: Callable[[float, str], None] | None = None,
    cancel: threading.Event | None = None,
) -> None:
    """Write a page that shows a graph and its schedules side by side: ``talos-opt report``.

    Parameters
    ----------
    found : Result, or mapping of str to Result or Schedule
        By what the page calls them. All are of one problem, and feasible.
    target : str or path
        ``.html``; ``-``: standard output.
    problem : Problem, optional
        Default: that of the first result. Values are those of its objective, recomputed.
    whatif : float, optional
        Seconds for each search for what single changes of the graph would be worth, from the best
        schedule; default: there is none.
    seed, workers : int
        Of these searches.
    on_progress : callable, optional
        Called with the share that is done (0 to 1), and what is being done.
    cancel : threading.Event, optional
        Set it, from another thread, to end the searches.

    Raises
    ------
    InputError
        If there is no schedule, or the page cannot be written.
    InfeasibleScheduleError
        If a schedule breaks a rule.
    """
    named = {found.solver: found} if isinstance(found, Result) else dict(found)
    results = [item for item in named.values() if isinstance(item, Result)]
    if problem is None and results:
        problem = results[0].problem
    if problem is None or not named:
        raise InputError("expected results, or schedules and their problem=")
    answers = [_answer(problem, label, item) for label, item in named.items()]
    changes = None
    if whatif is not None:
        best = min((item.schedule for item in answers), key=partial(objective_value, problem))
        changes = what_would_help(
            problem, best, time_limit=whatif, seed=seed, workers=workers, cancel=cancel
        ).to_dict()
    write_page(problem, answers, target, changes=changes, on_progress=on_progress)


def _answer(problem: Problem, label: str, found: Result | Schedule) -> Answer:
    schedule = found if isinstance(found, Schedule) else _schedule_of(found)
    require_feasible(problem, schedule)
    stated: dict[str, Any] = {} if isinstance(found, Schedule) else found.to_dict(rows=False)
    return Answer(label, schedule, stated)


def write_trace(problem: Problem, schedule: Schedule, target: str | os.PathLike[str]) -> bool:
    """Write a schedule as a Chrome trace, for Perfetto: ``talos-opt trace``.

    Parameters
    ----------
    problem : Problem
    schedule : Schedule
        Ops that overlap beyond a device's slots get rows of their own.
    target : str or path
        Any name, as gzip where it ends in ``.gz``; ``-``: standard output.

    Returns
    -------
    bool
        Whether the critical path is in it, as a row of its own: a schedule that breaks a rule has
        none.

    Raises
    ------
    FormatError
        If the target cannot be written.
    """
    feasible = not check(problem, schedule)
    path = break_down(problem, schedule).path.stretches if feasible else ()
    write_schedule_trace(problem, schedule, target, [(item.op, item.transfer) for item in path])
    return feasible
