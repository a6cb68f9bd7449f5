"""Schedules as traces in Chrome's event format, which Perfetto (ui.perfetto.dev) opens.

Each device is a process and each of its slots a thread; transfers have a process of their own,
with a thread per link and direction, and more where transfers run side by side. Arrows lead from
the op that makes a tensor to the transfer that moves it, and on to the first op that reads it
there. Times are in microseconds, as the format wants; the graph's own unit is in the arguments.

Traces that profilers write are read by `trace_reader`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from talos_opt.core import rounding, units
from talos_opt.core.origins import origin_of
from talos_opt.core.problem import Floats, Ints, Problem
from talos_opt.core.schedule import Schedule, TransferRow, Transfers
from talos_opt.formats.lanes import assign_lanes
from talos_opt.formats.target import write_lines
from talos_opt.formats.trace_reader import Trace, TraceOp, read_trace

__all__ = ["Trace", "TraceOp", "read_trace", "trace_lines", "write_schedule_trace"]

Event = dict[str, Any]

#: Categories of the events, by which they can be filtered.
OP, TRANSFER, FLOW = "op", "transfer", "flow"

#: Name of the process that holds the transfers.
LINKS = "links"


def write_schedule_trace(
    problem: Problem, schedule: Schedule, target: str | os.PathLike[str]
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

    Raises
    ------
    FormatError
        If the target cannot be written.
    """
    write_lines(trace_lines(problem, schedule), target)


def trace_lines(problem: Problem, schedule: Schedule) -> Iterator[str]:
    """Yield the lines of a trace, an event each; see `write_schedule_trace`."""
    other = {"graph": problem.graph.name, "time_unit": problem.graph.time_unit, "by": "talos_opt"}
    yield '{"displayTimeUnit": "ms", "otherData": ' + _dump(other) + ', "traceEvents": ['
    waiting = ""
    for event in _Drawing(problem, schedule).events():
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
        return self.start + self.duration / 2


class _Drawing:
    """A schedule as bars and arrows."""

    def __init__(self, problem: Problem, schedule: Schedule) -> None:
        self.problem = problem
        self.schedule = schedule
        self.scale = 1e6 / units.PER_SECOND[problem.graph.time_unit]
        #: Ends that overlap by no more are float noise, not overlap; twice, as times are scaled.
        self.noise = 2 * self.scale * rounding.noise(schedule.start, schedule.end)
        self.columns = problem.graph.columns
        self.devices = problem.cluster.devices
        self.flows = 0
        self.ops: list[_Slice | None] = [None] * problem.graph.op_count

    def events(self) -> Iterator[Event]:
        """Yield all events: names of rows, ops, transfers, arrows."""
        for d, device in enumerate(self.devices):
            yield from _named_process(d + 1, f"{device.id} ({device.kind})")
            yield from self._ops_on(d)
        pid = len(self.devices) + 1
        yield from _named_process(pid, LINKS)
        yield from self._transfers(pid)

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
        for k in np.lexsort((end, start)).tolist():
            begin, stop, i = float(rows.start[k]), float(rows.end[k]), int(here[k])
            bar = _Slice(d + 1, int(rows.first[k]) + 1, begin, stop - begin)
            self.ops[i] = bar
            yield _complete(bar, OP, self._label(i), self._op_facts(i, d))
        for row in range(rows.count):
            yield from _named_thread(d + 1, row + 1, f"slot {row}")

    def _label(self, i: int) -> str:
        """Name of an op: with its model only where there are several."""
        one = len(self.columns.model_ids) == 1
        return self.columns.ids[i] if one else self.problem.names[i]

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
        bars: dict[tuple[int, int], _Slice] = {}
        threads: dict[tuple[int, int, int], int] = {}
        for k, move in enumerate(moves):
            row = (move.source, move.target, int(lane[k]))
            if row not in threads:
                threads[row] = len(threads) + 1
                yield from _named_thread(pid, threads[row], self._link_name(move, row[2]))
            bar = _Slice(pid, threads[row], float(start[k]), float(end[k] - start[k]))
            bars[move.tensor, move.target] = bar
            yield _complete(bar, TRANSFER, self._label(move.op), self._move_facts(move))
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
        yield {"ph": "f", "bp": "e", "ts": head.inside, "pid": head.pid, "tid": head.tid, **common}


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


def _named_process(pid: int, name: str) -> Iterator[Event]:
    common = {"ph": "M", "pid": pid, "tid": 0, "ts": 0}
    yield {**common, "name": "process_name", "args": {"name": name}}
    yield {**common, "name": "process_sort_index", "args": {"sort_index": pid}}


def _named_thread(pid: int, tid: int, name: str) -> Iterator[Event]:
    common = {"ph": "M", "pid": pid, "tid": tid, "ts": 0}
    yield {**common, "name": "thread_name", "args": {"name": name}}
    yield {**common, "name": "thread_sort_index", "args": {"sort_index": tid}}
