"""Schedules against a captured model, outputs against outputs, and what a run becomes."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from talos_opt.core.errors import InputError
from talos_opt.core.metrics import measure
from talos_opt.frameworks.common.running import (
    Execution,
    Hop,
    OpTimes,
    RunReport,
    Span,
    Value,
    compare_outputs,
    measured_schedule,
    op_times,
    read_plan,
)

OPS = ("a", "b", "c")


def row(op: str, device: str, start: float, end: float, model: str = "m") -> dict[str, Any]:
    return {"model": model, "op": op, "device": device, "start": start, "end": end}


def document(**changes: Any) -> dict[str, Any]:
    return {
        "status": "feasible",
        "time_unit": "ms",
        "ops": [row("a", "x", 0, 2), row("b", "y", 3, 4), row("c", "x", 2, 7)],
        "transfers": [{"op": "a", "from": "x", "to": "y"}],
        **changes,
    }


def executed(stretch: float = 1.0) -> Execution:
    ops = (
        Span("a", "x", 0, 1 * stretch),
        Span("c", "x", 1 * stretch, 3 * stretch),
        Span("b", "y", 2 * stretch, 4 * stretch),
    )
    moves = (Span("a", "x", 1 * stretch, 2 * stretch, "y", 8),)
    return Execution([], 4 * stretch, ops, moves, 2)


def report(**changes: Any) -> RunReport:
    fields: dict[str, Any] = {
        "outputs_equal": True,
        "max_abs_error": 0.0,
        "predicted_s": 1.0,
        "measured_s": 4.0,
        "single_device_s": 5.0,
        "transfers": 1,
        "moved_bytes": 8,
        "ops": (),
        "outputs": [],
        "execution": executed(),
        "devices": {"x": "cpu", "y": "gpu:0", "idle": "cpu"},
    }
    return RunReport(**(fields | changes))


def test_a_plan_is_in_seconds() -> None:
    plan = read_plan(OPS, document())
    assert plan.device == {"a": "x", "b": "y", "c": "x"}
    assert plan.start_s == pytest.approx({"a": 0, "b": 3e-3, "c": 2e-3})
    assert plan.duration_s("c") == pytest.approx(5e-3)
    assert plan.makespan_s == pytest.approx(7e-3)
    assert plan.hops == (Hop("a", "x", "y"),)
    without_unit = {key: value for key, value in document().items() if key != "time_unit"}
    assert read_plan(OPS, without_unit).makespan_s == pytest.approx(7e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ops": [], "status": "infeasible"}, "holds no ops: its status is 'infeasible'"),
        (
            {"ops": [row("a", "x", 0, 1), row("d", "x", 0, 1), row("c", "x", 0, 1)]},
            "op 1 of the model, 'b', is not in it; op 1 there is 'd' (3 ops there, 3 here)",
        ),
        (
            {"ops": [row("a", "x", 0, 1), row("b", "x", 0, 1)]},
            "op 2 of the model, 'c', is not in it (2 ops there, 3 here)",
        ),
        (
            {"ops": [*document()["ops"], row("more", "x", 0, 1)]},
            "the model has no op 'more' (4 ops there, 3 here)",
        ),
        (
            {"ops": [*document()["ops"], row("a", "x", 0, 1, "n")]},
            "a schedule of 2 models (m, n), expected one",
        ),
    ],
)
def test_a_schedule_of_another_graph(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_plan(OPS, document(**changes))
    assert message in str(caught.value)


def value(*numbers: Any, dtype: str = "float32", name: str | None = None) -> Value:
    return Value(np.array(numbers, dtype=dtype), name or dtype)


@pytest.mark.parametrize(
    ("a", "b", "error", "equal"),
    [
        (value(1.0, 2.0), value(1.0, 2.0), 0.0, True),
        (value(1.0, 1.0), value(1.0, 1.25), 0.25, False),
        (value(), value(), 0.0, True),
        (value(1, 2, dtype="int64"), value(1, 3, dtype="int64"), 1.0, False),
        (value(0, 255, dtype="uint8"), value(255, 255, dtype="uint8"), 255.0, False),
        (value(True, dtype="bool"), value(False, dtype="bool"), 1.0, False),
        (value(1j, dtype="complex64"), value(1j, dtype="complex64"), 0.0, True),
        (value(1j, dtype="complex64"), value(2j, dtype="complex64"), 1.0, False),
        (value("a", dtype="object"), value("a", dtype="object"), 0.0, True),
        (value("a", dtype="object"), value("b", dtype="object"), math.inf, False),
        (value(1.0), value(1.0, 1.0), math.inf, False),
        (value(1.0), value(1.0, dtype="float64"), math.inf, False),
        (value(1.0), value(1.0, name="bfloat16"), math.inf, False),
        (3, 3, 0.0, True),
        (3, 3.0, 0.0, False),
        (None, value(1.0), 0.0, False),
    ],
)
def test_outputs_that_agree_or_differ(a: Any, b: Any, error: float, equal: bool) -> None:
    assert compare_outputs([a], [b]) == (error, equal)
    assert compare_outputs([b], [a]) == (error, equal)


def test_how_much_is_allowed_depends_on_the_type() -> None:
    for name, within in (("float64", 1e-10), ("float32", 1e-5), ("bfloat16", 1e-2)):
        one, near = (value(100.0 * k, dtype="float64", name=name) for k in (1.0, 1.0 + within))
        far = value(100.0 * (1.0 + 20 * within), dtype="float64", name=name)
        assert compare_outputs([one], [near])[1]
        assert not compare_outputs([one], [far])[1]


def test_values_that_are_no_numbers_must_be_the_same() -> None:
    odd = value(1.0, math.nan, math.inf, -math.inf)
    assert compare_outputs([odd], [odd]) == (0.0, True)
    for other in ((1.0, 0.0, math.inf, -math.inf), (1.0, math.nan, -math.inf, -math.inf)):
        assert compare_outputs([odd], [value(*other)])[1] is False
    assert compare_outputs([value(math.nan)], [value(math.nan)]) == (0.0, True)
    assert compare_outputs([value(math.nan)], [value(math.inf)]) == (math.inf, False)


def test_all_outputs_count_and_none_may_lack() -> None:
    assert compare_outputs([value(1.0), value(2.0)], [value(1.5), value(2.0)]) == (0.5, False)
    assert compare_outputs([value(1.0)], []) == (0.0, False)
    assert compare_outputs([], []) == (0.0, True)


def test_op_times_are_medians_over_the_runs() -> None:
    found = op_times([executed(), executed(2.0), executed(9.0)], read_plan(OPS, document()))
    assert found == (
        OpTimes("a", "x", pytest.approx(2e-3), 2.0),
        OpTimes("c", "x", pytest.approx(5e-3), 4.0),
        OpTimes("b", "y", pytest.approx(1e-3), 4.0),
    )


def test_the_report_is_json_even_without_finite_numbers() -> None:
    found = report(max_abs_error=math.inf, single_device_s=math.inf).to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == {
        "outputs_equal": True,
        "max_abs_error": None,
        "predicted_s": 1.0,
        "measured_s": 4.0,
        "single_device_s": None,
        "transfers": 1,
    }


def test_what_was_measured_as_a_schedule() -> None:
    ops = [("a", "Conv", ()), ("b", "Add", ("a", "a")), ("c", "Relu", ("a",))]
    kinds = {"x": "cpu", "y": "gpu", "idle": "cpu"}
    problem, schedule = measured_schedule(ops, report(), kinds, "nets/net")
    assert problem.graph.name == "nets/net"
    assert [(op.type, [i.op for i in op.inputs]) for op in problem.graph.models[0].ops] == [
        ("Conv", []),
        ("Add", ["a"]),
        ("Relu", ["a"]),
    ]
    assert [(d.id, d.kind) for d in problem.cluster.devices] == [
        ("x", "cpu"),
        ("y", "gpu"),
        ("idle", "cpu"),
    ]
    assert schedule.device.tolist() == [0, 1, 0]
    assert schedule.start.tolist() == [0.0, 2e6, 1e6]
    assert schedule.end.tolist() == [1e6, 4e6, 3e6]
    found = measure(problem, schedule)
    assert found.makespan == 4e6
    assert found.transferred_bytes == 8


@pytest.mark.parametrize(
    ("devices", "kinds"),
    [
        (("cpu", "x", "y"), ("cpu", "cpu", "gpu")),
        (("gpu", "x", "y"), ("cpu", "cpu", "gpu")),
        (("cpu", "gpu", "x", "y"), ("cpu", "gpu", "cpu", "gpu")),
    ],
)
def test_devices_that_are_called_like_a_kind(
    devices: tuple[str, ...], kinds: tuple[str, ...]
) -> None:
    ops = [(op, "t", ()) for op in OPS]
    named = report(devices=dict.fromkeys(devices, "somewhere"))
    problem, schedule = measured_schedule(ops, named, dict(zip(devices, kinds, strict=True)))
    assert problem.device_ids == devices
    assert [devices[k] for k in schedule.device] == ["x", "y", "x"]
    assert measure(problem, schedule).makespan == 4e6
