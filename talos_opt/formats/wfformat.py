"""Workflows in WfCommons' WfFormat: tasks with measured run times, and the files between them.

Each task is an op and each file that it writes one of its output tensors. A task reads the files
that others wrote, and waits for its parents, from which nothing travels unless they wrote a file
that it reads. Files that nobody wrote are the workflow's inputs: they are taken to lie on every
machine, as the file does not say where they were.

A run time is taken to hold on every machine, as there is one only. Each machine of the file is a
device with as many slots as cores. Links are not in the file: see `BANDWIDTH`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence

from talos_opt.core.cluster import Cluster, Device, Link
from talos_opt.core.errors import GraphError
from talos_opt.core.graph import Graph, Input, Model, Op
from talos_opt.core.problem import Objective, Problem
from talos_opt.formats.blame import ops_stand_at
from talos_opt.formats.source import Source
from talos_opt.formats.wfformat_document import Machine, Workflow, read_document

KIND = "machine"
TIME_UNIT = "s"
#: Bytes per second between machines: Gigabit Ethernet. Assumed.
BANDWIDTH = 125e6


def recognises(source: Source) -> bool:
    """Whether a file has the keys of this format."""
    document = source.document
    return isinstance(document, dict) and {"schemaVersion", "workflow"} <= document.keys()


def read_problem(
    source: Source, *, cluster: Cluster | None = None, objective: Objective | str | None = None
) -> Problem:
    """Read a workflow.

    Parameters
    ----------
    source : Source
    cluster : Cluster, optional
        Takes the place of the file's machines (kind ``machine``).
    objective : Objective or str, optional
        Default: makespan.

    Raises
    ------
    InputError
        Names file, line and path.
    """
    with source.blamed():
        workflow = read_document(source.document)
        assumed = "run times were measured once and are taken to hold on every device"
        if cluster is None:
            cluster = _cluster(workflow)
            assumed += f"; links of {BANDWIDTH / 1e6:g} MB/s are assumed"
        ops = tuple(_ops(workflow, cluster))
        with ops_stand_at(lambda i: {"path": workflow.tasks[i].path}):
            model = Model(source.stem, ops)
            graph = Graph(source.stem, (model,), time_unit=TIME_UNIT, description=assumed)
            return Problem(graph, cluster, objective or Objective.MAKESPAN)  # type: ignore[arg-type]


def _cluster(workflow: Workflow) -> Cluster:
    machines = workflow.machines
    if not machines:
        ran = dict.fromkeys(task.machine for task in workflow.tasks if task.machine)
        machines = [Machine("", name, 1) for name in ran]
    if not machines:
        raise GraphError(
            "the workflow names no machines, expected some, or a cluster file given beside it "
            "(--cluster)",
            path="workflow",
        )
    try:
        names, kind = {item.name for item in machines}, KIND
        while kind in names:  # a device is not called like a kind of several
            kind += " kind"
        devices = tuple(Device(item.name, kind, slots=item.cores) for item in machines)
        return Cluster(devices, (Link(kind, kind, bandwidth=BANDWIDTH),))
    except GraphError as error:
        raise GraphError(error.message, path=machines[0].path or "workflow") from None


def _ops(workflow: Workflow, cluster: Cluster) -> Iterator[Op]:
    most = max(device.slots for device in cluster.devices)
    reads = _reads(workflow)
    for task, read in zip(workflow.tasks, reads, strict=True):
        yield Op(
            task.id,
            dict.fromkeys(cluster.kinds, task.runtime),
            inputs=tuple(
                item for k, files in read.items() for item in _inputs(workflow.tasks[k].id, files)
            ),
            type=task.program or task.name,
            # One that asks for more cores than there are on any machine gets all of one.
            slots=min(max(1, math.ceil(task.cores)), most),
            attrs={"machine": task.machine} if task.machine else {},
            outputs={name: workflow.sizes[name] for name, _ in task.writes},
        )


def _inputs(task: str, files: Sequence[str]) -> Iterator[Input]:
    """Yield what is read of a task: each file, or nothing where its end is only waited for."""
    if not files:
        yield Input(task, 0)
    for name in files:
        yield Input(task, output=name)


def _reads(workflow: Workflow) -> list[dict[int, list[str]]]:
    """Return the tasks that each waits for, and which of their files it reads."""
    tasks = workflow.tasks
    reads: list[dict[int, list[str]]] = [
        {_find(workflow, *parent): [] for parent in task.parents} for task in tasks
    ]
    for i, task in enumerate(tasks):
        for child in task.children:
            reads[_find(workflow, *child)].setdefault(i, [])
    writers: dict[str, list[int]] = defaultdict(list)
    for i, task in enumerate(tasks):
        for name, path in task.writes:
            _size(workflow, name, path)
            writers[name].append(i)
    for i, task in enumerate(tasks):
        parents = frozenset(reads[i])
        for name, path in task.reads:
            for k in _writers(workflow, writers.get(name, ()), i, parents, name, path):
                reads[i].setdefault(k, []).append(name)
    return reads


def _writers(
    workflow: Workflow,
    writers: Sequence[int],
    reader: int,
    parents: frozenset[int],
    name: str,
    path: str,
) -> Sequence[int]:
    """Return the tasks whose version of a file another reads: of several, its parents'."""
    others = [k for k in writers if k != reader]
    if len(others) < 2:
        return others
    found = [k for k in others if k in parents]
    if not found:
        some = ", ".join(workflow.tasks[k].id for k in others[:3])
        raise GraphError(
            f"file {name!r} is written by {len(others)} tasks ({some}{', ...' * (len(others) > 3)})"
            f", expected one of them among the parents of {workflow.tasks[reader].id!r}",
            path=path,
        )
    return found


def _size(workflow: Workflow, name: str, path: str) -> int:
    if name not in workflow.sizes:
        raise GraphError(
            f"file {name!r} has no size, expected it among workflow.specification.files", path=path
        )
    return workflow.sizes[name]


def _find(workflow: Workflow, name: str, path: str) -> int:
    if name not in workflow.names:
        raise GraphError(f"{name!r} is not a task, expected the id of one", path=path)
    return workflow.names[name]
