"""What a page holds: all that is shown, nothing from elsewhere, and no name as markup."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from talos_opt.core.cluster import Cluster, Device
from talos_opt.core.errors import FormatError, InputError
from talos_opt.core.graph import Graph, Model, Op
from talos_opt.core.metrics import measure
from talos_opt.core.problem import MemoryRule, Problem
from talos_opt.reports import style
from talos_opt.reports.page import Answer, assemble, write_gantt_page, write_report
from talos_opt.reports.page.data import significant, times
from talos_opt.reports.view import view_of, view_of_document
from tests.reports.pages import answer, data_of, many_ops, two_models

#: What would make a browser ask for something, in markup, styles or scripts.
REQUESTS = re.compile(
    r"https?:(?!//www\.w3\.org/2000/svg)|\bsrc=|@import|url\((?!#)|\bfetch\(|XMLHttpRequest|WebSocket"
    r"|EventSource|sendBeacon|import\("
)


@pytest.fixture(scope="module")
def problem() -> Problem:
    return two_models()


@pytest.fixture
def report(problem: Problem, tmp_path: Path) -> Path:
    target = tmp_path / "report.html"
    write_report(problem, [answer(problem), answer(problem, "talos")], target)
    return target


def test_a_report_states_what_the_schedules_are_worth(problem: Problem, report: Path) -> None:
    data = data_of(report)
    assert data["kind"] == "report"
    assert [schedule["label"] for schedule in data["schedules"]] == ["heft", "talos"]
    for schedule, solver in zip(data["schedules"], ("heft", "talos"), strict=True):
        metrics = measure(problem, answer(problem, solver).schedule)
        facts = schedule["facts"]
        assert facts["value"] == facts["toct"] == pytest.approx(metrics.toct)
        assert facts["makespan"] == pytest.approx(metrics.makespan)
        assert facts["moved"] == metrics.transferred_bytes
        peaks = {device["id"]: device["held"] for device in schedule["devices"]}
        assert peaks == metrics.peak_memory
        assert sum(device["ops"] for device in schedule["devices"]) == 7
        assert schedule["history"][-1]["value"] == pytest.approx(metrics.toct)


def test_the_chart_has_every_op_and_transfer_where_it_is(problem: Problem, report: Path) -> None:
    schedule = answer(problem).schedule
    drawn = data_of(report)["schedules"][0]
    assert drawn["op"]["device"] == schedule.device.tolist()
    assert drawn["op"]["start"] == pytest.approx(schedule.start.tolist())
    assert drawn["op"]["end"] == pytest.approx(schedule.end.tolist())
    assert drawn["transfer"]["op"] == schedule.transfers.op.tolist()
    assert drawn["transfer"]["bytes"] == schedule.transfers.bytes.tolist()
    for i, lane in enumerate(drawn["op"]["lane"]):
        assert drawn["lanes"][lane]["device"] == schedule.device[i]
    assert all(drawn["lanes"][lane]["link"] for lane in drawn["transfer"]["lane"])
    assert len(drawn["why"]["cause"]) == 7
    assert drawn["critical"]["op"]
    assert {curve["limit"] for curve in drawn["memory"]} == {4096 * 2**20, 48 * 2**20}


def test_an_op_comes_with_all_that_the_graph_knows(problem: Problem, report: Path) -> None:
    data = data_of(report)
    ops, models = data["ops"], [model["id"] for model in data["models"]]
    named = [f"{models[j]}/{name}" for j, name in zip(ops["model"], ops["name"], strict=True)]
    assert tuple(named) == problem.names
    assert [ops["types"][k] for k in ops["type"]][:3] == ["load", "conv", "conv"]
    assert [ops["time"][column][1] for column in ops["time_column"]] == [9, 1]
    assert [ops["time"][column][0] for column in ops["time_column"]] == [1, None]  # it is pinned
    assert ops["input"][ops["input_ptr"][3] : ops["input_ptr"][4]] == [1, 2]
    assert [ops["groups"][k] for k in ops["group"] if k >= 0] == ["pair", "pair"]
    assert [ops["pins"][k] for k in ops["pin"] if k >= 0] == [["cpu"]]
    assert data["models"][1] == {"id": "text", "release": 0.5}


def test_speedups_are_sorted_and_averaged_as_total_over_total(report: Path) -> None:
    vision, text = data_of(report)["speedups"]
    assert vision["speedup"] == [0.25, 2, 8, 9]
    assert vision["op"] == [0, 3, 2, 1]
    assert vision["average"] == pytest.approx((1 + 9 + 8 + 2) / (4 + 1 + 1 + 1))
    assert text["speedup"] == [0.33333, 1, 4]


def test_devices_of_one_kind_have_no_speedup(tmp_path: Path) -> None:
    ops = (Op("a", {"cpu": 1}), Op("b", {"cpu": 2}))
    cluster = Cluster((Device("cpu0", "cpu"), Device("cpu1", "cpu")))
    problem = Problem(Graph("g", (Model("m", ops),)), cluster)
    write_report(problem, [answer(problem)], tmp_path / "a.html")
    data = data_of(tmp_path / "a.html")
    assert data["speedups"] == []
    assert "kind cpu" in data["no_speedups"]
    assert data["ops"]["time_column"] == [0, 0]  # equal columns are held once


def test_the_problems_own_numbers(report: Path) -> None:
    problem = data_of(report)["problem"]
    assert (problem["ops"], problem["edges"]) == (7, 6)
    assert problem["weights"] == 7 * 4 * 2**20
    assert (problem["colocated"], problem["pinned"]) == (2, 1)
    vision, text = problem["models"]
    assert vision["times"] == [20, None]  # load1 cannot run on the gpu
    assert text["times"] == [9, 6.5]
    assert (vision["weight"], text["release"]) == (2, 0.5)
    assert problem["routes"] == [
        {"from": "cpu", "to": "gpu, both ways", "via": None, "latency": 0.1, "bandwidth": 8e9}
    ]


def test_the_best_bound_holds_for_all(problem: Problem, tmp_path: Path) -> None:
    weak, strong = answer(problem), answer(problem, "talos")
    low, high = 1.0, float(strong.document["value"])
    weak = replace(weak, document={**weak.document, "lower_bound": low})
    strong = replace(strong, document={**strong.document, "lower_bound": high})
    write_report(problem, [weak, strong], tmp_path / "a.html")
    first, second = (item["facts"] for item in data_of(tmp_path / "a.html")["schedules"])
    assert (first["own_bound"], first["lower_bound"], first["bound_from"]) == (low, high, "talos")
    assert (second["status"], second["gap"], second["bound_from"]) == ("optimal", 0, "")
    assert first["gap"] == pytest.approx(1 - high / first["value"])


def test_a_bound_above_a_value_is_refused(problem: Problem, tmp_path: Path) -> None:
    given = answer(problem)
    given = replace(given, document={**given.document, "lower_bound": 1e6})
    with pytest.raises(InputError, match=r"heft states lower_bound 1000000, expected at most"):
        write_report(problem, [given], tmp_path / "a.html")
    assert not (tmp_path / "a.html").exists()


def test_what_is_said_of_another_objective_is_left_out(problem: Problem, tmp_path: Path) -> None:
    write_report(problem.with_objective("makespan"), [answer(problem)], tmp_path / "a.html")
    data = data_of(tmp_path / "a.html")
    facts = data["schedules"][0]["facts"]
    assert facts["objective"] == data["objective"] == "makespan"
    assert facts["value"] == facts["makespan"]
    assert facts["lower_bound"] is facts["gap"] is None
    assert data["schedules"][0]["history"] == []


def test_a_schedule_that_says_nothing_of_itself(problem: Problem, tmp_path: Path) -> None:
    bare = Answer("theirs", answer(problem).schedule, {})
    write_report(problem, [bare], tmp_path / "a.html")
    facts = data_of(tmp_path / "a.html")["schedules"][0]["facts"]
    assert facts["status"] == "feasible"
    assert facts["solver"] is facts["runtime_s"] is facts["lower_bound"] is None


@pytest.mark.parametrize("rule", [MemoryRule.STATIC, MemoryRule.PEAK])
def test_memory_is_told_by_the_problems_rule(rule: MemoryRule, tmp_path: Path) -> None:
    problem = two_models(rule)
    given = answer(problem)
    write_report(problem, [given], tmp_path / "a.html")
    metrics = measure(problem, given.schedule)
    held = metrics.static_memory if rule is MemoryRule.STATIC else metrics.peak_memory
    devices = data_of(tmp_path / "a.html")["schedules"][0]["devices"]
    assert {device["id"]: device["held"] for device in devices} == held


def test_a_gantt_page_without_the_graph(problem: Problem, tmp_path: Path) -> None:
    result = answer(problem)
    document = dict(result.document)
    named = result.schedule.named_ops(problem)
    document["ops"] = [item._asdict() for item in named]
    write_gantt_page(view_of_document(document), tmp_path / "a.html")
    data = data_of(tmp_path / "a.html")
    assert data["kind"] == "gantt"
    assert "time" not in data["ops"]
    assert data["schedules"][0]["why"] is None
    assert data["schedules"][0]["facts"]["value"] == pytest.approx(document["value"])


def test_a_gantt_page_with_the_graph(problem: Problem, tmp_path: Path) -> None:
    view = view_of(problem, answer(problem).schedule, answer(problem).document)
    write_gantt_page(view, tmp_path / "a.html")
    data = data_of(tmp_path / "a.html")
    assert len(data["schedules"][0]["memory"]) == 2
    assert data["schedules"][0]["critical"]["op"]
    assert data["subtitle"] == "7 ops of 2 models on 2 devices"


def test_nothing_in_a_page_asks_for_anything(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    assert REQUESTS.findall(text) == []
    assert "default-src 'none'" in text
    for name in assemble.SCRIPTS:
        assert assemble._asset(name) in text


NASTY = (
    "</script><script>hacked()</script>",
    "<!-- <script>",
    '"><img src=x onerror=hacked()>',
    "{{script}}",
    "\u2028 \u00fc\u6f22 \U0001f600",
    "half \ud83d",
)


def nasty_problem() -> Problem:
    ops = tuple(Op(name, {"cpu": 1}, type=name) for name in NASTY)
    graph = Graph("</title><b>" + NASTY[0], (Model("<i>m", ops),), description=NASTY[2])
    return Problem(graph, Cluster((Device("<u>cpu0", "cpu"),)))


def test_names_never_become_markup(tmp_path: Path) -> None:
    problem = nasty_problem()
    write_report(problem, [answer(problem)], tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    data = data_of(text)
    assert tuple(data["ops"]["name"]) == NASTY  # unharmed
    assert data["title"] == problem.graph.name
    assert text.count("<script") == 2
    assert text.count("</script") == 2
    assert text.count("</title") == 1
    for tag in ("<img", "<!--", "<u>", "<i>m"):
        assert tag not in text


def test_ten_thousand_ops_stay_small(tmp_path: Path) -> None:
    problem = many_ops(10_000)
    write_report(problem, [answer(problem)], tmp_path / "a.html")
    assert (tmp_path / "a.html").stat().st_size < 4e6


def test_progress_goes_from_answer_to_answer(problem: Problem, tmp_path: Path) -> None:
    seen: list[tuple[float, str]] = []
    answers = [answer(problem), answer(problem, "talos")]
    write_report(
        problem,
        answers,
        tmp_path / "a.html",
        on_progress=lambda share, doing: seen.append((share, doing)),
    )
    assert seen == [(0, "laying out heft"), (0.5, "laying out talos")]


def test_a_report_on_nothing_is_refused(problem: Problem, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one schedule"):
        write_report(problem, [], tmp_path / "a.html")


def test_the_wheel_holds_all_that_a_page_is_made_of(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling builds the wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    root = Path(__file__).resolve().parents[2]
    subprocess.run(command, cwd=root, check=True, capture_output=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    folder = Path(assemble.__file__).parent
    used = {*assemble.SCRIPTS, "page.css", "page.html"}
    assert used == {
        path.name for path in folder.iterdir() if path.suffix in (".js", ".css", ".html")
    }
    assert {f"talos_opt/reports/page/{name}" for name in used} <= held


def test_times_are_short_and_equal_ones_stay_equal() -> None:
    values = np.array([0.1 + 0.2, 0.3, 2.0, 1 / 3, 123.0])
    assert times(values, 123.0) == [0.3, 0.3, 2, 0.333333333, 123]
    assert times(np.array([3600.0, 3600.0000004]), 3600.1) == [3600, 3600.0000004]
    assert times(np.zeros(1), 0.0) == [0]
    assert significant([np.inf, np.nan, 1 / 3, 5.0]) == [None, None, 0.3333333, 5]


def test_a_target_that_cannot_be_written(problem: Problem, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="folder does not exist"):
        write_report(problem, [answer(problem)], tmp_path / "no" / "a.html")
    with pytest.raises(FormatError, match="is a directory"):
        write_report(problem, [answer(problem)], tmp_path)


@pytest.mark.parametrize("block", [0, 1, 2])
def test_text_and_marks_of_pages_have_contrast(block: int) -> None:
    css = files("talos_opt.reports.page").joinpath("page.css").read_text(encoding="utf-8")
    blocks = [
        dict(re.findall(r"--([\w-]+): (#\w{6});", part)) for part in css.split("color-scheme")
    ]
    colours = [found for found in blocks if "card" in found][block]

    def contrast(one: str, two: str) -> float:
        low, high = sorted(style.luminance(colours[name]) + 0.05 for name in (one, two))
        return high / low

    for ground in ("card", "page"):
        for text in ("text", "soft", "good", "warn", "accent"):
            assert contrast(text, ground) >= 4.5, (text, ground)
    for mark in ("critical", "transfer", "limit", "curve"):
        assert contrast(mark, "card") >= 3, mark
