"""``talos-opt plot``: pictures and pages of schedules, and what cannot be drawn."""

from __future__ import annotations

import builtins
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from talos_opt.cli.main import main
from tests.cli.process import COMMAND, FIG1, OnTerminal, run
from tests.cli.test_startup import HEAVY, imported_by

pytest.importorskip("matplotlib")

TOLD = "6 ops, 0 transfers, 2 devices\n"


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fig1") / "schedule.json"
    for target in (path, path.with_suffix(".npz"), path.with_suffix(".yaml.gz")):
        assert main(["solve", str(FIG1), "--solver", "heft", "-o", str(target)]) == 0
    return path


@pytest.fixture
def out(capsys: pytest.CaptureFixture[str]) -> pytest.CaptureFixture[str]:
    capsys.readouterr()
    return capsys


def plot(*argv: object) -> int:
    return main(["plot", *map(str, argv)])


@pytest.mark.parametrize(
    ("name", "begins"),
    [("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF"), ("A.HTML", b"<!")],
)
def test_a_schedule_becomes_a_file(
    solved: Path, tmp_path: Path, out: pytest.CaptureFixture[str], name: str, begins: bytes
) -> None:
    target = tmp_path / name
    assert plot(FIG1, solved, "-o", target) == 0
    assert target.read_bytes().lower().startswith(begins.lower())
    captured = out.readouterr()
    assert captured.out == f"{target}: {TOLD}"
    assert captured.err == ""


def test_without_a_name_the_picture_lies_beside_the_schedule(
    solved: Path, out: pytest.CaptureFixture[str]
) -> None:
    assert plot(solved.with_suffix(".yaml.gz")) == 0
    target = solved.with_suffix(".png")
    assert out.readouterr().out == f"{target}: {TOLD}"
    assert target.read_bytes().startswith(b"\x89PNG")


def test_columns_need_the_graph(
    solved: Path, tmp_path: Path, out: pytest.CaptureFixture[str]
) -> None:
    columns = solved.with_suffix(".npz")
    target = tmp_path / "a.png"
    assert plot(columns, "-o", target) == 2
    assert out.readouterr().err.startswith(f"error: {columns}: columns do not name ops")
    assert plot(FIG1, columns, "-o", target) == 0
    assert target.exists()


