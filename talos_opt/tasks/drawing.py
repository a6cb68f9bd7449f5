"""Files that people look at: pictures and pages of schedules, reports, and traces."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from talos_opt.analysis.breakdown import break_down
from talos_opt.core import units
from talos_opt.core.errors import InputError
from talos_opt.core.feasibility import check, require_feasible
from talos_opt.core.given import require_schedule
from talos_opt.core.metrics import objective_value
from talos_opt.core.pipelining.records import Step
from talos_opt.core.pipelining.step import Pipeline
from talos_opt.core.problem import Problem
from talos_opt.core.result import Result
from talos_opt.core.schedule import Schedule
from talos_opt.formats.chrome_trace import write_schedule_trace
from talos_opt.formats.source import STREAM
from talos_opt.reports.colouring import COLOUR_BY
from talos_opt.reports.gantt import WIDTH, Options, write_gantt
from talos_opt.reports.page import SUFFIXES, Answer, write_gantt_page
from talos_opt.reports.page import write_report as write_page
from talos_opt.reports.selection import only_devices
from talos_opt.reports.style import DARK, DPI, LIGHT, require_matplotlib
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
    colour_by: str = COLOUR_BY[0],
    fold: bool = True,
) -> None:
    """Draw a schedule into a file: ``talos-opt plot``. `talos_opt.plot` draws into axes.

    Parameters
    ----------
    found : Result or Schedule
        A schedule needs its problem too.
    target : str or path
        ``.png``, ``.svg`` or ``.pdf``, which need matplotlib; ``.html``, a page to zoom and search
        in, which takes no argument that follows `problem`; ``-``: standard output, as PNG.
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
    colour_by : {'model', 'type', 'slack'}
        What the colours of ops stand for.
    fold : bool
        Whether many devices have one lane for each kind that has at least 4.

    Raises
    ------
    DependencyError
        If matplotlib is missing.
    InputError
        If there is no schedule, what is named does not exist, or the target cannot be written.
    """
    if Path(os.fspath(target)).suffix.lower() in SUFFIXES:
        chosen = (devices, models, start, end, width, dpi, memory, dark, colour_by, fold)
        if chosen != (*[None] * 6, True, False, COLOUR_BY[0], True):
            raise InputError(
                "what a page shows is chosen in it: expected a file of .png, .svg or .pdf, or no "
                "such argument"
            )
        write_gantt_page(_view(found, problem), target)
        return
    require_matplotlib()
    for name, value in (("width", width), ("dpi", dpi)):
        if value is not None:
            _require_positive(value, name)
    for name, several in (("devices", devices), ("models", models)):
        if isinstance(several, str):
            raise InputError(f"{name} is {several!r}, expected a list: [{several!r}]")
    view, step = _view(found, problem), None
    given = found if isinstance(found, Schedule) else found.schedule
    whole = problem if problem is not None else found.problem if isinstance(found, Result) else None
    if whole is not None and given is not None:
        step = step_of(whole, given)[0]
    draw(
        view, target, None if devices is None else tuple(devices),
        Options(
            width=width or WIDTH,
            start=start,
            end=end,
            models=None if models is None else tuple(models),
            memory=memory,
            theme=DARK if dark else LIGHT,
            colour_by=colour_by,
            fold=fold,
        ),
        dpi=dpi,
        step=step,
    )  # fmt: skip


def _require_positive(value: object, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise InputError(f"{name} is {units.describe(value)}, expected a number above 0")


def draw(
    view: View,
    target: str | os.PathLike[str],
    devices: Iterable[str] | None,
    options: Options,
    *,
    dpi: float | None = None,
    step: Step | None = None,
) -> View:
    """Draw a view of a schedule into a picture, and return what of it was drawn.

    Parameters
    ----------
    view : View
    target : str or path
    devices : iterable of str, optional
        Only these.
    options : Options
    dpi : float, optional
    step : Step, optional
        Of a pipeline, drawn below the whole of it.
    """
    if devices is not None:
        view, step = only_devices(view, devices), None
    write_gantt(view, os.fspath(target), options, dpi=dpi or DPI, step=step)
    return view


def step_of(problem: Problem, schedule: Schedule) -> tuple[Step | None, str]:
    """Return a step of the problem's pipeline, where it has one; else why there is none to draw."""
    if problem.pipeline is None:
        return None, ""
    try:
        pipeline = Pipeline(problem, schedule.device)
        return pipeline.run(problem.pipeline.schedule, problem.pipeline.microbatches), ""
    except InputError as error:
        return None, str(error)


def _view(found: Result | Schedule, problem: Problem | None) -> View:
    if isinstance(found, Schedule):
        if problem is None:
            raise InputError("a Schedule is drawn with its problem, expected problem=")
        require_schedule(problem, found)
        return view_of(problem, found)
    schedule = _schedule_of(found)
    require_schedule(problem or found.problem, schedule)
    return view_of(problem or found.problem, schedule, found.to_dict(rows=False))


def _schedule_of(found: Result) -> Schedule:
    if not isinstance(found, Result):
        raise InputError(f"what is shown is {units.describe(found)}, expected a Result or Schedule")
    if found.schedule is None:
        raise InputError(f"the result has no schedule: it is {found.status}")
    return found.schedule


def write_report(
    found: Result | Schedule | Mapping[str, Result | Schedule],
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
    found : Result or Schedule, or mapping of str to Result or Schedule
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
    suffix = Path(os.fspath(target)).suffix.lower()
    if os.fspath(target) != STREAM and suffix not in SUFFIXES:
        raise InputError(f"{os.fspath(target)} has suffix {suffix!r}, expected {SUFFIXES[0]}")
    if isinstance(found, Result | Schedule):
        found = {found.solver if isinstance(found, Result) else "schedule": found}
    if not isinstance(found, Mapping):
        raise InputError(f"what is shown is {units.describe(found)}, expected results by name")
    named = dict(found)
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
    require_schedule(problem, schedule)
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
    InputError
        If the schedule is of another problem.
    """
    require_schedule(problem, schedule)
    feasible = not check(problem, schedule)
    path = break_down(problem, schedule).path.stretches if feasible else ()
    write_schedule_trace(problem, schedule, target, [(item.op, item.transfer) for item in path])
    return feasible
