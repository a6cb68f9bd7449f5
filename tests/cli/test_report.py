"""``talos-opt report``: a page from a graph and its schedules, or a clear complaint."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from talos_opt.cli.main import main
from tests.cli.process import FIG1, run
from tests.cli.test_startup import HEAVY, imported_by
from tests.reports.pages import data_of


def solved(folder: Path, solver: str) -> Path:
    path = folder / f"{solver}.json"
    assert main(["solve", str(FIG1), "--solver", solver, "-o", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def schedules(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("fig1")
    return [solved(folder, "talos"), solved(folder, "sequential")]


def rewritten(schedule: Path, target: Path, **changes: Any) -> Path:
    target.write_text(json.dumps(json.loads(schedule.read_text()) | changes))
    return target


def report(*argv: object) -> int:
    return main(["report", *map(str, argv)])


def complaint(capsys: pytest.CaptureFixture[str], *argv: object) -> str:
    """Return what the command complains of; it must write nothing and exit with 2."""
    capsys.readouterr()
    assert report(*argv) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    return said.err


def test_schedules_stand_side_by_side(
    schedules: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "report.html"
    capsys.readouterr()
    assert report(FIG1, *schedules, "-o", target) == 0
    assert capsys.readouterr() == (f"written to {target}\n", "")
    data = data_of(target)
    assert [item["label"] for item in data["schedules"]] == ["talos", "sequential"]
    assert data["schedules"][0]["facts"]["value"] == 9
    assert data["known"]["toct"] == 9


def test_without_a_schedule_the_graph_is_solved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "report.html"
    assert report(FIG1, "-o", target, "--time-limit", 5, "--objective", "makespan") == 0
    said = capsys.readouterr()
    assert "no schedule is given: solving with auto for at most 5 s" in said.err
    assert said.out.startswith("fig1: optimal; solver auto")
    assert said.out.endswith(f"written to {target}\n")
    facts = data_of(target)["schedules"][0]["facts"]
    assert (facts["objective"], facts["status"], facts["value"]) == ("makespan", "optimal", 4.5)


def test_standard_output_holds_the_page_alone(schedules: list[Path]) -> None:
    done = run("report", FIG1, schedules[0], "-o", "-")
    assert done.returncode == 0
    assert done.stdout.startswith("<!DOCTYPE html>")
    assert done.stdout.rstrip().endswith("</html>")
    assert done.stderr == ""


def test_columns_do_as_well(schedules: list[Path], tmp_path: Path) -> None:
    columns = tmp_path / "s.npz"
    assert main(["solve", str(FIG1), "--solver", "talos", "-o", str(columns)]) == 0
    assert report(FIG1, columns, "-o", tmp_path / "a.html") == 0
    assert data_of(tmp_path / "a.html")["schedules"][0]["facts"]["value"] == 9


def test_the_objective_is_the_first_schedules(schedules: list[Path], tmp_path: Path) -> None:
    stated = {"objective": "makespan", "value": 4.5, "lower_bound": 4}
    other = rewritten(schedules[0], tmp_path / "m.json", **stated)
    assert report(FIG1, other, "-o", tmp_path / "a.html") == 0
    assert data_of(tmp_path / "a.html")["objective"] == "makespan"
    assert report(FIG1, other, "-o", tmp_path / "a.html", "--objective", "toct") == 0
    assert data_of(tmp_path / "a.html")["objective"] == "toct"


def test_files_of_one_name_go_by_their_paths(schedules: list[Path], tmp_path: Path) -> None:
    twin = rewritten(schedules[0], tmp_path / "talos.json")
    assert report(FIG1, schedules[0], twin, twin, "-o", tmp_path / "a.html") == 0
    labels = [item["label"] for item in data_of(tmp_path / "a.html")["schedules"]]
    assert labels == [str(schedules[0]), f"{twin} (2)", f"{twin} (3)"]


def test_false_statements_are_told_and_not_shown(
    schedules: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    false = rewritten(schedules[0], tmp_path / "false.json", value=8.5, lower_bound=7)
    capsys.readouterr()
    assert report(FIG1, false, "-o", tmp_path / "a.html") == 0
    assert "value is stated as 8.5, but is 9" in capsys.readouterr().err
    assert data_of(tmp_path / "a.html")["schedules"][0]["facts"]["value"] == 9


def test_a_bound_that_cannot_hold(
    schedules: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    false = rewritten(schedules[1], tmp_path / "false.json", lower_bound=9.5)
    target = tmp_path / "a.html"
    capsys.readouterr()
    assert report(FIG1, schedules[0], false, "-o", target) == 2
    assert "false states lower_bound 9.5, expected at most 9" in capsys.readouterr().err
    assert not target.exists()


def test_a_schedule_of_another_graph(
    schedules: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(FIG1.read_text().replace("id: m1", "id: n1").replace("fig1", "fig2", 1))
    said = complaint(capsys, other, schedules[0], "-o", tmp_path / "a.html")
    assert "the graph has no model 'm1'" in said
    assert "the schedule is of graph 'fig1'" in said


def test_an_infeasible_schedule(
    schedules: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ops = json.loads(schedules[0].read_text())["ops"]
    moved = [op | {"start": 0.0, "end": op["end"] - op["start"]} for op in ops]
    broken = rewritten(schedules[0], tmp_path / "broken.json", ops=moved)
    said = complaint(capsys, FIG1, broken, "-o", tmp_path / "a.html")
    assert f"{broken}: the schedule is not feasible: " in said
    assert "talos-opt check lists all" in said


def test_no_schedule_in_the_file(
    schedules: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = rewritten(schedules[0], tmp_path / "e.json", ops=[], status="infeasible", value=None)
    said = complaint(capsys, FIG1, empty, "-o", tmp_path / "a.html")
    assert "holds no schedule" in said


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("a.pdf", "suffix '.pdf' is unknown, expected one of .html, .htm"),
        ("a.html.gz", "suffix '.gz' is unknown"),
        ("report", "has no suffix"),
        ("no/a.html", "no folder"),
        (".", "is a folder"),
    ],
)
def test_a_target_that_cannot_be_written_is_found_out_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str, said: str
) -> None:
    # Nothing is read yet: the graph does not exist either.
    assert said in complaint(capsys, "missing.yaml", "-o", tmp_path / target)


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="a folder closed even to root")
def test_no_permission(capsys: pytest.CaptureFixture[str]) -> None:
    assert "cannot be written" in complaint(capsys, FIG1, "-o", "/proc/a.html")


def test_solving_and_showing_exclude_each_other(
    schedules: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = complaint(capsys, FIG1, schedules[0], "-o", tmp_path / "a.html", "--time-limit", 3)
    assert "--time-limit is for solving" in said


def test_a_schedule_is_no_stream(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "must be files" in complaint(capsys, FIG1, "-", "-o", tmp_path / "a.html")


def test_no_schedule_found_leaves_no_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = tmp_path / "graph.yaml"
    graph.write_text(
        "schema: talos-graph/1\n"
        "cluster: {devices: [{id: cpu0, kind: cpu, memory: 10}]}\n"
        "ops:\n"
        "  - {id: a, time: {cpu: 1}, memory: {weights: 8}}\n"
        "  - {id: b, time: {cpu: 1}, memory: {weights: 8}}\n"
    )
    assert report(graph, "-o", tmp_path / "a.html") == 1
    said = capsys.readouterr().err
    assert "infeasible: " in said
    assert "no page is written" in said
    assert not (tmp_path / "a.html").exists()


def test_showing_loads_no_drawing_library_and_no_solver(
    schedules: list[Path], tmp_path: Path
) -> None:
    argv = ["report", str(FIG1), str(schedules[0]), "-o", str(tmp_path / "a.html")]
    modules = imported_by(f"from talos_opt.cli.main import main\nassert main({argv}) == 0")
    assert modules & set(HEAVY) == set()
