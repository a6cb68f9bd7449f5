"""talos-schedule/1: schedules as files, ours or another tool's."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from talos_opt.core import units
from talos_opt.core.errors import FormatError, InputError, ScheduleError
from talos_opt.core.graph import SEPARATOR
from talos_opt.core.limits import require_moved
from talos_opt.core.problem import Floats, Ints, Problem
from talos_opt.core.records import Keys, as_list, as_name
from talos_opt.core.result import SCHEMA, Result
from talos_opt.core.schedule import Schedule, TransferRow, Transfers
from talos_opt.formats import emit
from talos_opt.formats.npz import is_npz
from talos_opt.formats.schedule_columns import (
    COLUMNS_SUFFIX,
    read_columns,
    write_columns,
)
from talos_opt.formats.schedule_columns import read_header as read_columns_header
from talos_opt.formats.schedule_header import ROWS, read_header
from talos_opt.formats.source import STREAM, Source, open_source, paused_collector, split_suffix
from talos_opt.formats.target import write_lines

#: Text that JSON holds as it is.
_PLAIN = re.compile(r"[\w ./:+()\[\]-]*", re.ASCII)

OP_KEYS = Keys("model op device start end", extra=True)
TRANSFER_KEYS = Keys("model op from to start end bytes", extra=True)


class ScheduleFile:
    """A schedule file, read and parsed once.

    Parameters
    ----------
    source : path, or '-' for standard input

    Attributes
    ----------
    name : str
        What messages call it.
    document : dict
        Its plain values; of columns, their header.
    made : Made
        What decided about it, as far as it says.

    Raises
    ------
    FormatError
        If it cannot be read, or is not talos-schedule/1.
    ScheduleError
        If what it says beside its rows is broken.
    """

    def __init__(self, source: str | os.PathLike[str]) -> None:
        self._file = open_source(source)
        self.name = self._file.name
        self._columns = is_npz(self._file)
        if self._columns:
            self.document = read_columns_header(self._file)
            try:
                self.made = read_header(self.document)
            except ScheduleError as error:
                raise error.located(source=self._file.name) from None
            return
        with paused_collector(), self._file.blamed():
            self.document = dict(_check_schema(self._file))
            self.made = read_header(self.document)

    def schedule(self, problem: Problem) -> Schedule:
        """Return the schedule, lined up with the ops of its problem; see `read_schedule`."""
        if self._columns:
            return read_columns(self._file, problem)
        with paused_collector(), self._file.blamed():
            return schedule_from(self.document, problem)


def read_schedule_document(source: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a schedule file as plain values.

    Raises
    ------
    InputError
        If it cannot be read, or is not talos-schedule/1.
    """
    return ScheduleFile(source).document


def read_schedule(source: str | os.PathLike[str], problem: Problem) -> Schedule:
    """Read a schedule and line it up with the ops of its problem.

    Whether it is feasible is for `talos_opt.core.feasibility.check` to say. Of the file, only
    ``schema``, ``time_unit``, ``ops`` and ``transfers`` matter; metrics are recomputed.

    Raises
    ------
    FormatError
        If the file cannot be read, or is not talos-schedule/1.
    ScheduleError
        If it holds no schedule, or not one of this problem's ops on its devices; names file,
        line, path, what was found and what was expected.
    """
    return ScheduleFile(source).schedule(problem)


def schedule_from(document: Mapping[str, Any], problem: Problem) -> Schedule:
    """Return the schedule in a talos-schedule/1 document; see `read_schedule`."""
    try:
        return _Reader(document, problem).read()
    except ScheduleError:
        raise
    except InputError as error:  # a value of the wrong type or sign
        raise ScheduleError(error.message, path=error.path) from None


