"""The picture of schedules under noise, read back from its artists."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from talos_opt.analysis.sensitivity import Noise, Outcome, Sensitivity
from talos_opt.reports import style
from talos_opt.reports.sensitivity_plot import draw_sensitivity
from tests.builders import fig1

pytest.importorskip("matplotlib")

from matplotlib.axes import Axes
from matplotlib.patches import Rectangle


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def bars_of(axes: Axes) -> list[Rectangle]:
    return [bar for bar in axes.patches if isinstance(bar, Rectangle)]


def study(*values: list[float]) -> Sensitivity:
    outcomes = tuple(
        Outcome(f"schedule{k}.json", row[0], row[0], np.array(row)) for k, row in enumerate(values)
    )
    return Sensitivity(fig1(), Noise(0.2), 0, outcomes)


def test_every_schedule_has_its_distribution_and_its_line(tmp_path: Path) -> None:
    found = study([3.0, 1.0, 2.0, 2.5], [4.0, 5.0, 4.5, 6.0])
    drawing = draw_sensitivity(found)
    above, below = drawing.axes
    steps = [line for line in below.lines if len(line.get_xdata()) == 4]
    assert [list(line.get_xdata()) for line in steps] == [[1, 2, 2.5, 3], [4, 4.5, 5, 6]]
    assert list(steps[0].get_ydata()) == [25, 50, 75, 100]
    marks = [line.get_xdata()[0] for line in above.lines]
    assert marks == [3, 4]
    assert steps[0].get_linewidth() > steps[1].get_linewidth()  # what is equal is seen
    assert below.get_xlabel() == "toct (s)"
    (legend,) = drawing.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "schedule0.json: mean 2.125 s, 5 to 95 %: 1.15 s to 2.925 s",
        "schedule1.json: mean 4.875 s, 5 to 95 %: 4.075 s to 5.85 s",
    ]
    style.save(drawing, tmp_path / "noise.png")
    assert (tmp_path / "noise.png").stat().st_size > 10_000


@pytest.mark.parametrize("value", [0.0, 5.0])
def test_values_that_are_all_the_same_can_be_drawn(value: float, tmp_path: Path) -> None:
    drawing = draw_sensitivity(study([value] * 3))
    style.save(drawing, tmp_path / "noise.svg")


def test_schedules_that_are_far_apart_have_a_histogram_each() -> None:
    near, far = np.linspace(10, 11, 100), np.linspace(9000, 9001, 100)
    drawing = draw_sensitivity(study(near.tolist(), far.tolist()))
    one, two, both = drawing.axes
    for axes, values in ((one, near), (two, far)):
        low, high = axes.get_xlim()
        assert high - low < 3 * (values[-1] - values[0])
        assert sum(bar.get_height() > 0 for bar in bars_of(axes)) >= 10
        assert axes.get_xlabel() == "toct (s)"
    assert both.get_xlim()[1] > 9000


def test_bars_are_narrow_enough_for_the_schedule_that_varies_least() -> None:
    steady, varied = np.linspace(50, 51, 400), np.linspace(30, 36, 400)
    above, _ = draw_sensitivity(study(steady.tolist(), varied.tolist())).axes
    assert sum(50 <= bar.get_x() <= 51 for bar in bars_of(above) if bar.get_height() > 0) >= 5
