"""Op-type profiles: a CSV table with a row for each op type of a model, and its times per device.

The header names the columns, in any order; others are ignored.

- ``operator``: the op type. Of one that comes again in a model, the later ones are numbered.
- ``KIND_total``: time of all its ops on a device kind, e.g. ``cpu_total`` and ``gpu_total``.
- ``KIND_avg``, ``KIND_count``: where the total is missing, the average times the count, or the
  average alone. A kind without any of them has no time.
- ``model``: default the file's name. ``dataset``: goes in front of the model, as
  ``DATASET:MODEL``, where the file holds more than one.
- ``unit``: us, ms or s; default us. A remark in brackets is allowed: ``us(presumed)``.

Each model becomes one whose ops are the op types, without edges: enough to analyse, not to
schedule. The cluster has one device of each kind.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from talos_opt.core import units
from talos_opt.core.cluster import Cluster, Device
from talos_opt.core.errors import FormatError, GraphError, InputError
from talos_opt.core.graph import SEPARATOR, Graph, Model, Op
from talos_opt.core.problem import Objective, Problem
from talos_opt.formats.source import Source

OPERATOR = "operator"
TOTAL, AVERAGE, COUNT = "_total", "_avg", "_count"

#: Bytes of a file that are looked at to recognise it.
_HEAD = 4096


@dataclass(frozen=True, slots=True)
class _Row:
    """An op type: where it stands, what it is, and its times by kind, in `unit`."""

    line: int
    dataset: str
    model: str
    operator: str
    times: Mapping[str, float]
    unit: str


def recognises(source: Source) -> bool:
    """Whether a file is called ``.csv``, or its first line is a header of this format."""
    if source.suffix == ".csv":
        return True
    head = source.data[:_HEAD].lstrip(b"\xef\xbb\xbf").splitlines()
    names = head[0].decode("utf-8", "replace").split(",") if head else []
    columns = [name.strip() for name in names]
    return OPERATOR in columns and bool(_kinds(columns))


def read_problem(
    source: Source, *, cluster: Cluster | None = None, objective: Objective | str | None = None
) -> Problem:
    """Read a table of op types.

    Parameters
    ----------
    source : Source
    cluster : Cluster, optional
        Default: one device of each kind that the table has times for.
    objective : Objective or str, optional
        Default: toct.

    Raises
    ------
    InputError
        Names file and line.
    """
    with source.blamed():
        columns, lines = _table(source.text)
        kinds = _kinds(columns)
        rows = [_row(line, cells, kinds, source.stem) for line, cells in lines]
        if not rows:
            raise FormatError("has a header and no rows, expected one for each op type")
        if cluster is None:
            cluster = Cluster(tuple(Device(f"{kind}0", kind) for kind in kinds))
        try:
            return Problem(
                _graph(source.stem, rows),
                cluster,
                objective or Objective.TOCT,  # type: ignore[arg-type]  # checked by Problem
            )
        except GraphError as error:
            # Its JSON path leads nowhere in a table; the message names the op.
            raise GraphError(error.message) from None


def _table(text: str) -> tuple[list[str], Iterator[tuple[int, dict[str, str]]]]:
    """Return the columns' names, and the rows as they are read, each with its line."""
    reader = csv.reader(text.splitlines(keepends=True), strict=True)
    lines = _lines(reader)
    line, header = next(lines)
    columns = [name.strip() for name in header]
    twice = {name for name in columns if name and columns.count(name) > 1}
    if twice:
        raise FormatError(
            f"column {min(twice)!r} comes twice, expected each name once in the header", line=line
        )
    if OPERATOR not in columns or not _kinds(columns):
        raise FormatError(
            f"the columns are {units.describe(', '.join(columns))}, expected a header with "
            "'operator' and times such as 'cpu_total' and 'gpu_total'",
            line=line,
        )
    return columns, _records(columns, lines)


def _lines(reader: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that hold something, each with its (last) line."""
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise FormatError(
                f"is not CSV: {error}",
                line=reader.line_num,  # type: ignore[attr-defined]
            ) from None
        if any(cell.strip() for cell in cells):
            yield reader.line_num, cells  # type: ignore[attr-defined]


def _records(
    columns: Sequence[str], lines: Iterator[tuple[int, list[str]]]
) -> Iterator[tuple[int, dict[str, str]]]:
    for line, cells in lines:
        if len(cells) != len(columns):
            raise FormatError(
                f"the row has {len(cells)} cells, expected {len(columns)} as in the header",
                line=line,
            )
        yield line, dict(zip(columns, (cell.strip() for cell in cells), strict=True))


def _kinds(columns: Sequence[str]) -> tuple[str, ...]:
    """Device kinds that there are columns of times for, in order."""
    names = [
        name.removesuffix(end)
        for name in columns
        for end in (TOTAL, AVERAGE)
        if name.endswith(end) and name != end
    ]
    return tuple(dict.fromkeys(names))


def _row(line: int, cells: Mapping[str, str], kinds: Sequence[str], stem: str) -> _Row:
    operator = cells[OPERATOR]
    if not operator:
        raise FormatError("operator is empty, expected an op type", line=line)
    try:
        times = {kind: time for kind in kinds if (time := _time(cells, kind)) is not None}
    except InputError as error:
        raise FormatError(error.message, line=line) from None
    if not times:
        raise FormatError(
            f"op type {operator!r} has no time, expected one of "
            f"{', '.join(kind + TOTAL for kind in kinds)}",
            line=line,
        )
    unit = cells.get("unit", "").partition("(")[0].strip() or "us"
    if unit not in units.PER_SECOND:
        raise FormatError(f"unit is {cells['unit']!r}, expected one of us, ms, s", line=line)
    dataset, model = cells.get("dataset", ""), cells.get("model", "") or stem
    for what, name in (("dataset", dataset), ("model", model)):
        if SEPARATOR in name:
            raise FormatError(f"{what} is {name!r}, expected a name without '/'", line=line)
    return _Row(line, dataset, model, operator, times, unit)


def _time(cells: Mapping[str, str], kind: str) -> float | None:
    """Time of all ops of a row on a device kind; None where the row has none."""
    found: dict[str, float | None] = {}
    for end in (TOTAL, AVERAGE, COUNT):
        text = cells.get(kind + end, "")
        found[end] = units.number(text, kind + end) if text else None
    total, average, count = found[TOTAL], found[AVERAGE], found[COUNT]
    if total is not None or average is None:
        return total
    return average if count is None else units.number(average * count, f"{kind}_avg times count")


def _graph(name: str, rows: Sequence[_Row]) -> Graph:
    several = len({row.dataset for row in rows}) > 1
    used = {row.unit for row in rows}
    unit = used.pop() if len(used) == 1 else "us"
    models: dict[str, list[_Row]] = {}
    for row in rows:
        prefix = f"{row.dataset}:" if several and row.dataset else ""
        models.setdefault(prefix + row.model, []).append(row)
    return Graph(
        name,
        tuple(Model(model, tuple(_ops(group, unit))) for model, group in models.items()),
        time_unit=unit,
    )


def _ops(rows: Sequence[_Row], unit: str) -> Iterator[Op]:
    taken = {row.operator for row in rows}
    seen: dict[str, int] = {}
    for row in rows:
        number, name = seen.get(row.operator, 0) + 1, row.operator
        if number > 1:
            while (name := f"{row.operator}#{number}") in taken:
                number += 1
        seen[row.operator] = number
        taken.add(name)
        scale = units.PER_SECOND[unit] / units.PER_SECOND[row.unit]
        times = {kind: time * scale for kind, time in row.times.items()}
        yield Op(name, times, type=row.operator)