def test_the_graph_may_come_from_standard_input(solved: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.svg"
    done = run("plot", "-", solved, "-o", target, text=FIG1.read_text())
    assert (done.returncode, done.stderr) == (0, "")
    assert "critical path" in target.read_text()


def test_the_graph_was_once_an_option(
    solved: Path, tmp_path: Path, out: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "a.html"
    assert plot(solved, "--graph", FIG1, "-o", target) == 0
    captured = out.readouterr()
    assert captured.out == f"{target}: {TOLD}"
    assert captured.err == (
        f"note: the graph comes first now: talos-opt plot {FIG1} {solved}; --graph still works\n"
    )
    old = target.read_bytes()
    assert plot(FIG1, solved, "-o", target) == 0
    assert target.read_bytes() == old
    assert plot(FIG1, solved, "--graph", FIG1, "-o", target) == 0


def test_a_picture_on_standard_output(
    solved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "a.png"
    assert plot(solved, "-o", target) == 0
    done = subprocess.run([*COMMAND, "plot", solved, "-o", "-"], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (target.read_bytes(), b"")
    out.readouterr()
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert plot(solved, "-o", "-") == 2
    captured = out.readouterr()
    assert (captured.out, captured.err.count("is a terminal")) == ("", 1)


def test_a_picture_for_a_program(
    solved: Path, tmp_path: Path, out: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "a.html"
    assert plot(solved, "-o", target, "--json") == 0
    assert json.loads(out.readouterr().out) == {
        "schema": "talos-written/1",
        "command": "plot",
        "output": str(target),
        "ops": 6,
        "transfers": 0,
        "devices": 2,
    }


def test_a_wider_picture_is_wider(solved: Path, tmp_path: Path) -> None:
    def width(inches: int) -> int:
        target = tmp_path / f"{inches}.png"
        assert plot(solved, "-o", target, "--width", inches) == 0
        return int.from_bytes(target.read_bytes()[16:20])

    assert width(20) == 2 * width(10) == 20 * 150


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["-o", "a.gif"], "a.gif: suffix '.gif' is unknown, expected one of .png, .svg, .pdf"),
        (["-o", "a"], "a: has no suffix, expected one of .png"),
        (["-o", "a.png.gz"], "suffix '.gz' is unknown"),
        (["-o", "-", "--json"], "-o - and --json both write to standard output"),
        (["-o", "."], "is a folder"),
        (["-o", "no/a.png"], "there is no folder no"),
        (["-o", "a.html", "--width", "9"], "--width is for pictures"),
        (["-o", "a.html", "--colour-by", "type"], "--colour-by is for pictures"),
        (["-o", "a.html", "--no-fold"], "--no-fold is for pictures"),
        (["--colour-by", "slack", "-o", "a.png"], "slack is known with the graph"),
        (["--width", "1"], "'1' is not a width in inches, expected 6 to 60"),
        (["--width", "wide"], "'wide' is not a width"),
        (["--cluster", "c.yaml"], "--cluster says how the graph is read: it needs GRAPH"),
        (["--objective", "toct"], "--objective says how the graph is read"),
        (["--memory-rule", "peak"], "--memory-rule says how the graph is read"),
        (["--from", "talos"], "--from says how the graph is read"),
        (["x.json", "--graph", "none.yaml"], "the graph is given twice: "),
    ],
)
def test_what_cannot_be_asked_for(
    solved: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    out: pytest.CaptureFixture[str],
    argv: list[str],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert plot(solved, *argv) == 2
    captured = out.readouterr()
    assert captured.out == ""
    assert complaint in captured.err
    assert captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_schedule_of_another_graph(
    solved: Path, tmp_path: Path, out: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(solved.read_text())
    document["time_unit"] = "us"
    renamed = tmp_path / "schedule.json"
    renamed.write_text(json.dumps(document))
    other = FIG1.with_name("alexnet.yaml")
    assert plot(other, renamed) == 2
    assert "the graph has no model 'm1'" in out.readouterr().err


def changed(solved: Path, target: Path, **changes: Any) -> Path:
    target.write_text(json.dumps(json.loads(solved.read_text()) | changes))
    return target


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"ops": [], "status": "infeasible"}, "ops: the file holds no schedule"),
        ({"ops": [{"model": "m"}]}, "ops[0]: an op has no 'op', expected one"),
        ({"schema": "talos-graph/1"}, "schema is 'talos-graph/1', expected 'talos-schedule/1'"),
    ],
)
@pytest.mark.parametrize("graph", [(), (FIG1,)], ids=["alone", "graph"])
def test_a_file_that_holds_no_schedule(
    solved: Path,
    tmp_path: Path,
    out: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    complaint: str,
    graph: tuple[object, ...],
) -> None:
    path = changed(solved, tmp_path / "s.json", **changes)
    assert plot(*graph, path) == 2
    captured = out.readouterr().err
    assert captured.startswith(f"error: {path}")
    assert complaint in captured
    assert not path.with_suffix(".png").exists()


def test_a_missing_schedule(tmp_path: Path, out: pytest.CaptureFixture[str]) -> None:
    assert plot(tmp_path / "none.json") == 2
    assert "none.json" in out.readouterr().err
    assert plot("") == 2
    assert plot("-") == 2
    assert "the schedule must be a file" in out.readouterr().err


def test_an_infeasible_schedule_is_drawn_with_a_note(
    solved: Path, tmp_path: Path, out: pytest.CaptureFixture[str]
) -> None:
    ops = json.loads(solved.read_text())["ops"]
    for row in ops:
        row["end"] -= row["start"]
        row["start"] = 0
    path = changed(solved, tmp_path / "s.json", ops=ops, graph="elsewhere")
    assert plot(FIG1, path) == 0
    captured = out.readouterr()
    assert captured.out == f"{path.with_suffix('.png')}: {TOLD}"
    assert captured.err.splitlines() == [
        "note: the schedule is for graph 'elsewhere'",
        "note: the schedule is not feasible, so no critical path is drawn; talos-opt check names "
        "each broken rule",
    ]


