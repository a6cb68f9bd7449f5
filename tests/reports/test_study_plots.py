"""Pictures of studies."""

from __future__ import annotations

import pytest

from talos_opt.analysis.fronts import Point, pareto_front
from talos_opt.reports.study_plots import Scatter, draw_study

pytest.importorskip("matplotlib", reason="the extra plot is not installed")


@pytest.mark.parametrize(("cheapest", "scale"), [(1.0, "log"), (10.0, "linear"), (0.0, "linear")])
def test_axes_of_wide_ranges_are_logarithmic(cheapest: float, scale: str) -> None:
    points = tuple(
        Point(price, 60 - price, 30 - price, f"case at {price}", k)
        for k, price in enumerate((cheapest, 20.0, 22.0, 29.0), start=1)
    )
    figure = draw_study([Scatter("a", "toct (s)", points, pareto_front(points))], [])
    (axes,) = figure.axes
    assert axes.get_xscale() == scale
    low, high = axes.get_xlim()
    assert low <= cheapest < 29 < high
    assert {text.get_text() for text in axes.texts} == {point.label for point in points}
    assert axes.get_yscale() == "log"  # bounds are far below values
