"""The Gantt picture: what is drawn where, and how much of it there is."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from talos_opt.core.errors import FormatError, InputError
from talos_opt.core.graph import Graph
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import simulate
from talos_opt.reports import facts, style
from talos_opt.reports.gantt import (
    Options,
    categories,
    draw_gantt,
    lanes,
    legend,
    path,
    write_gantt,
)
from talos_opt.reports.selection import only_devices
from talos_opt.reports.view import View, view_of
from tests.builders import device, link, op, problem, schedule

pytest.importorskip("matplotlib")

from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text


def two_models(**options: Any) -> tuple[Problem, Schedule]:
    """Model m on the CPU feeds itself on the GPU; model n waits for the GPU."""
    models = {
        "m": [op("first", 3, output=2**20), op("second", 2, "first", weights=3 * 2**20)],
        "n": [op("third", 4)],
    }
    devices = [device("cpu0"), device("gpu0", 8 * 2**20, **options)]
    found = problem(models, devices, [link("cpu gpu", 1.0, 2**20)], rule="peak")
    where = {"first": ("cpu0", 0.0), "second": ("gpu0", 5.0), "third": ("gpu0", 7.0)}
    return found, schedule(found, where, [("first", "cpu0", "gpu0", 3.0, 5.0, 2**20)])


def many_ops(count: int) -> View:
    """A chain of ops of one second, every other on the CPU, then one of a tenth of all that."""
    ops = [op(f"o{k}", 1, f"o{k - 1}" if k else "") for k in range(count)]
    ops.append(op("long", count / 10, f"o{count - 1}"))
    found = problem(ops)
    placement = np.arange(count + 1) % 2
    return view_of(found, simulate(found, placement, np.arange(count + 1)))


def collections(figure: Figure, name: str) -> list[Any]:
    return [c for axes in figure.axes for c in axes.collections if c.get_gid() == name]


def rectangles(figure: Figure, name: str) -> list[tuple[float, float]]:
    """Start and end of all polygons of a name."""
    found = []
    for collection in collections(figure, name):
        assert isinstance(collection, PolyCollection)
        for shape in collection.get_paths():
            x = np.asarray(shape.vertices)[:, 0]
            found.append((float(x.min()), float(x.max())))
    return sorted(found)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def entries(figure: Figure) -> list[str]:
    (found,) = figure.legends
    return [text.get_text() for text in found.get_texts()]


def test_every_op_and_transfer_is_a_bar() -> None:
    figure = draw_gantt(view_of(*two_models()))
    assert rectangles(figure, "ops") == [(0, 3), (5, 7), (7, 11)]
    assert rectangles(figure, "transfers") == [(3, 5)]
    colours = {tuple(c) for c in collections(figure, "ops")[0].get_facecolors().tolist()}
    assert len(colours) == 2  # one for each model


def test_idle_time_is_shaded_until_the_last_activity_and_busy_time_is_told() -> None:
    figure = draw_gantt(view_of(*two_models()))
    assert rectangles(figure, "idle") == [(0, 3), (0, 11)]
    shown = texts(figure)
    assert "27.3 %" in shown  # cpu0: 3 of 11
    assert "54.5 %" in shown  # gpu0: 6 of 11


def test_a_bar_for_each_device_says_where_the_time_goes() -> None:
    figure = draw_gantt(view_of(*two_models()))
    axes = figure.axes[-1]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cpu0", "gpu0"]
    legend = axes.get_legend()
    assert legend is not None
    bars = {bar.get_label(): [box.get_width() for box in bar] for bar in axes.containers}
    assert bars == {
        "computes": pytest.approx([300 / 11, 600 / 11]),
        "waits for an input to be made": pytest.approx([0, 300 / 11]),
        "waits for a transfer": pytest.approx([0, 200 / 11]),
        "nothing left to start": pytest.approx([800 / 11, 0]),
    }
    assert [text.get_text() for text in legend.get_texts()] == [*bars]


def test_the_critical_path_is_framed_and_connected() -> None:
    figure = draw_gantt(view_of(*two_models()))
    # Ops one after the other on a device are framed as one.
    assert rectangles(figure, "critical") == [(0, 3), (3, 5), (5, 11)]
    (lines,) = collections(figure, "connections")
    assert isinstance(lines, LineCollection)
    assert [segment[:, 0].tolist() for segment in lines.get_segments()] == [[3, 3], [5, 5]]


def test_axes_and_legend_name_what_there_is() -> None:
    figure = draw_gantt(view_of(*two_models()))
    top, cpu, gpu, _ = figure.axes
    assert [label.get_text() for label in top.get_yticklabels()] == ["cpu0", "gpu0", "cpu0 → gpu0"]
    assert gpu.get_xlabel() == "time (s)"
    assert (cpu.get_ylabel(), gpu.get_ylabel()) == ("cpu0\nMiB", "gpu0\nMiB")
    assert entries(figure) == [
        "m",
        "n",
        "transfer (thin)",
        "idle",
        "critical path",
        "memory limit",
    ]
    assert {"first", "second", "third"} <= set(texts(figure))
    assert "peak 4.00 MiB\nof 8.00 MiB (50 %)" in texts(figure)
    assert "peak 1.00 MiB\nno limit" in texts(figure)


def test_modules_of_ops_are_named_where_there_is_room() -> None:
    ops = [op("wide", 20, module="net.head"), op("slim", 1, "wide", module="net.a.long.path.of.it")]
    found = problem(ops, "cpu0")
    answer = simulate(found, np.array([0, 0]), [0, 1])
    shown = texts(draw_gantt(view_of(found, answer)))
    assert "wide (net.head)" in shown
    assert "slim" in shown
    assert not any(text.startswith("slim (") for text in shown)


def test_the_title_says_what_is_proven() -> None:
    found, answer = two_models()
    document = {"status": "feasible", "solver": "x", "lower_bound": 15.4, "gap": 0.125}
    figure = draw_gantt(view_of(found, answer, document))
    assert figure.axes[0].get_title(loc="left") == (
        "test: toct 18 s (weighted sum of completion times)"
    )
    told = "feasible by x  ·  lower bound 15.4 s  ·  gap 12.5 %  ·  3 ops  ·  1 transfer"
    assert told in texts(figure)


def test_a_broken_schedule_says_so() -> None:
    found, answer = two_models()
    figure = draw_gantt(view_of(found, replace(answer, start=answer.start - 0.5)))
    assert any(text.startswith("NOT FEASIBLE: ") for text in texts(figure))
    assert rectangles(figure, "critical") == []
    assert "critical path" not in entries(figure)


def test_times_that_make_no_sense_are_drawn_all_the_same() -> None:
    found, answer = two_models()
    backwards = replace(answer, start=answer.end, end=answer.start - 4)
    figure = draw_gantt(view_of(found, backwards))
    assert len(rectangles(figure, "ops")) == 3


def test_a_transfer_that_holds_a_slot_is_drawn_there_too() -> None:
    figure = draw_gantt(view_of(*two_models(copy_engine=False)))
    assert rectangles(figure, "held") == [(3, 5)]
    assert "slot held by a transfer" in entries(figure)
    assert "27.3 %" in texts(figure)  # 3 of 11


def test_without_memory_there_are_no_panels() -> None:
    found = problem([op("a", 1)], "cpu0")
    figure = draw_gantt(view_of(found, schedule(found, {"a": ("cpu0", 0.0)})))
    assert len(figure.axes) == 2  # the lanes, and where the time goes
    assert figure.axes[0].get_xlabel() == "time (s)"


def test_what_takes_no_time_is_still_a_line() -> None:
    found = problem([op("a", 0), op("b", 1, "a")], "cpu0")
    figure = draw_gantt(view_of(found, schedule(found, {"a": ("cpu0", 0.0), "b": ("cpu0", 0.0)})))
    lengths = [end - start for start, end in rectangles(figure, "ops")]
    assert min(lengths) > 0
    nothing = problem([op("a", 0)], "cpu0")
    draw_gantt(view_of(nothing, schedule(nothing, {"a": ("cpu0", 0.0)})))


def test_a_device_without_work_is_called_unused() -> None:
    found = problem([op("a", 1)])
    figure = draw_gantt(view_of(found, schedule(found, {"a": ("cpu0", 0.0)})))
    assert texts(figure).count("unused") == 1


def test_narrow_bars_of_many_become_blocks() -> None:
    view = many_ops(5000)
    figure = draw_gantt(view)
    (long,) = rectangles(figure, "ops")
    assert long == pytest.approx((5000, 5500))
    images = figure.axes[0].images
    assert len(images) == 2  # one for each lane
    for image in images:
        filled = np.asarray(image.get_array())[0, :, 3] > 0
        count = len(filled)
        assert count < 2000
        # The ops take the first ten elevenths of the time, whatever comes after.
        assert filled[: int(count * 0.9)].all()
    assert any("paler" in entry for entry in entries(figure))
    # A path of thousands of steps is lines under the lanes, not thousands of frames.
    assert len(rectangles(figure, "critical")) < 3000
    assert collections(figure, "connections") == []


def test_as_many_bars_as_the_limit_are_all_drawn() -> None:
    figure = draw_gantt(many_ops(lanes.BARS - 1))
    assert len(rectangles(figure, "ops")) == lanes.BARS
    assert len(figure.axes[0].images) == 0


def test_the_shade_of_a_block_tells_how_busy_it_is() -> None:
    view = many_ops(4000)
    # Keep every fourth op: the lane of the even ones is half as busy as before.
    kept = np.flatnonzero((np.arange(4001) % 4 == 0) | (np.arange(4001) % 2 == 1))
    thin = replace(
        view,
        op_names=tuple(view.op_names[k] for k in kept.tolist()),
        **{
            name: getattr(view, name)[kept]
            for name in vars(view)
            if name.startswith("op_") and isinstance(getattr(view, name), np.ndarray)
        },
        critical_ops=np.zeros(0, dtype=np.int64),
        critical_transfers=np.zeros(0, dtype=np.int64),
    )
    even, odd = draw_gantt(thin).axes[0].images
    brightness = [np.asarray(image.get_array())[0, :1000, :3].mean() for image in (even, odd)]
    assert brightness[0] > brightness[1] + 0.05


def many_models(count: int) -> View:
    found = problem({f"model{j}": [op(f"a{j}", 1)] for j in range(count)}, "cpu0")
    return view_of(found, schedule(found, {f"a{j}": ("cpu0", float(j)) for j in range(count)}))


def test_the_legend_says_how_many_models_it_leaves_out() -> None:
    names = entries(draw_gantt(many_models(legend.NAMED)))
    assert names[: legend.NAMED] == [f"model{j}" for j in range(legend.NAMED)]
    assert not any("more" in name for name in names)
    assert "and 2 more models" in entries(draw_gantt(many_models(legend.NAMED + 2)))
    repeating = entries(draw_gantt(many_models(categories.COLOURS + 1)))
    hidden = categories.COLOURS + 1 - legend.NAMED
    assert f"and {hidden} more models; colours repeat" in repeating


def test_long_paths_are_not_connected() -> None:
    count = path.CONNECTED + 2
    assert collections(draw_gantt(many_ops(count)), "connections") == []
    assert len(collections(draw_gantt(many_ops(20)), "connections")) == 1


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_same_schedule_is_the_same_file(tmp_path: Path, suffix: str) -> None:
    view = view_of(*two_models())
    one, two = tmp_path / f"one{suffix}", tmp_path / f"two{suffix}"
    write_gantt(view, one)
    write_gantt(view, two)
    assert one.read_bytes() == two.read_bytes()
    assert one.read_bytes().startswith(b"\x89PNG" if suffix == ".png" else b"<?xml")


def test_names_are_no_formulas(tmp_path: Path) -> None:
    found = problem({"$x": [op("<b>$\\frac$", 5)]}, "cpu0")
    named = replace(found, graph=Graph("$\\sum$ & <co>", found.graph.models, "s"))
    target = tmp_path / "chart.svg"
    write_gantt(view_of(named, schedule(named, {"<b>$\\frac$": ("cpu0", 0.0)})), target)
    assert re.search(r"<svg[^>]*>", target.read_text())


def test_an_unknown_suffix(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"\.gif"):
        write_gantt(view_of(*two_models()), tmp_path / "chart.gif")


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0 %"), (1e-5, "<0.1 %"), (0.99999, ">99.9 %"), (0.5, "50 %")]
)
def test_shares_in_titles(share: float, text: str) -> None:
    assert facts.percent(share) == text


def texts_in_bars(figure: Figure) -> list[Any]:
    return [text for text in figure.axes[0].texts if text.get_zorder() == 4]


@pytest.mark.parametrize("width", [6.0, 12.0, 20.0])
def test_labels_are_inside_their_bars(width: float) -> None:
    names = ["W" * 8, "iiiiiiii", "\u043f\u0440\u0438\u0432", "short", "m" * 12, "l.l.l.l.l.l.l.l"]
    found = problem([op(name, 1 + k % 3) for k, name in enumerate(names)], "cpu0")
    starts = np.cumsum([0, *(1 + k % 3 for k in range(len(names) - 1))])
    where = {name: ("cpu0", float(at)) for name, at in zip(names, starts, strict=True)}
    figure = draw_gantt(view_of(found, schedule(found, where)), Options(width=width))
    figure.draw_without_rendering()
    assert texts_in_bars(figure)
    for text in texts_in_bars(figure):
        box = text.get_window_extent()
        (left, _), (right, _) = figure.axes[0].transData.inverted().transform(box.get_points())
        k = int(np.searchsorted(starts, (left + right) / 2)) - 1
        assert starts[k] <= left < right <= starts[k] + 1 + k % 3


@pytest.mark.parametrize("width", [6.0, 12.0])
def test_the_time_axis_has_labels_that_keep_clear(width: float) -> None:
    found = problem([op("a", 435.781)], "cpu0")
    figure = draw_gantt(view_of(found, schedule(found, {"a": ("cpu0", 0.0)})), Options(width=width))
    figure.draw_without_rendering()
    labels = [t for t in figure.axes[0].get_xticklabels() if t.get_text()]
    labels = [t for t in labels if 0 <= t.get_position()[0] <= 435.781]
    boxes = sorted(t.get_window_extent().extents.tolist() for t in labels)
    assert len(boxes) >= 3
    assert all(one[2] < two[0] for one, two in itertools.pairwise(boxes))


def test_a_stretch_of_time_cuts_bars_off() -> None:
    view = view_of(*two_models())
    figure = draw_gantt(view, Options(start=2.0, end=6.0))
    assert rectangles(figure, "ops") == [(2.0, 3.0), (5.0, 6.0)]
    assert rectangles(figure, "transfers") == [(3.0, 5.0)]
    assert figure.axes[0].get_xlim() == (2.0, 6.0)
    # Shares are of what is shown: the GPU is busy for one of four seconds.
    assert "25 %" in [text.get_text() for text in figure.axes[0].texts]
    with pytest.raises(InputError, match="from 40 to 50 s has nothing of the schedule in it"):
        draw_gantt(view, Options(start=40.0, end=50.0))
    with pytest.raises(InputError, match="the time from 40 s has nothing of the schedule in it"):
        draw_gantt(view, Options(start=40.0))


@pytest.mark.parametrize("width", [6.0, 12.0])
def test_labels_differ_however_late_and_short_a_stretch_is(width: float) -> None:
    late = problem([op("long", 3600.0), op("short", 20e-6, "long")], "cpu0")
    view = view_of(late, simulate(late, np.zeros(2, dtype=np.int64), late.arrays.rank))
    figure = draw_gantt(view, Options(start=3600.0, width=width))
    assert figure.axes[0].get_xlim()[1] == pytest.approx(3600 + 1.004 * 20e-6, abs=1e-9)
    figure.draw_without_rendering()
    labels = [text for text in figure.axes[-2].get_xticklabels() if text.get_text()]
    assert len({text.get_text() for text in labels}) == len(labels) >= 3
    boxes = [text.get_window_extent() for text in labels]
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))


def test_some_devices_are_drawn_with_what_moves_between_them() -> None:
    view = view_of(*two_models())
    part = only_devices(view, ["gpu"])
    figure = draw_gantt(part)
    assert [text.get_text() for text in figure.axes[0].get_yticklabels()] == ["gpu0"]
    assert rectangles(figure, "ops") == [(5.0, 7.0), (7.0, 11.0)]
    assert len(part.memory) == 1
    assert "3 ops" in facts.proof(part)  # of the whole schedule
    both = draw_gantt(only_devices(view, ["cpu0", "gpu0"]))
    assert rectangles(both, "transfers") == [(3.0, 5.0)]
    with pytest.raises(InputError, match="there is no device 'tpu', expected some of cpu0, gpu0"):
        only_devices(view, ["tpu"])


def test_some_models_have_colours_and_the_others_are_pale() -> None:
    view = view_of(*two_models())
    figure = draw_gantt(view, Options(models=("n",), memory=False))
    (bars,) = collections(figure, "ops")
    faces = [to_hex(face) for face in bars.get_facecolor()]
    assert faces == [style.LIGHT.other, style.LIGHT.other, categories.category_colour(1)]
    assert entries(figure)[:2] == ["n", "other models"]
    assert len(figure.axes) == 2  # lanes, and where the time goes
    with pytest.raises(InputError, match="there is no model 'x', expected some of m, n"):
        draw_gantt(view, Options(models=("x",)))


def test_a_dark_picture_has_no_dark_text() -> None:
    figure = draw_gantt(view_of(*two_models()), Options(theme=style.DARK))
    figure.draw_without_rendering()
    paper = style.luminance(to_hex(figure.get_facecolor()))
    texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    shown = [text for text in texts if text not in texts_in_bars(figure)]
    assert len(shown) > 10
    for text in shown:
        light = style.luminance(to_hex(text.get_color()))
        assert (light + 0.05) / (paper + 0.05) >= 4.5, text


def test_real_text_and_a_title(tmp_path: Path) -> None:
    view = view_of(*two_models())
    write_gantt(view, tmp_path / "a.svg")
    drawn = (tmp_path / "a.svg").read_text()
    assert "<title>test: toct" in drawn
    assert re.search(r"<text[^>]*>second</text>", drawn)
    write_gantt(view, tmp_path / "a.pdf")
    assert b"/Type3" not in (tmp_path / "a.pdf").read_bytes()
    assert b"/Title (test: toct" in (tmp_path / "a.pdf").read_bytes()
