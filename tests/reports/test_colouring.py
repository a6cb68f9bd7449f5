"""What colours stand for, and devices folded by kind: the same in pages and pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from talos_opt.cli import plot as command
from talos_opt.core.cluster import Cluster, Device, Link
from talos_opt.core.errors import InputError
from talos_opt.core.memory_curves import MemoryCurve
from talos_opt.core.problem import MemoryRule, Problem
from talos_opt.core.simulator import simulate
from talos_opt.reports import style
from talos_opt.reports.colouring import COLOUR_BY, ranked_types, slack_classes, slack_edges
from talos_opt.reports.folding import fold, folded_kinds, most_held
from talos_opt.reports.gantt import Options, draw_gantt
from talos_opt.reports.gantt.categories import categories_of
from talos_opt.reports.gantt.coverage import covers
from talos_opt.reports.view import View, view_of
from tests.builders import device, link, op
from tests.builders import problem as build
from tests.reports.pages import MIB, many_ops
from tests.reports.test_style import SEEN, lab

pytest.importorskip("matplotlib")

CARDS = 20
FOLDED = f"gpu \N{MULTIPLICATION SIGN} {CARDS}"


@pytest.fixture(scope="module")
def view() -> View:
    """Ops on a CPU of two slots and twenty cards, by turns."""
    devices = [Device("cpu0", "cpu", slots=2)]
    devices += [Device(f"gpu{k}", "gpu", memory=512 * MIB) for k in range(CARDS)]
    links = (Link("cpu", "gpu", 0.01, 12e9), Link("gpu", "gpu", 0.01, 12e9))
    cluster = Cluster(tuple(devices), links)
    problem = Problem(many_ops(160).graph, cluster, memory_rule=MemoryRule.PEAK)
    placement = np.arange(160) % (CARDS + 1)
    return view_of(problem, simulate(problem, placement, problem.arrays.rank))


def test_types_are_ranked_by_their_ops() -> None:
    assert ranked_types(("b", "a", "c", "c", "a", "c")) == ("c", "a", "b")


def test_classes_of_slack_have_round_edges() -> None:
    slack = np.array([0.0, 0.111, 0.222, 0.333, 0.444, 0.5551, 0.5552, np.inf])
    edges = slack_edges([slack])
    assert edges == (0.2, 0.29, 0.37, 0.46)
    assert slack_classes(slack, edges).tolist() == [0, 1, 2, 3, 4, 5, 5, 6]
    assert slack_edges([np.array([0.0, np.inf])]) == ()
    assert slack_classes(np.array([0.0, 3.0, np.inf]), ()).tolist() == [0, 1, 2]


@pytest.mark.parametrize("theme", [style.LIGHT, style.DARK], ids=["light", "dark"])
def test_the_scale_is_in_order_for_everybody(theme: style.Theme) -> None:
    lights = [style.luminance(colour) for colour in theme.sequential]
    assert lights in (sorted(lights), sorted(lights, reverse=True))
    ground = style.luminance({"#ffffff": "#eceff3", "#181c22": "#242b34"}[theme.paper])  # lanes
    for light in lights:
        assert (max(light, ground) + 0.05) / (min(light, ground) + 0.05) >= 3
    for seen in SEEN.values():
        points = lab(theme.sequential, seen)
        assert np.linalg.norm(np.diff(points, axis=0), axis=1).min() >= 7


def test_ops_are_coloured_by_type_or_slack(view: View) -> None:
    types = categories_of(view, Options(colour_by="type"))
    assert types.names == ranked_types(view.op_types)
    assert [types.names[k] for k in types.of.tolist()] == list(view.op_types)
    slacks = categories_of(view, Options(colour_by="slack"))
    assert view.breakdown is not None
    none = view.breakdown.slacks.op == 0
    assert 0 < none.sum() < len(none)
    assert ((slacks.of == 0) == none).all()
    assert slacks.names[0] == "no slack"
    assert slacks.names[1].startswith("up to ")
    figure = draw_gantt(view, Options(colour_by="slack", memory=False))
    (legend,) = figure.legends
    named = [text.get_text() for text in legend.get_texts()]
    assert named[: len(slacks.named)] == [slacks.names[k] for k in slacks.named]


def test_ops_of_other_models_are_pale_in_any_colours(view: View) -> None:
    found = categories_of(view, Options(colour_by="type", models=("m1",)))
    pale = view.op_model != 1
    assert ((found.of == len(found.names) - 1) == pale).all()
    assert found.colours[-1] == style.LIGHT.other
    assert found.names[-1] == "other models"


def test_what_is_not_known_gives_no_colours(view: View) -> None:
    with pytest.raises(InputError, match="slack is known with the graph"):
        categories_of(replace(view, breakdown=None), Options(colour_by="slack"))
    untyped = replace(view, op_types=("",) * len(view.op_types))
    with pytest.raises(InputError, match="no op has a type"):
        categories_of(untyped, Options(colour_by="type"))
    with pytest.raises(InputError, match="colour_by is 'age', expected one of model, type, slack"):
        Options(colour_by="age")
    assert command.COLOURS == COLOUR_BY


def test_kinds_fold_where_devices_are_many() -> None:
    assert folded_kinds(["gpu"] * 16) == {}
    assert folded_kinds(["cpu"] * 3 + ["gpu"] * 14) == {"gpu": 14}


def test_a_folded_lane_is_as_high_as_its_devices_are_busy(view: View) -> None:
    folded = fold(view)
    assert [lane.label for lane in folded.view.lanes if not lane.link] == [
        "cpu0 slot 0", "cpu0 slot 1", FOLDED,
    ]  # fmt: skip
    edges = np.linspace(0.0, view.horizon, 50)
    found = covers(folded, categories_of(folded.view, Options()), edges)
    by_lane = {folded.view.lanes[cover.lane].link: cover for cover in found}
    cards = view.op_device > 0
    length = view.op_end - view.op_start
    busy = length[cards].sum() / CARDS / view.horizon
    assert by_lane[False].busy == pytest.approx(busy)
    # Of each model, in each part: by the overlap of its ops, one by one.
    part = np.maximum(0, np.minimum(view.op_end, edges[8]) - np.maximum(view.op_start, edges[7]))
    for j, share in enumerate(by_lane[False].share[:, 7]):
        time = part[cards & (view.op_model == j)].sum() / CARDS
        assert share * (edges[8] - edges[7]) == pytest.approx(time)
    sent = (view.transfer_end - view.transfer_start)[view.transfer_source > 0].sum()
    assert by_lane[True].busy == pytest.approx(sent / CARDS / view.horizon)


def test_links_of_a_kind_that_are_all_busy_fill_its_lane() -> None:
    # Each of four cards sends to all others at the same time: more lanes than cards.
    sent = [op(f"a{k}", 1, output=40) for k in range(4)]
    read = [op(f"b{k}{j}", 1, f"a{k}") for k in range(4) for j in range(4) if j != k]
    placed = np.array([*range(4), *(j for k in range(4) for j in range(4) if j != k)]) + 13
    names = [f"cpu{k}" for k in range(13)] + [f"gpu{k}" for k in range(4)]
    cards = build([*sent, *read], map(device, names), [link("gpu gpu", 0, 10)])
    view = view_of(cards, simulate(cards, placed, cards.arrays.rank))
    folded = fold(view)
    (links,) = (group for group in folded.groups if folded.view.lanes[group.lane].link)
    assert links.whole == len(links.lanes) == 12
    edges = np.linspace(0.0, view.horizon, 50)
    found = covers(folded, categories_of(folded.view, Options()), edges)
    assert max(cover.share.sum(axis=0).max() for cover in found) == pytest.approx(1)


def test_memory_of_a_kind_is_the_most_that_one_holds(view: View) -> None:
    times = np.array([0.0, 2.0])
    curves = [
        MemoryCurve("a", 9, times, np.array([5, 1]), static=3),
        MemoryCurve("b", 8, np.array([0.0, 1.0]), np.array([0, 4]), static=4),
    ]
    found = most_held(curves, "both")
    assert (found.times.tolist(), found.bytes.tolist()) == ([0.0, 1.0, 2.0], [5, 5, 4])
    assert (found.limit, found.static, found.device) == (8, 4, "both")
    assert most_held([replace(curves[0], limit=None), curves[1]], "both").limit is None
    names = [curve.device for curve in fold(view).view.memory]
    assert names == ["cpu0", FOLDED]


def test_a_picture_of_many_devices_is_no_tower(view: View, tmp_path: Path) -> None:
    small, tall = draw_gantt(view), draw_gantt(view, Options(fold=False))
    assert small.get_figheight() < 12 < tall.get_figheight()
    labels = [text.get_text() for text in small.axes[0].get_yticklabels()]
    assert labels[:2] == ["cpu0", FOLDED]
    drawn = [item for item in small.axes[0].collections if item.get_gid() == "cover"]
    assert len(drawn) >= 4  # one for each model, at least
    assert "gpu7" in [text.get_text() for text in tall.axes[0].get_yticklabels()]
