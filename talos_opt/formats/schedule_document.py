"""A talos-schedule/1 document by names, and those names lined up with a problem.

The one reader of the rows. Reports and frameworks, which have no graph at hand, stop after the
first step.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from talos_opt.core import units
from talos_opt.core.errors import InputError, ScheduleError
from talos_opt.core.graph import SEPARATOR
from talos_opt.core.limits import require_moved
from talos_opt.core.plain import Keys, as_list, as_name
from talos_opt.core.problem import Floats, Ints, Problem
from talos_opt.core.schedule import Schedule, TransferRow, Transfers

#: Of talos-schedule-columns/1, whose header may stand where a document is expected.
COLUMNS = "talos-schedule-columns/1"

OP_KEYS = Keys("model op device start end", extra=True)
TRANSFER_KEYS = Keys("model op from to start end bytes", extra=True)


@dataclass(frozen=True)
class NamedSchedule:
    """A schedule whose graph is not at hand; devices and models in order of appearance.

    Parameters
    ----------
    graph : object
        Its name, as the document has it; None: it does not say.
    time_unit : str, optional
    devices, models, names : tuple of str
        Devices that the metrics name come first; names are ``MODEL/OP`` of the n ops.
    model, device : (n,) int
    start, end : (n,) float
        In the time unit.
    moves : tuple of TransferRow
        In the order of the document; ops and devices are positions in `names` and `devices`.
    outputs : tuple of str
        Of each move, which output of its op it is; empty where the document does not say.
    """

    graph: object
    time_unit: str | None
    devices: tuple[str, ...]
    models: tuple[str, ...]
    names: tuple[str, ...]
    model: Ints
    device: Ints
    start: Floats
    end: Floats
    moves: tuple[TransferRow, ...] = ()
    outputs: tuple[str, ...] = ()


def named_schedule(document: Mapping[str, Any]) -> NamedSchedule:
    """Read the rows of a document.

    Raises
    ------
    ScheduleError
        If it holds no schedule or a broken one, or names its ops by number (columns); with the
        path of the value.
    """
    if document.get("schema") == COLUMNS:
        raise ScheduleError(
            "columns do not name ops, expected a graph too (on the command line: GRAPH SCHEDULE)"
        )
    with _schedule_errors():
        reader = _Reader(document)
        named, (moves, outputs) = reader.ops(), reader.moves()
        return replace(named, devices=tuple(reader.devices), moves=moves, outputs=outputs)


def bound_schedule(document: Mapping[str, Any], problem: Problem) -> Schedule:
    """Read the rows of a document, and line them up with the ops and devices of a problem.

    Raises
    ------
    ScheduleError
        As `named_schedule` does, and if the document is in another time unit, or not of the
        problem's ops on its devices.
    """
    with _schedule_errors():
        return _Binding(_Reader(document), problem).schedule()


@contextmanager
def _schedule_errors() -> Iterator[None]:
    try:
        yield
    except ScheduleError:
        raise
    except InputError as error:  # a value of the wrong type or sign
        raise ScheduleError(error.message, path=error.path) from None


class _Reader:
    """Names to numbers, in order of appearance."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.devices: dict[str, int] = {name: d for d, name in enumerate(_stated(document))}
        self.models: dict[str, int] = {}
        self.names: dict[str, int] = {}

    def ops(self) -> NamedSchedule:
        """Return all but the transfers."""
        unit = self.document.get("time_unit")
        if unit is not None and unit not in tuple(units.PER_SECOND):
            raise ScheduleError(
                f"time_unit is {units.describe(unit)}, expected one of "
                f"{', '.join(units.PER_SECOND)}",
                path="time_unit",
            )
        if "ops" not in self.document:
            raise ScheduleError("the schedule has no 'ops', expected one")
        rows = as_list(self.document["ops"], "ops", "ops")
        if not rows:
            status = units.describe(self.document.get("status"))
            raise ScheduleError(
                f"the file holds no schedule: ops is empty, status is {status}", path="ops"
            )
        ops = [self._op(row, f"ops[{k}]") for k, row in enumerate(rows)]
        model, device, start, end = zip(*ops, strict=True)
        return NamedSchedule(
            self.document.get("graph"),
            unit,
            tuple(self.devices),
            tuple(self.models),
            tuple(self.names),
            np.array(model, dtype=np.int64),
            np.array(device, dtype=np.int64),
            np.array(start),
            np.array(end),
        )

    def moves(self) -> tuple[tuple[TransferRow, ...], tuple[str, ...]]:
        """Return the transfers, of which the ops have been read, and the outputs they name."""
        given = as_list(self.document.get("transfers", ()), "transfers", "transfers")
        rows = tuple(self._transfer(row, f"transfers[{k}]") for k, row in enumerate(given))
        outputs = tuple(
            as_name(row["output"], "output", f"transfers[{k}].output") if "output" in row else ""
            for k, row in enumerate(given)
        )
        return rows, outputs

    def _op(self, row: object, path: str) -> tuple[int, int, float, float]:
        record = OP_KEYS.check(row, "an op", path)
        model = as_name(record["model"], "model", f"{path}.model")
        name = f"{model}{SEPARATOR}{as_name(record['op'], 'op', f'{path}.op')}"
        if name in self.names:
            raise ScheduleError(
                f"op {name} is placed twice (first as ops[{self.names[name]}]), "
                "expected every op once",
                path=path,
            )
        self.names[name] = len(self.names)
        model_number = self.models.setdefault(model, len(self.models))
        return model_number, self._device(record, "device", path), *_times(record, path)

    def _transfer(self, row: object, path: str) -> TransferRow:
        record = TRANSFER_KEYS.check(row, "a transfer", path)
        model, op = (as_name(record[key], key, f"{path}.{key}") for key in ("model", "op"))
        name = f"{model}{SEPARATOR}{op}"
        if name not in self.names:
            raise ScheduleError(
                f"the schedule has no op {op!r} of model {model!r}, which it transfers",
                path=f"{path}.op",
            )
        source, target = (self._device(record, key, path) for key in ("from", "to"))
        size = units.size(record["bytes"], "bytes", path=f"{path}.bytes")
        return TransferRow(self.names[name], source, target, *_times(record, path), size)

    def _device(self, record: Mapping[str, Any], key: str, path: str) -> int:
        name = as_name(record[key], key, f"{path}.{key}")
        return self.devices.setdefault(name, len(self.devices))


