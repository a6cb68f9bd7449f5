"""What a solver hands back, and the document it becomes."""

from __future__ import annotations

import json
import math

import pytest

from talos_opt.core.result import Event, Result, Row, Status, compare_results, relative_gap
from tests.builders import fig1, schedule

OPTIMUM = {
    "op1": ("gpu0", 0.0), "op5": ("gpu0", 1.0), "op3": ("gpu0", 2.5),
    "op4": ("cpu0", 0.0), "op2": ("cpu0", 1.5), "op6": ("cpu0", 2.5),
}  # fmt: skip


def result(status: Status = Status.FEASIBLE, bound: float = 6.0, **more: object) -> Result:
    answer = schedule(fig1(), OPTIMUM)
    return Result(fig1(), status, answer, bound, "mine", **more)  # type: ignore[arg-type]


def test_the_values_of_a_result() -> None:
    found = result()
    assert found.value == 9
    assert found.gap == 3 / 9
    assert found.metrics is not None
    assert found.metrics.makespan == 4.5
    assert found.placement["m2/op6"] == "cpu0"


@pytest.mark.parametrize(
    ("value", "bound", "forced", "gap"),
    [
        (4, 3, 0, 0.25),
        (0, 0, 0, 0),
        (4, 4.1, 0, 0),
        (104, 103, 100, 0.25),
        (104, 50, 100, 1),
        (100, 100, 100, 0),
    ],
)
def test_gap(value: float, bound: float, forced: float, gap: float) -> None:
    assert relative_gap(value, bound, forced) == gap


def test_the_document_is_the_contract() -> None:
    events = (Event(0.1, 9.0, 6.0, "mine"),)
    document = result(seed=3, runtime_s=0.5, history=events).to_dict()
    assert json.loads(json.dumps(document)) == document
    assert set(document) == {
        "schema", "graph", "time_unit", "status", "solver", "seed", "objective", "value",
        "lower_bound", "gap", "runtime_s", "metrics", "ops", "transfers", "history", "made",
    }  # fmt: skip
    assert document["schema"] == "talos-schedule/1"
    assert document["status"] == "feasible"
    assert document["ops"][0] == {
        "model": "m1", "op": "op1", "device": "gpu0", "start": 0.0, "end": 1.0,
    }  # fmt: skip
    assert document["history"] == [
        {"time_s": 0.1, "value": 9.0, "lower_bound": 6.0, "solver": "mine"}
    ]
    assert set(document["metrics"]) >= {
        "toct", "makespan", "bottleneck", "weighted_speedup", "completion", "idle_time",
        "peak_memory", "transferred_bytes",
    }  # fmt: skip


def test_without_a_schedule_there_is_a_reason() -> None:
    found = Result(fig1(), Status.INFEASIBLE, None, math.inf, "mine", reason="no room")
    assert (found.value, found.gap, found.metrics, found.placement) == (None, None, None, {})
    document = found.to_dict()
    assert (document["ops"], document["value"], document["lower_bound"]) == ([], None, None)
    assert document["reason"] == "no room"
    json.dumps(document, allow_nan=False)


def test_a_comparison_measures_against_the_best_of_each_graph() -> None:
    worse = {name: (where, start + 1) for name, (where, start) in OPTIMUM.items()}
    other = Result(fig1(), Status.FEASIBLE, schedule(fig1(), worse), 6.0, "other")
    none = Result(fig1(), Status.UNKNOWN, None, 6.0, "third", reason="out of time")
    rows = [
        Row("fig1", "mine", result()),
        Row("fig1", "other", other),
        Row("fig1", "third", none),
        Row("fig1", "broken", None, "it broke"),
    ]
    table = compare_results(rows)
    assert [table.ratio(row) for row in rows] == [1, 11 / 9, None, None]
    shown = table.to_dict()["rows"]
    assert shown[2]["reason"] == "out of time"
    assert shown[3] == {
        "graph": "fig1",
        "solver": "broken",
        "status": "error",
        "reason": "it broke",
    }
    json.dumps(shown, allow_nan=False)
