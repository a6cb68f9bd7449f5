"""Workloads of "Efficient Algorithms for Device Placement of DNN Graph Operators" (NeurIPS 2020).

One JSON object: ``maxCPUs`` cores share a host of unlimited memory; ``maxFPGAs`` accelerators
hold ``maxSizePerFPGA`` bytes each. An edge's ``cost`` is the time in ms that its source's output
takes between an accelerator and the host; accelerators exchange tensors through the host. The
files do not say which of the paper's two questions they belong to, so the caller's objective
does:

- makespan (the paper's latency) and toct: transfers overlap with compute;
- bottleneck (its throughput): an accelerator is busy while it sends or receives, the host never.

Their own latency model differs from ours: there an accelerator is called like a function, waits
for all its inputs, and its ops end together.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from talos_opt.core import units
from talos_opt.core.cluster import Cluster, Device, Link
from talos_opt.core.errors import GraphError
from talos_opt.core.graph import Graph, Input, Memory, Model, Op
from talos_opt.core.plain import Keys, as_list, as_name, as_plain
from talos_opt.core.problem import MemoryRule, Objective, Problem
from talos_opt.formats.source import Source

HOST = "cpu0"
HOST_KIND = "cpu"
ACCELERATOR = "acc"

FILE_KEYS = Keys("nodes edges maxCPUs maxFPGAs maxSizePerFPGA", extra=True)
NODE_KEYS = Keys(
    "id cpuLatency fpgaLatency size", "supportedOnFpga colorClass isBackwardNode", extra=True
)
EDGE_KEYS = Keys("sourceId destId cost", extra=True)

#: Times are in ms.
PER_SECOND = units.PER_SECOND["ms"]

USUAL_BANDWIDTHS = (2.0**31, 2.0**34)
COST_BITS = 40
MAX_BITS = 480  # beyond lies `units.LARGEST`


def recognises(source: Source) -> bool:
    """Whether a file has the keys of this format."""
    document = source.document
    return isinstance(document, dict) and {"nodes", "edges"} <= document.keys()


def read_problem(
    source: Source, *, cluster: Cluster | None = None, objective: Objective | str | None = None
) -> Problem:
    """Read a workload.

    Parameters
    ----------
    source : Source
    cluster : Cluster, optional
        Takes the place of the file's devices (kinds ``cpu`` and ``acc``).
    objective : Objective or str, optional
        Default: makespan. Under bottleneck the accelerators have no copy engine.

    Raises
    ------
    InputError
        Names file, line and path.
    """
    objective = objective or Objective.MAKESPAN
    with source.blamed():
        record = FILE_KEYS.check(source.document, "the workload", "")
        cores = _whole(record["maxCPUs"], "maxCPUs", "maxCPUs")
        edges = _edges(record["edges"])
        bandwidth = _choose_bandwidth([edge.cost for edge in edges])
        ops = _ops(record["nodes"], edges, bandwidth, on_host=cores > 0)
        if cluster is None:
            sends = objective != Objective.BOTTLENECK
            cluster = _cluster(record, cores, bandwidth, copy_engine=sends)
        with _paths_of_file():
            graph = Graph(source.stem, (Model(source.stem, tuple(ops)),), time_unit="ms")
            return Problem(
                graph,
                cluster,
                objective,  # type: ignore[arg-type]  # checked by Problem
                MemoryRule.STATIC,
            )


@contextmanager
def _paths_of_file() -> Iterator[None]:
    """Name ops as the file does: nodes."""
    try:
        yield
    except GraphError as error:
        path = error.path and error.path.removeprefix("models[0].").replace("ops[", "nodes[", 1)
        raise GraphError(error.message, path=path) from None


class _Edge(NamedTuple):
    source: str
    target: str
    cost: float


def _edges(value: object) -> list[_Edge]:
    rows = []
    for k, item in enumerate(as_list(value, "edges", "edges")):
        path = f"edges[{k}]"
        record = EDGE_KEYS.check(item, "an edge", path)
        rows.append(
            _Edge(
                as_name(record["sourceId"], "sourceId", f"{path}.sourceId"),
                as_name(record["destId"], "destId", f"{path}.destId"),
                units.magnitude(record["cost"], "cost", path=f"{path}.cost"),
            )
        )
    return rows


def _choose_bandwidth(costs: Sequence[float]) -> float:
    """Choose bytes per second so that every cost is the time of a whole number of bytes.

    Most public workloads have costs of whole bytes at 2 or 16 GiB/s. In the others bytes only
    stand for time: they are multiples of a power of two of a ms, fine enough for every cost to be
    exact, unless the largest one would then get more than 2**`COST_BITS` bytes.
    """
    for bandwidth in USUAL_BANDWIDTHS:
        if all((cost * bandwidth / PER_SECOND).is_integer() for cost in costs):
            return bandwidth
    denominators = [cost.as_integer_ratio()[1] for cost in costs]  # powers of two
    exact = max(denominators).bit_length() - 1
    bits = min(exact, COST_BITS - math.frexp(max(costs))[1], MAX_BITS)
    return PER_SECOND * 2.0**bits


def _ops(value: object, edges: Sequence[_Edge], bandwidth: float, *, on_host: bool) -> list[Op]:
    rows = as_list(value, "nodes", "nodes")
    inputs: dict[str, dict[str, int]] = {}
    for edge in edges:
        known = inputs.setdefault(edge.target, {})
        size = round(edge.cost * bandwidth / PER_SECOND)
        known[edge.source] = max(size, known.get(edge.source, 0))
    ops = [_op(row, f"nodes[{i}]", inputs, on_host=on_host) for i, row in enumerate(rows)]
    names = {op.id for op in ops}
    for k, edge in enumerate(edges):
        for key, name in (("sourceId", edge.source), ("destId", edge.target)):
            if name not in names:
                raise GraphError(
                    f"{key} is {name!r}, expected the id of a node", path=f"edges[{k}].{key}"
                )
    return ops


def _op(value: object, path: str, inputs: Mapping[str, Mapping[str, int]], *, on_host: bool) -> Op:
    record = NODE_KEYS.check(value, "a node", path)
    time = {}
    if on_host:
        time[HOST_KIND] = units.number(
            record["cpuLatency"], "cpuLatency", path=f"{path}.cpuLatency"
        )
    if _truth(record, "supportedOnFpga", path, default=True):
        time[ACCELERATOR] = units.number(
            record["fpgaLatency"], "fpgaLatency", path=f"{path}.fpgaLatency"
        )
    name = as_name(record["id"], "id", f"{path}.id")
    color = record.get("colorClass")
    rest = {key: item for key, item in record.items() if key not in NODE_KEYS.allowed}
    return Op(
        name,
        time,
        memory=Memory(weights=units.size(record["size"], "size", path=f"{path}.size")),
        inputs=tuple(Input(op, size) for op, size in inputs.get(name, {}).items()),
        colocate=None if color is None else as_name(color, "colorClass", f"{path}.colorClass"),
        attrs=as_plain(rest, "a node", path),
        phase="backward" if _truth(record, "isBackwardNode", path, default=False) else "forward",
    )


def _truth(record: Mapping[str, Any], key: str, path: str, *, default: bool) -> bool:
    value = record.get(key, default)
    if not isinstance(value, (bool, int)) or value not in (0, 1):
        raise GraphError(
            f"{key} is {units.describe(value)}, expected 0, 1, true or false", path=f"{path}.{key}"
        )
    return bool(value)


def _cluster(
    record: Mapping[str, Any], cores: int, bandwidth: float, *, copy_engine: bool
) -> Cluster:
    count = _whole(record["maxFPGAs"], "maxFPGAs", "maxFPGAs")
    size = record["maxSizePerFPGA"]
    memory = units.size(size, "maxSizePerFPGA", path="maxSizePerFPGA", capacity=True)
    host = Device(HOST, HOST_KIND, slots=max(cores, 1))
    accelerators = tuple(
        Device(f"{ACCELERATOR}{i}", ACCELERATOR, memory=memory, copy_engine=copy_engine)
        for i in range(count)
    )
    links: list[Link] = []
    if accelerators:
        links.append(Link(HOST_KIND, ACCELERATOR, bandwidth=bandwidth))
        links.append(Link(ACCELERATOR, ACCELERATOR, via=HOST))
    return Cluster((host, *accelerators), tuple(links))


def _whole(value: object, what: str, path: str) -> int:
    result = units.number(value, what, path=path)
    if result != int(result) or result > 10_000:
        raise GraphError(
            f"{what} is {units.describe(value)}, expected a whole number up to 10000", path=path
        )
    return int(result)