def _times(record: Mapping[str, Any], path: str) -> tuple[float, float]:
    return (
        units.magnitude(record["start"], "start", path=f"{path}.start"),
        units.magnitude(record["end"], "end", path=f"{path}.end"),
    )


def _stated(document: Mapping[str, Any]) -> list[str]:
    """Devices that the metrics name, in order: also those on which nothing runs."""
    metrics = document.get("metrics")
    named = metrics.get("idle_time") if isinstance(metrics, Mapping) else None
    return [str(name) for name in named] if isinstance(named, Mapping) else []


class _Binding:
    """Names to positions in a problem."""

    def __init__(self, reader: _Reader, problem: Problem) -> None:
        self.reader, self.named, self.problem = reader, reader.ops(), problem

    def schedule(self) -> Schedule:
        named, unit = self.named, self.problem.graph.time_unit
        if named.time_unit not in (None, unit):
            raise ScheduleError(
                f"time_unit is {named.time_unit!r}, expected that of the graph, {unit!r}",
                path="time_unit",
            )
        op = self._ops()
        device, start, end = (np.empty(len(op), kind) for kind in (np.int64, float, float))
        device[op] = self._devices(named.device.tolist(), "ops", "device")
        start[op], end[op] = named.start, named.end
        moves, outputs = self.reader.moves()  # only now: what is wrong with ops is said first
        sources = self._devices([move.source for move in moves], "transfers", "from")
        targets = self._devices([move.target for move in moves], "transfers", "to")
        require_moved(np.array([move.bytes for move in moves], dtype=np.int64), "transfers")
        moved = [int(op[move.op]) for move in moves]
        tensors = [
            self._tensor(i, *item) for i, item in enumerate(zip(moved, outputs, strict=True))
        ]
        rows = [
            move._replace(op=i, source=source, target=target, tensor=tensor)
            for move, i, source, target, tensor in zip(
                moves, moved, sources, targets, tensors, strict=True
            )
        ]
        return Schedule(device, start, end, Transfers.from_rows(rows))

    def _ops(self) -> Ints:
        """Position in the problem of every op of the document; all of the problem's are there."""
        named, index = self.named, self.problem.index
        op = np.array([index.get(name, -1) for name in named.names], dtype=np.int64)
        if (op < 0).any():
            k = int(np.argmin(op))
            model, name = named.models[int(named.model[k])], named.names[k]
            known = self.problem.graph.model_ids
            if model not in known:
                raise ScheduleError(
                    f"the graph has no model {model!r}, expected one of "
                    f"{_some(known)}{self._other_graph()}",
                    path=f"ops[{k}].model",
                )
            raise ScheduleError(
                f"model {model!r} has no op {name[len(model) + 1 :]!r}{self._other_graph()}",
                path=f"ops[{k}].op",
            )
        if len(op) < len(index):
            there = set(named.names)
            left_out = [name for name in self.problem.names if name not in there]
            some = ", ".join(left_out[:3]) + (", ..." if len(left_out) > 3 else "")
            raise ScheduleError(
                f"the schedule leaves out {len(left_out)} of {len(index)} ops ({some}), "
                f"expected every op once{self._other_graph()}",
                path="ops",
            )
        return op

    def _devices(self, numbers: Sequence[int], rows: str, key: str) -> list[int]:
        """Positions in the cluster of devices of the document."""
        names, index = list(self.reader.devices), self.problem.cluster.index
        found = [index.get(names[number], -1) for number in numbers]
        if -1 in found:
            k = found.index(-1)
            raise ScheduleError(
                f"the cluster has no device {names[numbers[k]]!r}, expected one of {_some(index)}",
                path=f"{rows}[{k}].{key}",
            )
        return found

    def _tensor(self, row: int, op: int, output: str) -> int:
        """Position in the problem of the output that a transfer names."""
        first, last = self.problem.arrays.tensor_ptr[op : op + 2].tolist()
        if not output and last - first == 1:
            return int(first)
        names = [self.problem.output_name(tensor) for tensor in range(first, last)]
        if output in names:
            return int(first) + names.index(output)
        where, name = f"transfers[{row}]", self.problem.names[op]
        if output and not any(names):
            wrong = f"op {name} names no outputs, the transfer names {output!r}"
        elif output:
            wrong = f"op {name} has no output {output!r}, expected one of {_some(names)}"
        else:
            wrong = f"a transfer of op {name} names no output, expected one of {_some(names)}"
        raise ScheduleError(wrong, path=f"{where}.output" if output else where)

    def _other_graph(self) -> str:
        """Return a hint for a schedule that says it belongs to another graph."""
        named, name = self.named.graph, self.problem.graph.name
        if named in (None, name):
            return ""
        return f" (the schedule is of graph {units.describe(named)}, this is {name!r})"


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:8]) + (", ..." if len(listed) > 8 else "")
