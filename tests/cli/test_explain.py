"""``explain``: what it tells, what it writes, and what it refuses."""

from __future__ import annotations

import json
import tempfile
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from talos_opt import formats
from talos_opt.cli.main import main
from talos_opt.core.problem import Problem
from talos_opt.core.result import Result, Status
from talos_opt.core.schedule import Schedule
from tests.analysis.scheduled import scheduled_problems
from tests.cli.process import FIG1

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fig1") / "schedule.json"
    assert main(["solve", str(FIG1), "--solver", "talos", "-o", str(path)]) == 0
    return path


def explain(*argv: object) -> int:
    return main(["explain", *map(str, argv)])


def test_text(solved: Path, capsys: Capture) -> None:
    capsys.readouterr()
    assert explain(FIG1, solved, "op2") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "m1/op2 runs on cpu0 from 1.5 ms to 2.5 ms, for 1 ms"
    assert "started no sooner: m2/op4 ended then and freed its slots on cpu0" in lines
    assert "inputs produced at 1 ms; travelled for 0 ms, then waited for 500 us" in lines
    prices = [" ".join(line.split()) for line in lines if line.startswith(("cpu0 ", "gpu0 "))]
    assert prices[0] == "cpu0 500 us 0 ms 1 ms 0 ms 1.5 ms 1 is here"
    assert prices[1] == "gpu0 0 ms 0 ms 3 ms 0 ms 3 ms 0.5 11 ms (+2 ms)"
    assert any(line.startswith("> m1/op2 ") for line in lines)
    assert lines[-1] == "slack: none; any delay of it adds to toct"


