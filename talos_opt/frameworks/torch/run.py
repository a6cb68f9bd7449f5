"""Run a model under a schedule's placement; hold it against the plain model and the plan."""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from talos_opt.core import units
from talos_opt.core.cluster import Cluster, Device
from talos_opt.core.errors import InputError
from talos_opt.core.graph import Graph, Input, Model, Op
from talos_opt.core.problem import Objective, Problem
from talos_opt.core.schedule import Schedule, TransferRow, Transfers
from talos_opt.frameworks.torch.captured import Captured
from talos_opt.frameworks.torch.devices import torch_devices
from talos_opt.frameworks.torch.execute import Execution, Executor, Hop

_US = 1e6
#: Outputs agree within a share of the value and a share of the largest value of their tensor.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4, torch.float16: 2e-2, torch.bfloat16: 5e-2}


@dataclass(frozen=True, slots=True)
class OpTimes:
    """An op as planned and as it was.

    Parameters
    ----------
    op, device : str
    predicted_s, measured_s : float
        Measured: the median of the repeats.
    """

    op: str
    device: str
    predicted_s: float
    measured_s: float


@dataclass(frozen=True)
class RunReport:
    """What running a schedule showed.

    Parameters
    ----------
    outputs_equal : bool
        Whether all outputs agree with the plain model's.
    max_abs_error : float
        Over all outputs; infinite where shapes or types differ.
    predicted_s, measured_s : float
        Of the whole step; measured: the median of the repeats.
    single_device_s : float
        Of the plain model, on the best single device of those in use.
    transfers, moved_bytes : int
        Tensors moved between the schedule's devices, hop by hop, and their bytes.
    ops : tuple of OpTimes
    outputs : list
        Of the graph, flat.
    execution : Execution
        The run of the median.
    devices : mapping of str to torch.device
    """

    outputs_equal: bool
    max_abs_error: float
    predicted_s: float
    measured_s: float
    single_device_s: float
    transfers: int
    moved_bytes: int
    ops: tuple[OpTimes, ...]
    outputs: list[Any]
    execution: Execution
    devices: Mapping[str, torch.device]

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers that scripts read."""
        return {
            "outputs_equal": self.outputs_equal,
            "max_abs_error": self.max_abs_error if math.isfinite(self.max_abs_error) else None,
            "predicted_s": self.predicted_s,
            "measured_s": self.measured_s,
            "single_device_s": self.single_device_s
            if math.isfinite(self.single_device_s)
            else None,
            "transfers": self.transfers,
        }


def run_schedule(
    captured: Captured,
    inputs: Sequence[torch.Tensor],
    schedule: Mapping[str, Any],
    device_map: Mapping[str, str] | None = None,
    *,
    repeats: int = 5,
    warmup: int = 1,
) -> RunReport:
    """Run a captured model under a schedule.

    Parameters
    ----------
    captured : Captured
    inputs : sequence of torch.Tensor
    schedule : mapping
        A talos-schedule/1 document, such as ``Result.to_dict()``.
    device_map : mapping of str to str, optional
        Torch device of each device of the schedule; default: see `devices.torch_devices`.
    repeats, warmup : int
        Runs that count, and runs before them.

    Raises
    ------
    InputError
        If the schedule is of another graph, or a device is not there.
    """
    placement, starts, ends = _read_ops(captured, schedule)
    devices = torch_devices(placement.values(), device_map)
    hops = [
        Hop(str(row["op"]), str(row["from"]), str(row["to"]))
        for row in schedule.get("transfers", ())
    ]
    for hop in hops:  # a tensor may be staged on a device that runs no op
        if not {hop.source, hop.target} <= devices.keys():
            devices |= torch_devices((hop.source, hop.target), device_map)
    values = captured.flat_values(inputs)
    executor = Executor(captured, placement, devices, values, starts, hops)
    for _ in range(warmup):
        executor.run()
    runs = sorted((executor.run() for _ in range(max(1, repeats))), key=lambda run: run.wall_s)
    median = runs[len(runs) // 2]
    error, equal = compare_outputs(captured.reference(inputs), median.outputs)
    unit = 1.0 / units.PER_SECOND[str(schedule.get("time_unit", "us"))]
    return RunReport(
        outputs_equal=equal,
        max_abs_error=error,
        predicted_s=max(ends.values()) * unit,
        measured_s=statistics.median(run.wall_s for run in runs),
        single_device_s=time_plain(captured, inputs, devices.values(), repeats, warmup),
        transfers=len(median.transfers),
        moved_bytes=sum(move.bytes for move in median.transfers),
        ops=_op_times(runs, {op: (ends[op] - starts[op]) * unit for op in starts}),
        outputs=median.outputs,
        execution=median,
        devices=devices,
    )


def _read_ops(
    captured: Captured, schedule: Mapping[str, Any]
) -> tuple[dict[str, str], dict[str, float], dict[str, float]]:
    """Return device, start and end of every op, if they are those of the captured graph."""
    rows = list(schedule.get("ops", ()))
    if not rows:
        raise InputError(
            f"the schedule holds no ops: its status is {schedule.get('status')!r}", path="ops"
        )
    models = sorted({str(row["model"]) for row in rows})
    if len(models) > 1:
        raise InputError(
            f"a schedule of {len(models)} models ({', '.join(models[:3])}), expected one"
        )
    placed = {str(row["op"]): row for row in rows}
    ops = [captured.op_id(node) for node in captured.ops()]
    for k, op in enumerate(ops):
        if op not in placed:
            there = f"; op {k} there is {list(placed)[k]!r}" if k < len(rows) else ""
            raise InputError(
                f"a schedule of another graph: op {k} of the model, {op!r}, is not in it{there} "
                f"({len(rows)} ops there, {len(ops)} here)"
            )
    known = set(ops)
    for op in placed:
        if op not in known:
            raise InputError(
                f"a schedule of another graph: the model has no op {op!r} "
                f"({len(rows)} ops there, {len(ops)} here)"
            )
    return (
        {op: str(row["device"]) for op, row in placed.items()},
        {op: float(row["start"]) for op, row in placed.items()},
        {op: float(row["end"]) for op, row in placed.items()},
    )


def compare_outputs(expected: Sequence[Any], found: Sequence[Any]) -> tuple[float, bool]:
    """Return the largest absolute difference of two lists of outputs, and whether they agree."""
    error, equal = 0.0, len(expected) == len(found)
    for a, b in zip(expected, found, strict=False):
        if not isinstance(a, torch.Tensor) or not isinstance(b, torch.Tensor):
            equal &= type(a) is type(b) and bool(a == b)
            continue
        if a.shape != b.shape or a.dtype != b.dtype:
            error, equal = math.inf, False
            continue
        difference, within = _compare(a.detach().cpu(), b.detach().cpu())
        error, equal = max(error, difference), equal and within
    return error, equal


def _compare(a: torch.Tensor, b: torch.Tensor) -> tuple[float, bool]:
    if a.numel() == 0:
        return 0.0, True
    if not a.is_floating_point():
        if a.is_complex():
            return float((a - b).abs().max()), torch.allclose(a, b)
        return float((a.double() - b.double()).abs().max()), torch.equal(a, b)
    share = TOLERANCE.get(a.dtype, 1e-4)
    a, b = a.double(), b.double()
    finite = a.isfinite() & b.isfinite()
    same = torch.equal(a[~finite].nan_to_num(), b[~finite].nan_to_num())
    if not finite.any():
        return 0.0 if same else math.inf, same
    gap = (a[finite] - b[finite]).abs()
    allowed = share * a[finite].abs() + 0.1 * share * max(1.0, float(a[finite].abs().max()))
    return float(gap.max()), same and bool((gap <= allowed).all())


def time_plain(
    captured: Captured,
    inputs: Sequence[torch.Tensor],
    devices: Any,
    repeats: int = 5,
    warmup: int = 1,
) -> float:
    """Return the seconds of the plain model on the best of some torch devices.

    A device that the whole model does not fit is left out; infinite if none is left.
    """
    best = math.inf
    for device in dict.fromkeys(devices):
        try:
            best = min(best, _time_on(captured, inputs, device, repeats, warmup))
        except torch.OutOfMemoryError:
            continue
    return best


def _time_on(
    captured: Captured,
    inputs: Sequence[torch.Tensor],
    device: torch.device,
    repeats: int,
    warmup: int,
) -> float:
    here = device.type == "cpu"
    there = captured if here else _moved(captured, device)
    given = [value.to(device) for value in inputs]
    times = []
    for k in range(warmup + max(1, repeats)):
        began = time.perf_counter()
        if captured.mode == "inference":
            with torch.no_grad():
                there.module(*given)
        else:
            there.reference(given)
        if not here:
            torch.cuda.synchronize(device)
        if k >= warmup:
            times.append(time.perf_counter() - began)
    return statistics.median(times)


def _moved(captured: Captured, device: torch.device) -> Captured:
    clone = copy.copy(captured)
    object.__setattr__(clone, "module", copy.deepcopy(captured.module).to(device))
    return clone


def _op_times(runs: Sequence[Execution], predicted: Mapping[str, float]) -> tuple[OpTimes, ...]:
    measured: dict[str, list[float]] = {}
    for run in runs:
        for span in run.ops:
            measured.setdefault(span.op, []).append(span.end_s - span.start_s)
    return tuple(
        OpTimes(span.op, span.device, predicted[span.op], statistics.median(measured[span.op]))
        for span in runs[0].ops
    )


def measured_schedule(
    captured: Captured, report: RunReport, name: str = "measured"
) -> tuple[Problem, Schedule]:
    """Return what was measured as a schedule, in microseconds: for traces and metrics.

    Its problem says what ran where, not what else was possible.
    """
    spans = {span.op: span for span in report.execution.ops}
    ids = list(report.devices)
    ops = []
    for node in captured.ops():
        span = spans[captured.op_id(node)]
        inputs = Counter(p.name for p in node.all_input_nodes if p.op == "call_function")
        ops.append(
            Op(
                id=span.op,
                time={span.device: max(0.0, span.end_s - span.start_s) * _US},
                inputs=tuple(Input(op) for op in inputs),
                type=str(node.target),
            )
        )
    kinds = {d: "gpu" if where.type == "cuda" else "cpu" for d, where in report.devices.items()}
    # A device whose id is also the kind of another one would be ambiguous.
    cluster = Cluster(tuple(Device(d, d if d in kinds.values() else kinds[d]) for d in ids))
    graph = Graph(name, (Model(name.replace("/", "-"), tuple(ops)),), "us")
    problem = Problem(graph, cluster, Objective.MAKESPAN)
    place, number = {d: k for k, d in enumerate(ids)}, {op.id: k for k, op in enumerate(ops)}
    ordered = [spans[op.id] for op in ops]
    moves = [
        TransferRow(
            number[m.op], place[m.device], place[m.target or ""], m.start_s * _US, m.end_s * _US,
            m.bytes,
        )
        for m in report.execution.transfers
    ]  # fmt: skip
    return problem, Schedule(
        np.array([place[span.device] for span in ordered], dtype=np.int64),
        np.array([span.start_s * _US for span in ordered]),
        np.array([span.end_s * _US for span in ordered]),
        Transfers.from_rows(moves),
    )
