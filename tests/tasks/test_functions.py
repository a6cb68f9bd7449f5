"""What commands do, as functions: the same answers as on the command line."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import talos_opt
from talos_opt.cli.main import main
from talos_opt.cli.parser import COMMANDS
from talos_opt.core.problem import Problem
from talos_opt.core.result import Result
from tests.builders import device, link, op, problem
from tests.cli.process import FIG1, ROOT

Capture = pytest.CaptureFixture[str]


def test_what_is_known_of_a_graph_is_not_true_of_several(tmp_path: Path) -> None:
    """Its optimum, 9, stayed where other models had joined."""
    first = talos_opt.read(FIG1)
    second = problem({"late": [op("a"), op("b", 1, "a")]})
    second = replace(second, graph=replace(second.graph, time_unit="ms"))
    assert first.graph.known
    joined = talos_opt.join_models(first, [second])
    assert (joined.graph.name, joined.graph.known) == ("fig1+test", {})
    assert joined.graph.model_ids == ("m1", "m2", "late")
    talos_opt.write_problem(second, tmp_path / "second.yaml")
    assert talos_opt.join_models(first, [tmp_path / "second.yaml"]) == joined
    assert talos_opt.join_models(first, []).graph == first.graph
    for wrong in (second, str(tmp_path)):
        with pytest.raises(talos_opt.InputError, match="expected a list"):
            talos_opt.join_models(first, wrong)  # type: ignore[arg-type]


def test_modules_stay_whole_where_devices_are_bundled() -> None:
    ops = [op("a", module="n"), op("b", 1, "a", module="n"), op("c", 1, "b", module="k")]
    plain = problem(ops, [device("gpu0"), device("gpu1")], [link("gpu gpu")])
    both = talos_opt.bundled(plain, [{"members": ["gpu0", "gpu1"], "mode": "data"}])
    whole = talos_opt.by_module(both)
    assert whole.bundling is not None
    assert whole.source.ops[0].colocate == whole.source.ops[1].colocate is not None
    assert whole.granularity == "module"
    with pytest.raises(talos_opt.ConfigError, match="expected a list"):
        talos_opt.by_module(plain, "n")


@pytest.fixture(scope="module")
def solved() -> Result:
    return talos_opt.solve(FIG1, "heft")


@pytest.fixture
def answer(solved: Result, tmp_path: Path) -> Path:
    path = tmp_path / "answer.json"
    talos_opt.write_schedule(solved, path)
    return path


def printed(capsys: Capture, *argv: object) -> Any:
    """Return the JSON that a command prints."""
    capsys.readouterr()
    assert main([*map(str, argv), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_command_has_a_function_that_is_documented() -> None:
    page = (ROOT / "docs" / "python.md").read_text()
    table = page[page.index("## Commands as functions") :].partition("\n## ")[0]
    rows = dict(re.findall(r"^\| `([\w -]+)` \| (.*?) \|", table, re.MULTILINE))
    commands = {module.__name__.rpartition(".")[2] for module in COMMANDS}
    assert {name.split()[0] for name in rows} == commands
    for cell in rows.values():
        for name in re.findall(r"`(\w+)[`(]", cell):
            function: Any = getattr(talos_opt, name)
            assert function.__doc__, name
            assert "Parameters" in function.__doc__ or not function.__code__.co_argcount, name


def test_explain(solved: Result, answer: Path, capsys: Capture) -> None:
    assert solved.schedule is not None
    whole = talos_opt.explain(solved.problem, solved.schedule)
    assert whole.to_dict() == printed(capsys, "explain", FIG1, answer)
    op = talos_opt.explain(solved.problem, solved.schedule, "m1/op2")
    assert json.loads(json.dumps(op.to_dict())) == printed(
        capsys, "explain", FIG1, answer, "m1/op2"
    )
    with pytest.raises(talos_opt.InputError, match="no op is called 'op9'"):
        talos_opt.explain(solved.problem, solved.schedule, "op9")


def test_a_broken_schedule_is_not_explained(solved: Result) -> None:
    assert solved.schedule is not None
    late = talos_opt.Schedule(
        solved.schedule.device, solved.schedule.start + 1, solved.schedule.end,
        solved.schedule.transfers,
    )  # fmt: skip
    with pytest.raises(talos_opt.InfeasibleScheduleError):
        talos_opt.explain(solved.problem, late)


def test_analyze(capsys: Capture) -> None:
    problem = talos_opt.read(ROOT / "models" / "alexnet.yaml")
    found = talos_opt.analyze(problem, ranges=[(0.5, 2)], times=[100.0])
    expected = printed(
        capsys, "analyze", ROOT / "models" / "alexnet.yaml", "--sv", "0.5-2", "--tv", "100"
    )
    assert json.loads(json.dumps(found.to_dict())) == expected
    with pytest.raises(talos_opt.InputError, match="no model matches 'bert"):
        talos_opt.analyze(problem, models=["bert*"])


def test_trace_and_its_comparison(
    solved: Result, answer: Path, tmp_path: Path, capsys: Capture
) -> None:
    assert solved.schedule is not None
    own, theirs = tmp_path / "own.json", tmp_path / "theirs.json"
    assert talos_opt.write_trace(solved.problem, solved.schedule, own)
    assert main(["trace", str(FIG1), str(answer), "-o", str(theirs)]) == 0
    assert own.read_text() == theirs.read_text()
    found = talos_opt.compare_traces(own, theirs, reference_process="cpu0", other_process="cpu0")
    assert found.speedup == 1
    assert len(found.pairs) == 3
    late = talos_opt.Schedule(
        solved.schedule.device, solved.schedule.start, solved.schedule.end + 1,
        solved.schedule.transfers,
    )  # fmt: skip
    assert not talos_opt.write_trace(solved.problem, late, own)


def test_export(tmp_path: Path, capsys: Capture) -> None:
    m = talos_opt.Builder("net")
    m.device("gpu0", "gpu")
    m.device("gpu1", "gpu")
    m.link("gpu", "gpu")
    a = m.op("a", {"gpu": 1}, devices=["gpu0"], attrs={"module": "left"})
    m.op("b", {"gpu": 1}, inputs=[a], devices=["gpu1"], attrs={"module": "right"})
    result = m.solve(solver="heft")
    assert result.schedule is not None
    target = tmp_path / "map.json"
    found = talos_opt.export(
        result.problem, result.schedule, "device-map", target, names={"gpu0": "cpu"}
    )
    assert json.loads(target.read_text()) == {"left": "cpu", "right": 1}
    assert found.facts == {"modules": 2, "devices": 2}
    assert "kubernetes" in talos_opt.export_forms()
    for change, message in (
        ({"form": "docker"}, "form is 'docker', expected one of device-map"),
        ({"form": "vllm", "names": {}}, "--map is of no use for vllm"),
        ({"form": "onnx-split"}, "onnx-split needs the model"),
        ({"form": "device-map", "names": {"gpu7": "1"}}, "unknown device 'gpu7'"),
        ({"form": "vllm", "image": "x"}, "--image is of what Jobs run, not of vllm"),
    ):
        asked: dict[str, Any] = {"target": target, **change}
        with pytest.raises(talos_opt.InputError, match=re.escape(message)):
            talos_opt.export(result.problem, result.schedule, **asked)


@pytest.mark.parametrize("name", ["chart.png", "chart.svg", "chart.html"])
def test_plots_are_files(solved: Result, tmp_path: Path, name: str) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib")
    target = tmp_path / name
    talos_opt.write_plot(solved, target)
    start = target.read_bytes()[:200]
    assert any(mark in start for mark in (b"PNG", b"<?xml", b"<!DOCTYPE html>", b"<!doctype html>"))
    with pytest.raises(talos_opt.InputError, match="expected problem="):
        talos_opt.write_plot(solved.schedule, target)  # type: ignore[arg-type]


def test_a_report_of_two_schedules(solved: Result, tmp_path: Path) -> None:
    other = talos_opt.solve(solved.problem, "single")
    target = tmp_path / "page.html"
    talos_opt.write_report({"mine": solved, "one": other}, target)
    text = target.read_text()
    assert '"mine"' in text
    assert '"one"' in text
    assert other.schedule is not None
    talos_opt.write_report({"one": other.schedule}, target, problem=solved.problem, whatif=0.05)
    assert "talos-whatif/1" in target.read_text()
    with pytest.raises(talos_opt.InputError, match="expected results, or schedules"):
        talos_opt.write_report({"one": other.schedule}, target)


def test_sweep(tmp_path: Path) -> None:
    study = tmp_path / "cards.yaml"
    study.write_text(
        f"graphs: [{FIG1}]\nsolvers: [heft, single]\nobjectives: [toct, makespan]\ntime_limit: 1\n"
    )
    said: list[int] = []
    found = talos_opt.sweep(study, workers=1, on_progress=lambda tally: said.append(tally.done))
    assert (found.cases, found.tally.solved, found.complete) == (4, 4, True)
    assert found.database == str(tmp_path / "cards.db")
    assert said[-1] == 4
    rows = talos_opt.read_results(found.database)
    assert {(row["solver"], row["objective"]): row["value"] for row in rows}["heft", "toct"] == 9
    again = talos_opt.sweep(study)
    assert (again.cases, again.tally.solved) == (4, 0)


def test_simulated_and_changed(solved: Result) -> None:
    assert solved.schedule is not None
    noise = talos_opt.Noise(0.2)
    found = talos_opt.simulate_noise(solved.problem, {"a": solved.schedule}, noise, samples=10)
    assert found.outcomes[0].announced == 9
    alone = talos_opt.solve(solved.problem, "single").schedule
    assert alone is not None
    steps = talos_opt.pipeline_steps(solved.problem, alone, ["gpipe"], [2])
    assert [step.microbatches for step in steps] == [2]
    helped = talos_opt.what_would_help(
        solved.problem, solved.schedule, solver="heft", time_limit=0.05
    )
    assert helped.given == 9


def test_profile_and_run_ask_the_framework(
    monkeypatch: pytest.MonkeyPatch, solved: Result, answer: Path
) -> None:
    from talos_opt.frameworks import choosing

    asked: list[choosing.ModelArguments] = []

    class Profiled:
        ops = ()

        def with_room(self, fraction: float, reserve: int) -> tuple[float, int]:
            return fraction, reserve

    class Fake:
        def profile(self, args: Any, progress: Callable[..., None], cancel: threading.Event) -> Any:
            asked.append(args)
            return Profiled()

        def run(self, args: Any, file: Any) -> Any:
            asked.append(args)
            return SimpleNamespace(
                name=file.name, outputs_equal=True, predicted_s=1.0, measured_s=1.0
            ), lambda: None

    monkeypatch.setattr(choosing, "load", lambda name: Fake())
    found: Any = talos_opt.profile("net:make", ["2x3"], devices=["cpu", "cpu"], reserve=7)
    assert found == (0.9, 7)
    assert (asked[0].target, asked[0].input, asked[0].devices) == ("net:make", ["2x3"], ["cpu"] * 2)
    measured: list[Any] = []
    report: Any = talos_opt.run(
        "net:make", answer, ["2x3"], map={"gpu0": "cpu"}, on_measured=measured.append
    )
    assert report.name == str(answer)
    assert (asked[1].map, asked[1].repeats, len(measured)) == ({"gpu0": "cpu"}, 5, 1)
    with pytest.raises(talos_opt.InputError, match="unknown device 'gpu7'"):
        talos_opt.run("net:make", answer, map={"gpu7": "cpu"})
    with pytest.raises(talos_opt.InputError, match="framework is 'jax', expected one of torch"):
        talos_opt.profile("net:make", framework="jax")
    with pytest.raises(talos_opt.InputError, match="--dim gives a size"):
        talos_opt.profile("net:make", dim=["batch=8"])


def test_fit_finds_the_largest_and_places_it() -> None:
    def of(number: int) -> Problem:
        ops = [op(f"o{i}", weights=number) for i in range(4)]
        return problem(ops, [device("gpu0", 100), device("gpu1", 50)], [link("gpu gpu")])

    found = talos_opt.fit(of, 1000, time_limit=1)
    assert found.largest.blocks == 33  # three on gpu0, one on gpu1
    assert found.largest.proven == 34
    assert found.result is not None
    assert found.result.placement  # of 33
    none = talos_opt.fit(of, 1000, least=60, time_limit=1)
    assert (none.largest.blocks, none.result) == (0, None)
    with pytest.raises(talos_opt.InputError, match="expected 1 <= least <= limit"):
        talos_opt.fit(of, 0)