def write_schedule(result: Result | Mapping[str, Any], target: str | os.PathLike[str]) -> None:
    """Write a result, or a talos-schedule/1 document, to a file: whole or not at all.

    Parameters
    ----------
    result : Result or mapping
    target : str or path
        ``.json``, ``.yaml`` or ``.yml``, each also with ``.gz``; a result also ``.npz``, as
        talos-schedule-columns/1. ``-``: standard output, as JSON.

    Raises
    ------
    FormatError
        If the target cannot be written.
    """
    name = os.fspath(target)
    suffix = ".json" if name == STREAM else split_suffix(name)[1]
    if suffix == COLUMNS_SUFFIX:
        if not isinstance(result, Result):
            raise FormatError("holds columns of a result, expected one", source=name)
        write_columns(result, finite(result.to_dict(rows=False)), target)
        return
    if suffix == ".json" and isinstance(result, Result):
        write_lines(json_lines(result), target)
        return
    document = result.to_dict() if isinstance(result, Result) else dict(result)
    for key, value in document.items():
        if key not in ROWS:  # their times are finite, and they are long
            document[key] = finite(value)
    try:
        lines = emit.lines_of(document, emit.SCHEDULE, suffix)
    except FormatError as error:
        raise error.located(source=name) from None
    write_lines(lines, target)


def json_lines(result: Result) -> Iterator[str]:
    """Yield the lines of a result as JSON, without an object for each op."""
    document = finite(result.to_dict(rows=False))
    if result.schedule is not None:
        document["ops"] = emit.JsonRows(_op_rows(result.problem, result.schedule))
        document["transfers"] = emit.JsonRows(_transfer_rows(result.problem, result.schedule))
    return emit.json_lines(document, emit.SCHEDULE)


def _op_rows(problem: Problem, schedule: Schedule) -> Iterator[str]:
    """Yield every op as JSON; written out, since an encoder takes twice as long."""
    devices = _quoted(problem.device_ids)
    columns = (schedule.device.tolist(), schedule.start.tolist(), schedule.end.tolist())
    for name, device, start, end in zip(_names(problem), *columns, strict=True):
        yield f'{{{name}, "device": {devices[device]}, "start": {start!r}, "end": {end!r}}}'


def _transfer_rows(problem: Problem, schedule: Schedule) -> Iterator[str]:
    devices, names = _quoted(problem.device_ids), list(_names(problem))
    for op, source, target, start, end, size in schedule.transfers.rows():
        yield (
            f'{{{names[op]}, "from": {devices[source]}, "to": {devices[target]}, '
            f'"start": {start!r}, "end": {end!r}, "bytes": {size}}}'
        )


def _names(problem: Problem) -> Iterator[str]:
    """Yield the JSON that names each op."""
    columns = problem.graph.columns
    models = _quoted(columns.model_ids)
    for j, (first, last) in enumerate(pairwise(columns.model_ptr.tolist())):
        lead = f'"model": {models[j]}, "op": '
        yield from (lead + name for name in _quoted(columns.ids.slice(first, last)))


def _quoted(texts: Sequence[str]) -> list[str]:
    """Return texts as JSON; only if one needs it, all are searched for what is to be escaped."""
    if _PLAIN.fullmatch("".join(texts)):
        return [f'"{text}"' for text in texts]
    return [json.dumps(text, ensure_ascii=False) for text in texts]


