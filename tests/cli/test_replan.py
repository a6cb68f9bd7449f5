"""``solve --running``: the answer is a whole schedule, and says what moves and why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from talos_opt.cli.main import main
from talos_opt.cli.replan import price
from tests.cli.process import FIG1

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("running") / "running.json"
    assert main(["solve", str(FIG1), "--solver", "tsam", "-o", str(path)]) == 0
    return path


def solve(running: Path, *argv: object) -> int:
    return main(["solve", str(FIG1), "--running", str(running), *map(str, argv)])


def test_the_answer_is_a_schedule_of_the_graph(
    running: Path, tmp_path: Path, capsys: Capture
) -> None:
    again = tmp_path / "again.json"
    assert solve(running, "--at", "1000us", "-o", again) == 0
    out = capsys.readouterr().out
    assert "at 1 ms: 2 of 6 ops have started and stay, 2 run elsewhere than planned" in out
    assert "it would add 3 ms on cpu0" in out
    assert main(["check", str(FIG1), str(again)]) == 0
    assert main(["explain", str(FIG1), str(again), "m1/op3"]) == 0


def test_json_has_the_moves_and_their_price(running: Path, capsys: Capture) -> None:
    assert solve(running, "--at", "1", "--move-cost", "0.5ms", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["breakdown"]["makespan"] == document["metrics"]["makespan"]
    assert document["value"] == 9
    assert sum(row["ops"] for row in document["modules"]) == 6
    assert document["replanned"]["price"] == 1
    assert document["replanned"]["value"] == 10
    assert [move["op"] for move in document["moves"]] == ["m1/op3", "m2/op6"]


def test_a_graph_with_what_joins_is_written(running: Path, tmp_path: Path, capsys: Capture) -> None:
    late, whole, again = (tmp_path / name for name in ("late.yaml", "whole.yaml", "again.json"))
    late.write_text(FIG1.read_text().replace("id: m", "id: late"))
    argv = ("--at", 1, "--add", late, "--write-graph", whole, "-o", again, "--solver", "heft")
    assert solve(running, *argv) == 0
    assert "2 of 12 ops have started" in capsys.readouterr().out
    assert main(["check", str(whole), str(again)]) == 0


@pytest.mark.parametrize(
    ("text", "found"),
    [("5us", ("5us", 0)), ("1us/MiB", ("1us", 2**20)), ("1us/4MiB", ("1us", 2**22))],
)
def test_a_price_is_of_an_op_or_of_bytes(text: str, found: tuple[str, int]) -> None:
    assert price(text) == found


def test_what_leaves_is_told(running: Path, capsys: Capture) -> None:
    assert solve(running, "--at", 3, "--without", "gpu0") == 0
    out = capsys.readouterr().out
    assert "runs again: m2/op6" in out
    assert "gpu0 left, it runs again" in out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--at", "99"], "at is 99.0, expected from 0 to 6 ms"),
        (["--at", "1", "--without", "gpu9"], "without names 'gpu9'"),
        (["--at", "1", "--move-cost", "dear"], "'dear' is not a price of moving"),
        (["--at", "1", "--move-cost", "5us/"], "'5us/' is not a price of moving"),
        (["--at", "1", "--move-cost", "5us/0"], "'5us/0' is not a price of moving"),
        (["--at", "soon"], "'soon' is not a time such as 12.5 or 5ms"),
        ([], "expected --at TIME too"),
        (["--at", "1", "--warm-start", "x.json"], "--warm-start does not go with --running"),
        (["--at", "1", "--samples", "3"], "--samples does not go with --running"),
        (["--at", "1", "--solver", "dp"], "does not cover ops that have started"),
        (["--at", "1", "--objective", "bottleneck"], "is not about when ops end"),
    ],
)
def test_bad_input_is_one_error(
    running: Path, capsys: Capture, argv: list[str], message: str
) -> None:
    assert solve(running, *argv) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("error:") == 1


def test_a_schedule_of_another_graph_is_refused(running: Path, capsys: Capture) -> None:
    other = FIG1.parent / "alexnet.yaml"
    assert main(["solve", str(other), "--running", str(running), "--at", "1"]) == 2
    assert "expected that of the graph" in capsys.readouterr().err


def test_half_a_question_is_refused(capsys: Capture) -> None:
    assert main(["solve", str(FIG1), "--without", "gpu0"]) == 2
    assert "expected --running too" in capsys.readouterr().err
