"""Schedules as tables and as graphs: what is in them is what the schedule says."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from talos_opt import api
from talos_opt.core.errors import DependencyError, InputError
from talos_opt.core.graph import Graph
from talos_opt.core.problem import Problem
from talos_opt.core.result import Result, Status
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import simulate
from tests.builders import link, op, problem


def split() -> tuple[Problem, Schedule]:
    """Two ops of two models on a CPU, and one after the first that is on a GPU."""
    ops = {
        "m": [op("a", {"cpu": 2, "gpu": 9}, output=8, module="net.head"),
              op("b", {"cpu": 9, "gpu": 1}, "a", type="Conv")],
        "other": [op("a", 1)],
    }  # fmt: skip
    found = problem(ops, "cpu0 gpu0", [link("cpu gpu", bandwidth=4)])
    return found, simulate(found, np.array([0, 1, 0]), [0, 1, 2])


def test_a_row_for_each_op() -> None:
    pytest.importorskip("pandas", reason="needs pandas")
    found, schedule = split()
    frame = schedule.to_frame(found)
    assert frame.attrs == {"graph": "test", "time_unit": "s"}
    assert frame.to_dict("list") == {
        "model": ["m", "m", "other"],
        "op": ["a", "b", "a"],
        "type": ["", "Conv", ""],
        "module": ["net.head", "", ""],
        "device": ["cpu0", "gpu0", "cpu0"],
        "start": [0, 4, 2],
        "end": [2, 5, 3],
    }
    result = Result(found, Status.FEASIBLE, schedule, 0.0, "x")
    assert result.to_frame().equals(frame)


def test_a_row_for_each_transfer() -> None:
    pytest.importorskip("pandas", reason="needs pandas")
    found, schedule = split()
    assert schedule.to_frame(found, "transfers").to_dict("records") == [
        {"model": "m", "op": "a", "output": "", "from": "cpu0", "to": "gpu0",
         "start": 2, "end": 4, "bytes": 8},
    ]  # fmt: skip
    alone = simulate(found, np.array([0, 0, 0]), [0, 1, 2])
    empty = alone.to_frame(found, "transfers")
    assert len(empty) == 0
    assert list(empty.columns)[:2] == ["model", "op"]
    with pytest.raises(InputError, match="rows is 'links', expected ops or transfers"):
        schedule.to_frame(found, "links")


def test_without_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    found, schedule = split()
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(DependencyError, match=r"tables need pandas, .*: pip install pandas$"):
        schedule.to_frame(found)


def test_a_graph_with_the_schedule_on_its_nodes() -> None:
    found, schedule = split()
    graph = Result(found, Status.FEASIBLE, schedule, 0.0, "x").to_networkx()
    node = graph.nodes["m/b"]
    assert (node["device"], node["start"], node["end"], node["type"]) == ("gpu0", 4, 5, "Conv")
    assert set(graph.edges) == {("m/a", "m/b")}
    again = Problem(Graph.from_networkx(graph), found.cluster)  # where each op stays
    assert api.solve(again, "heft").placement == schedule.placement(found)


def test_no_schedule_no_table() -> None:
    found, _ = split()
    none = Result(found, Status.UNKNOWN, None, 0.0, "x")
    for method in (none.to_frame, none.to_networkx):
        with pytest.raises(InputError, match="the result has no schedule: it is unknown"):
            method()
