"""What Python prints of the package's objects: one line each, whatever they hold."""

from __future__ import annotations

from typing import Any

from talos_opt import api
from talos_opt.core.graph import ColumnarModels
from talos_opt.core.result import Event, Result, Status
from tests.builders import fig1, op, problem


def test_each_is_a_line() -> None:
    ops = [op(f"op{i}") for i in range(300)]
    large = problem({f"m{j}": list(ops) for j in range(10)})
    result = api.solve(large, "single")
    history = tuple(Event(k / 100, 9.0, 6.0, "x") for k in range(1000))
    long = Result(large, Status.FEASIBLE, result.schedule, 0.0, "x", history=history)
    graph: Any = large.graph
    assert result.schedule is not None
    items = [
        large, graph, large.cluster, large.arrays, graph.models[0], graph.columns, result, long,
        result.schedule, result.schedule.transfers, graph.columns.ids,
        ColumnarModels(graph.columns), api.compare([large, large], ["single"], time_limit=1),
    ]  # fmt: skip
    for item in items:
        assert len(repr(item)) < 200
        assert "\n" not in repr(item)
        assert type(item).__name__ in repr(item)


def test_they_say_what_one_wants_to_know() -> None:
    found = fig1()
    assert repr(found) == "Problem('test': 2 models, 6 ops, 2 devices; toct, memory static)"
    assert repr(found.graph) == "Graph('test': 2 models, 6 ops, s)"
    assert repr(found.cluster) == "Cluster(1 cpu, 1 gpu; links: free, contention none)"
    assert repr(found.graph.models[1]) == "Model('m2': 3 ops, weight=1, release=0)"
    none = Result(found, Status.UNKNOWN, None, 2.5, "heft")
    assert repr(none) == (
        "Result('test': unknown, no schedule, lower_bound=2.5, solver='heft', runtime_s=0)"
    )
    result = api.solve(found, "heft")
    assert repr(result).startswith("Result('test': feasible, toct 9, lower_bound=7.5, solver='h")
    assert repr(result.schedule) == "Schedule(6 ops, 0 transfers, makespan=4.5)"
