"""talos-schedule/1 in and out."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, reject, settings

from talos_opt.core.errors import FormatError, ScheduleError
from talos_opt.core.problem import Problem
from talos_opt.core.result import Event, Result, Status
from talos_opt.core.schedule import Schedule, TransferRow, Transfers
from talos_opt.core.simulator import MemoryDeadlockError, simulate
from talos_opt.core.transfers import NoRouteError
from talos_opt.formats import (
    read_problem,
    read_schedule,
    write_schedule,
)
from talos_opt.formats.schedule import ScheduleFile

from ..strategies import placed_problems
from .samples import DELETE, small, spoil

SUFFIXES = [".json", ".yaml", ".yml", ".json.gz", ".yaml.gz"]


@pytest.fixture
def problem(tmp_path: Path) -> Problem:
    path = tmp_path / "graph.json"
    path.write_text(json.dumps(small()))
    return read_problem(path)


def schedule() -> Schedule:
    """A schedule of SMALL, with a time that decimal fractions cannot hold."""
    return Schedule(
        np.array([0, 0, 1]),
        np.array([0.0, 5.0, 6.0 + 0.1 + 0.2]),
        np.array([5.0, 6.0, 8.3]),
        Transfers.from_rows(
            [TransferRow(0, 0, 1, 5.0, 5.5, 10), TransferRow(1, 0, 1, 6.0, 6.3, 7)]
        ),
    )


def document() -> dict[str, Any]:
    return {
        "schema": "talos-schedule/1",
        "ops": [
            {"model": "m1", "op": "b", "device": "cpu0", "start": 5, "end": 6, "note": "mine"},
            {"model": "m1", "op": "a", "device": "cpu0", "start": 0, "end": 5.0},
            {"model": "m1", "op": "c", "device": "gpu0", "start": "6.5", "end": 8.5},
        ],
        "transfers": [
            {
                "model": "m1",
                "op": "a",
                "from": "cpu0",
                "to": "gpu0",
                "start": 5,
                "end": 5.5,
                "bytes": 10,
            },
        ],
    }


def same(a: Schedule, b: Schedule) -> bool:
    pairs = [(getattr(a, name), getattr(b, name)) for name in ("device", "start", "end")]
    pairs += [(getattr(a.transfers, name), column) for name, column in vars(b.transfers).items()]
    return all(np.array_equal(x, y) for x, y in pairs)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_round_trip(tmp_path: Path, problem: Problem, suffix: str) -> None:
    result = Result(
        problem,
        Status.FEASIBLE,
        schedule(),
        1.5,
        "test",
        history=(Event(0.1, None, 0.0, "x"), Event(0.2, 8.3, 1.5, "x")),
        notes=("one",),
    )
    path = tmp_path / f"s{suffix}"
    write_schedule(result, path)
    assert ScheduleFile(path).document == json.loads(json.dumps(result.to_dict()))
    assert same(read_schedule(path, problem), schedule())


def test_one_op_a_line(tmp_path: Path, problem: Problem) -> None:
    path = tmp_path / "s.json"
    write_schedule(Result(problem, Status.FEASIBLE, schedule(), 0.0, "test"), path)
    lines = path.read_text().splitlines()
    assert '  {"model": "m1", "op": "b", "device": "cpu0", "start": 5.0, "end": 6.0},' in lines
    assert sum('"bytes"' in line for line in lines) == 2
    assert ' "status": "feasible",' in lines


@pytest.mark.parametrize(
    ("status", "bound"), [(Status.INFEASIBLE, math.inf), (Status.UNKNOWN, 0.0)]
)
def test_without_a_schedule(tmp_path: Path, problem: Problem, status: Status, bound: float) -> None:
    history = (Event(0.1, None, math.inf, "x"),)
    result = Result(problem, status, None, bound, "test", reason="too big", history=history)
    path = tmp_path / "s.json"
    write_schedule(result, path)
    found = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(name))
    assert (found["ops"], found["value"], found["reason"]) == ([], None, "too big")
    assert found["lower_bound"] == (None if status is Status.INFEASIBLE else 0.0)
    assert found["history"][0]["lower_bound"] is None
    with pytest.raises(ScheduleError) as caught:
        read_schedule(path, problem)
    assert f"holds no schedule: ops is empty, status is '{status}'" in str(caught.value)
    assert str(path) in str(caught.value)


def test_to_standard_output(problem: Problem, capsys: pytest.CaptureFixture[str]) -> None:
    write_schedule(Result(problem, Status.FEASIBLE, schedule(), 0.0, "test"), "-")
    assert json.loads(capsys.readouterr().out)["schema"] == "talos-schedule/1"


def test_unknown_suffix(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"s\.txt: suffix '\.txt' is unknown"):
        write_schedule(document(), tmp_path / "s.txt")
    assert not (tmp_path / "s.txt").exists()


def write(tmp_path: Path, document: Any) -> Path:
    path = tmp_path / "s.json"
    path.write_text(json.dumps(document, indent=1))
    return path


def test_another_tools_file(tmp_path: Path, problem: Problem) -> None:
    found = read_schedule(write(tmp_path, document()), problem)
    assert found.device.tolist() == [0, 0, 1]
    assert found.start.tolist() == [0.0, 5.0, 6.5]
    assert found.end.tolist() == [5.0, 6.0, 8.5]
    assert list(found.transfers.rows()) == [TransferRow(0, 0, 1, 5.0, 5.5, 10, 0)]


def test_transfers_may_be_absent(tmp_path: Path, problem: Problem) -> None:
    bare = document()
    del bare["transfers"]
    assert len(read_schedule(write(tmp_path, bare), problem).transfers) == 0


def test_the_name_of_the_graph_does_not_matter(tmp_path: Path, problem: Problem) -> None:
    renamed = document() | {"graph": "other", "time_unit": "ms", "metrics": None}
    assert len(read_schedule(write(tmp_path, renamed), problem).device) == 3


WRONG = [
    ("schema", DELETE, None, "schema is empty, expected 'talos-schedule/1'"),
    ("schema", "talos-graph/1", "schema", "'talos-graph/1', expected 'talos-schedule/1'"),
    ("time_unit", "us", "time_unit", "'us', expected that of the graph, 'ms'"),
    ("ops", DELETE, None, "the schedule has no 'ops'"),
    ("ops", {}, "ops", "a mapping, expected a list"),
    ("ops.1", "a", "ops[1]", "an op is 'a', expected a mapping"),
    ("ops.1", DELETE, "ops", "leaves out 1 of 3 ops (m1/a), expected every op once"),
    ("ops.1.op", "b", "ops[1]", "m1/b is placed twice (first as ops[0])"),
    ("ops.1.op", "z", "ops[1].op", "model 'm1' has no op 'z'"),
    ("ops.1.op", None, "ops[1].op", "empty, expected a name"),
    ("ops.1.op", DELETE, "ops[1]", "an op has no 'op'"),
    ("ops.1.model", "m2", "ops[1].model", "no model 'm2', expected one of m1"),
    ("ops.1.device", "tpu0", "ops[1].device", "no device 'tpu0', expected one of cpu0, gpu0"),
    ("ops.1.device", "gpu", "ops[1].device", "no device 'gpu'"),
    ("ops.1.device", True, "ops[1].device", "True, expected a name"),
    ("ops.1.start", -1, "ops[1].start", "-1, expected a number of at least 0"),
    ("ops.1.start", math.nan, "ops[1].start", "nan, expected a finite number"),
    ("ops.1.end", "late", "ops[1].end", "'late', expected a number"),
    ("ops.1.end", None, "ops[1].end", "empty, expected a number"),
    ("transfers", 5, "transfers", "5, expected a list"),
    ("transfers.0", [], "transfers[0]", "a transfer is a list"),
    ("transfers.0.op", "z", "transfers[0].op", "no op 'z'"),
    ("transfers.0.from", "x", "transfers[0].from", "no device 'x'"),
    ("transfers.0.to", DELETE, "transfers[0]", "a transfer has no 'to'"),
    ("transfers.0.bytes", -1, "transfers[0].bytes", "-1, expected"),
    ("transfers.0.bytes", 1e300, "transfers[0].bytes", "expected at most"),
]


@pytest.mark.parametrize(("where", "value", "path", "words"), WRONG)
def test_wrong_values(
    tmp_path: Path, problem: Problem, where: str, value: Any, path: str | None, words: str
) -> None:
    spoiled = document()
    spoil(spoiled, where, value)
    file = write(tmp_path, spoiled)
    kind = FormatError if where == "schema" else ScheduleError
    with pytest.raises(kind) as caught:
        read_schedule(file, problem)
    assert words in caught.value.message
    assert caught.value.path == path
    assert caught.value.source == str(file)
    assert (caught.value.line is not None) == (path is not None)


@pytest.mark.parametrize("value", [[], 5, None, "talos-schedule/1"])
def test_no_mapping(tmp_path: Path, problem: Problem, value: Any) -> None:
    with pytest.raises(FormatError, match="expected a mapping: talos-schedule/1"):
        read_schedule(write(tmp_path, value), problem)


def test_a_schedule_of_another_graph_says_so(tmp_path: Path, problem: Problem) -> None:
    other = document() | {"graph": "other"}
    other["ops"][0]["model"] = "m9"
    with pytest.raises(ScheduleError, match=r"of graph 'other', this is 'small'"):
        read_schedule(write(tmp_path, other), problem)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(placed_problems())
def test_simulated_schedules_survive_the_file(tmp_path: Path, drawn: Any) -> None:
    problem, device, priority = drawn
    try:
        made = simulate(problem, np.array(device), priority)
    except (NoRouteError, MemoryDeadlockError):
        reject()
    for suffix in (".json", ".yaml"):
        path = tmp_path / f"s{suffix}"
        write_schedule(Result(problem, Status.FEASIBLE, made, 0.0, "test"), path)
        assert same(read_schedule(path, problem), made)
