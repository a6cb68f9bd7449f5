"""Schedules against a captured model, and what a run becomes."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest

from talos_opt import solve
from talos_opt.core.cluster import Cluster, Device
from talos_opt.core.errors import InputError
from talos_opt.core.graph import Graph, Input, Model, Op
from talos_opt.core.metrics import measure
from talos_opt.core.problem import Problem
from talos_opt.formats import write_schedule
from talos_opt.formats.schedule import ScheduleFile
from talos_opt.frameworks.common.running import (
    CapturedOp,
    Execution,
    Hop,
    OpTimes,
    RunReport,
    Span,
    in_turn,
    measured_schedule,
    op_times,
    read_plan,
)

A = (("a", ""),)  # reads op a
OPS = (CapturedOp("a", "t", ()), CapturedOp("b", "t", A), CapturedOp("c", "t", A))


def row(op: str, device: str, start: float, end: float, model: str = "m") -> dict[str, Any]:
    return {"model": model, "op": op, "device": device, "start": start, "end": end}


def document(**changes: Any) -> dict[str, Any]:
    return {
        "status": "feasible",
        "time_unit": "ms",
        "ops": [row("a", "x", 0, 2), row("b", "y", 3, 4), row("c", "x", 2, 7)],
        "transfers": [
            {"model": "m", "op": "a", "from": "x", "to": "y", "start": 2, "end": 3, "bytes": 8}
        ],
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
        (
            {"ops": [], "status": "infeasible"},
            "ops: the file holds no schedule: ops is empty, status is 'infeasible'",
        ),
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
        ({"ops": ["a", "b"]}, "ops[0]: an op is 'a', expected a mapping"),
        ({"ops": [{"model": "m", "op": "a", "device": "x"}]}, "ops[0]: an op has no 'start'"),
        ({"time_unit": "min"}, "time_unit is 'min', expected one of us, ms, s"),
        ({"transfers": None}, "transfers is empty, expected a list"),
    ],
)
def test_a_schedule_of_another_graph(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_plan(OPS, document(**changes))
    assert message in str(caught.value)


def test_inputs_of_other_shapes_are_noted() -> None:
    made = {"description": "torch inference; inputs: 2x3:float32, ids=4:int64; torch: 2"}

    def notes(inputs: str | None, made: dict[str, Any] = made) -> tuple[str, ...]:
        return read_plan(OPS, document(made=made), inputs=inputs).notes

    assert notes("2x3:float32, ids=4:int64") == notes(None) == ()
    assert notes("5x3:float32", {"description": "some graph"}) == notes("5x3:float32", {}) == ()
    (note,) = notes("5x3:float32, ids=4:int64")
    assert (
        "profiled with inputs 2x3:float32, ids=4:int64, and the model runs on 5x3:float32" in note
    )


def test_what_does_not_fit_the_model_is_noted() -> None:
    plan = read_plan(OPS, document())
    assert plan.notes == ()  # it does not say what it was made for
    ops = tuple(Op(op.id, {"x": 1}, inputs=tuple(map(Input, op.producers))) for op in OPS)
    made = Graph("g", (Model("m", ops),)).fingerprint
    assert read_plan(OPS, document(made={"fingerprint": made})).notes == ()
    (note,) = read_plan(OPS[::-1], document(made={"fingerprint": "other"})).notes
    assert "other edges than the graph that the schedule was made for" in note
    changed = (*OPS[:2], CapturedOp("c", "t", (*A, ("b", ""))))
    edges, order = read_plan(changed, document(made={"fingerprint": made})).notes
    assert edges == note
    assert "starts op 'c' before op 'b', which it reads, ends" in order


def test_columns_are_read_by_the_ids_of_the_model(tmp_path: Path) -> None:
    ops = tuple(Op(op.id, {"x": 1, "y": 2}, inputs=tuple(map(Input, op.producers))) for op in OPS)
    cluster = Cluster((Device("x", "cpu"), Device("y", "gpu"), Device("z", "gpu")))
    result = solve(Problem(Graph("g", (Model("m", ops),)), cluster), "heft")
    write_schedule(result, tmp_path / "s.npz")
    file = ScheduleFile(tmp_path / "s.npz")
    assert file.devices == ("x", "y", "z")
    assert read_plan(OPS, file) == read_plan(OPS, result.to_dict())
    with pytest.raises(InputError, match=r"s\.npz: op_names: .* 3 ops .* expected the 2 ops of"):
        read_plan(OPS[:2], file)


#: Op a makes two tensors, of which b reads the second and c both.
SEVERAL = (
    CapturedOp("a", "Split", (), ("0", "1")),
    CapturedOp("b", "t", (("a", "1"),)),
    CapturedOp("c", "t", (("a", "0"), ("a", "1"))),
)


def move(output: str | None, op: str = "a") -> dict[str, Any]:
    named = {} if output is None else {"output": output}
    return {
        "model": "m",
        "op": op,
        "from": "x",
        "to": "y",
        "start": 2,
        "end": 3,
        "bytes": 8,
    } | named


def test_transfers_name_the_tensor(tmp_path: Path) -> None:
    plan = read_plan(SEVERAL, document(transfers=[move("1")]))
    assert plan.hops == (Hop("a", "x", "y", "1"),)
    ops = tuple(
        Op(
            op.id,
            {"x": 1, "y": 2} if op.id != "b" else {"y": 1},
            inputs=tuple(Input(producer, output=output) for producer, output in op.inputs),
            outputs=dict.fromkeys(op.outputs, 8),
        )
        for op in SEVERAL
    )
    problem = Problem(
        Graph("g", (Model("m", ops),)), Cluster((Device("x", "cpu"), Device("y", "gpu")))
    )
    result = solve(problem, "heft")
    write_schedule(result, tmp_path / "s.npz")  # columns number the tensors
    plan = read_plan(SEVERAL, ScheduleFile(tmp_path / "s.npz"))
    assert plan == read_plan(SEVERAL, result.to_dict())
    assert plan.hops == (Hop("a", "x", "y", "1"),)


@pytest.mark.parametrize(
    ("transfer", "message"),
    [
        (move("2"), "a transfer of op 'a' names output '2', expected one of 0, 1"),
        (move(None), "a transfer of op 'a' names no output, expected one of 0, 1"),
        (move("0", "b"), "a transfer of op 'b' names output '0', expected no name"),
    ],
)
def test_a_transfer_of_an_unknown_tensor(transfer: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_plan(SEVERAL, document(transfers=[transfer]))


def test_a_schedule_of_the_days_when_picks_were_ops() -> None:
    older = document(ops=[*document()["ops"], row("pick", "x", 0, 1)])
    with pytest.raises(InputError, match="'pick' is an op: now it is a tensor of op 'a'"):
        read_plan(SEVERAL, older, {"pick": "a"})


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
        "spread": 0.0,
        "others": None,
    }


def test_what_was_measured_as_a_schedule() -> None:
    ops = [CapturedOp("a", "Conv"), CapturedOp("b", "Add", A * 2), CapturedOp("c", "Relu", A)]
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


def test_each_tensor_that_moved_is_told_apart() -> None:
    moves = (Span("a", "x", 1, 2, "y", 8, "1"), Span("a", "x", 1, 3, "y", 4, "0"))
    run = dataclasses.replace(executed(), transfers=moves)
    kinds = {"x": "cpu", "y": "gpu", "idle": "cpu"}
    problem, schedule = measured_schedule(SEVERAL, report(execution=run), kinds)
    found = {(t.op, t.output): t.bytes for t in schedule.named_transfers(problem)}
    assert found == {("a", "1"): 8, ("a", "0"): 4}
    assert problem.graph.models[0].ops[0].outputs == {"0": 4, "1": 8}


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
    ops = [CapturedOp(op.id, "t", ()) for op in OPS]
    named = report(devices=dict.fromkeys(devices, "somewhere"))
    problem, schedule = measured_schedule(ops, named, dict(zip(devices, kinds, strict=True)))
    assert problem.device_ids == devices
    assert [devices[k] for k in schedule.device] == ["x", "y", "x"]
    assert measure(problem, schedule).makespan == 4e6


def test_hops_come_after_those_that_they_need() -> None:
    far, near, lost = Hop("a", "y", "z"), Hop("a", "x", "y"), Hop("a", "q", "r")
    assert in_turn([far, lost, near], "x") == [near, far]
    assert in_turn([far, near], "z") == []
