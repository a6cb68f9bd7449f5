"""Standard output and error, as other programs see them; and the list of solvers."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

import talos_opt.api as api
from talos_opt.cli.main import main
from tests.cli.process import COMMAND, FIG1, ROOT, run

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("solver", ["auto", "cpsat", "ilp", "talos"])
def test_json_alone_is_on_standard_output(solver: str) -> None:
    done = run("solve", FIG1, "--solver", solver, "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["value"] == 9
    assert done.stderr == ""


def test_cbc_keeps_quiet_too() -> None:
    done = run("solve", FIG1, "--solver", "ilp", "--option", "ilp.backend=cbc", "--json")
    assert json.loads(done.stdout)["value"] == 9
    assert done.stderr == ""


@pytest.mark.parametrize(
    "argv",
    [
        ("solve", FIG1, "--json"),
        ("convert", ROOT / "models" / "mix_serving.yaml", "-o", "-"),
        ("solvers",),
    ],
    ids=lambda argv: argv[0],
)
def test_a_reader_that_leaves_is_no_error(argv: tuple[object, ...]) -> None:
    with subprocess.Popen(
        [*COMMAND, *map(str, argv)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.close()
        assert command.stderr.read() == ""
    assert command.returncode == 0


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&-"])
def test_closed_streams_are_no_error(closed: str) -> None:
    command = " ".join([*COMMAND, "solve", str(FIG1), closed])
    assert subprocess.run(["sh", "-c", command], timeout=60, check=False).returncode == 0


def test_a_full_disk_is_told() -> None:
    command = " ".join([*COMMAND, "solvers", ">/dev/full"])
    done = subprocess.run(
        ["sh", "-c", command], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def answer(tmp_path: Path, capsys: Capture) -> Path:
    path = tmp_path / "answer.json"
    assert main(["solve", str(FIG1), "-o", str(path)]) == 0
    capsys.readouterr()
    return path


def test_a_dash_is_json_where_both_are_one_document(
    capsys: Capture, answer: Path, tmp_path: Path
) -> None:
    trace = tmp_path / "trace.json"
    assert main(["trace", str(FIG1), str(answer), "-o", str(trace)]) == 0
    for command, schema in (
        (["solve", FIG1], "talos-schedule/1"),
        (["compare", FIG1, "--solvers", "heft"], "talos-comparison/1"),
        (["simulate", FIG1, answer, "--samples", 3], "talos-sensitivity/1"),
        (["analyze", FIG1], ""),
        (["speedups", trace, trace, "--reference-process", "gpu0", "--other-process", "cpu0"], ""),
    ):
        capsys.readouterr()
        assert main([*map(str, command), "-o", "-"]) == 0, command
        document = json.loads(capsys.readouterr().out)
        assert document.get("schema", "").startswith(schema), command


def test_what_was_written_is_said_or_is_json(capsys: Capture, answer: Path, tmp_path: Path) -> None:
    for command, name, facts in (
        (["convert", FIG1], "g.json", {"models": 2, "ops": 6, "devices": 2}),
        (["trace", FIG1, answer], "t.json", {"ops": 6, "transfers": 0, "devices": 2}),
        (["plot", FIG1, answer], "p.html", {"ops": 6, "transfers": 0, "devices": 2}),
        (
            ["report", FIG1, answer],
            "r.html",
            {"ops": 6, "devices": 2, "objective": "toct", "values": {"answer": 9.0}},
        ),
        (
            ["export", FIG1, answer, "--to", "tf-device-scopes"],
            "x.json",
            {"nodes": 6, "devices": 2},
        ),
    ):
        target = tmp_path / name
        argv = [*map(str, command), "--json", "-o"]
        capsys.readouterr()
        assert main([*argv, str(target)]) == 0, command
        head = {"schema": "talos-written/1", "command": command[0], "output": str(target)}
        assert json.loads(capsys.readouterr().out) == head | facts
        assert target.stat().st_size
        assert main([*argv, "-"]) == 2
        assert "both write to standard output" in capsys.readouterr().err


def test_a_moved_schedule_on_standard_output(capsys: Capture, answer: Path, tmp_path: Path) -> None:
    argv = ["explain", str(FIG1), str(answer), "m1/op1", "--move", "cpu0", "-o"]
    assert main([*argv, str(tmp_path / "moved.json")]) == 0
    capsys.readouterr()
    assert main([*argv, "-"]) == 0
    moved = capsys.readouterr().out
    assert moved == (tmp_path / "moved.json").read_text()


def test_the_solvers_are_listed(capsys: Capture) -> None:
    assert main(["solvers"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [info.name for info in api.solvers()]
    assert [line.split()[0] for line in lines] == ["solver", *names]
    kinds = ["exact" if info.exact else "heuristic" for info in api.solvers()]
    assert [line.split()[1] for line in lines[1:]] == kinds
    assert main(["solvers", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [item["name"] for item in document["solvers"]] == names
    assert all(item["summary"] and item["covers"] for item in document["solvers"])
