"""Execution traces of MLCommons Chakra, and those of PyTorch from which they are made.

Chakra's own, as protobuf (``.et``) or JSON: each node is an op on the device that it ran on, a
CPU or a GPU, and waits for its data and control dependencies; a node reads all that its data
dependencies make. PyTorch's: see `chakra_pytorch`; measured times come from a Kineto trace beside
the file, see `chakra_kineto`.

What depends on nodes that the trace does not have is ready from the start.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from talos_opt.core.cluster import Cluster, Device, Link
from talos_opt.core.errors import FormatError, GraphError, InputError
from talos_opt.core.graph import Graph, Input, Memory, Model, Op
from talos_opt.core.problem import Objective, Problem
from talos_opt.formats.blame import ops_stand_at
from talos_opt.formats.chakra_nodes import (
    CPU,
    GPU,
    Node,
    is_protobuf,
    json_nodes,
    printed_records,
    protobuf_nodes,
    workload_records,
)
from talos_opt.formats.source import Source

TIME_UNIT = "us"
#: Bytes per second between CPU and GPU: PCIe 3.0 with 16 lanes, as measured. Assumed.
BANDWIDTH = 12e9
#: Microseconds that each op takes where a trace has no times.
NO_TIME = 1.0

_SUFFIX = ".et"
#: One of these is in every JSON form that is recognised.
_KEYS = (b'"workload_graph"', b'"nodes"')


def recognises(source: Source) -> bool:
    """Whether a file is a trace in one of these forms."""
    if source.suffix == _SUFFIX or is_protobuf(source.data):
        return True
    if not _is_text(source.data) or not any(key in source.data for key in _KEYS):
        return False
    return _is_pytorch(source.document) or (
        isinstance(source.document, dict) and "workload_graph" in source.document
    )


def _is_pytorch(document: object) -> bool:
    return isinstance(document, dict) and {"schema", "nodes"} <= document.keys()


def read_problem(
    source: Source, *, cluster: Cluster | None = None, objective: Objective | str | None = None
) -> Problem:
    """Read a trace.

    Parameters
    ----------
    source : Source
    cluster : Cluster, optional
        Takes the place of a device for each kind that the trace ran on (``cpu``, ``gpu``).
    objective : Objective or str, optional
        Default: makespan.

    Raises
    ------
    InputError
        Names file, place and path.
    """
    if is_protobuf(source.data) or (source.suffix == _SUFFIX and not _is_text(source.data)):
        try:
            return _problem(source, protobuf_nodes(source.data), "", cluster, objective)
        except InputError as error:
            raise error.located(source=source.name) from None
    with source.blamed():
        nodes, note = _read_text(source)
        return _problem(source, nodes, note, cluster, objective)


def flow_nodes(source: Source) -> tuple[list[Node], str]:
    """Return the ops of one step of a trace, which read what others of it make.

    Where a trace of PyTorch marks several steps, one of the most usual sequence of ops is taken.

    Returns
    -------
    nodes : list of Node
        In the order of their calls.
    step : str
        Name of the step; empty where none are marked.

    Raises
    ------
    InputError
        If the file is not such a trace, or has no ops; names file, place and path.
    """
    if not recognises(source):
        raise FormatError(
            "is not an execution trace, expected one of PyTorch's ExecutionTraceObserver or of "
            "MLCommons Chakra",
            source=source.name,
        )
    if not _is_text(source.data) or not _is_pytorch(source.document):
        nodes, step = _any_nodes(source), ""
    else:
        with source.blamed():
            nodes, step = _usual_step(source.document)  # type: ignore[arg-type]
    if not nodes:
        raise GraphError("the trace has no nodes that do work", source=source.name)
    return nodes, step


def _any_nodes(source: Source) -> list[Node]:
    if is_protobuf(source.data) or not _is_text(source.data):
        try:
            return protobuf_nodes(source.data)
        except InputError as error:
            raise error.located(source=source.name) from None
    with source.blamed():
        return _read_text(source)[0]


def _usual_step(document: Mapping[str, Any]) -> tuple[list[Node], str]:
    from talos_opt.formats.chakra_pytorch import pytorch_nodes, pytorch_steps

    found = []
    for name, span in pytorch_steps(document):
        nodes, _ = pytorch_nodes(document, span)
        if nodes:
            found.append((tuple(node.name for node in nodes), nodes, name))
    if not found:
        return pytorch_nodes(document)[0], ""
    usual = Counter(names for names, _, _ in found).most_common(1)[0][0]
    return next((nodes, name) for names, nodes, name in found if names == usual)


def _is_text(data: bytes) -> bool:
    return data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{"


def _read_text(source: Source) -> tuple[list[Node], str]:
    """Return the nodes in a JSON file, and what is to be said of their times."""
    try:
        document = source.document
    except FormatError:
        records = printed_records(source.text)
        if not records:
            raise
        return json_nodes(records), ""
    if isinstance(document, dict) and "workload_graph" in document:
        return json_nodes(workload_records(document)), ""
    if not isinstance(document, dict) or not _is_pytorch(document):
        raise FormatError(
            "is not a trace, expected Chakra's protobuf, or JSON with 'workload_graph' or "
            "with 'schema' and 'nodes'"
        )
    from talos_opt.formats.chakra_kineto import add_times
    from talos_opt.formats.chakra_pytorch import pytorch_nodes

    nodes, numbers = pytorch_nodes(document)
    return nodes, add_times(nodes, numbers, source)


def _problem(
    source: Source,
    nodes: Sequence[Node],
    note: str,
    cluster: Cluster | None,
    objective: Objective | str | None,
) -> Problem:
    if not nodes:
        found = "is empty" if not source.data.strip(b"\0 \r\n\t") else "has no nodes that do work"
        raise GraphError(f"the trace {found}, expected at least one node that does")
    known: dict[int, Node] = {}
    for node in nodes:
        if node.id in known:
            raise GraphError(
                f"node {node.id} is given twice, first as {known[node.id].path}, expected unique "
                "ids",
                path=_path(node),
            )
        known[node.id] = node
    missing = sum(number not in known for node in nodes for number in node.reads)
    notes = [note, _fill_times(nodes)]
    if missing:
        notes.append(f"{missing} dependencies on nodes that are not in the trace are left out")
    if cluster is None:
        cluster = _cluster(nodes)
        if len(cluster.devices) > 1:
            notes.append(f"a link of {BANDWIDTH / 1e9:g} GB/s is assumed")
    with ops_stand_at(lambda i: {"path": _path(nodes[i])}):
        graph = Graph(
            source.stem,
            (Model(source.stem, tuple(_op(node, known) for node in nodes)),),
            time_unit=TIME_UNIT,
            description="; ".join(["an execution trace", *filter(None, notes)]),
        )
        return Problem(graph, cluster, objective or Objective.MAKESPAN)  # type: ignore[arg-type]


def _path(node: Node) -> str | None:
    """Path of a node; a message of protobuf has none."""
    return node.path if "[" in node.path else None


def _fill_times(nodes: Sequence[Node]) -> str:
    """Give nodes without a time the median of those of their name, else of their device."""
    if not any(node.time for node in nodes):
        for node in nodes:
            node.time, node.estimated = NO_TIME, True
        return f"it has no times: each op counts as {NO_TIME:g} us"
    lacking = [node for node in nodes if node.time is None]
    if not lacking:
        return ""
    alike: dict[tuple[str, str], list[float]] = {}
    for node in nodes:
        if node.time is not None:
            for key in ((node.kind, node.name), (node.kind, "")):
                alike.setdefault(key, []).append(node.time)
    medians = {key: statistics.median(times) for key, times in alike.items()}
    for node in lacking:
        usual = medians.get((node.kind, ""), NO_TIME)
        node.time, node.estimated = medians.get((node.kind, node.name), usual), True
    return f"{len(lacking)} ops without a time have the median of others of their type"


def _cluster(nodes: Sequence[Node]) -> Cluster:
    used = {node.kind for node in nodes}
    devices = tuple(Device(f"{kind}0", kind) for kind in (CPU, GPU) if kind in used)
    links = (Link(CPU, GPU, bandwidth=BANDWIDTH),) if len(devices) > 1 else None
    return Cluster(devices, links)


def _op(node: Node, known: Mapping[int, Node]) -> Op:
    return Op(
        str(node.id),
        {node.kind: node.time or 0.0},
        memory=Memory(node.weights),
        inputs=tuple(
            item
            for number, read in node.reads.items()
            if number in known
            for item in _inputs(known[number], read)
        ),
        type=node.name,
        attrs={**node.attrs, "estimated": [node.kind]} if node.estimated else node.attrs,
        outputs={_tensor(storage): size for storage, size in node.writes.items()},
    )


def _inputs(node: Node, read: Mapping[int, int] | None) -> Iterator[Input]:
    """Yield what is read of a node: all that it makes, some tensors, or nothing (`read` empty)."""
    if not read:
        yield Input(str(node.id), None if read is None else 0)
        return
    for storage, size in read.items():
        # A view may be smaller than its tensor, and an expanded one larger: then all travels.
        whole = size >= node.writes[storage]
        yield Input(str(node.id), None if whole else size, _tensor(storage))


def _tensor(storage: int) -> str:
    """Name of a tensor; a node's only one may have none."""
    return "output" if storage < 0 else str(storage)
