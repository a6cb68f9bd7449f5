"""The problem: a graph on a cluster under an objective, and its array view.

`Problem` is what every solver takes; `Problem.arrays` is what formulations and kernels compute
with. Arrays are read-only, so a problem can be shared between threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from talos_opt.core import units
from talos_opt.core.cluster import Cluster, Hop
from talos_opt.core.errors import GraphError, InputError
from talos_opt.core.graph import SEPARATOR, Graph, Op

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: Capacity of a device without a memory limit, and values of `Arrays.via`.
UNLIMITED = 2**62
DIRECT = -1
NO_ROUTE = -2


class Objective(StrEnum):
    """What is minimised (model.md, "Objectives")."""

    TOCT = "toct"
    MAKESPAN = "makespan"
    BOTTLENECK = "bottleneck"


class MemoryRule(StrEnum):
    """How memory is counted (model.md, "Memory rule"); both are hard constraints."""

    STATIC = "static"
    PEAK = "peak"


@dataclass(frozen=True)
class Arrays:
    """Array view of a problem: n ops, m devices, e edges, k models, g colocation groups.

    Times are in the graph's unit, memory in bytes. Ops are numbered model by model in file
    order. An op without a colocation group is a group of its own.

    Parameters
    ----------
    time : (n, m) float
        Time of an op on a device; infinite where it cannot run there (no time, pinned
        elsewhere, more slots than the device has, or alone larger than its memory).
    demand : (n,) int
        Slots that an op holds.
    weights, output, workspace : (n,) int
        Bytes.
    model : (n,) int
        Model of each op.
    model_weight, release : (k,) float
    group : (n,) int
        Colocation group of each op.
    allowed : (g, m) bool
        Devices on which every op of a group can run.
    edge_src, edge_dst, edge_bytes : (e,) int
        Edges sorted by producer, then reader.
    out_ptr : (n + 1,) int
        Edges leaving op i are ``out_ptr[i]:out_ptr[i + 1]``.
    in_ptr, in_edge : (n + 1,), (e,) int
        Edges entering op i are ``in_edge[in_ptr[i]:in_ptr[i + 1]]``.
    order : (n,) int
        A topological order of the ops.
    level : (n,) int
        Longest path, in edges, from a source: Talos' topological step.
    capacity : (m,) int
        Usable bytes; `UNLIMITED` where there is no limit.
    slots, copy_engine : (m,) int, (m,) bool
    latency, per_byte : (m, m) float
        A direct transfer of b bytes takes ``latency + b * per_byte``.
    via : (m, m) int
        `DIRECT`, `NO_ROUTE`, or the device that stages a transfer.
    channel : (m, m) int
        Under contention ``serial``, the channel that a direct transfer occupies; else -1.
    """

    time: Floats
    demand: Ints
    weights: Ints
    output: Ints
    workspace: Ints
    model: Ints
    model_weight: Floats
    release: Floats
    group: Ints
    allowed: Bools
    edge_src: Ints
    edge_dst: Ints
    edge_bytes: Ints
    out_ptr: Ints
    in_ptr: Ints
    in_edge: Ints
    order: Ints
    level: Ints
    capacity: Ints
    slots: Ints
    copy_engine: Bools
    latency: Floats
    per_byte: Floats
    via: Ints
    channel: Ints

    def __post_init__(self) -> None:
        for value in vars(self).values():
            value.setflags(write=False)

    @property
    def op_count(self) -> int:
        """Number of ops."""
        return len(self.time)

    @property
    def device_count(self) -> int:
        """Number of devices."""
        return len(self.slots)

    @property
    def group_count(self) -> int:
        """Number of colocation groups."""
        return len(self.allowed)

    @cached_property
    def members(self) -> tuple[Ints, ...]:
        """Ops of each colocation group, in op order."""
        by_group = np.argsort(self.group, kind="stable")
        cuts = np.searchsorted(self.group[by_group], np.arange(1, self.group_count))
        return tuple(np.split(by_group, cuts))

    def transfer_time(self, source: int, target: int, size: int) -> float:
        """Return the time of a direct transfer of `size` bytes."""
        return float(self.latency[source, target] + size * self.per_byte[source, target])

    def path(self, source: int, target: int) -> tuple[tuple[int, int], ...] | None:
        """Return the hops from one device to another: none on the same device, None: no route."""
        if source == target:
            return ()
        stage = int(self.via[source, target])
        if stage == NO_ROUTE:
            return None
        if stage == DIRECT:
            return ((source, target),)
        return ((source, stage), (stage, target))


@dataclass(frozen=True)
class Problem:
    """A graph to place on a cluster.

    Parameters
    ----------
    graph : Graph
    cluster : Cluster
    objective : Objective or str
        ``toct`` (default), ``makespan`` or ``bottleneck``; always minimised.
    memory_rule : MemoryRule or str
        ``static`` (default) or ``peak``.

    Raises
    ------
    GraphError
        If an op names unknown devices, or fits or runs on no device at all.
    """

    graph: Graph
    cluster: Cluster
    objective: Objective = Objective.TOCT
    memory_rule: MemoryRule = MemoryRule.STATIC

    def __post_init__(self) -> None:
        for name, kind in (("objective", Objective), ("memory_rule", MemoryRule)):
            value = getattr(self, name)
            try:
                object.__setattr__(self, name, kind(value))
            except ValueError:
                expected = ", ".join(kind)
                raise GraphError(
                    f"{name} is {value!r}, expected one of {expected}", path=name
                ) from None
        # Built at once: most contradictions between graph and cluster show only here.
        object.__setattr__(self, "_arrays", _build_arrays(self))

    @property
    def arrays(self) -> Arrays:
        """Read-only array view."""
        arrays: Arrays = self._arrays  # type: ignore[attr-defined]
        return arrays

    def with_objective(self, objective: Objective | str) -> Problem:
        """Return the same problem under another objective."""
        if objective == self.objective:
            return self
        return replace(self, objective=Objective(objective))

    @cached_property
    def ops(self) -> tuple[Op, ...]:
        """All ops, in array order."""
        return tuple(op for model in self.graph.models for op in model.ops)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """``MODEL/OP`` of every op, in array order."""
        return tuple(
            f"{model.id}{SEPARATOR}{op.id}" for model in self.graph.models for op in model.ops
        )

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Array position of every ``MODEL/OP``."""
        return {name: i for i, name in enumerate(self.names)}

    @cached_property
    def device_ids(self) -> tuple[str, ...]:
        """Device ids, in array order."""
        return tuple(device.id for device in self.cluster.devices)

    def find_op(self, name: str) -> int:
        """Return the array position of ``MODEL/OP``, or of ``OP`` where that is unique.

        Raises
        ------
        InputError
            If no op, or more than one, has that name.
        """
        if name in self.index:
            return self.index[name]
        hits = [i for i, op in enumerate(self.ops) if op.id == name]
        if len(hits) == 1:
            return hits[0]
        if not hits:
            raise InputError(f"no op is called {name!r}, expected MODEL/OP")
        some = ", ".join(self.names[i] for i in hits[:4])
        raise InputError(f"{name!r} names {len(hits)} ops ({some}), expected MODEL/OP")

    @property
    def reference_device(self) -> int:
        """First device of the reference kind, which speedups refer to."""
        kinds = [device.kind for device in self.cluster.devices]
        return kinds.index(self.cluster.reference)

    @cached_property
    def reference_times(self) -> Floats:
        """Time alone on the reference device for each model: the sum of its op times (k,).

        Infinite where an op has no time there, and weighted speedup is then undefined.
        """
        arrays = self.arrays
        device = self.cluster.devices[self.reference_device]
        times = np.array([_time_on(op, device.id, device.kind) for op in self.ops])
        totals = np.bincount(arrays.model, weights=times, minlength=len(arrays.release))
        return np.asarray(totals, dtype=np.float64)


