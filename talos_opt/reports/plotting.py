"""`talos_opt.plot`: a schedule, its memory or its search in axes of one's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from talos_opt.core.errors import InputError
from talos_opt.core.problem import Problem
from talos_opt.core.result import Result
from talos_opt.core.schedule import Schedule
from talos_opt.reports import style
from talos_opt.reports.facts import headline
from talos_opt.reports.fonts import choose_fonts
from talos_opt.reports.gantt.drawing import label_time
from talos_opt.reports.gantt.lanes import Lanes
from talos_opt.reports.gantt.legend import legend_entries
from talos_opt.reports.gantt.memory import draw_memory, panels
from talos_opt.reports.gantt.options import Options
from talos_opt.reports.search_plot import search_of
from talos_opt.reports.selection import only_devices
from talos_opt.reports.view import View, view_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: What can be drawn.
KINDS = ("schedule", "memory", "search")


def plot(
    found: Result | Schedule,
    axes: Axes | None = None,
    *,
    problem: Problem | None = None,
    kind: str = "schedule",
    devices: Iterable[str] | None = None,
    models: Iterable[str] | None = None,
    start: float | None = None,
    end: float | None = None,
    dark: bool = False,
    colour_by: str = "model",
    fold: bool = True,
) -> Axes:
    """Draw a result with matplotlib.

    Parameters
    ----------
    found : Result or Schedule
        A schedule needs its problem too.
    axes : matplotlib.axes.Axes, optional
        Where to draw; its limits, ticks and title are set. Default: those of a new figure.
    problem : Problem, optional
        That of the schedule; default: the result's.
    kind : {'schedule', 'memory', 'search'}
        A Gantt chart; the memory of one device (name it in `devices`, or the fullest is taken); the
        best value and the bound over the time of the search (a result with history).
    devices : iterable of str, optional
        Only these: ids, or kinds.
    models : iterable of str, optional
        Only these have colours; ops of others are pale.
    start, end : float, optional
        Only this stretch of time, in the graph's unit.
    dark : bool
        Whether lines and text are light; axes of one's own get a dark background too.
    colour_by : {'model', 'type', 'slack'}
        What the colours of ops stand for.
    fold : bool
        Whether, above 16 devices, kinds of at least 4 have one lane each.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    DependencyError
        If matplotlib is missing.
    InputError
        If there is nothing to draw, or what is named does not exist.
    """
    if kind not in KINDS:
        raise InputError(f"kind is {kind!r}, expected one of {', '.join(KINDS)}")
    style.require_matplotlib()
    theme = style.DARK if dark else style.LIGHT
    given = axes if axes is not None else style.figure(9.0, 4.5, theme).subplots()
    if kind == "search":
        if not isinstance(found, Result):
            raise InputError("a search is drawn of a Result, which has its history")
        search_of(found, given, theme)
        choose_fonts(given)
        return given
    view = _view(found, problem)
    if devices is not None:
        view = only_devices(view, [devices] if isinstance(devices, str) else devices)
    named = None if models is None else tuple([models] if isinstance(models, str) else models)
    options = Options(
        start=start, end=end, models=named, theme=theme, colour_by=colour_by, fold=fold
    )
    if kind == "memory":
        _memory(view, given, options)
    else:
        _schedule(view, given, options)
    choose_fonts(given)
    return given


def _view(found: Result | Schedule, problem: Problem | None) -> View:
    if isinstance(found, Schedule):
        if problem is None:
            raise InputError("a Schedule is drawn with its problem, expected problem=")
        return view_of(problem, found)
    if found.schedule is None:
        raise InputError(f"the result has no schedule: it is {found.status}")
    facts = found.to_dict(rows=False)
    return view_of(problem or found.problem, found.schedule, facts)


def _size(axes: Axes) -> tuple[float, float]:
    """Width and height of axes in inches."""
    figure = axes.get_figure(root=True)
    assert figure is not None, "axes are in a figure"
    box = axes.get_window_extent()
    return float(box.width / figure.dpi), float(box.height / figure.dpi)


def _schedule(view: View, axes: Axes, options: Options) -> None:
    width, height = _size(axes)
    lanes = Lanes(view, options, width, height)
    lanes.draw(axes)
    label_time(axes, view, lanes, width)
    axes.set_title(style.shortened(headline(view), max(20, int(width / 0.1))), loc="left", pad=16)
    entries = legend_entries(view, (), blocks=lanes.many, options=options)
    axes.legend(
        handles=entries,
        loc="upper left",
        bbox_to_anchor=(0.0, -0.5 / height),
        ncols=max(1, int(width / 1.7)),
        frameon=False,
        fontsize=style.TICK,
        labelcolor=options.theme.ink,
    )


def _memory(view: View, axes: Axes, options: Options) -> None:
    curves = [curve for curve, _ in panels(view)]
    if not curves:
        raise InputError("no device holds any memory")
    fullest = int(np.argmax([curve.share for curve in curves]))
    lanes = Lanes(view, options, *_size(axes))
    draw_memory(axes, curves[fullest], (lanes.left, lanes.right), lanes.dot, options.theme)
    axes.set_xlim(lanes.left, lanes.right)
    label_time(axes, view, lanes, _size(axes)[0])
