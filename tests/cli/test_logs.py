"""``--log-file``: what happens, line by line, for people and for programs."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import talos_opt
from talos_opt.cli.main import main
from talos_opt.core import logs
from tests.builders import fig1, op, problem
from tests.cli.process import FIG1

Capture = pytest.CaptureFixture[str]


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_solve_as_json(tmp_path: Path, capsys: Capture) -> None:
    log = tmp_path / "log.jsonl"
    assert main(["solve", str(FIG1), "--log-file", str(log), "--log-format", "json"]) == 0
    lines = lines_of(log)
    events = [line["event"] for line in lines]
    assert events[:2] == ["command", "start"]
    assert events[-2:] == ["end", "exit"]
    assert set(events[2:-2]) == {"incumbent"}
    times = [datetime.fromisoformat(line["time"]) for line in lines]
    assert times == sorted(times)
    assert all(time.utcoffset() == timedelta(0) for time in times)
    start, end = lines[1], lines[-2]
    assert (start["graph"], start["ops"], start["devices"]) == ("fig1", 6, 2)
    assert (end["status"], end["value"], end["gap"]) == ("optimal", 9, 0)
    values = [line["value"] for line in lines[2:-2]]
    assert values == sorted(values, reverse=True)
    assert values[-1] == 9
    assert {"solver", "lower_bound", "gap", "time_s"} <= lines[2].keys()
    assert lines[-1]["exit_code"] == 0
    assert lines[0]["arguments"][:2] == ["solve", str(FIG1)]
    assert "log" not in capsys.readouterr().err


def test_a_second_run_is_appended_as_text(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    for _ in range(2):
        assert main(["solve", str(FIG1), "--solver", "heft", "--log-file", str(log)]) == 0
    lines = log.read_text().splitlines()
    assert sum(" INFO command: talos-opt solve (" in line for line in lines) == 2
    assert sum("exit_code=0" in line for line in lines) == 2
    assert sum(" INFO start: " in line for line in lines) == 2  # none of the baselines
    assert datetime.fromisoformat(lines[0].split()[0]).utcoffset() is not None


def test_errors_and_their_exit_code(tmp_path: Path, capsys: Capture) -> None:
    log, graph = tmp_path / "log.jsonl", tmp_path / "nope.yaml"
    asked = ["--log-file", str(log), "--log-format", "json"]
    assert main(["solve", str(graph), *asked]) == 2
    error, end = lines_of(log)[1:]
    assert (error["event"], error["level"]) == ("error", "error")
    assert error["message"] in capsys.readouterr().err
    assert (end["event"], end["exit_code"]) == ("exit", 2)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full, which is always full")
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_full_disk_ends_the_log_and_not_the_run(form: str, capsys: Capture) -> None:
    asked = ["--log-file", "/dev/full", "--log-format", form]
    assert main(["solve", str(FIG1), "--solver", "heft", *asked]) == 0
    told = capsys.readouterr()
    assert told.err == "note: /dev/full: the log is incomplete: No space left on device\n"
    assert "makespan" in told.out


def test_names_that_are_no_text(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Workers of pytest-xdist cannot send what pytest captures of it.
    monkeypatch.setattr(logs.LOGGER, "propagate", False)
    log = tmp_path / "log.jsonl"
    asked = ["--log-file", str(log), "--log-format", "json"]
    assert main(["solve", "no\udcff.yaml", *asked]) == 2
    assert "does not exist" in capsys.readouterr().err
    command, error, _ = lines_of(log)
    assert command["arguments"][1] == "no\udcff.yaml"
    assert error["event"] == "error"


def test_a_log_has_a_file_of_its_own(tmp_path: Path, capsys: Capture) -> None:
    """A log would be appended to the graph, or replaced by the schedule."""
    graph, out = tmp_path / "graph.yaml", tmp_path / "out.json"
    graph.write_text(FIG1.read_text())
    for log in (f"--log-file={graph}", f"--log-file={out}"):
        assert main(["solve", str(graph), "-o", str(out), log]) == 2
        assert "is named twice, expected a file of its own for the log" in capsys.readouterr().err
    assert main(["solve", str(graph), "--log-file", "-"]) == 2
    assert "standard output is for the answer" in capsys.readouterr().err
    assert graph.read_text() == FIG1.read_text()
    assert not out.exists()


def test_a_log_that_cannot_be_written(tmp_path: Path, capsys: Capture) -> None:
    missing = tmp_path / "nowhere" / "log.txt"
    assert main(["solve", str(FIG1), "--log-file", str(missing)]) == 2
    assert (
        capsys.readouterr().err
        == f"error: {missing}: cannot be written: No such file or directory\n"
    )
    assert main(["solve", str(FIG1), "--log-format", "json"]) == 2
    assert "--log-format is of a log: it needs --log-file FILE" in capsys.readouterr().err


def test_a_note_is_logged_once(tmp_path: Path) -> None:
    log, before = tmp_path / "log.jsonl", (logs.LOGGER.level, list(logs.LOGGER.handlers))
    with logs.into_file(str(log), "json"):
        logs.tell("note", "kernels were compiled")
        logs.tell("note", "kernels were compiled")
        logs.tell("note", "and more\nof it", bound=float("inf"))
    assert [line["message"] for line in lines_of(log)] == [
        "kernels were compiled",
        "and more\nof it",
    ]
    assert lines_of(log)[1]["bound"] is None
    with logs.into_file(str(log)):
        logs.tell("note", "one\nline", seed=0)
    assert log.read_text().endswith(" INFO note: one\\nline (seed=0)\n")
    assert (logs.LOGGER.level, logs.LOGGER.handlers) == before


def test_a_sweep_tells_its_cases(tmp_path: Path) -> None:
    study, log = tmp_path / "s.yaml", tmp_path / "log.jsonl"
    study.write_text(f"graphs: [{FIG1}]\nsolvers: [heft, single]\ntime_limit: 1\n")
    asked = ["--workers", "1", "--log-file", str(log), "--log-format", "json"]
    assert main(["sweep", str(study), *asked]) == 0
    lines = lines_of(log)
    assert [line["event"] for line in lines][:2] == ["command", "start"]
    last = [line for line in lines if line["event"] == "progress"][-1]
    assert (last["done"], last["total"], last["failed"]) == (2, 2, 0)
    assert lines[-2]["statuses"] == {"feasible": 2}


def test_the_logger_in_python(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "talos_opt"):
        result = talos_opt.solve(fig1(), "heft")
        talos_opt.gains(result)
    events: list[Any] = [getattr(record, "event", "") for record in caplog.records]
    assert events[0] == "start"
    assert events[-1] == "end"  # the baselines say nothing
    assert {"incumbent", "bound"} <= {*events}
    assert events.count("start") == 1


def test_what_ends_a_solve_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    large = problem([op("a")])

    def refuse(seen: talos_opt.Progress) -> None:
        raise ValueError("enough")

    with caplog.at_level(logging.INFO, "talos_opt"), pytest.raises(ValueError, match="enough"):
        talos_opt.solve(large, "heft", on_progress=refuse)
    last = caplog.records[-1]
    assert (last.levelname, getattr(last, "event", "")) == ("ERROR", "failed")
    assert "ValueError: enough" in last.getMessage()


def test_nobody_listens_nothing_is_done(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a record was made")

    monkeypatch.setattr(logs.LOGGER, "log", refuse)
    with caplog.at_level(logging.CRITICAL, "talos_opt"):
        assert talos_opt.solve(fig1(), "heft").value == 9