def _time_on(op: Op, device_id: str, kind: str) -> float:
    """Time of an op on a device, the id winning over the kind; infinite where it has none."""
    return op.time.get(device_id, op.time.get(kind, np.inf))


def _build_arrays(problem: Problem) -> Arrays:
    graph, cluster = problem.graph, problem.cluster
    ops = problem.ops
    model = np.repeat(np.arange(len(graph.models)), [len(item.ops) for item in graph.models])
    edges = _edges(graph)
    memory = np.array(
        [(op.memory.weights, op.memory.output, op.memory.workspace) for op in ops], dtype=np.int64
    ).reshape(-1, 3)
    group = _groups(ops)
    capacity = np.array(
        [UNLIMITED if d.usable_memory is None else d.usable_memory for d in cluster.devices],
        dtype=np.int64,
    )
    time = _times(problem, memory, capacity)
    can_run = np.isfinite(time)
    allowed = np.ones((int(group.max()) + 1, len(cluster.devices)), dtype=bool)
    np.logical_and.at(allowed, group, can_run)
    order, level = _levels(len(ops), edges)
    return Arrays(
        time=time,
        demand=np.array([op.slots for op in ops], dtype=np.int64),
        weights=memory[:, 0].copy(),
        output=memory[:, 1].copy(),
        workspace=memory[:, 2].copy(),
        model=model.astype(np.int64),
        model_weight=np.array([float(item.weight) for item in graph.models]),
        release=np.array([float(item.release) for item in graph.models]),
        group=group,
        allowed=allowed,
        capacity=capacity,
        slots=np.array([device.slots for device in cluster.devices], dtype=np.int64),
        copy_engine=np.array([device.copy_engine for device in cluster.devices]),
        order=order,
        level=level,
        **_edge_arrays(len(ops), edges),
        **_route_arrays(cluster, graph.time_unit),
    )


