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


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


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
    assert below.get_xlabel() == "toct (s)"
    (legend,) = drawing.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "schedule0.json (dashed: announced)",
        "schedule1.json (dashed: announced)",
    ]
    style.save(drawing, tmp_path / "noise.png")
    assert (tmp_path / "noise.png").stat().st_size > 10_000


@pytest.mark.parametrize("value", [0.0, 5.0])
def test_values_that_are_all_the_same_can_be_drawn(value: float, tmp_path: Path) -> None:
    drawing = draw_sensitivity(study([value] * 3))
    style.save(drawing, tmp_path / "noise.svg")