def test_a_folder_that_takes_no_file(
    solved: Path, monkeypatch: pytest.MonkeyPatch, out: pytest.CaptureFixture[str]
) -> None:
    def refuse(**_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    assert plot(solved) == 2
    assert "cannot be written: Permission denied" in out.readouterr().err


def test_matplotlib_is_asked_for_by_name(
    solved: Path, monkeypatch: pytest.MonkeyPatch, out: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    original = builtins.__import__

    def without(name: str, *args: Any, **options: Any) -> Any:
        if name.partition(".")[0] == "matplotlib":
            raise ImportError(name)
        return original(name, *args, **options)

    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    assert plot(solved, "-o", tmp_path / "a.png") == 2
    assert "pip install matplotlib" in out.readouterr().err
    # A page needs none.
    assert plot(solved, "-o", tmp_path / "a.html") == 0


def test_a_terminal_sees_what_is_being_done(solved: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.png"
    watched = OnTerminal("plot", solved, "-o", target)
    watched.wait_for("reading")
    code, told = watched.finish()
    assert (code, told) == (0, f"{target}: {TOLD}")
    assert run("plot", solved, "-o", target).stderr == ""


def test_pages_load_nothing_heavy(solved: Path, tmp_path: Path) -> None:
    argv = ["plot", str(solved), "-o", str(tmp_path / "a.html")]
    modules = imported_by(f"from talos_opt.cli.main import main\nassert main({argv}) == 0")
    assert modules & {*HEAVY, "matplotlib"} == set()


def test_a_picture_of_a_part(solved: Path, tmp_path: Path, out: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "part.svg"
    choices = ["--from-time", "1ms", "--to-time", "0.004s", "--devices", "gpu", "--dark"]
    assert plot(FIG1, solved, "-o", target, *choices, "--no-memory", "--dpi", "50") == 0
    text = target.read_text()
    assert ">gpu0</text>" in text
    assert ">cpu0</text>" not in text
    assert "#181c22" in text
    assert plot(FIG1, solved, "-o", target, "--colour-by", "slack", "--no-fold") == 0
    assert ">no slack</text>" in target.read_text()
    plain = tmp_path / "search.svg"
    assert plot(solved, "--search", "-o", plain) == 0
    assert ">lower bound</text>" in plain.read_text()
    assert "events" in out.readouterr().out


@pytest.mark.parametrize(
    ("choices", "complaint"),
    [
        (["--from-time", "9s"], "the time from 9000 ms has nothing of the schedule in it"),
        (["--from-time", "soon"], "'soon' is not a time, expected a number"),
        (["--devices", "tpu"], "there is no device 'tpu', expected some of cpu0, gpu0"),
        (["--models", "none"], "there is no model 'none', expected some of"),
        (["--dpi", "5"], "'5' is not a number of dots per inch, expected 50 to 600"),
    ],
)
def test_a_part_that_is_not_there(
    solved: Path,
    tmp_path: Path,
    out: pytest.CaptureFixture[str],
    choices: list[str],
    complaint: str,
) -> None:
    try:
        code = plot(FIG1, solved, "-o", tmp_path / "a.png", *choices)
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert complaint in out.readouterr().err
    assert not (tmp_path / "a.png").exists()


def test_choices_for_pictures_are_refused_for_pages(
    solved: Path, tmp_path: Path, out: pytest.CaptureFixture[str]
) -> None:
    assert plot(FIG1, solved, "-o", tmp_path / "a.html", "--dark") == 2
    assert "--dark is for pictures, expected a file of .png, .svg, .pdf" in out.readouterr().err


def test_a_pipeline_has_its_step_under_it(tmp_path: Path, out: pytest.CaptureFixture[str]) -> None:
    answer, target = tmp_path / "s.json", tmp_path / "s.svg"
    steps = ["--objective", "step", "--pipeline", "1f1b:4", "--stages", "acyclic"]
    assert main(["solve", str(FIG1), *steps, "--solver", "pipeline", "-o", str(answer)]) == 0
    assert plot(FIG1, answer, "-o", target) == 0
    assert "1f1b with 4 micro-batches" in target.read_text()