def _edges(graph: Graph) -> Ints:
    """Return (e, 3): producer, reader, bytes; sorted by producer, then reader."""
    rows: list[tuple[int, int, int]] = []
    offset = 0
    for model in graph.models:
        index = model.index
        for i, op in enumerate(model.ops):
            for edge in op.inputs:
                producer = index[edge.op]
                size = model.ops[producer].memory.output if edge.bytes is None else edge.bytes
                rows.append((offset + producer, offset + i, size))
        offset += len(model.ops)
    table = np.array(rows, dtype=np.int64).reshape(-1, 3)
    return table[np.lexsort((table[:, 1], table[:, 0]))]


def _edge_arrays(count: int, edges: Ints) -> dict[str, Any]:
    by_reader = np.argsort(edges[:, 1], kind="stable")
    return {
        "edge_src": edges[:, 0].copy(),
        "edge_dst": edges[:, 1].copy(),
        "edge_bytes": edges[:, 2].copy(),
        "out_ptr": np.searchsorted(edges[:, 0], np.arange(count + 1)).astype(np.int64),
        "in_ptr": np.searchsorted(edges[by_reader, 1], np.arange(count + 1)).astype(np.int64),
        "in_edge": by_reader.astype(np.int64),
    }


def _levels(count: int, edges: Ints) -> tuple[Ints, Ints]:
    """Topological order by level, then op number; and the level of every op."""
    missing = np.bincount(edges[:, 1], minlength=count)
    start = np.searchsorted(edges[:, 0], np.arange(count + 1)).tolist()
    readers = edges[:, 1].tolist()
    left = missing.tolist()
    level = [0] * count
    ready = [i for i in range(count) if left[i] == 0]
    for i in ready:  # grows while it is walked
        for reader in readers[start[i] : start[i + 1]]:
            level[reader] = max(level[reader], level[i] + 1)
            left[reader] -= 1
            if left[reader] == 0:
                ready.append(reader)
    levels = np.array(level, dtype=np.int64)
    return np.lexsort((np.arange(count), levels)).astype(np.int64), levels


def _groups(ops: Sequence[Op]) -> Ints:
    number: dict[object, int] = {}
    return np.array(
        [
            number.setdefault(op.colocate if op.colocate is not None else (i,), len(number))
            for i, op in enumerate(ops)
        ],
        dtype=np.int64,
    )


