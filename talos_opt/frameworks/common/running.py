"""What running a model under a schedule shows, whatever the framework."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from talos_opt.core import units
from talos_opt.core.cluster import Cluster, Device
from talos_opt.core.errors import InputError
from talos_opt.core.graph import Graph, Input, Model, Op
from talos_opt.core.problem import Objective, Problem
from talos_opt.core.schedule import Schedule, TransferRow, Transfers

_US = 1e6


@dataclass(frozen=True, slots=True)
class Hop:
    """A tensor (or what else an op returns) goes from one device to another."""

    op: str
    source: str
    target: str


def in_turn(hops: Iterable[Hop], home: str) -> list[Hop]:
    """Return the hops of one op's output from where it is made on, each after what it needs.

    Of several to one device the last counts; hops from where the output never is are left out.
    """
    left = {hop.target: hop for hop in hops}
    there, found = {home}, []
    while ready := [hop for hop in left.values() if hop.source in there]:
        for hop in ready:
            found.append(hop)
            there.add(hop.target)
            del left[hop.target]
    return found


@dataclass(frozen=True, slots=True)
class Span:
    """Something that took time.

    Parameters
    ----------
    op : str
    device : str
        Where it ran; of a transfer, where it came from.
    target : str, optional
        Of a transfer, where it went.
    start_s, end_s : float
        Since the run began.
    bytes : int
        Moved by a transfer.
    """

    op: str
    device: str
    start_s: float
    end_s: float
    target: str | None = None
    bytes: int = 0


@dataclass(frozen=True)
class Execution:
    """One run.

    Parameters
    ----------
    outputs : list
        Of the graph, flat, on the devices where they were made.
    wall_s : float
        From the first op to the end of the last, on all devices.
    ops, transfers : tuple of Span
    peak_values : int, optional
        Most values that were held at a time, copies included; None where nobody counted.
    """

    outputs: list[Any]
    wall_s: float
    ops: tuple[Span, ...]
    transfers: tuple[Span, ...]
    peak_values: int | None = None


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
    devices : mapping of str to str
        The framework's name for each device of the schedule.
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
    devices: Mapping[str, str]

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


@dataclass(frozen=True)
class Planned:
    """What a schedule says about the ops of a captured model; times in seconds.

    Parameters
    ----------
    device : mapping of str to str
        By op.
    start_s, end_s : mapping of str to float
    hops : tuple of Hop
        How tensors travel.
    """

    device: Mapping[str, str]
    start_s: Mapping[str, float]
    end_s: Mapping[str, float]
    hops: tuple[Hop, ...]

    @property
    def makespan_s(self) -> float:
        """End of the last op."""
        return max(self.end_s.values())

    def duration_s(self, op: str) -> float:
        """How long an op takes."""
        return self.end_s[op] - self.start_s[op]


def read_plan(ops: Sequence[str], schedule: Mapping[str, Any]) -> Planned:
    """Return what a schedule says, if its ops are those of the captured model.

    Parameters
    ----------
    ops : sequence of str
        Ids of the captured ops.
    schedule : mapping
        A talos-schedule/1 document.

    Raises
    ------
    InputError
        If the schedule holds no ops, those of several models, or those of another graph.
    """
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
    _require_same(ops, list(placed), len(rows))
    unit = 1.0 / units.PER_SECOND[str(schedule.get("time_unit", "us"))]
    return Planned(
        {op: str(row["device"]) for op, row in placed.items()},
        {op: float(row["start"]) * unit for op, row in placed.items()},
        {op: float(row["end"]) * unit for op, row in placed.items()},
        tuple(
            Hop(str(row["op"]), str(row["from"]), str(row["to"]))
            for row in schedule.get("transfers", ())
        ),
    )


def _require_same(ops: Sequence[str], placed: Sequence[str], rows: int) -> None:
    known, there = set(ops), set(placed)
    for k, op in enumerate(ops):
        if op not in there:
            instead = f"; op {k} there is {placed[k]!r}" if k < len(placed) else ""
            raise InputError(
                f"a schedule of another graph: op {k} of the model, {op!r}, is not in it{instead} "
                f"({rows} ops there, {len(ops)} here)"
            )
    for op in placed:
        if op not in known:
            raise InputError(
                f"a schedule of another graph: the model has no op {op!r} "
                f"({rows} ops there, {len(ops)} here)"
            )


def op_times(runs: Sequence[Execution], plan: Planned) -> tuple[OpTimes, ...]:
    """Return every op as planned and, by the median over some runs, as it was."""
    measured: dict[str, list[float]] = {}
    for run in runs:
        for span in run.ops:
            measured.setdefault(span.op, []).append(span.end_s - span.start_s)
    return tuple(
        OpTimes(
            span.op, span.device, plan.duration_s(span.op), statistics.median(measured[span.op])
        )
        for span in runs[0].ops
    )


def measured_schedule(
    ops: Iterable[tuple[str, str, Iterable[str]]],
    report: RunReport,
    kinds: Mapping[str, str],
    name: str = "measured",
) -> tuple[Problem, Schedule]:
    """Return what was measured as a schedule, in microseconds: for traces and metrics.

    Its problem says what ran where, not what else was possible.

    Parameters
    ----------
    ops : iterable of (str, str, iterable of str)
        Id, type and producers of every op.
    report : RunReport
    kinds : mapping of str to str
        Kind of every device.
    name : str
        Of the graph.
    """
    spans = {span.op: span for span in report.execution.ops}
    ids = list(report.devices)
    made = [
        Op(
            id=op,
            time={spans[op].device: max(0.0, spans[op].end_s - spans[op].start_s) * _US},
            inputs=tuple(Input(producer) for producer in dict.fromkeys(producers)),
            type=type_,
        )
        for op, type_, producers in ops
    ]
    cluster = Cluster(tuple(Device(d, kind) for d, kind in _distinct(ids, kinds).items()))
    graph = Graph(name, (Model(name.replace("/", "-"), tuple(made)),), "us")
    problem = Problem(graph, cluster, Objective.MAKESPAN)
    place, number = {d: k for k, d in enumerate(ids)}, {op.id: k for k, op in enumerate(made)}
    ordered = [spans[op.id] for op in made]
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


def _distinct(ids: Sequence[str], kinds: Mapping[str, str]) -> dict[str, str]:
    """Return the kind of every device, renamed where a device is called like the kind of others.

    Such a name would be ambiguous, and a cluster refuses it.
    """
    known = set(kinds.values())
    return {
        d: d if d in known else f"other {kinds[d]}" if kinds[d] in ids else kinds[d] for d in ids
    }
