"""What the figures show: read back from their artists, for few ops and many, one model and more."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from talos_opt.analysis.affinity import affinities
from talos_opt.analysis.model_speedups import ModelSpeedups, speedups_of
from talos_opt.reports import style
from talos_opt.reports.speedup_plots import (
    NAMED,
    draw_affinities,
    draw_distributions,
    draw_speedup_times,
    draw_speedups,
    figures,
)

pytest.importorskip("matplotlib")


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    """matplotlib warns where parts do not fit, a glyph is missing or an axis has no range."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def model(name: str, here: list[float], there: list[float], kinds: int = 3) -> ModelSpeedups:
    first, second = np.array(here, dtype=float), np.array(there, dtype=float)
    return ModelSpeedups(
        model=name,
        reference="cpu",
        other="gpu",
        ops=np.arange(len(first)),
        names=tuple(f"op{i}" for i in range(len(first))),
        types=tuple(f"type{i % kinds}" if kinds else "" for i in range(len(first))),
        reference_time=first,
        other_time=second,
        speedup=speedups_of(first, second),
    )


def drawn(name: str, count: int, kinds: int = 3) -> ModelSpeedups:
    rng = np.random.default_rng(count)
    here, there = rng.lognormal(3, 2, count), rng.lognormal(2, 1, count)
    return model(name, here.tolist(), there.tolist(), kinds)


def test_speedups_sorted_with_average_and_one(tmp_path: Path) -> None:
    drawing = draw_speedups(model("net", [5, 1, 3], [1, 3, 2]))
    (axes,) = drawing.axes
    style.save(drawing, tmp_path / "a.png")
    assert [label.get_text() for label in axes.get_xticklabels()] == ["op1", "op2", "op0"]
    points = axes.collections[-1].get_offsets()
    assert points[:, 1].tolist() == pytest.approx([1 / 3, 1.5, 5])  # type: ignore[index]
    heights = [line.get_ydata()[0] for line in axes.lines]  # type: ignore[index]
    assert heights == [1, 1.5]
    assert axes.get_yscale() == "log"
    assert "average 1.5" in axes.get_legend_handles_labels()[1][1]
    assert axes.get_title() == "net: 1 of 3 ops below 1"
    assert axes.get_ylabel() == "speedup (cpu time / gpu time)"


@pytest.mark.parametrize("count", [1, NAMED, NAMED + 1, 3000])
def test_few_ops_and_many(tmp_path: Path, count: int) -> None:
    net = drawn("net", count)
    drawing = draw_speedups(net)
    style.save(drawing, tmp_path / "a.png")
    (axes,) = drawing.axes
    named = axes.get_xticklabels()[0].get_text().startswith("op")
    assert named == (count <= NAMED)
    assert drawing.get_figwidth() <= 12
    low, high = axes.get_ylim()
    assert low < net.speedup.min()
    assert net.speedup.max() < high
    style.save(draw_speedup_times(net, "ms"), tmp_path / "b.svg")
    assert (tmp_path / "b.svg").stat().st_size < 1_000_000


def test_times_by_type() -> None:
    (axes,) = draw_speedup_times(drawn("net", 90, kinds=30), "ms").axes
    labels = axes.get_legend_handles_labels()[1]
    assert labels[0] == "other types"
    assert len(labels) == 8
    assert sum(len(points.get_offsets()) for points in axes.collections) == 90
    assert axes.get_xlabel() == "time on cpu"
    (axes,) = draw_speedup_times(drawn("net", 9, kinds=0), "ms").axes
    assert axes.get_legend() is None
    assert len(axes.collections[0].get_offsets()) == 9


def test_what_a_log_scale_cannot_show(tmp_path: Path) -> None:
    net = model("net", [0, 2, float("inf"), 3], [1, 1, 1, 0])
    (axes,) = draw_speedups(net).axes
    assert axes.get_title() == "net: 0 of 1 ops below 1, 3 without a speedup not shown"
    nothing = model("net", [float("inf"), 0], [1, 0])
    for drawing in (
        draw_speedups(nothing),
        draw_speedup_times(nothing, "s"),
        draw_distributions([nothing], "s"),
        draw_distributions([nothing, net], "s"),
    ):
        style.save(drawing, tmp_path / "x.png")
    (axes,) = draw_speedups(nothing).axes
    assert axes.texts[0].get_text() == "no op has a speedup of gpu over cpu"


@pytest.mark.parametrize("count", [1, 2, 12, 13])
def test_models_side_by_side(tmp_path: Path, count: int) -> None:
    models = [drawn(f"a rather long name of a model $x$ {i}", 5 + i) for i in range(count)]
    drawing = draw_distributions(models, "us")
    style.save(drawing, tmp_path / "d.png")
    left, right = drawing.axes
    assert len(left.get_yticklabels()) == count
    assert right.get_xlabel() == "op time"
    assert right.get_legend_handles_labels()[1] == ["on cpu", "on gpu"]
    if count > 1:
        drawing = draw_affinities([item.model for item in models], affinities(models))
        style.save(drawing, tmp_path / "a.png")


def test_affinity_map_is_symmetric_and_shows_what_is_infinite() -> None:
    models = [model("a", [4], [1]), model("b", [1], [1]), model("c", [2], [1], kinds=0)]
    drawing = draw_affinities(["a", "b", "c"], affinities(models))
    first, second = drawing.axes
    texts = {text.get_position(): text.get_text() for text in first.texts}
    assert texts[(0, 1)] == texts[(1, 0)] == "2.00"
    assert texts[(0, 2)] == texts[(2, 1)] == "inf"
    assert (1, 1) not in texts
    texts = {text.get_position(): text.get_text() for text in second.texts}
    assert (texts[(0, 1)], texts[(0, 2)]) == ("2.00", "1.00")


def test_names_of_figures_are_safe_and_distinct() -> None:
    models = [drawn(name, 3) for name in ("a/b", "a:b", "A b", "x" * 200)]
    names = [name for name, _ in figures(models, affinities(models), "us")]
    assert names[:3:2] == ["speedups-a_b", "speedups-a_b-2"]
    assert names[4] == "speedups-A_b-3"
    assert names[-2:] == ["distributions", "affinities"]
    assert len({name.lower() for name in names}) == len(names) == 10
    assert all(len(name) < 120 and "/" not in name for name in names)
    alone = [name for name, _ in figures(models[:1], (), "us")]
    assert alone == ["speedups-a_b", "speedup-times-a_b", "distributions"]
