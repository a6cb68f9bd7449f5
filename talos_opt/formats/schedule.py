"""talos-schedule/1: schedules as files, ours or another tool's."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from talos_opt.core import units
from talos_opt.core.errors import FormatError, InputError, ScheduleError
from talos_opt.core.problem import Problem
from talos_opt.core.result import SCHEMA, Result
from talos_opt.core.schedule import Schedule
from talos_opt.formats import emit
from talos_opt.formats.npz import is_npz
from talos_opt.formats.schedule_columns import (
    COLUMNS_SUFFIX,
    device_names,
    read_columns,
    read_named_columns,
    write_columns,
)
from talos_opt.formats.schedule_columns import read_header as read_columns_header
from talos_opt.formats.schedule_document import NamedSchedule, bound_schedule, named_schedule
from talos_opt.formats.schedule_header import ROWS, read_header
from talos_opt.formats.source import STREAM, Source, open_source, paused_collector, split_suffix
from talos_opt.formats.target import write_lines

#: Text that JSON holds as it is.
_PLAIN = re.compile(r"[\w ./:+()\[\]-]*", re.ASCII)


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
        self._require_bundles(problem)
        if self._columns:
            return read_columns(self._file, problem)
        with paused_collector(), self._file.blamed():
            return bound_schedule(self.document, problem)

    def _require_bundles(self, problem: Problem) -> None:
        """Refuse a problem in which other devices act as one than in the schedule."""
        bundles = () if problem.bundling is None else problem.bundling.bundles
        if set(bundles) != set(self.made.bundles):
            ours, theirs = (
                ", ".join(bundle.id for bundle in row) or "none"
                for row in (bundles, self.made.bundles)
            )
            raise ScheduleError(
                f"devices act as one in the schedule: {theirs}; in the problem: {ours}; expected "
                "the same ones (talos_opt.bundled derives a problem)",
                path="bundles",
                source=self.name,
            )

    @property
    def devices(self) -> tuple[str, ...]:
        """Devices of the schedule, also those on which nothing runs."""
        if self._columns:
            with self._file.blamed():
                return device_names(self.document)
        return self.named().devices

    def named(self, ops: Sequence[str] | None = None) -> NamedSchedule:
        """Return the schedule by names, whatever its graph.

        Parameters
        ----------
        ops : sequence of str, optional
            Ids of all ops of its only model, in order: columns do not hold them.
        """
        if self._columns and ops is not None:
            return read_named_columns(self._file, ops)
        with paused_collector(), self._file.blamed():
            return named_schedule(self.document)


def open_schedule(
    given: Mapping[str, Any] | ScheduleFile | Result | str | os.PathLike[str],
) -> Mapping[str, Any] | ScheduleFile:
    """Return a document or an opened file, whichever way a schedule is given.

    Parameters
    ----------
    given : mapping, ScheduleFile, Result or path

    Raises
    ------
    FormatError, ScheduleError
        As for `ScheduleFile`, if it is a path.
    InputError
        If it is a result without a schedule, or something else.
    """
    if isinstance(given, Result):
        if given.schedule is None:
            raise InputError(f"the result has no schedule: {given.reason or given.status}")
        return given.to_dict()
    if isinstance(given, str | os.PathLike):
        return ScheduleFile(given)
    if not isinstance(given, Mapping | ScheduleFile):
        raise InputError(
            f"schedule is of type {type(given).__name__}, expected a Result, a talos-schedule/1 "
            "document or the path of one"
        )
    return given


def read_schedule_document(source: str | os.PathLike[str]) -> NamedSchedule:
    """Read a schedule by names, without its graph.

    Raises
    ------
    FormatError
        If the file cannot be read, or is not talos-schedule/1.
    ScheduleError
        If it holds no schedule, or a broken one; names file, line and path.
    """
    return ScheduleFile(source).named()


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
    if not isinstance(result, Result | Mapping):
        raise InputError(
            f"what is written is {units.describe(result)}, expected a Result or a talos-schedule/1 "
            "document; a Result holds a schedule with its problem, value and bound"
        )
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


def json_lines(result: Result, more: Mapping[str, Any] | None = None) -> Iterator[str]:
    """Yield the lines of a result as JSON, without an object for each op.

    Parameters
    ----------
    result : Result
    more : mapping, optional
        Plain values that go behind those of the result, by key.
    """
    document = finite(result.to_dict(rows=False))
    if result.schedule is not None:
        document["ops"] = emit.JsonRows(_op_rows(result.problem, result.schedule))
        document["transfers"] = emit.JsonRows(_transfer_rows(result.problem, result.schedule))
    document |= finite(more or {})
    return emit.json_lines(document, emit.SCHEDULE)


def _op_rows(problem: Problem, schedule: Schedule) -> Iterator[str]:
    """Yield every op as JSON; written out, since an encoder takes twice as long."""
    devices = _quoted(problem.device_ids)
    columns = (schedule.device.tolist(), schedule.start.tolist(), schedule.end.tolist())
    for name, device, start, end in zip(_names(problem), *columns, strict=True):
        yield f'{{{name}, "device": {devices[device]}, "start": {start!r}, "end": {end!r}}}'


def _transfer_rows(problem: Problem, schedule: Schedule) -> Iterator[str]:
    devices, names = _quoted(problem.device_ids), list(_names(problem))
    outputs = problem.graph.columns.outputs
    which = None if outputs is None else _which(outputs.name.slice(0, len(outputs.name)))
    for op, source, target, start, end, size, tensor in schedule.transfers.rows():
        output = "" if which is None else which[tensor]
        yield (
            f'{{{names[op]}{output}, "from": {devices[source]}, "to": {devices[target]}, '
            f'"start": {start!r}, "end": {end!r}, "bytes": {size}}}'
        )


def _which(names: Sequence[str]) -> list[str]:
    """Return the JSON that names each output, none for those without a name."""
    rows = zip(names, _quoted(names), strict=True)
    return [f', "output": {quoted}' if name else "" for name, quoted in rows]


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
