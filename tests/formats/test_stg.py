"""Task graphs of the Standard Task Graph Set: what is read, and a row for each mistake."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

import talos_opt
from talos_opt.core.cluster import Cluster, Device
from talos_opt.core.errors import InputError
from talos_opt.core.problem import Objective, Problem
from talos_opt.formats import read_problem

from .samples import SHARED

SETS = SHARED / "sets" / "stg"

PLAIN = """\
          3
          0          0          0
          1          4          1          0
          2          3          1          0
          3          2          2          1          2
          4          0          1          3
# made up
# CP length : 6
"""
COSTS = """\
 3 2
 0 5 0
 1 4 1
     0 3
 2 6 2   # a remark
     0 2
     1 7
# made up
"""


def read(folder: Path, text: str, name: str = "g.stg", **options: object) -> Problem:
    path = folder / name
    path.write_text(text)
    return read_problem(path, **options)  # type: ignore[arg-type]


def test_tasks_are_ops_without_the_dummies(tmp_path: Path) -> None:
    problem = read(tmp_path, PLAIN)
    assert problem.objective is Objective.MAKESPAN
    assert problem.device_ids == ("p0", "p1", "p2", "p3")
    (model,) = problem.graph.models
    assert [(op.id, dict(op.time)) for op in model.ops] == [
        ("1", {"cpu": 4.0}),
        ("2", {"cpu": 3.0}),
        ("3", {"cpu": 2.0}),
    ]
    assert [item.op for item in model.ops[2].inputs] == ["1", "2"]
    assert talos_opt.solve(problem, "cpsat").value == 6.0


@pytest.mark.parametrize("name", ["g.stg", "g.txt", "g", "g.STG"])
@pytest.mark.parametrize("text", [PLAIN, COSTS])
def test_files_are_recognised(tmp_path: Path, name: str, text: str) -> None:
    assert read(tmp_path, text, name).graph.op_count == 3
    (tmp_path / "packed.stg.gz").write_bytes(gzip.compress(text.encode()))
    assert read_problem(tmp_path / "packed.stg.gz").graph.op_count == 3


def test_communication_costs_are_the_times_of_transfers(tmp_path: Path) -> None:
    problem = read(tmp_path, COSTS)
    assert problem.device_ids == ("p0", "p1")
    assert [op.id for op in problem.ops] == ["0", "1", "2"]
    # All on one processor: 15. Apart, task 2 would wait until 5 + 4 + 7.
    assert talos_opt.solve(problem, "cpsat").value == 15.0
    free = read(tmp_path, "3 2\n0 5 0\n1 9 1\n0 3\n2 6 1\n0 2\n")
    assert talos_opt.solve(free, "cpsat").value == 14.0  # 5 + 2 + 6, beside 5 + 9


def test_readers_that_pay_different_costs_read_different_tensors(tmp_path: Path) -> None:
    first = read(tmp_path, "4 4\n0 5 0\n1 9 1\n0 3\n2 9 1\n0 7\n3 9 1\n0 3\n").ops[0]
    assert first.outputs == {"cost 3": 3, "cost 7": 7}


def test_a_dummy_that_sends_something_stays(tmp_path: Path) -> None:
    problem = read(tmp_path, "3\n0 0 0\n1 4 1\n0 3\n2 0 1\n1 0\n")
    assert [op.id for op in problem.ops] == ["0", "1"]


def test_a_file_without_dummies(tmp_path: Path) -> None:
    problem = read(tmp_path, "2\n1 1.5 0\n2 3 1 1\n", objective="toct")
    assert [op.id for op in problem.ops] == ["1", "2"]
    assert problem.ops[0].time == {"cpu": 1.5}
    assert problem.objective is Objective.TOCT


def test_another_cluster(tmp_path: Path) -> None:
    cluster = Cluster((Device("a", "cpu"), Device("b", "big")))
    problem = read(tmp_path, PLAIN, cluster=cluster)
    assert problem.cluster == cluster
    assert problem.ops[0].time == {"cpu": 4.0, "big": 4.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tasks\n0 0 0\n", "g.stg:1: the first line is 'tasks', expected the number of tasks"),
        ("# nothing\n", "g.stg:1: the first line is '', expected the number of tasks"),
        ("3 0\n0 0 0\n", "g.stg:1: the number of processors is 0, expected 1 to 10000"),
        ("3\n0 0 0\n1 2 1 0\n", "g.stg: has 2 tasks, expected 3 by its first line, or 5 with"),
        ("1\n0 0 0\n1 x 1 0\n2 0 1 1\n", "g.stg:3: '1 x 1 0' is not a task, expected its number"),
        ("1\n0 0 0\n1 -4 1 0\n2 0 1 1\n", "g.stg:3: '1 -4 1 0' is not a task"),
        ("1\n0 0 0\n1 nan 1 0\n2 0 1 1\n", "g.stg:3: '1 nan 1 0' is not a task"),
        ("1\n0 0 0\n1 1e300 1 0\n2 0 1 1\n", "g.stg:3: the time of task 1 is '1e300', expected 0"),
        ("1\n0 0 0\n1 4\n2 0 1 1\n", "g.stg:3: '1 4' is not a task"),
        ("1\n0 0 0\n1 4 2 0\n2 0 1 1\n", "g.stg:3: task 1 has 1 predecessors, expected 2"),
        ("2\n0 0 0\n1 4 2 0 0\n", "g.stg:3: task 1 names a predecessor twice"),
        ("2\n0 0 0\n1 4 1 7\n", "g.stg:3: task 1 has predecessor 7, expected the number of a task"),
        ("2\n0 1 0\n0 4 0\n", "g.stg:3: task 0 is given twice, first in line 2"),
        ("2\n0 1 0\n1 4 2\n0 3\n", "g.stg:4: predecessor 2 of 2 of task 1 is '', expected"),
        ("2\n0 1 0\n1 4 1\n0 1.5\n", "g.stg:4: predecessor 1 of 1 of task 1 is '0 1.5', expected"),
        ("2\n0 1 1 1\n1 4 1 0\n", "has a cycle: "),
        ("1\n1 4 1 1\n", "g.stg:2: "),
        ("0\n0 0 0\n1 0 1 0\n", "g.stg: has dummy tasks only"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path, text, format="stg")
    assert message in str(error.value)
    assert "g.stg" in str(error.value)


@pytest.mark.skipif(not SETS.is_dir(), reason="the instance sets (../shared/data/sets) are absent")
def test_public_graphs_written_as_text(tmp_path: Path) -> None:
    """The encodings of the set, written in its own layout again, are read as the same graphs."""
    for path in sorted(SETS.iterdir()):
        known = read_problem(path)
        ops = json.loads(path.read_text())["models"][0]["ops"]
        number = {op["id"]: k for k, op in enumerate(ops, start=1)}
        rows = [f"{len(ops)}", "0 0 0"]
        for op in ops:
            before = [number[name] for name in op.get("inputs", [])] or [0]
            row = [number[op["id"]], op["time"]["cpu"], len(before), *before]
            rows.append("".join(f"{value:11}" for value in row))
        read_again = {name for op in ops for name in op.get("inputs", [])}
        last = [k for name, k in number.items() if name not in read_again]
        rows.append(" ".join(map(str, [len(ops) + 1, 0, len(last), *last])))
        found = read(tmp_path, "\n".join(rows))
        assert [dict(op.time) for op in found.ops] == [dict(op.time) for op in known.ops]
        assert [{number[i.op] for i in op.inputs} for op in known.ops] == [
            {int(i.op) for i in op.inputs} for op in found.ops
        ]