def finite(value: Any) -> Any:
    """Replace numbers that JSON cannot hold by None."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def _check_schema(file: Source) -> Mapping[str, Any]:
    document = file.document
    if not isinstance(document, dict):
        raise FormatError(f"holds {units.describe(document)}, expected a mapping: {SCHEMA}")
    if document.get("schema") != SCHEMA:
        raise FormatError(
            f"schema is {units.describe(document.get('schema'))}, expected {SCHEMA!r}",
            path="schema" if "schema" in document else None,
        )
    return document


class _Reader:
    """Names to array positions."""

    def __init__(self, document: Mapping[str, Any], problem: Problem) -> None:
        self.document = document
        self.problem = problem
        self.ops = problem.index
        self.devices = {name: d for d, name in enumerate(problem.device_ids)}

    def read(self) -> Schedule:
        unit = self.document.get("time_unit", self.problem.graph.time_unit)
        if unit != self.problem.graph.time_unit:
            raise ScheduleError(
                f"time_unit is {units.describe(unit)}, expected that of the graph, "
                f"{self.problem.graph.time_unit!r}",
                path="time_unit",
            )
        rows = as_list(self._part("ops"), "ops", "ops")
        if not rows:
            status = units.describe(self.document.get("status"))
            raise ScheduleError(
                f"the file holds no schedule: ops is empty, status is {status}", path="ops"
            )
        device, start, end = self._ops(rows)
        transfers = as_list(self.document.get("transfers", ()), "transfers", "transfers")
        moves = [self._transfer(row, f"transfers[{k}]") for k, row in enumerate(transfers)]
        require_moved(np.array([move.bytes for move in moves], dtype=np.int64), "transfers")
        return Schedule(device, start, end, Transfers.from_rows(moves))

    def _part(self, key: str) -> object:
        if key not in self.document:
            raise ScheduleError(f"the schedule has no {key!r}, expected one")
        return self.document[key]

    def _ops(self, rows: list[Any] | tuple[Any, ...]) -> tuple[Ints, Floats, Floats]:
        count = len(self.ops)
        device = np.full(count, -1, dtype=np.int64)
        start, end = np.zeros(count), np.zeros(count)
        placed: dict[int, int] = {}
        for k, row in enumerate(rows):
            path = f"ops[{k}]"
            record = OP_KEYS.check(row, "an op", path)
            i = self._op(record, path)
            if i in placed:
                raise ScheduleError(
                    f"op {self.problem.names[i]} is placed twice (first as ops[{placed[i]}]), "
                    "expected every op once",
                    path=path,
                )
            placed[i] = k
            device[i] = self._device(record, "device", path)
            start[i] = units.magnitude(record["start"], "start", path=f"{path}.start")
            end[i] = units.magnitude(record["end"], "end", path=f"{path}.end")
        left_out = [self.problem.names[i] for i in range(count) if i not in placed]
        if left_out:
            some = ", ".join(left_out[:3]) + (", ..." if len(left_out) > 3 else "")
            raise ScheduleError(
                f"the schedule leaves out {len(left_out)} of {count} ops ({some}), "
                f"expected every op once{self._other_graph()}",
                path="ops",
            )
        return device, start, end

    def _transfer(self, row: object, path: str) -> TransferRow:
        record = TRANSFER_KEYS.check(row, "a transfer", path)
        return TransferRow(
            self._op(record, path),
            self._device(record, "from", path),
            self._device(record, "to", path),
            units.magnitude(record["start"], "start", path=f"{path}.start"),
            units.magnitude(record["end"], "end", path=f"{path}.end"),
            units.size(record["bytes"], "bytes", path=f"{path}.bytes"),
        )

    def _op(self, record: Mapping[str, Any], path: str) -> int:
        model = as_name(record["model"], "model", f"{path}.model")
        op = as_name(record["op"], "op", f"{path}.op")
        i = self.ops.get(f"{model}{SEPARATOR}{op}")
        if i is not None:
            return i
        models = self.problem.graph.model_ids
        if model not in models:
            raise ScheduleError(
                f"the graph has no model {model!r}, expected one of "
                f"{_some(models)}{self._other_graph()}",
                path=f"{path}.model",
            )
        raise ScheduleError(
            f"model {model!r} has no op {op!r}{self._other_graph()}", path=f"{path}.op"
        )

    def _device(self, record: Mapping[str, Any], key: str, path: str) -> int:
        name = as_name(record[key], key, f"{path}.{key}")
        if name not in self.devices:
            raise ScheduleError(
                f"the cluster has no device {name!r}, expected one of {_some(self.devices)}",
                path=f"{path}.{key}",
            )
        return self.devices[name]

    def _other_graph(self) -> str:
        """Return a hint for a schedule that says it belongs to another graph."""
        named = self.document.get("graph", self.problem.graph.name)
        if named == self.problem.graph.name:
            return ""
        return (
            f" (the schedule is of graph {units.describe(named)}, "
            f"this is {self.problem.graph.name!r})"
        )


def _some(names: Any) -> str:
    listed = list(names)
    return ", ".join(listed[:8]) + (", ..." if len(listed) > 8 else "")
