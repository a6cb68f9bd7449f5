"""`talos_opt.plot`: axes of one's own, and pictures of a search."""

from __future__ import annotations

import math

import pytest

import talos_opt
from talos_opt import Event, InputError, Result, Status
from talos_opt.reports import search_plot, style
from tests.builders import op, problem
from tests.reports.test_gantt import rectangles, two_models

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure


def result() -> Result:
    found, answer = two_models()
    history = (
        Event(0.1, 30.0, -math.inf, "heft"),
        Event(0.5, 20.0, 5.0, "talos"),
        Event(2.0, 18.0, 12.0, "cpsat"),
    )
    return Result(found, Status.FEASIBLE, answer, 12.0, "auto", 0, 3.0, history)


def test_a_schedule_in_axes_of_ones_own() -> None:
    figure = Figure(figsize=(10, 4))
    left, right = figure.subplots(1, 2)
    assert talos_opt.plot(result(), left) is left
    talos_opt.plot(result().schedule, right, problem=result().problem, start=4, models="n")
    assert rectangles(figure, "ops") == [(0, 3), (5, 7), (5, 7), (7, 11), (7, 11)]
    assert left.get_xlabel() == right.get_xlabel() == "time (s)"
    assert left.get_title("left").startswith("test: toct")
    assert [text.get_text() for text in right.get_legend().get_texts()][:2] == ["n", "other models"]
    coloured = talos_opt.plot(result(), colour_by="slack").get_legend().get_texts()
    assert coloured[0].get_text() == "no slack"


def test_memory_and_devices() -> None:
    axes = talos_opt.plot(result(), kind="memory", devices=["gpu0"], dark=True)
    assert axes.get_ylabel() == "gpu0\nMiB"
    assert axes.get_figure().get_facecolor()[:3] == pytest.approx(
        (0x18 / 255, 0x1C / 255, 0x22 / 255)
    )


def test_a_search_is_drawn_step_by_step() -> None:
    axes = talos_opt.plot(result(), kind="search")
    best, bound = (line for line in axes.lines if line.get_drawstyle() == "steps-post")
    assert list(best.get_xdata()) == [0.1, 0.5, 2.0, 3.0]
    assert list(best.get_ydata()) == [30, 20, 18, 18]
    assert list(bound.get_ydata()) == [5, 12, 12]
    assert axes.get_xlabel() == "time of the search (s)"
    assert axes.get_ylabel() == "toct (s)"
    document = result().to_dict()
    drawing = search_plot.draw_search(document, "s", style.DARK)
    assert len(drawing.axes[0].lines) == 3
    with pytest.raises(InputError, match="the history is broken"):
        search_plot.draw_search({**document, "history": [{"time_s": "x"}]})


def test_what_cannot_be_drawn() -> None:
    found = problem([op("a", 1)])
    nothing = Result(found, Status.UNKNOWN, None, 0.0, "cpsat")
    with pytest.raises(InputError, match="the result has no schedule: it is unknown"):
        talos_opt.plot(nothing)
    with pytest.raises(InputError, match="no history"):
        talos_opt.plot(nothing, kind="search")
    with pytest.raises(InputError, match="kind is 'pie', expected one of schedule, memory"):
        talos_opt.plot(result(), kind="pie")
    with pytest.raises(InputError, match="expected problem="):
        talos_opt.plot(two_models()[1])