def _times(problem: Problem, memory: Ints, capacity: Ints) -> Floats:
    """Fill the (n, m) time table and refuse ops that no device can run."""
    devices = problem.cluster.devices
    table = np.array(
        [[_time_on(op, device.id, device.kind) for device in devices] for op in problem.ops],
        dtype=np.float64,
    ).reshape(len(problem.ops), len(devices))
    slots = [device.slots for device in devices]
    for i, op in enumerate(problem.ops):
        if op.devices is not None:
            table[i, ~_pinned(problem, i, op)] = np.inf
        if op.slots > 1:
            table[i, [op.slots > held for held in slots]] = np.inf
    runs = np.isfinite(table)
    if not runs.any(axis=1).all():
        _refuse_unrunnable(problem, int(np.argmin(runs.any(axis=1))))
    need = _least_memory(problem.memory_rule, memory, table)
    table[need > capacity] = np.inf
    fits = np.isfinite(table).any(axis=1)
    if not fits.all():
        i = int(np.argmin(fits))
        limit = ", ".join(
            f"{device.id} {units.format_bytes(int(capacity[d]))}"
            for d, device in enumerate(devices)
            if runs[i, d]
        )
        least = int(need[i, runs[i]].min())
        raise GraphError(
            f"op {problem.names[i]} needs {units.format_bytes(least)} ({least} bytes), "
            f"more than any device that can run it has ({limit})",
            path=_op_path(problem, i, "memory"),
        )
    return table


def _least_memory(rule: MemoryRule, memory: Ints, table: Floats) -> Ints:
    """Bytes that an op needs on each device whatever else is placed there (n, m)."""
    weights, rest = memory[:, :1], memory[:, 1:].sum(axis=1, keepdims=True)
    # Under liveness an op that takes no time holds nothing but its weights.
    held = np.ones(table.shape, dtype=bool) if rule is MemoryRule.STATIC else table > 0
    return np.asarray(weights + np.where(held, rest, 0))


def _pinned(problem: Problem, i: int, op: Op) -> Bools:
    allowed = np.zeros(len(problem.cluster.devices), dtype=bool)
    for k, name in enumerate(op.devices or ()):
        members = problem.cluster.members(name)
        if not members:
            known = ", ".join([*problem.device_ids, *problem.cluster.kinds])
            raise GraphError(
                f"op {problem.names[i]} is pinned to {name!r}, expected a device of {known}",
                path=_op_path(problem, i, f"devices[{k}]"),
            )
        allowed[[problem.cluster.index[device.id] for device in members]] = True
    return allowed


def _refuse_unrunnable(problem: Problem, i: int) -> None:
    op = problem.ops[i]
    there = ", ".join(
        f"{device.id} ({device.kind}, {device.slots} slots)" for device in problem.cluster.devices
    )
    pins = f", pinned to {', '.join(op.devices)}" if op.devices is not None else ""
    raise GraphError(
        f"op {problem.names[i]} can run on no device: it has times for "
        f"{', '.join(op.time) or 'nothing'} and needs {op.slots} slot(s){pins}; "
        f"the cluster has {there}",
        path=_op_path(problem, i, "time"),
    )


def _op_path(problem: Problem, i: int, field: str) -> str:
    j = int(np.searchsorted(np.cumsum([len(m.ops) for m in problem.graph.models]), i, "right"))
    first = sum(len(model.ops) for model in problem.graph.models[:j])
    return f"models[{j}].ops[{i - first}].{field}"


def _route_arrays(cluster: Cluster, time_unit: str) -> dict[str, Any]:
    count = len(cluster.devices)
    per_second = units.PER_SECOND[time_unit]
    latency = np.zeros((count, count))
    per_byte = np.zeros((count, count))
    via = np.full((count, count), DIRECT, dtype=np.int64)
    channel = np.full((count, count), -1, dtype=np.int64)
    channels: dict[tuple[str, ...], int] = {}
    for (a, b), route in cluster.routes.items():
        i, j = cluster.index[a], cluster.index[b]
        if isinstance(route, Hop):
            latency[i, j] = route.latency
            per_byte[i, j] = per_second / route.bandwidth
            if cluster.contention == "serial":
                channel[i, j] = channels.setdefault(route.channel, len(channels))
        else:
            via[i, j] = NO_ROUTE if route is None else cluster.index[route]
    return {"latency": latency, "per_byte": per_byte, "via": via, "channel": channel}
