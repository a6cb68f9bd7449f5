"""``compare``: one table of several solvers on several graphs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from talos_opt.cli.main import main
from tests.cli.process import FIG1

Capture = pytest.CaptureFixture[str]


def compare(*argv: object) -> int:
    return main(["compare", *map(str, argv)])


@pytest.fixture
def serial(tmp_path: Path) -> Path:
    """Fig. 1 on a cluster that the MILP of `ilp` does not cover."""
    path = tmp_path / "serial.yaml"
    text = FIG1.read_text().replace("name: fig1", "name: serial")
    text = text.replace("  reference: cpu", "  reference: cpu\n  contention: serial")
    links = "  links: [{between: [cpu, gpu], latency: 0, bandwidth: 1GB/s}]\nmodels:"
    path.write_text(text.replace("models:", links, 1))
    return path


def test_one_line_for_each_solver(capsys: Capture) -> None:
    assert compare(FIG1, "--solvers", "aswm,tsam,cpsat") == 0
    captured = capsys.readouterr()
    header, *lines, blank, legend = captured.out.splitlines()
    assert blank == ""
    assert legend.startswith("toct: weighted sum of completion times; makespan: time until")
    columns = "graph solver status toct ratio bound gap time makespan bottleneck memory"
    assert header.split() == columns.split()
    cells = [line.split() for line in lines]
    assert [line[1] for line in cells] == ["aswm", "tsam", "cpsat"]
    assert cells[0][3:6] == ["12.5", "ms", "1.3889"]
    assert cells[2][2:6] == ["optimal", "9", "ms", "1.0000"]
    assert captured.err == ""


def test_json_and_file_hold_the_same(capsys: Capture, tmp_path: Path) -> None:
    answer = tmp_path / "comparison.json"
    assert compare(FIG1, "--solvers", "aswm,cpsat", "--json", "-o", answer) == 0
    document = json.loads(capsys.readouterr().out)
    assert json.loads(answer.read_text()) == document
    assert [row["value"] for row in document["rows"]] == [12.5, 9.0]
    assert [row["ratio_to_best"] for row in document["rows"]] == [12.5 / 9, 1.0]
    assert document["rows"][0]["metrics"]["makespan"] > 0


@pytest.mark.notes(r"consolidated: ")
def test_fewer_devices_may_be_worth_something(capsys: Capture) -> None:
    assert compare(FIG1, "--solvers", "cpsat", "--worth", "150%", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)["rows"]
    assert (row["status"], row["value"]) == ("feasible", 18.5)
    assert row["lower_bound"] == pytest.approx(9.0)


def test_the_default_is_every_baseline_and_auto(capsys: Capture) -> None:
    assert compare(FIG1, "--json") == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    names = ["single", "sequential", "aswm", "tsam", "heft", "etf", "talos", "auto"]
    assert [row["solver"] for row in rows] == names
    assert min(row["value"] for row in rows) == rows[-1]["value"] == 9.0


def test_a_solver_that_refuses_has_a_line_with_the_reason(capsys: Capture, serial: Path) -> None:
    assert compare(serial, "--solvers", "ilp,etf") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:4] == ["serial", "ilp", "no", "result"]
    assert lines[2].split()[:2] == ["serial", "etf"]
    assert lines[3].startswith("ilp on serial: ")
    assert "contention serial" in lines[3]


def test_several_graphs_each_have_their_best(capsys: Capture, serial: Path) -> None:
    assert compare(FIG1, serial, "--solvers", "aswm,cpsat", "--json") == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["graph"] for row in rows] == ["fig1", "fig1", "serial", "serial"]


def test_graphs_of_one_name_go_by_their_files(capsys: Capture, tmp_path: Path) -> None:
    slow = tmp_path / "slow.yaml"
    slow.write_text(FIG1.read_text().replace("gpu: 1}", "gpu: 100}"))
    assert compare(FIG1, slow, "--solvers", "aswm,cpsat", "--json") == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["graph"] for row in rows] == [str(FIG1)] * 2 + [str(slow)] * 2
    assert rows[1]["ratio_to_best"] == rows[3]["ratio_to_best"] == 1.0
    assert rows[3]["value"] > rows[1]["value"]


def test_a_graph_without_a_schedule_is_one(capsys: Capture, tmp_path: Path) -> None:
    full = tmp_path / "full.yaml"
    full.write_text(
        "schema: talos-graph/1\nname: full\ncluster: {devices: [{id: g, kind: gpu, memory: 1}]}\n"
        "ops: [{id: a, time: {gpu: 1}, memory: 1}, {id: b, time: {gpu: 1}, memory: 1}]\n"
    )
    assert compare(FIG1, full, "--solvers", "aswm,cpsat") == 1
    out = capsys.readouterr().out
    assert "infeasible" in out
    assert "aswm on full: " in out


def test_bad_input_is_found_before_anything_is_solved(capsys: Capture, tmp_path: Path) -> None:
    for argv in (
        [FIG1, tmp_path / "missing.yaml"],
        [FIG1, "--solvers", "cpsat,heftt"],
        [FIG1, "-o", tmp_path / "nowhere" / "c.json"],
        ["-", "-"],
        [FIG1, "--option", "heftt.x=1"],
    ):
        assert compare(*argv) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("error: ")
        assert captured.err.count("\n") == 1
