"""Public functions given what is wrong: an error of ours, which says what was expected."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import talos_opt
from tests.builders import device, fig1, op, problem

FIG1 = fig1()
RESULT = talos_opt.solve(FIG1, "heft")
PLAN: Any = RESULT.schedule
OTHER = problem([op("a")])
NOISE = talos_opt.Noise(0.2)


@pytest.mark.parametrize(
    "call",
    [
        lambda one, plan: talos_opt.explain(one, plan),
        lambda one, plan: talos_opt.measure(one, plan),
        lambda one, plan: talos_opt.modules_by_device(one, plan),
        lambda one, plan: talos_opt.simulate_noise(one, {"a": plan}, NOISE, samples=1),
        lambda one, plan: talos_opt.what_would_help(one, plan),
        lambda one, plan: talos_opt.export(one, plan, "device-map", "map.json"),
        lambda one, plan: talos_opt.write_trace(one, plan, "trace.json"),
        lambda one, plan: talos_opt.write_plot(plan, "plot.png", problem=one),
        lambda one, plan: talos_opt.write_report({"a": plan}, "page.html", problem=one),
    ],
)
def test_a_schedule_of_another_problem_and_a_result_in_its_place(
    call: Callable[[Any, Any], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(talos_opt.ScheduleError, match="has 6 ops, the problem has 1"):
        call(OTHER, PLAN)
    with pytest.raises(talos_opt.InputError, match=r"expected a (Schedule|Result)"):
        call(FIG1, "plan.json")
    assert not list(tmp_path.iterdir())


def test_tables_and_graphs_of_another_problem() -> None:
    for make in (PLAN.to_frame, PLAN.to_networkx):
        with pytest.raises(talos_opt.ScheduleError, match="expected a schedule of this graph"):
            make(OTHER)
    with pytest.raises(talos_opt.ScheduleError, match="beyond the 1 of the problem"):
        PLAN.to_networkx(problem({"m1": FIG1.ops[:3], "m2": FIG1.ops[3:]}, "cpu0"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: talos_opt.check("graph.yaml", PLAN), "expected a Problem; talos_opt.read"),
        (lambda: talos_opt.check(FIG1, RESULT), "expected a Schedule, such as that of a result"),
        (lambda: talos_opt.analyze(FIG1, models="m1"), r"expected a list of patterns: \['m1'\]"),
        (lambda: talos_opt.analyze(FIG1, ranges=[(2, 1)]), "ranges has 2 to 1"),
        (lambda: talos_opt.analyze(FIG1, times=[-1]), "times has -1"),
        (lambda: talos_opt.analyze(FIG1, most_pairs=-1), "most_pairs is -1"),
        (lambda: talos_opt.simulate_noise(FIG1, {"a": PLAN}, 0.2), "expected a Noise"),
        (lambda: talos_opt.simulate_noise(FIG1, PLAN, NOISE), "expected them by their names"),
        (lambda: talos_opt.fit(lambda n: FIG1, 2.5), "limit, whole numbers"),
        (lambda: talos_opt.read_schema("../config"), "expected one of graph, cluster"),
        (lambda: talos_opt.write_schedule(PLAN, "plan.json"), "expected a Result or a talos"),
        (lambda: talos_opt.replan(FIG1, 3, 1.0), "expected a Schedule, a Result or a path"),
        (lambda: talos_opt.run("net.py:make", RESULT), "expected the path of a schedule"),
        (lambda: talos_opt.compare_traces("a", "b", skip=-1), "skip is -1"),
        (lambda: talos_opt.write_plot(PLAN, "a.png"), "expected problem="),
        (lambda: talos_opt.write_plot(None, "a.png"), "expected a Result or Schedule"),
        (lambda: talos_opt.write_plot(RESULT, "a.png", width=-1), "width is -1"),
        (lambda: talos_opt.write_plot(RESULT, "a.png", dpi="300"), "dpi is '300'"),
        (lambda: talos_opt.write_plot(RESULT, "a.png", devices="gpu"), r"a list: \['gpu'\]"),
        (lambda: talos_opt.write_plot(RESULT, "a.html", dark=True), "what a page shows"),
        (lambda: talos_opt.write_report(RESULT, "a.pdf"), "'.pdf', expected .html"),
        (lambda: talos_opt.write_report([RESULT], "a.html"), "expected results by name"),
        (
            lambda: talos_opt.export(FIG1, PLAN, "kubernetes", "a.yaml", image="i", shares="mig"),
            "expected for kubernetes: plain, kubeshare, hami",
        ),
        (
            lambda: talos_opt.export(FIG1, PLAN, "device-map", "a.json", shares="hami"),
            "expected for device-map: plain",
        ),
        (
            lambda: talos_opt.export(FIG1, PLAN, "device-map", "a.json", names={"gpu0": 0}),
            "gpu0 is called 0, expected a text",
        ),
    ],
)
def test_what_else_is_wrong(
    call: Callable[[], object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(talos_opt.InputError, match=message):
        call()
    assert not list(tmp_path.iterdir())


def test_a_schedule_alone_in_a_report_and_a_result_that_runs(tmp_path: Path) -> None:
    talos_opt.write_report(PLAN, tmp_path / "page.html", problem=FIG1)
    assert "<html" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert talos_opt.replan(FIG1, RESULT, 1.0, solver="heft").schedule is not None


def test_why_there_is_no_schedule_is_in_the_text_of_a_result() -> None:
    full = problem([op(name, weights=4) for name in "abc"], [device("cpu0", 7)])
    result = talos_opt.solve(full, "heft")
    assert result.schedule is None
    assert str(result).endswith(f"infeasible: {result.reason}")
