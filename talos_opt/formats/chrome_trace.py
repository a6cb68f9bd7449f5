"""Schedules as traces in Chrome's event format, which Perfetto (ui.perfetto.dev) opens.

Each device is a process and each of its slots a thread; transfers have a process of their own,
with a thread per link and direction, and more where transfers run side by side. Arrows lead from
the op that makes a tensor to the transfer that moves it, and on to the first op that reads it
there. Each device has a counter of the bytes that it holds, and one more process has the critical
path as a row and marks where models are released and done. Times are in microseconds, as the format
wants; the graph's own unit is in the arguments.

Traces that profilers write are read by `trace_reader`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from talos_opt.core import rounding, units
from talos_opt.core.memory_curves import memory_curves
from talos_opt.core.metrics import completion_times
from talos_opt.core.origins import origin_of
from talos_opt.core.problem import Floats, Ints, Problem
from talos_opt.core.schedule import Schedule, TransferRow, Transfers
from talos_opt.formats.lanes import assign_lanes
from talos_opt.formats.target import write_lines
from talos_opt.formats.trace_reader import Trace, TraceOp, read_trace

__all__ = ["Trace", "TraceOp", "read_trace", "trace_lines", "write_schedule_trace"]

Event = dict[str, Any]

#: Categories of the events, by which they can be filtered.
OP, TRANSFER, FLOW, PATH, MARK = "op", "transfer", "flow", "critical", "model"

#: Name of the process that holds the transfers.
LINKS = "links"

#: Name of the process that holds the critical path and the marks of models.
OVERVIEW = "overview"

#: Microseconds that a bar takes at least: 1 ns, to which viewers round. Arrows meet no shorter one.
SHORTEST = 0.001

#: An op of a critical path, or a transfer of its tensor: number of the op, row of the transfer or
#: -1.
PathStep = tuple[int, int]


def write_schedule_trace(
    problem: Problem,
    schedule: Schedule,
    target: str | os.PathLike[str],
    path: Sequence[PathStep] = (),
) -> None:
    """Write a schedule as a Chrome trace: whole or not at all.

    Parameters
    ----------
    problem : Problem
    schedule : Schedule
        Of the problem's ops. Whether it is feasible is not looked at: ops that overlap beyond a
        device's slots get rows of their own.
    target : str or path
        Any name, as gzip where it ends in ``.gz``; ``-``: standard output.
    path : sequence of (int, int)
        The critical path by time, to be drawn as a row of its own: number of the op, and row of
        the transfer of its tensor, or -1 for the op itself.

    Raises
    ------
    FormatError
        If the target cannot be written.
    """
    write_lines(trace_lines(problem, schedule, path), target)


def trace_lines(
    problem: Problem, schedule: Schedule, path: Sequence[PathStep] = ()
) -> Iterator[str]:
    """Yield the lines of a trace, an event each; see `write_schedule_trace`."""
    other = {"graph": problem.graph.name, "time_unit": problem.graph.time_unit, "by": "talos_opt"}
    yield '{"displayTimeUnit": "ms", "otherData": ' + _dump(other) + ', "traceEvents": ['
    waiting = ""
    for event in _Drawing(problem, schedule, path).events():
        if waiting:
            yield waiting + ","
        waiting = _dump(event)
    yield waiting
    yield "]}"


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


@dataclass(frozen=True, slots=True)
class _Slice:
    """Where a bar was drawn; times in microseconds."""

    pid: int
    tid: int
    start: float
    duration: float

    @property
    def inside(self) -> float:
        """A moment at which an arrow meets this bar and no other of its row."""
        # The middle of a bar of one tick would be rounded to the tick after it.
        return self.start + (self.duration / 2 if self.duration > 2 * SHORTEST else 0.0)


class _Drawing:
    """A schedule as bars and arrows."""

    def __init__(self, problem: Problem, schedule: Schedule, path: Sequence[PathStep]) -> None:
        self.problem = problem
        self.schedule = schedule
        self.path = path
        self.scale = 1e6 / units.PER_SECOND[problem.graph.time_unit]
        #: Ends that overlap by no more are float noise, not overlap; twice, as times are scaled.
        self.noise = 2 * self.scale * rounding.noise(schedule.start, schedule.end)
        self.columns = problem.graph.columns
        self.devices = problem.cluster.devices
        self.flows = 0
        self.ops: list[_Slice | None] = [None] * problem.graph.op_count

    def events(self) -> Iterator[Event]:
        """Yield all events: names of rows, ops, memory, transfers, arrows, path, models."""
        for d, device in enumerate(self.devices):
            yield from _named_process(d + 1, f"{device.id} ({device.kind})")
            yield from self._ops_on(d)
        pid = len(self.devices) + 1
        yield from _named_process(pid, LINKS)
        yield from self._transfers(pid)
        yield from self._memory()
        yield from _named_process(pid + 1, OVERVIEW, first=True)
        if self.path:
            yield from _named_thread(pid + 1, 1, "critical path")
            yield from self._path(pid + 1, 1)
        yield from _named_thread(pid + 1, 2, "models")
        yield from self._models(pid + 1, 2)

    def _ops_on(self, d: int) -> Iterator[Event]:
        here = np.flatnonzero(self.schedule.device == d)
        start, end = self.schedule.start[here], self.schedule.end[here]
        rows = assign_lanes(
            start * self.scale,
            end * self.scale,
            self.columns.slots[here],
            lanes=self.devices[d].slots,
            tolerance=self.noise,
        )
        bars = _visible(rows.first, rows.start, rows.end)
        for k in np.lexsort((end, start)).tolist():
            i = int(here[k])
            bar = _Slice(d + 1, int(rows.first[k]) + 1, *bars[k])
            self.ops[i] = bar
            yield _complete(bar, self._category(OP, i), self._label(i), self._op_facts(i, d))
        for row in range(rows.count):
            yield from _named_thread(d + 1, row + 1, f"slot {row}")

    def _label(self, i: int) -> str:
        """Name of an op: with its model only where there are several."""
        one = len(self.columns.model_ids) == 1
        return self.columns.ids[i] if one else self.problem.names[i]

    def _category(self, kind: str, i: int) -> str:
        """Kind of an event and the model of its op: categories are parted by commas."""
        model = self.columns.model_ids[int(self.columns.model[i])].replace(",", " ")
        return f"{kind},model {model}"

    def _op_facts(self, i: int, d: int) -> Event:
        return {
            "model": self.columns.model_ids[int(self.columns.model[i])],
            "op": self.columns.ids[i],
            "type": self.columns.types[int(self.columns.type[i])],
            **origin_of(self.columns, i).known(),
            "device": self.devices[d].id,
            "bytes": int(self.columns.output[i]),
            "start": float(self.schedule.start[i]),
            "end": float(self.schedule.end[i]),
            "time_unit": self.problem.graph.time_unit,
        }

    def _transfers(self, pid: int) -> Iterator[Event]:
        """Yield the transfers, in rows per link, and the arrows into and out of them."""
        columns = self.schedule.transfers
        moves = list(columns.rows())
        lane, start, end = self._link_rows(columns)
        link = columns.source * len(self.devices) + columns.target
        drawn = _visible(link * (len(moves) + 1) + lane, start, end)
        bars: dict[tuple[int, int], _Slice] = {}
        threads: dict[tuple[int, int, int], int] = {}
        for k, move in enumerate(moves):
            row = (move.source, move.target, int(lane[k]))
            if row not in threads:
                threads[row] = len(threads) + 1
                yield from _named_thread(pid, threads[row], self._link_name(move, row[2]))
            bar = _Slice(pid, threads[row], *drawn[k])
            bars[move.tensor, move.target] = bar
            category = self._category(TRANSFER, move.op)
            yield _complete(bar, category, self._label(move.op), self._move_facts(move))
        yield from self._arrows(moves, bars)

    def _link_rows(self, moves: Transfers) -> tuple[Ints, Floats, Floats]:
        """Row of each transfer among those of its link, and its times in microseconds."""
        lane = np.zeros(len(moves), dtype=np.int64)
        start, end = moves.start * self.scale, moves.end * self.scale
        link = moves.source * len(self.devices) + moves.target
        for key in np.unique(link).tolist():
            here = np.flatnonzero(link == key)
            rows = assign_lanes(start[here], end[here], tolerance=self.noise)
            lane[here], start[here], end[here] = rows.first, rows.start, rows.end
        return lane, start, end

    def _link_name(self, move: TransferRow, lane: int) -> str:
        name = f"{self.devices[move.source].id} -> {self.devices[move.target].id}"
        return name if lane == 0 else f"{name} ({lane + 1})"

    def _move_facts(self, move: TransferRow) -> Event:
        return {
            "model": self.columns.model_ids[int(self.columns.model[move.op])],
            "op": self.columns.ids[move.op],
            **self._output(move.tensor),
            "from": self.devices[move.source].id,
            "to": self.devices[move.target].id,
            "bytes": move.bytes,
            "start": move.start,
            "end": move.end,
            "time_unit": self.problem.graph.time_unit,
        }

    def _output(self, tensor: int) -> Event:
        name = self.problem.output_name(tensor)
        return {"output": name} if name else {}

    def _arrows(
        self, moves: Iterable[TransferRow], bars: dict[tuple[int, int], _Slice]
    ) -> Iterator[Event]:
        """Lead each tensor from where it is made, or was staged, to its first reader there."""
        first = self._first_readers()
        for move in moves:
            bar = bars[move.tensor, move.target]
            staged = bars.get((move.tensor, move.source))
            yield from self._arrow(staged or self.ops[move.op], bar, move.op)
            reader = first.pop((move.tensor, move.target), None)
            if reader is not None:
                yield from self._arrow(bar, self.ops[reader], move.op)
        for (tensor, _), reader in first.items():  # free tensors: nothing moves them
            op = int(self.problem.arrays.tensor_op[tensor])
            yield from self._arrow(self.ops[op], self.ops[reader], op)

    def _memory(self) -> Iterator[Event]:
        """Yield the bytes that each device holds, at each moment at which they change."""
        tolerance = rounding.noise(self.schedule.start, self.schedule.end)
        for d, curve in enumerate(memory_curves(self.problem, self.schedule, tolerance)):
            common = {"ph": "C", "name": "memory (bytes)", "pid": d + 1, "tid": 0}
            times = (curve.times * self.scale).tolist()
            for time, held in zip(times, curve.bytes.tolist(), strict=True):
                yield {**common, "ts": time, "args": {"held": held}}

    def _path(self, pid: int, row: int) -> Iterator[Event]:
        """Yield the critical path as a row."""
        ops, moves, ids = self.schedule, self.schedule.transfers, self.problem.device_ids
        steps = np.array(self.path, dtype=np.int64).reshape(-1, 2)
        op, transfer = steps[:, 0], steps[:, 1]
        sent = transfer >= 0
        start, end = ops.start[op], ops.end[op]
        start[sent], end[sent] = moves.start[transfer[sent]], moves.end[transfer[sent]]
        bars = _visible(np.zeros(len(op)), start * self.scale, end * self.scale)
        for i, k, drawn in zip(op.tolist(), transfer.tolist(), bars, strict=True):
            where = ids[int(ops.device[i])]
            if k >= 0:
                where = f"{ids[int(moves.source[k])]} -> {ids[int(moves.target[k])]}"
            facts = {"op": self.columns.ids[i], "on": where}
            yield _complete(_Slice(pid, row, *drawn), PATH, f"{self._label(i)} ({where})", facts)

    def _models(self, pid: int, row: int) -> Iterator[Event]:
        """Yield marks: when each model is released, and when its last op ends."""
        done = completion_times(self.problem, self.schedule).tolist()
        release = self.problem.arrays.release.tolist()
        for name, *moments in zip(self.columns.model_ids, release, done, strict=True):
            for what, moment in zip(("released", "done"), moments, strict=True):
                yield {
                    "ph": "i",
                    "s": "t",
                    "cat": MARK,
                    "name": f"{name} {what}",
                    "pid": pid,
                    "tid": row,
                    "ts": moment * self.scale,
                    "args": {"model": name, "time": moment},
                }

    def _first_readers(self) -> dict[tuple[int, int], int]:
        """First op to start that reads a tensor on another device, by tensor and that device."""
        where, start = self.schedule.device.tolist(), self.schedule.start.tolist()
        first: dict[tuple[int, int], int] = {}
        edges = self.columns.topology
        for reader, op, tensor in zip(
            edges.edge_dst.tolist(),
            edges.edge_src.tolist(),
            edges.edge_tensor.tolist(),
            strict=True,
        ):
            if where[reader] == where[op]:
                continue
            known = first.get((tensor, where[reader]))
            if known is None or start[reader] < start[known]:
                first[tensor, where[reader]] = reader
        return first

    def _arrow(self, tail: _Slice | None, head: _Slice | None, op: int) -> Iterator[Event]:
        if tail is None or head is None:  # a device that the cluster lacks
            return
        self.flows += 1
        common = {"cat": FLOW, "name": self._label(op), "id": self.flows}
        yield {"ph": "s", "ts": tail.inside, "pid": tail.pid, "tid": tail.tid, **common}
        # bp e: the arrow ends at the bar around this moment, not at the next one to start.
        # Bars that were made longer may reach past the start of what follows them.
        at = max(head.inside, min(tail.inside, head.start + head.duration))
        yield {"ph": "f", "bp": "e", "ts": at, "pid": head.pid, "tid": head.tid, **common}


def _visible(row: Any, start: Floats, end: Floats) -> list[tuple[float, float]]:
    """Start and length of bars, none shorter than a tick; what follows on its row makes room."""
    drawn = [(0.0, 0.0)] * len(start)
    reached: dict[float, float] = {}
    rows, starts, ends = (np.asarray(values).tolist() for values in (row, start, end))
    for k in np.lexsort((end, start)).tolist():
        begin = max(starts[k], reached.get(rows[k], -np.inf))
        length = ends[k] - begin
        if length < SHORTEST:
            length = max(SHORTEST, 2 * float(np.spacing(begin)))
            reached[rows[k]] = begin + length
        drawn[k] = (begin, length)
    return drawn


def _complete(bar: _Slice, category: str, name: str, facts: Event) -> Event:
    return {
        "ph": "X",
        "cat": category,
        "name": name,
        "pid": bar.pid,
        "tid": bar.tid,
        "ts": bar.start,
        "dur": bar.duration,
        "args": facts,
    }


def _named_process(pid: int, name: str, *, first: bool = False) -> Iterator[Event]:
    common = {"ph": "M", "pid": pid, "tid": 0, "ts": 0}
    yield {**common, "name": "process_name", "args": {"name": name}}
    place = 0 if first else pid
    yield {**common, "name": "process_sort_index", "args": {"sort_index": place}}


def _named_thread(pid: int, tid: int, name: str) -> Iterator[Event]:
    common = {"ph": "M", "pid": pid, "tid": tid, "ts": 0}
    yield {**common, "name": "thread_name", "args": {"name": name}}
    yield {**common, "name": "thread_sort_index", "args": {"sort_index": tid}}
