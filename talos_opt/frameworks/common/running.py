"""What running a model under a schedule shows, whatever the framework."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np

from talos_opt.core import rounding, units
from talos_opt.core.cluster import Cluster, Device
from talos_opt.core.errors import InputError
from talos_opt.core.fingerprint import fingerprint
from talos_opt.core.graph import SEPARATOR, Graph, Input, Model, Op
from talos_opt.core.problem import Objective, Problem
from talos_opt.core.schedule import Schedule, TransferRow, Transfers
from talos_opt.formats.schedule import ScheduleFile
from talos_opt.formats.schedule_document import NamedSchedule, named_schedule
from talos_opt.formats.schedule_header import read_header

_US = 1e6


class CapturedOp(NamedTuple):
    """An op of a captured model.

    Parameters
    ----------
    id, type : str
    inputs : sequence of (str, str)
        Ids of the ops that it reads, each with the name of the tensor; empty: the only one.
    outputs : sequence of str
        Names of its tensors, where it has several.
    kept : sequence of (str, str)
        What it reads views of, as `inputs`: a graph has edges for it, and nothing is sent.
    """

    id: str
    type: str
    inputs: Sequence[tuple[str, str]] = ()
    outputs: Sequence[str] = ()
    kept: Sequence[tuple[str, str]] = ()

    @property
    def producers(self) -> Sequence[str]:
        """Ids of the ops that it has edges from, each once."""
        return tuple(dict.fromkeys(op for op, _ in (*self.inputs, *self.kept)))


#: The fact of a profile that names shapes and types of the inputs that it was made with.
INPUTS = "inputs"


@dataclass(frozen=True, slots=True)
class Hop:
    """A tensor goes from one device to another; `output` is its name, if its op has several."""

    op: str
    source: str
    target: str
    output: str = ""


def in_turn(hops: Iterable[Hop], home: str) -> list[Hop]:
    """Return the hops of one tensor from where it is made on, each after what it needs.

    Of several to one device the last counts; hops from where it never is are left out.
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
    output : str
        Which tensor of the op a transfer moved, if the op has several.
    """

    op: str
    device: str
    start_s: float
    end_s: float
    target: str | None = None
    bytes: int = 0
    output: str = ""


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
        Most values that each device held at a time, copies that it has waited for included,
        summed up; None where nobody counted.
    peak_bytes : mapping of str to int
        Most bytes that were allocated at a time for weights and values, by device, where the
        framework's allocator tells.
    """

    outputs: list[Any]
    wall_s: float
    ops: tuple[Span, ...]
    transfers: tuple[Span, ...]
    peak_values: int | None = None
    peak_bytes: Mapping[str, int] = field(default_factory=dict)


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
    notes : tuple of str
        What in the schedule does not fit the model.
    spread : float
        Half the interquartile range of the steps that were measured over their median.
    others : float, optional
        Share of all cores that other processes took meanwhile; None: unknown.
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
    notes: tuple[str, ...] = ()
    spread: float = 0.0
    others: float | None = None

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
            "spread": self.spread,
            "others": self.others,
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
    notes : tuple of str
        What does not fit the model, though it can be run.
    devices : tuple of str
        All that the schedule names, whether or not anything runs there.
    """

    device: Mapping[str, str]
    start_s: Mapping[str, float]
    end_s: Mapping[str, float]
    hops: tuple[Hop, ...]
    notes: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()

    @property
    def makespan_s(self) -> float:
        """End of the last op."""
        return max(self.end_s.values())

    def duration_s(self, op: str) -> float:
        """How long an op takes."""
        return self.end_s[op] - self.start_s[op]


def read_plan(
    ops: Sequence[CapturedOp],
    schedule: Mapping[str, Any] | ScheduleFile,
    picks: Mapping[str, str] | None = None,
    inputs: str | None = None,
) -> Planned:
    """Return what a schedule says, if its ops are those of the captured model.

    Parameters
    ----------
    ops : sequence of CapturedOp
        All ops of the model.
    schedule : mapping or ScheduleFile
        A talos-schedule/1 document, or the file of a schedule.
    picks : mapping of str to str, optional
        What was an op in earlier versions and is a tensor now, by the op that makes it.
    inputs : str, optional
        Shapes and types of what the model is run on, as profiles describe them.

    Returns
    -------
    Planned
        With a note where the model has other edges than the schedule's graph, or other inputs than
        it was profiled with, or the schedule starts an op before what it reads has been produced.

    Raises
    ------
    InputError
        If the schedule is broken, or holds no ops, those of several models, or those of another
        graph.
    """
    ids = [op.id for op in ops]
    if isinstance(schedule, ScheduleFile):
        named, made = schedule.named(ids), schedule.made
    else:
        named, made = named_schedule(schedule), read_header(schedule)
    if made.bundles:
        raise InputError(
            f"devices act as one in the schedule ({', '.join(b.id for b in made.bundles)}), "
            "expected one device for each op: solve without bundles"
        )
    if len(named.models) > 1:
        raise InputError(
            f"a schedule of {len(named.models)} models ({', '.join(named.models[:3])}), "
            "expected one"
        )
    model = named.models[0]
    placed = [name[len(model) + 1 :] for name in named.names]
    _require_same(ids, placed, picks or {})
    device = {op: named.devices[d] for op, d in zip(placed, named.device.tolist(), strict=True)}
    unit = 1.0 / units.PER_SECOND[named.time_unit or "us"]
    start = dict(zip(placed, (named.start * unit).tolist(), strict=True))
    end = dict(zip(placed, (named.end * unit).tolist(), strict=True))
    return Planned(
        device,
        start,
        end,
        tuple(needed(ops, device, list(_hops(ops, placed, named)))),
        (
            *_notes(ops, model, made.fingerprint, start, end),
            *other_inputs(made.description, inputs),
        ),
        named.devices,
    )


def _hops(ops: Sequence[CapturedOp], placed: Sequence[str], named: NamedSchedule) -> Iterator[Hop]:
    """Yield the transfers; of columns, which number the tensors of the whole graph, by name."""
    known = {op.id: op.outputs for op in ops}
    counts = [max(1, len(known[op])) for op in placed]
    first = [0, *accumulate(counts)]
    for k, move in enumerate(named.moves):
        op = placed[move.op]
        outputs = known[op]
        output = named.outputs[k] if named.outputs else ""
        if not named.outputs and outputs:
            position = move.tensor - first[move.op]
            output = outputs[position] if 0 <= position < len(outputs) else f"number {position}"
        if output not in (outputs or ("",)):
            found = f"output {output!r}" if output else "no output"
            expected = f"one of {', '.join(outputs)}" if outputs else "no name: it has a single one"
            raise InputError(
                f"a schedule of another graph: a transfer of op {op!r} names {found}, "
                f"expected {expected}"
            )
        yield Hop(op, named.devices[move.source], named.devices[move.target], output)


def needed(
    ops: Sequence[CapturedOp], device: Mapping[str, str], hops: Sequence[Hop]
) -> Iterator[Hop]:
    """Yield the transfers that bring a tensor to a reader, or on its way to one.

    The others say that a device is done with a view of what stays where it is.
    """
    wanted = {(producer, output, device[op.id]) for op in ops for producer, output in op.inputs}
    reached = {(hop.op, hop.output, hop.target): hop.source for hop in hops}
    for op, output, target in tuple(wanted):
        while (source := reached.pop((op, output, target), None)) is not None:
            wanted.add((op, output, source))
            target = source
    return (hop for hop in hops if (hop.op, hop.output, hop.target) in wanted)


def _require_same(ops: Sequence[str], placed: Sequence[str], picks: Mapping[str, str]) -> None:
    known, there = set(ops), set(placed)
    counts = f"({len(placed)} ops there, {len(ops)} here)"
    for k, op in enumerate(ops):
        if op not in there:
            instead = f"; op {k} there is {placed[k]!r}" if k < len(placed) else ""
            raise InputError(
                f"a schedule of another graph: op {k} of the model, {op!r}, is not in it{instead} "
                f"{counts}"
            )
    for op in placed:
        if op in picks:
            raise InputError(
                f"a schedule of a graph of an earlier version, in which {op!r} is an op: now it is "
                f"a tensor of op {picks[op]!r}, so profile the model again and solve that graph"
            )
        if op not in known:
            raise InputError(f"a schedule of another graph: the model has no op {op!r} {counts}")


def _notes(
    ops: Sequence[CapturedOp],
    model: str,
    stated: str | None,
    start: Mapping[str, float],
    end: Mapping[str, float],
) -> Iterator[str]:
    position = {op.id: k for k, op in enumerate(ops)}
    edges = [(position[p], k) for k, op in enumerate(ops) for p in op.producers]
    producer, reader = np.array(edges, dtype=np.int64).reshape(-1, 2).T
    names = [f"{model}{SEPARATOR}{op.id}" for op in ops]
    if stated is not None and stated != fingerprint(names, producer, reader):
        yield "the model has other edges than the graph that the schedule was made for"
    slack = rounding.slack(np.array(list(end.values()))).max() if end else 0.0
    for k, i in edges:
        first, then = ops[k].id, ops[i].id
        if start[then] < end[first] - slack:
            yield (
                f"the schedule starts op {then!r} before op {first!r}, which it reads, ends: "
                "its times cannot be kept"
            )
            return


def other_inputs(description: str | None, inputs: str | None) -> Iterator[str]:
    """Yield a note that a graph was profiled with other inputs, if its description says so."""
    stated = f"; {description or ''}; ".partition(f"; {INPUTS}: ")[2].partition("; ")[0]
    if stated and inputs is not None and stated != inputs:
        yield (
            f"the graph was profiled with inputs {stated}, and the model runs on {inputs}: the "
            "predicted times are for other inputs"
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
    ops: Sequence[CapturedOp],
    report: RunReport,
    kinds: Mapping[str, str],
    name: str = "measured",
) -> tuple[Problem, Schedule]:
    """Return what was measured as a schedule, in microseconds: for traces and metrics.

    Its problem says what ran where, not what else was possible.

    Parameters
    ----------
    ops : sequence of CapturedOp
    report : RunReport
    kinds : mapping of str to str
        Kind of every device.
    name : str
        Of the graph.
    """
    spans = {span.op: span for span in report.execution.ops}
    moved = {(move.op, move.output): move.bytes for move in report.execution.transfers}
    ids = list(report.devices)
    made = [
        Op(
            id=op.id,
            time={spans[op.id].device: max(0.0, spans[op.id].end_s - spans[op.id].start_s) * _US},
            inputs=tuple(
                Input(producer, output=output or None)
                for producer, output in dict.fromkeys(op.inputs)
            ),
            type=op.type,
            outputs={name: moved.get((op.id, name), 0) for name in op.outputs},
        )
        for op in ops
    ]
    cluster = Cluster(tuple(Device(d, kind) for d, kind in _distinct(ids, kinds).items()))
    graph = Graph(name, (Model(name.replace("/", "-"), tuple(made)),), "us")
    problem = Problem(graph, cluster, Objective.MAKESPAN)
    place, number = {d: k for k, d in enumerate(ids)}, {op.id: k for k, op in enumerate(made)}
    ordered = [spans[op.id] for op in made]

    def tensor(move: Span) -> int:
        op, outputs = number[move.op], ops[number[move.op]].outputs
        position = outputs.index(move.output) if outputs else 0
        return int(problem.arrays.tensor_ptr[op]) + position

    moves = [
        TransferRow(
            number[m.op], place[m.device], place[m.target or ""], m.start_s * _US, m.end_s * _US,
            m.bytes, tensor(m),
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
