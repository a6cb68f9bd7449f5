"""Task graphs as text, in the layout of the Standard Task Graph Set (Tobita and Kasahara, 2002).

The first line has the number of tasks, perhaps followed by that of processors. Each further line
is a task: its number, its time, the number of its predecessors and these. In files with
communication costs the predecessors stand on lines of their own, each with its cost: the time that
its output takes to another processor. ``#`` begins a comment.

The task graph is one model on equal processors (kind ``cpu``). A cost of 1 is sent as one byte over
links that carry one byte in each unit of time. The dummy tasks at entry and exit are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from talos_opt.core import units
from talos_opt.core.cluster import Cluster, Device, Link
from talos_opt.core.errors import FormatError, GraphError
from talos_opt.core.graph import Graph, Input, Model, Op
from talos_opt.core.problem import Objective, Problem
from talos_opt.formats.blame import ops_stand_at
from talos_opt.formats.source import Source

KIND = "cpu"
#: Processors where neither the file nor a cluster says how many there are.
PROCESSORS = 4
#: Times have no unit in these files; they are called microseconds.
TIME_UNIT = "us"

_COMMENT = "#"
_WHOLE = r"\d{1,15}"
_NUMBER = r"\d{1,15}(?:\.\d*)?(?:[eE][+-]?\d{1,3})?"
_HEADER = re.compile(rf"\s*{_WHOLE}(?:\s+{_WHOLE})?\s*")
_TASK = re.compile(rf"\s*{_WHOLE}\s+{_NUMBER}(?:\s+{_WHOLE})+\s*")
_PREDECESSOR = re.compile(rf"\s*{_WHOLE}\s+{_WHOLE}\s*")
#: Processors that a file may ask for: devices have a table of all pairs.
_MOST_PROCESSORS = 10_000
#: Bytes of a file that are looked at to recognise it.
_HEAD = 4096


class _Task(NamedTuple):
    """A task: its line, number, time, and predecessors with their costs (None: not given)."""

    line: int
    number: int
    time: float
    costs: dict[int, int | None]


def recognises(source: Source) -> bool:
    """Whether it is called so, or the first line is a header and the next a task without inputs."""
    if source.suffix == ".stg":
        return True
    text = source.data[:_HEAD].decode("utf-8-sig", "replace")
    rows = _rows(text)
    header, first = next(rows, (0, ""))[1], next(rows, (0, ""))[1]
    return bool(_HEADER.fullmatch(header) and _TASK.fullmatch(first)) and first.split()[2:] == ["0"]


def read_problem(
    source: Source, *, cluster: Cluster | None = None, objective: Objective | str | None = None
) -> Problem:
    """Read a task graph.

    Parameters
    ----------
    source : Source
    cluster : Cluster, optional
        Takes the place of the processors, which are called ``p0``, ``p1``, ... There are as many
        as the file's first line says, or `PROCESSORS`. Times hold on devices of every kind.
    objective : Objective or str, optional
        Default: makespan.

    Raises
    ------
    InputError
        Names file and line.
    """
    with source.blamed():
        rows = _rows(source.text)
        count, processors = _header(rows)
        tasks = list(_tasks(rows))
        if len(tasks) not in (count, count + 2):
            raise FormatError(
                f"has {len(tasks)} tasks, expected {count} by its first line, "
                f"or {count + 2} with the dummy tasks at entry and exit"
            )
        _check_numbers(tasks)
        kept = _without_dummies(tasks)
        if cluster is None:
            cluster = _cluster(processors)
        with ops_stand_at(lambda i: {"line": kept[i].line}):
            model = Model(source.stem, _ops(kept, cluster.kinds))
            graph = Graph(source.stem, (model,), time_unit=TIME_UNIT)
            return Problem(graph, cluster, objective or Objective.MAKESPAN)  # type: ignore[arg-type]


def _rows(text: str) -> Iterator[tuple[int, str]]:
    """Yield number and content of every line that has any, less comments."""
    for number, line in enumerate(text.split("\n"), start=1):
        row = line.partition(_COMMENT)[0]
        if row and not row.isspace():
            yield number, row


def _header(rows: Iterator[tuple[int, str]]) -> tuple[int, int]:
    line, row = next(rows, (1, ""))
    if not _HEADER.fullmatch(row):
        raise FormatError(
            f"the first line is {row.strip()[:40]!r}, expected the number of tasks", line=line
        )
    count, *rest = (int(token) for token in row.split())
    if rest and not 1 <= rest[0] <= _MOST_PROCESSORS:
        raise FormatError(
            f"the number of processors is {rest[0]}, expected 1 to {_MOST_PROCESSORS}", line=line
        )
    return count, rest[0] if rest else PROCESSORS


def _tasks(rows: Iterator[tuple[int, str]]) -> Iterator[_Task]:
    for line, row in rows:
        if not _TASK.fullmatch(row):
            raise FormatError(
                f"{row.strip()[:40]!r} is not a task, expected its number, its time, the number of "
                "its predecessors and these",
                line=line,
            )
        tokens = row.split()
        number, count = int(tokens[0]), int(tokens[2])
        try:
            time = units.magnitude(tokens[1], f"the time of task {number}")
        except GraphError as error:
            raise GraphError(error.message, line=line) from None
        if len(tokens) == 3 and count:
            costs = dict(_predecessors(rows, number, count, line))
        elif len(tokens) == 3 + count:
            costs = dict.fromkeys(map(int, tokens[3:]))
        else:
            raise FormatError(
                f"task {number} has {len(tokens) - 3} predecessors, expected {count}", line=line
            )
        if len(costs) < count:
            raise FormatError(f"task {number} names a predecessor twice", line=line)
        yield _Task(line, number, time, costs)


def _predecessors(
    rows: Iterator[tuple[int, str]], number: int, count: int, line: int
) -> Iterator[tuple[int, int | None]]:
    """Yield the predecessors of a task with their costs, from the lines after its own."""
    for k in range(count):
        line, row = next(rows, (line, ""))
        if not _PREDECESSOR.fullmatch(row):
            raise FormatError(
                f"predecessor {k + 1} of {count} of task {number} is {row.strip()[:40]!r}, "
                "expected its number and a whole communication cost",
                line=line,
            )
        predecessor, cost = map(int, row.split())
        yield predecessor, cost


def _check_numbers(tasks: list[_Task]) -> None:
    known: dict[int, int] = {}
    for task in tasks:
        if task.number in known:
            raise FormatError(
                f"task {task.number} is given twice, first in line {known[task.number]}",
                line=task.line,
            )
        known[task.number] = task.line
    for task in tasks:
        for predecessor in task.costs:
            if predecessor not in known:
                raise FormatError(
                    f"task {task.number} has predecessor {predecessor}, expected the number of "
                    "a task",
                    line=task.line,
                )


def _without_dummies(tasks: list[_Task]) -> list[_Task]:
    """Leave out the first and the last task where they neither run nor send anything.

    No schedule depends on them, and the file's number of tasks does not count them.
    """
    if not tasks:
        return tasks
    first, last = tasks[0], tasks[-1]
    reads_first = [task for task in tasks if first.number in task.costs]
    if not first.time and not first.costs and all(not t.costs[first.number] for t in reads_first):
        tasks = tasks[1:]
        for task in reads_first:
            del task.costs[first.number]
    final = not any(last.number in task.costs for task in tasks)
    if tasks and not last.time and final and not any(last.costs.values()):
        tasks = tasks[:-1]
    if not tasks:
        raise FormatError("has dummy tasks only, expected at least one that takes time")
    return tasks


def _ops(tasks: list[_Task], kinds: tuple[str, ...]) -> tuple[Op, ...]:
    """Return tasks as ops, with an output tensor for each cost that one of them has."""
    outputs: dict[int, dict[str, int]] = {}
    for task in tasks:
        for op, cost in task.costs.items():
            if cost:
                outputs.setdefault(op, {})[_tensor(cost)] = cost
    return tuple(
        Op(
            str(task.number),
            dict.fromkeys(kinds, task.time),
            inputs=tuple(
                Input(str(op), output=_tensor(cost)) if cost else Input(str(op), 0)
                for op, cost in task.costs.items()
            ),
            outputs=outputs.get(task.number, {}),
        )
        for task in tasks
    )


def _tensor(cost: int) -> str:
    """Name of what is sent at a cost: readers that pay the same get the same."""
    return f"cost {cost}"


def _cluster(processors: int) -> Cluster:
    devices = tuple(Device(f"p{d}", KIND) for d in range(processors))
    link = Link(KIND, KIND, bandwidth=units.PER_SECOND[TIME_UNIT])
    return Cluster(devices, (link,))
