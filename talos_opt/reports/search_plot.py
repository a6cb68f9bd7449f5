"""Picture of a search: the best value and the bound over the time that was spent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from talos_opt.core.errors import InputError
from talos_opt.core.result import Event, Result
from talos_opt.core.shares import value_unit
from talos_opt.reports import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


#: Values this many times the least are drawn on a logarithmic axis.
_FAR = 4.0


def draw_search(
    document: Mapping[str, Any], unit: str = "", theme: style.Theme = style.LIGHT
) -> Figure:
    """Draw the history that a schedule document states.

    Parameters
    ----------
    document : mapping
        talos-schedule/1.
    unit : str
        Of the value; empty: none.
    theme : Theme

    Raises
    ------
    InputError
        If it states no history.
    """
    events = document.get("history")
    if not isinstance(events, Sequence) or not events:
        raise InputError("the schedule states no history of its search", path="history")
    try:
        history = [
            Event(
                float(item["time_s"]),
                None if item["value"] is None else float(item["value"]),
                -math.inf if item["lower_bound"] is None else float(item["lower_bound"]),
                str(item["solver"]),
            )
            for item in events
        ]
    except (KeyError, TypeError, ValueError):
        raise InputError(
            "the history is broken, expected time_s, value, lower_bound and solver of each event",
            path="history",
        ) from None
    drawing = style.figure(8.0, 4.2, theme)
    axes = drawing.subplots()
    runtime = document.get("runtime_s")
    end = float(runtime) if isinstance(runtime, (int, float)) else history[-1].time_s
    objective = str(document.get("objective", "value"))
    add_search(axes, history, end, objective, unit, theme)
    title = f"{document.get('graph', '')}: search"
    axes.set_title(style.shortened(title, 60), loc="left", color=theme.ink)
    return drawing


def search_of(result: Result, axes: Axes, theme: style.Theme = style.LIGHT) -> None:
    """Draw the history of a result into axes.

    Raises
    ------
    InputError
        If it has none.
    """
    if not result.history:
        raise InputError("the result has no history of its search", path="history")
    problem = result.problem
    objective, unit = problem.objective.value, value_unit(problem)
    add_search(axes, result.history, result.runtime_s, objective, unit, theme)


def add_search(
    axes: Axes,
    history: Sequence[Event],
    end: float,
    objective: str,
    unit: str,
    theme: style.Theme = style.LIGHT,
) -> None:
    """Draw steps of the best value and of the bound, with what lies between them filled.

    Parameters
    ----------
    axes : Axes
    history : sequence of Event
        By time.
    end : float
        Seconds that the search took.
    objective, unit : str
        What the value is, and its unit; empty: none.
    theme : Theme
    """
    from matplotlib.ticker import LogLocator

    end = max(end, history[-1].time_s)
    best, least = style.colour(0), style.colour(1)
    found = [(event.time_s, event.value) for event in history if event.value is not None]
    bounds = [
        (event.time_s, event.lower_bound) for event in history if math.isfinite(event.lower_bound)
    ]
    for points, colour, label in ((found, best, "best value"), (bounds, least, "lower bound")):
        if not points:
            continue
        times, values = map(list, zip(*points, strict=True))
        axes.step(
            [*times, end], [*values, values[-1]],
            where="post", color=colour, linewidth=1.8, label=label,
        )  # fmt: skip
    better = [point for k, point in enumerate(found) if k == 0 or point[1] < found[k - 1][1]]
    axes.plot(
        [time for time, _ in better],
        [value for _, value in better],
        "o",
        markersize=3.5,
        color=best,
    )
    values = [value for _, value in found + bounds]
    largest = max((abs(value) for value in values), default=1.0)
    if min(values, default=0.0) > 0 and largest > _FAR * min(values):
        # The first value is often far from the last, which is what matters.
        axes.set_yscale("log")
    style.time_axis(axes, "y", objective, largest, unit)
    if axes.get_yscale() == "log":
        axes.yaxis.set_minor_formatter(axes.yaxis.get_major_formatter())
        axes.yaxis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
        axes.tick_params(which="minor", labelsize=style.TICK, labelcolor=theme.ink)
    style.time_axis(axes, "x", "time of the search", end or 1.0, "s")
    axes.set_xlim(0.0, (end or 1.0) * 1.02)
    axes.locator_params(axis="x", nbins=7)
    style.tidy(axes, grid="both", theme=theme)
    axes.legend(
        frameon=False, fontsize=style.TICK, labelcolor=theme.ink, loc="lower right", ncols=2,
        bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0,
    )  # fmt: skip