def test_where_the_time_of_the_whole_schedule_goes(solved: Path, capsys: Capture) -> None:
    capsys.readouterr()
    assert explain(FIG1, solved) == 0
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == "where the time goes: shares of the makespan, 4.5 ms"
    assert "gpu0 88.9 % 88.9 % 11.1 % m1/op2, 500 us" in lines
    assert "m1 1 4.5 ms 50 % 0 ms 4 ms" in lines
    assert explain(FIG1, solved, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "talos-breakdown/1"
    assert [device["input"] for device in told["devices"]] == [0.0, 0.5]
    assert [step["op"] for step in told["critical_path"]["steps"]] == ["m2/op4", "m1/op2", "m1/op3"]
    assert explain(FIG1, solved, "--move", "gpu0") == 2
    assert "it needs OP" in capsys.readouterr().err


def test_json(solved: Path, capsys: Capture) -> None:
    capsys.readouterr()
    assert explain(FIG1, solved, "m1/op2", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "talos-explanation/1"
    assert told["cause"] == {"kind": "slot", "op": "m2/op4", "transfer": None}
    assert told["moves"] == [{"device": "gpu0", "value": 11.0, "change": 2.0, "reason": None}]
    assert [step["op"] for step in told["before"]] == ["m2/op4", "m1/op2"]


def test_a_long_story_is_cut_and_the_json_is_not(tmp_path: Path, capsys: Capture) -> None:
    ops = [{"id": f"op{i}", "time": {"cpu": 1}} for i in range(30)]
    for i in range(1, 30):
        ops[i]["inputs"] = [f"op{i - 1}"]
    devices = [{"id": "cpu0", "kind": "cpu"}]
    graph, answer = tmp_path / "chain.json", tmp_path / "answer.json"
    document = {"schema": "talos-graph/1", "name": "chain", "time_unit": "ms"}
    document |= {"cluster": {"devices": devices}, "models": [{"id": "m", "ops": ops}]}
    graph.write_text(json.dumps(document))
    assert main(["solve", str(graph), "--solver", "heft", "-o", str(answer)]) == 0
    capsys.readouterr()
    assert explain(graph, answer, "op15") == 0
    assert "and 7 more ops before and 6 more ops after" in capsys.readouterr().out
    assert explain(graph, answer, "op15", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (len(told["before"]), len(told["after"])) == (16, 14)


# ---- moves ---------------------------------------------------------------------------------


def quietly(*argv: object) -> tuple[int, str, str]:
    with redirect_stdout(StringIO()) as out, redirect_stderr(StringIO()) as err:
        code = main([*map(str, argv)])
    return code, out.getvalue(), err.getvalue()


@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(scheduled_problems(max_ops=8) | scheduled_problems(max_ops=8, short=True), st.data())
def test_a_move_is_worth_exactly_what_was_announced(
    drawn: tuple[Problem, Schedule], data: st.DataObject
) -> None:
    given, answer = drawn
    i = data.draw(st.integers(0, len(answer.start) - 1))
    with tempfile.TemporaryDirectory() as folder:
        graph, old, new = (Path(folder) / f"{name}.json" for name in ("graph", "old", "new"))
        formats.write_problem(given, graph)
        formats.write_schedule(Result(given, Status.FEASIBLE, answer, 0.0, "test"), old)
        common = (graph, old, given.names[i], "--json", "--objective", given.objective.value)
        common += ("--memory-rule", given.memory_rule.value)
        code, out, err = quietly("explain", *common)
        assert (code, err) == (0, "")
        told = json.loads(out)
        assert told["value"] == Result(given, Status.FEASIBLE, answer, 0.0, "test").value
        for move in told["moves"]:
            code, again, err = quietly("explain", *common, "--move", move["device"], "-o", new)
            assert json.loads(again) == told
            event("moved" if move["value"] is not None else "refused")
            if move["value"] is None:
                assert (code, new.exists()) == (1, False)
                assert err == f"{new} is not written: {move['reason']}\n"
                continue
            assert (code, err) == (0, "")
            written = json.loads(new.read_text())
            assert (written["value"], written["solver"]) == (move["value"], "explain")
            assert _devices(written)[given.names[i]] == move["device"]
            for name, where in _devices(json.loads(old.read_text())).items():
                if name not in (given.names[i], *told["colocated"]):
                    assert _devices(written)[name] == where
            code, out, err = quietly("check", graph, new, *common[4:])
            assert (code, out.splitlines()[0], err) == (0, "feasible", "")
            new.unlink()


def _devices(document: dict[str, Any]) -> dict[str, str]:
    return {f"{item['model']}/{item['op']}": item["device"] for item in document["ops"]}


def test_a_moved_schedule_in_every_form(solved: Path, tmp_path: Path, capsys: Capture) -> None:
    for name in ("moved.yaml", "moved.json.gz", "moved.npz"):
        target = tmp_path / name
        assert explain(FIG1, solved, "op2", "--move", "gpu0", "-o", target) == 0
        assert capsys.readouterr().out.endswith(f"written to {target}\n")
        assert main(["check", str(FIG1), str(target)]) == 0
        assert "toct              11 ms" in capsys.readouterr().out


# ---- refusals ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["op9"], "no op is called 'op9', expected MODEL/OP"),
        (["op2", "--move", "gpu0"], "--move makes a schedule: it needs -o FILE"),
        (["op2", "-o", "x.json"], "-o writes the schedule after a move: it needs --move"),
        (["op2", "--move", "tpu", "-o", "x.json"], "unknown device 'tpu', expected one of cpu0"),
        (["op2", "--move", "cpu0", "-o", "x.json"], "where m1/op2 already is"),
        (["op2", "--move", "gpu0", "-o", "no/x.json"], "there is no folder no"),
        (["op2", "--move", "gpu0", "-o", "x.png"], "suffix '.png' is unknown"),
    ],
)
def test_bad_arguments(
    solved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture,
    argv: list[str], complaint: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert explain(FIG1, solved, *argv) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert complaint in err
    assert not list(tmp_path.iterdir())


def changed(solved: Path, folder: Path, **values: Any) -> Path:
    document = json.loads(solved.read_text()) | values
    path = folder / "changed.json"
    path.write_text(json.dumps(document))
    return path


def test_a_schedule_of_another_graph(solved: Path, tmp_path: Path, capsys: Capture) -> None:
    ops = json.loads(solved.read_text())["ops"]
    other = changed(solved, tmp_path, ops=ops[:-1], graph="other")
    capsys.readouterr()
    assert explain(FIG1, other, "op2") == 2
    assert "(the schedule is of graph 'other', this is 'fig1')" in capsys.readouterr().err


def test_a_schedule_that_breaks_a_rule(solved: Path, tmp_path: Path, capsys: Capture) -> None:
    ops = json.loads(solved.read_text())["ops"]
    ops[1]["start"], ops[1]["end"] = 0, 1
    other = changed(solved, tmp_path, ops=ops)
    capsys.readouterr()
    assert explain(FIG1, other, "op2") == 2
    err = capsys.readouterr().err
    assert "the schedule breaks a rule (precedence: m1/op2" in err
    assert "expected a feasible one; talos-opt check lists all" in err


def test_standard_input_is_for_the_graph(capsys: Capture) -> None:
    assert explain(FIG1, "-", "op2") == 2
    assert "the schedule must be a file" in capsys.readouterr().err


def test_lengths_and_changes_are_told_wherever_time_zero_is(
    tmp_path: Path, capsys: Capture
) -> None:
    """They were taken for what float sums leave of times since 1970, and told as nothing."""
    document = json.loads(json_fig1(tmp_path))
    told = []
    for release in (0.0, 1.7e12):
        for model in document["models"]:
            model["release"] = release
        graph, answer = tmp_path / "late.json", tmp_path / "answer.json"
        graph.write_text(json.dumps(document))
        assert main(["solve", str(graph), "--solver", "talos", "-o", str(answer)]) == 0
        capsys.readouterr()
        assert explain(graph, answer, "op2") == 0
        told.append(capsys.readouterr().out.splitlines())
    assert told[1][0] == "m1/op2 runs on cpu0 from 1700000000.0015 s to 1700000000.0025 s, for 1 ms"
    prices = [" ".join(line.split()) for line in told[1] if line.startswith(("cpu0 ", "gpu0 "))]
    assert prices[0] == "cpu0 500 us 0 ms 1 ms 0 ms 1.5 ms 1 is here"
    assert prices[1] == "gpu0 0 ms 0 ms 3 ms 0 ms 3 ms 0.5 3400000000.011 s (+2 ms)"
    assert told[0][-1] == told[1][-1]


def json_fig1(tmp_path: Path) -> str:
    """Return the text of the graph as JSON."""
    path = tmp_path / "fig1.json"
    assert main(["convert", str(FIG1), "-o", str(path)]) == 0
    return path.read_text()


def test_a_module_is_explained_too(tmp_path: Path, capsys: Capture) -> None:
    graph, answer = tmp_path / "g.yaml", tmp_path / "s.json"
    graph.write_text(
        "schema: talos-graph/1\nname: net\ncluster: {devices: [{id: cpu0, kind: cpu}]}\nops:\n"
        "  - {id: a, time: {cpu: 1}, attrs: {module: net.left}}\n"
        "  - {id: b, time: {cpu: 2}, inputs: [a], attrs: {module: net.right}}\n"
    )
    assert main(["solve", str(graph), "-o", str(answer)]) == 0
    capsys.readouterr()
    assert main(["explain", str(graph), str(answer), "net.left"]) == 0
    assert capsys.readouterr().out.startswith("net.left: 1 op on cpu0, from 0 us to 1 us, for 1 us")
    assert main(["explain", str(graph), str(answer), "net.*", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["modules"] == ["net.left", "net.right"]
    assert main(["explain", str(graph), str(answer)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["net.right", "cpu0"] in [line[1:3] for line in lines]
    moved = tmp_path / "m.json"
    argv = ["explain", str(graph), str(answer), "net.left", "--move", "cpu0", "-o", str(moved)]
    assert main(argv) == 2
    assert "--move moves an op, and 'net.left' is not the name of one" in capsys.readouterr().err
