"""Flexible job shops as text, in the layout of FJSPLIB (Behnke and Geiger, 2012).

The first line has the number of jobs and of machines, perhaps followed by the mean number of
machines per operation, which is not read. Each further line is a job: the number of its
operations, then for each the number of machines that can do it and as many pairs of machine and
time. Machines are numbered from 1, or from 0 if any pair has machine 0.

Each job becomes a model, a chain of ops; each machine a device. Nothing is sent between them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from talos_opt.core.cluster import Cluster, Device
from talos_opt.core.errors import FormatError
from talos_opt.core.graph import Graph, Input, Model, Op
from talos_opt.core.problem import Objective, Problem
from talos_opt.formats.source import Source

KIND = "machine"

_NUMBER = r"\d+(?:\.\d*)?"
_HEADER = re.compile(rf"\s*\d{{1,9}}\s+\d{{1,9}}(?:\s+{_NUMBER})?\s*")
_ROW = re.compile(rf"\s*\d+(?:\s+{_NUMBER})*\s*")
#: Machines that a shop may have: their devices have a table of all pairs.
_MOST_MACHINES = 10_000
#: Bytes of a file that are looked at to recognise it.
_HEAD = 4096

#: An operation: its time on each of some machines, by number.
Alternatives = dict[int, float]


def recognises(source: Source) -> bool:
    """Whether the first line is a header, and what follows a row of numbers."""
    lines = source.data[:_HEAD].decode("utf-8-sig", "replace").split("\n")[:2]
    return len(lines) == 2 and bool(_HEADER.fullmatch(lines[0]) and _ROW.fullmatch(lines[1]))


def read_problem(
    source: Source, *, cluster: Cluster | None = None, objective: Objective | str | None = None
) -> Problem:
    """Read a shop.

    Parameters
    ----------
    source : Source
    cluster : Cluster, optional
        Takes the place of the machines, which are called ``m0``, ``m1``, ...
    objective : Objective or str, optional
        Default: makespan.

    Raises
    ------
    InputError
        Names file and line.
    """
    with source.blamed():
        jobs, machines = _header(source)
        rows = [_job(tokens, line) for line, tokens in _rows(source)]
        if len(rows) != jobs:
            raise FormatError(f"has {len(rows)} jobs, expected {jobs} by its first line")
        first = _first_number(rows, machines)
        models = tuple(_model(k, row, first) for k, row in enumerate(rows))
        if cluster is None:
            cluster = Cluster(tuple(Device(f"m{d}", KIND) for d in range(machines)))
        graph = Graph(source.stem, models, time_unit="us")
        return Problem(graph, cluster, objective or Objective.MAKESPAN)  # type: ignore[arg-type]


def _header(source: Source) -> tuple[int, int]:
    line = source.text.splitlines()[0]
    if not _HEADER.fullmatch(line):
        raise FormatError(
            f"the first line is {line[:40]!r}, expected the numbers of jobs and machines", line=1
        )
    jobs, machines = (int(token) for token in line.split()[:2])
    if jobs < 1 or machines < 1:
        raise FormatError("has no jobs or no machines, expected at least one of each", line=1)
    if machines > _MOST_MACHINES:
        raise FormatError(f"has {machines} machines, expected at most {_MOST_MACHINES}", line=1)
    return jobs, machines


def _rows(source: Source) -> Iterator[tuple[int, list[float]]]:
    """Yield line number and numbers of every line with any, after the first."""
    for number, line in enumerate(source.text.splitlines()[1:], start=2):
        if not line.strip():
            continue
        if not _ROW.fullmatch(line):
            raise FormatError(f"{line.strip()[:40]!r} is not a row of numbers", line=number)
        yield number, [float(token) for token in line.split()]


def _job(numbers: list[float], line: int) -> list[Alternatives]:
    """Return the operations of a job."""
    left = iter(numbers)

    def take(what: str) -> float:
        value = next(left, None)
        if value is None:
            raise FormatError(f"the line ends where {what} should be", line=line)
        return value

    def take_whole(what: str) -> int:
        value = take(what)
        if not value.is_integer():
            raise FormatError(f"{what} is {value!r}, expected a whole number", line=line)
        return int(value)

    operations: list[Alternatives] = []
    for k in range(take_whole("the number of operations")):
        choices: Alternatives = {}
        for _ in range(take_whole(f"the number of machines of operation {k}")):
            machine = take_whole(f"a machine of operation {k}")
            if machine in choices:
                raise FormatError(f"operation {k} has machine {machine} twice", line=line)
            choices[machine] = take(f"the time of operation {k} on machine {machine}")
        if not choices:
            raise FormatError(f"operation {k} has no machine, expected at least one", line=line)
        operations.append(choices)
    if next(left, None) is not None:
        raise FormatError(f"more numbers follow the {len(operations)} operations", line=line)
    return operations


def _first_number(rows: list[list[Alternatives]], machines: int) -> int:
    """Return the number of the first machine, 0 or 1."""
    used = {machine for row in rows for choices in row for machine in choices}
    first = 0 if 0 in used else 1
    if used and max(used) >= machines + first:
        raise FormatError(
            f"machine {max(used)} is used, but there are {machines}, numbered from {first}"
        )
    return first


def _model(job: int, row: list[Alternatives], first: int) -> Model:
    ops = tuple(
        Op(
            f"o{k}",
            {f"m{machine - first}": time for machine, time in choices.items()},
            inputs=(Input(f"o{k - 1}", 0),) if k else (),
        )
        for k, choices in enumerate(row)
    )
    return Model(f"job{job}", ops)
