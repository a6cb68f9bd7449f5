"""``pipeline``: what is printed, written and drawn, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from talos_opt import formats
from talos_opt.cli.main import main
from talos_opt.core.metrics import objective_value
from talos_opt.core.result import Result, Status
from talos_opt.core.simulator import simulate
from tests.builders import device, link, op, problem

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Path]:
    """Four layers of training on two devices, a pipeline, and one that is none."""
    ops = [op(f"f{k}", 1, f"f{k - 1}:0" if k else "", output=8) for k in range(4)]
    for k in reversed(range(4)):
        ops.append(op(f"b{k}", 2, f"f{k}" + (f" b{k + 1}:0" if k < 3 else ""), phase="backward"))
    devices = [device("gpu0", 64), device("gpu1", 64)]
    given = problem(ops, devices, [link("gpu gpu", 0)], objective="makespan")
    graph, good, bad = (tmp_path / name for name in ("g.yaml", "good.json", "bad.json"))
    formats.write_problem(given, graph)
    order = np.arange(8)
    for target, place in ((good, [0, 0, 1, 1, 1, 1, 0, 0]), (bad, [0, 1, 0, 1, 1, 0, 1, 0])):
        schedule = simulate(given, np.array(place), order)
        value = objective_value(given, schedule)
        formats.write_schedule(Result(given, Status.FEASIBLE, schedule, value, "test"), target)
    return graph, good, bad


def test_a_table_a_document_and_a_picture(
    capsys: Capture, tmp_path: Path, files: tuple[Path, Path, Path]
) -> None:
    graph, good, _ = files
    target, picture = tmp_path / "steps.json", tmp_path / "steps.svg"
    argv = ["pipeline", str(graph), str(good), "--microbatches", "1,4,8"]
    assert main([*argv, "--plot", str(picture), "-o", str(target)]) == 0
    text = capsys.readouterr().out
    assert "2 stages, gpu0 -> gpu1" in text
    assert "!: more than the device has" in text
    assert "shortest per micro-batch: 1f1b, 8 micro-batches" in text
    document = json.loads(target.read_text())
    assert document["schema"] == "talos-pipeline/1"
    by = {(step["schedule"], step["microbatches"]): step for step in document["steps"]}
    assert by["gpipe", 4]["step"] == by["1f1b", 4]["step"] == 6 * 5
    assert [by[name, 8]["fits"] for name in ("gpipe", "1f1b")] == [False, True]
    assert by["gpipe", 8]["stages"][0]["short"] == 8 * 16 - 64
    assert len(by["1f1b", 8]["stages"][1]["blocks"]) == 16
    assert picture.read_text().startswith("<?xml")
    assert main([*argv, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == document


def test_nothing_fits(capsys: Capture, files: tuple[Path, Path, Path]) -> None:
    argv = ["pipeline", str(files[0]), str(files[1]), "--microbatches", "8", "--schedule", "gpipe"]
    assert main(argv) == 1
    assert "nothing fits: gpipe with 8 micro-batches comes nearest" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--microbatches", "0"], "0"),
        (["--microbatches", "two"], "two"),
        (["--schedule", "zigzag"], "--schedule: 'zigzag', expected gpipe or 1f1b"),
    ],
)
def test_bad_arguments(
    capsys: Capture, files: tuple[Path, Path, Path], more: list[str], message: str
) -> None:
    try:
        code = main(["pipeline", str(files[0]), str(files[1]), *more])
    except SystemExit as end:
        code = end.code  # type: ignore[assignment]
    assert code == 2
    assert message in capsys.readouterr().err


def test_a_placement_that_is_no_pipeline(capsys: Capture, files: tuple[Path, Path, Path]) -> None:
    assert main(["pipeline", str(files[0]), str(files[2])]) == 2
    assert "enter a device again: gpu0 -> gpu1 -> gpu0" in capsys.readouterr().err
