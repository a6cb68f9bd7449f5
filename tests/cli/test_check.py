"""``check``: each broken rule is a line; so is a stated value that is not the real one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from talos_opt.cli.main import main
from tests.cli.process import FIG1

Capture = pytest.CaptureFixture[str]
Change = Callable[[dict[str, Any]], None]


def check(*argv: object) -> int:
    return main(["check", *map(str, argv)])


@pytest.fixture
def answer(tmp_path: Path, capsys: Capture) -> Path:
    path = tmp_path / "answer.json"
    assert main(["solve", str(FIG1), "-o", str(path)]) == 0
    capsys.readouterr()
    return path


def change(path: Path, edit: Change) -> Path:
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))
    return path


def set_to(*keys: str | int, value: object) -> Change:
    def edit(document: dict[str, Any]) -> None:
        for key in keys[:-1]:
            document = document[key]  # type: ignore[index]
        document[keys[-1]] = value  # type: ignore[index]

    return edit


def test_a_good_schedule_is_feasible(capsys: Capture, answer: Path) -> None:
    assert check(FIG1, answer) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "feasible"
    told = {line[:16].strip(): line[16:].strip() for line in lines[1:]}
    assert told["toct"] == "9 ms (weighted sum of completion times)"
    assert told["makespan"] == "4.5 ms (time until the last model is done)"
    assert told["weighted speedup"] == "1.722 over cpu"


def test_what_is_not_stated_is_not_held_against_it(capsys: Capture, answer: Path) -> None:
    def edit(document: dict[str, Any]) -> None:
        for key in list(document):
            if key not in ("schema", "ops", "transfers"):
                del document[key]

    assert check(FIG1, change(answer, edit)) == 0
    assert capsys.readouterr().out.startswith("feasible\n")


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (set_to("ops", 0, "end", value=1.5), "duration: m1/op1 runs 1.5 on gpu0, where it takes 1"),
        (set_to("value", value=8), "value: value is stated as 8, but is 9"),
        (set_to("metrics", "makespan", value=4), "value: metrics.makespan is stated as 4, but is"),
        (
            set_to("metrics", "completion", "m1", value=1),
            "value: metrics.completion.m1 is stated as 1, but is 4.5",
        ),
        (set_to("metrics", "load", "gpu7", value=1), "value: metrics.load.gpu7 is stated, but"),
        (set_to("lower_bound", value=9.5), "value: lower_bound is stated as 9.5, above the value"),
        (set_to("value", value="nine"), "value: value is stated as 'nine', but is 9.0"),
    ],
)
def test_each_mistake_is_a_line(
    capsys: Capture, answer: Path, edit: Change, complaint: str
) -> None:
    assert check(FIG1, change(answer, edit)) == 1
    captured = capsys.readouterr()
    assert complaint in captured.out
    assert "feasible" not in captured.out
    assert all(": " in line for line in captured.out.splitlines())


def test_a_program_reads_what_was_found(capsys: Capture, answer: Path) -> None:
    def found(code: int) -> dict[str, Any]:
        assert check(FIG1, answer, "--json") == code
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    good = found(0)
    stated = json.loads(answer.read_text())
    assert good == {
        "schema": "talos-check/1",
        "graph": "fig1",
        "feasible": True,
        "violations": [],
        "misstated": [],
        "objective": "toct",
        "time_unit": "ms",
        "value": 9.0,
        "metrics": stated["metrics"],
    }
    change(answer, set_to("value", value=8))
    assert found(1) == good | {"misstated": ["value is stated as 8, but is 9"]}
    change(answer, set_to("ops", 0, "end", value=1.5))
    broken = found(1)
    assert not broken["feasible"]
    assert {item["rule"] for item in broken["violations"]} == {"duration", "slots"}
    assert broken["violations"][0]["message"] == "m1/op1 runs 1.5 on gpu0, where it takes 1"
    assert broken["value"] is broken["metrics"] is None


def test_several_mistakes_are_several_lines(capsys: Capture, answer: Path) -> None:
    def edit(document: dict[str, Any]) -> None:
        for op in document["ops"]:
            op["end"] += 1

    assert check(FIG1, change(answer, edit)) == 1
    assert len(capsys.readouterr().out.splitlines()) >= 6


def test_a_value_is_held_against_its_own_objective(capsys: Capture, tmp_path: Path) -> None:
    path = tmp_path / "fast.json"
    assert main(["solve", str(FIG1), "--objective", "makespan", "-o", str(path)]) == 0
    assert check(FIG1, path) == 0
    change(path, set_to("objective", value="toct"))
    capsys.readouterr()
    assert check(FIG1, path) == 1
    assert "value: value is stated as 4.5" in capsys.readouterr().out


def test_a_schedule_of_another_graph_is_noted(capsys: Capture, answer: Path) -> None:
    assert check(FIG1, change(answer, set_to("graph", value="fig2"))) == 0
    assert "note: the schedule is for graph 'fig2'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (set_to("ops", value=[]), "holds no schedule"),
        (set_to("ops", 0, "op", value="op9"), "op9"),
        (set_to("ops", 0, "device", value="tpu0"), "tpu0"),
        (set_to("ops", 0, "start", value="soon"), "soon"),
        (set_to("schema", value="talos-graph/1"), "talos-graph/1"),
        (set_to("time_unit", value="us"), "time_unit"),
    ],
)
def test_what_is_no_schedule_is_bad_input(
    capsys: Capture, answer: Path, edit: Change, complaint: str
) -> None:
    assert check(FIG1, change(answer, edit)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: {answer}")
    assert captured.err.count("\n") == 1
    assert complaint in captured.err


def test_a_missing_schedule_and_one_on_standard_input(capsys: Capture) -> None:
    assert check(FIG1, "nowhere.json") == 2
    assert "nowhere.json" in capsys.readouterr().err
    assert check(FIG1, "-") == 2
    assert "must be a file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("unit", "scale", "release"), [("ms", 1.0, 1.7e12), ("s", 1e-9, 0.0), ("us", 1.0, 0.0)]
)
def test_stated_values_count_wherever_time_zero_is(
    capsys: Capture, tmp_path: Path, unit: str, scale: float, release: float
) -> None:
    """A share of a value that contains the releases let 1.7e6 ms pass; 1e-9 s let ops pass."""
    ops = [{"id": name, "time": {"cpu": 2 * scale}} for name in "ab"]
    graph = {
        "schema": "talos-graph/1",
        "time_unit": unit,
        "cluster": {"devices": [{"id": "cpu0", "kind": "cpu"}, {"id": "spare", "kind": "gpu"}]},
        "models": [{"id": "m", "release": release, "ops": ops}],
    }
    given, path = tmp_path / "graph.json", tmp_path / "answer.json"
    given.write_text(json.dumps(graph))
    assert main(["solve", str(given), "-o", str(path)]) == 0
    assert check(given, path) == 0
    true = json.loads(path.read_text())
    for keys, places in (
        (("value",), ["value is"]),
        (("metrics", "makespan"), ["makespan"]),
        (("metrics", "completion", "m"), ["completion.m"]),
        (("metrics", "idle_time", "cpu0"), ["idle_time.cpu0"]),
        (("metrics", "idle_time", "spare"), ["idle_time.spare"]),
        (("lower_bound",), ["lower_bound"]),
    ):
        off = true
        for key in keys:
            off = off[key]
        path.write_text(json.dumps(true))
        change(path, set_to(*keys, value=off + scale / 2))
        capsys.readouterr()
        assert check(given, path) == 1, keys
        out = capsys.readouterr().out
        assert all(place in out for place in places), out
        assert len(out.splitlines()) == 1
