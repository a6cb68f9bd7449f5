"""The array view of a problem, and how it is built from the columns of a graph."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from talos_opt.core import units
from talos_opt.core.cluster import Cluster, Hop
from talos_opt.core.columns import FORWARD, NONE, Columns
from talos_opt.core.division import Division, fits_bundle, member_needs
from talos_opt.core.errors import GraphError
from talos_opt.core.sums import max_by, sum_by

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: Capacity of a device without a memory limit, and values of `Arrays.via`.
UNLIMITED = 2**62
DIRECT = -1
NO_ROUTE = -2


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
        Bytes; `output` is that of all tensors which an op makes.
    tensor_ptr : (n + 1,) int
        Tensors that op i makes are ``tensor_ptr[i]:tensor_ptr[i + 1]``, one at least. Where no op
        makes several, tensor i is the output of op i.
    tensor_op, tensor_size : (t,) int
        Op that makes a tensor, and its bytes.
    model : (n,) int
        Model of each op.
    model_weight, release : (k,) float
    group : (n,) int
        Colocation group of each op.
    allowed : (g, m) bool
        Devices on which every op of a group can run.
    edge_src, edge_dst, edge_bytes, edge_tensor : (e,) int
        Edges sorted by tensor, then reader, and so by producer.
    read_ptr : (t + 1,) int
        Edges that read tensor r are ``read_ptr[r]:read_ptr[r + 1]``.
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
    forward : (n,) bool
        Ops that rules about stages speak of.
    division : Division, optional
        How bundles divide the memory of ops; None: an op needs the same everywhere. Solvers but
        `pipeline` never see one (`talos_opt.core.bundle_memory`).
    """

    time: Floats
    demand: Ints
    weights: Ints
    output: Ints
    workspace: Ints
    tensor_ptr: Ints
    tensor_op: Ints
    tensor_size: Ints
    model: Ints
    model_weight: Floats
    release: Floats
    group: Ints
    allowed: Bools
    edge_src: Ints
    edge_dst: Ints
    edge_bytes: Ints
    edge_tensor: Ints
    read_ptr: Ints
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
    forward: Bools
    division: Division | None = None

    def __post_init__(self) -> None:
        for value in vars(self).values():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)

    def __repr__(self) -> str:
        return (
            f"Arrays({self.op_count} ops, {self.device_count} devices, "
            f"{len(self.edge_src)} edges, {self.group_count} groups)"
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.__post_init__()  # pickling forgets that arrays are read-only

    @property
    def op_count(self) -> int:
        """Number of ops."""
        return len(self.time)

    @property
    def device_count(self) -> int:
        """Number of devices."""
        return len(self.slots)

    @property
    def tensor_count(self) -> int:
        """Number of output tensors of all ops."""
        return len(self.tensor_op)

    @property
    def several_outputs(self) -> bool:
        """Whether some op makes more than one tensor."""
        return self.tensor_count > self.op_count

    @property
    def group_count(self) -> int:
        """Number of colocation groups."""
        return len(self.allowed)

    @cached_property
    def model_ptr(self) -> Ints:
        """Ops of model j are ``model_ptr[j]:model_ptr[j + 1]`` (k + 1,)."""
        return _frozen(np.searchsorted(self.model, np.arange(len(self.release) + 1)))

    @cached_property
    def rank(self) -> Ints:
        """Position of each op in `order` (n,)."""
        rank = np.empty(self.op_count, dtype=np.int64)
        rank[self.order] = np.arange(self.op_count)
        return _frozen(rank)

    @cached_property
    def memory_limited(self) -> bool:
        """Whether any device has a memory limit."""
        return bool((self.capacity < UNLIMITED).any())

    @cached_property
    def tensor_bytes(self) -> Ints | None:
        """Bytes that each tensor travels with, -1 if unread (t,); None if readers differ."""
        sizes = np.full(self.tensor_count, -1, dtype=np.int64)
        sizes[self.edge_tensor] = self.edge_bytes
        same = np.array_equal(sizes[self.edge_tensor], self.edge_bytes)
        return _frozen(sizes) if same else None

    @cached_property
    def group_weights(self) -> Ints:
        """Bytes of weights of each colocation group (g,)."""
        return _frozen(sum_by(self.group, self.weights, self.group_count))

    @cached_property
    def group_held(self) -> Ints:
        """Bytes of weights and outputs of each colocation group (g,)."""
        return _frozen(sum_by(self.group, self.weights + self.output, self.group_count))

    @cached_property
    def group_workspace(self) -> Ints:
        """Largest workspace of each colocation group (g,)."""
        return _frozen(max_by(self.group, self.workspace, self.group_count))

    @cached_property
    def sent_bytes(self) -> Ints:
        """Bytes of the largest edge that reads each tensor (t,)."""
        return _frozen(max_by(self.edge_tensor, self.edge_bytes, self.tensor_count))

    def byte_unit(self, *, sent: bool = True) -> int:
        """Return the bytes that all sizes are multiples of, what edges send included or not."""
        sizes = [self.weights, self.tensor_size, self.workspace]
        if sent:
            sizes.append(self.edge_bytes)
        return max(1, int(np.gcd.reduce(np.concatenate(sizes))))

    @cached_property
    def members(self) -> tuple[Ints, ...]:
        """Ops of each colocation group, in op order."""
        by_group = np.argsort(self.group, kind="stable")
        cuts = np.searchsorted(self.group[by_group], np.arange(1, self.group_count))
        return tuple(np.split(by_group, cuts))

    def weights_at(self, device: Ints) -> Ints:
        """Bytes of weights that each op has where it is placed, of a device or a member (n,)."""
        if self.division is None:
            return self.weights
        return self.division.weights_of(np.arange(self.op_count), self.weights, device)

    def outputs_at(self, device: Ints) -> Ints:
        """Bytes of all tensors of each op where it is placed (n,)."""
        if self.division is None:
            return self.output
        sizes = self.bytes_at(self.tensor_size, device[self.tensor_op])
        return sum_by(self.tensor_op, sizes, self.op_count)

    def bytes_at(self, size: Ints, device: Ints) -> Ints:
        """Bytes that tensors, copies or workspaces have on their devices."""
        return size if self.division is None else self.division.bytes_of(size, device)

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


def _frozen(values: Ints) -> Ints:
    values.setflags(write=False)
    return values


def build_arrays(
    columns: Columns,
    cluster: Cluster,
    time_unit: str,
    *,
    static_memory: bool,
    division: Division | None = None,
) -> Arrays:
    """Put a graph on a cluster.

    Parameters
    ----------
    columns : Columns
    cluster : Cluster
    time_unit : str
        Of the graph: bandwidths are per second.
    static_memory : bool
        Whether memory is counted by the rule ``static``.
    division : Division, optional
        How bundles divide the memory of ops.

    Raises
    ------
    GraphError
        If an op names unknown devices, or fits or runs on no device at all; where devices may be
        bundled, an op may be too large for each of them if it fits a bundle.
    """
    group, leaders = _groups(columns)
    time = _Times(columns, cluster, division, static_memory=static_memory).build()
    topology = columns.topology
    ops = np.arange(columns.op_count + 1)
    tensor_ptr = ops if columns.outputs is None else columns.outputs.ptr
    tensor_op = np.repeat(ops[:-1], np.diff(tensor_ptr))
    return Arrays(
        time=time,
        demand=columns.slots,
        weights=columns.weights,
        output=columns.output,
        workspace=columns.workspace,
        tensor_ptr=tensor_ptr,
        tensor_op=tensor_op,
        tensor_size=columns.tensor_size,
        model=columns.model,
        model_weight=columns.model_weight,
        release=columns.release,
        group=group,
        allowed=devices_allowed(time, group, leaders),
        edge_src=topology.edge_src,
        edge_dst=topology.edge_dst,
        edge_bytes=topology.edge_bytes,
        edge_tensor=topology.edge_tensor,
        read_ptr=np.searchsorted(topology.edge_tensor, np.arange(len(tensor_op) + 1)),
        out_ptr=topology.out_ptr,
        in_ptr=topology.in_ptr,
        in_edge=topology.in_edge,
        order=topology.order,
        level=topology.level,
        capacity=_capacity(cluster),
        slots=np.array([device.slots for device in cluster.devices], dtype=np.int64),
        copy_engine=np.array([device.copy_engine for device in cluster.devices]),
        forward=np.asarray(columns.phases == FORWARD),
        **_route_arrays(cluster, time_unit),
        division=division,
    )


def op_needs(ops: Columns | Arrays, time: Floats, *, static_memory: bool) -> Ints:
    """Return the bytes that an op needs on each device whatever else is placed there.

    Parameters
    ----------
    ops : Columns or Arrays
    time : (n, m) float
    static_memory : bool
        Whether memory is counted by the rule ``static``.

    Returns
    -------
    (n, m) or (n, 1) int
        One column where it is the same on all devices.
    """
    weights = ops.weights[:, None]
    rest = (ops.output + ops.workspace)[:, None]
    if static_memory:
        return np.asarray(weights + rest)
    # Under liveness an op that takes no time holds nothing but its weights.
    return np.asarray(weights + np.where(time > 0, rest, 0))


def times_on(columns: Columns, device_id: str, kind: str) -> Floats:
    """Time of each op on a device (n,): the id wins over the kind; infinite where it has none."""
    result = np.full(columns.op_count, np.nan)
    for key in dict.fromkeys((kind, device_id)):
        if key in columns.time_keys:
            given = columns.time[:, columns.time_keys.index(key)]
            result = np.where(np.isnan(given), result, given)
    return np.where(np.isnan(result), np.inf, result)


def _capacity(cluster: Cluster) -> Ints:
    usable = [device.usable_memory for device in cluster.devices]
    return np.array([UNLIMITED if limit is None else limit for limit in usable], dtype=np.int64)


def _groups(columns: Columns) -> tuple[Ints, Ints]:
    """Group of each op (n,), and the first op of each group (g,), by which groups are numbered."""
    leader = np.arange(columns.op_count)
    named = np.flatnonzero(columns.group != NONE)
    if len(named):
        first = np.full(len(columns.groups), columns.op_count)
        np.minimum.at(first, columns.group[named], named)
        leader[named] = first[columns.group[named]]
    leads = leader == np.arange(columns.op_count)
    return (np.cumsum(leads) - 1)[leader], np.flatnonzero(leads)


def devices_allowed(time: Floats, group: Ints, leaders: Ints) -> Bools:
    """Return the devices on which every op of a group can run (g, m).

    Parameters
    ----------
    time : (n, m) float
        Infinite where an op cannot run.
    group : (n,) int
    leaders : (g,) int
        First op of each group.
    """
    can_run = np.isfinite(time)
    if len(leaders) == len(group):
        return can_run
    allowed = can_run[leaders]
    followers = np.ones(len(group), dtype=bool)
    followers[leaders] = False
    np.logical_and.at(allowed, group[followers], can_run[followers])
    return allowed


class _Times:
    """Fills the (n, m) time table and refuses ops that no device can run."""

    def __init__(
        self, columns: Columns, cluster: Cluster, division: Division | None, *, static_memory: bool
    ) -> None:
        self.columns = columns
        self.cluster = cluster
        self.division = division
        self.static_memory = static_memory

    def build(self) -> Floats:
        columns, devices = self.columns, self.cluster.devices
        table = np.empty((columns.op_count, len(devices)))
        held = (columns.pin != NONE).any()
        pinned = self._pinned() if held else None
        wide = columns.slots > 1
        for d, device in enumerate(devices):
            table[:, d] = times_on(columns, device.id, device.kind)
            if pinned is not None:
                table[~pinned[columns.pin, d], d] = np.inf
            if wide.any():
                table[columns.slots > device.slots, d] = np.inf
        runs = np.isfinite(table)
        if not runs.any(axis=1).all():
            self._refuse_unrunnable(int(np.argmin(runs.any(axis=1))))
        capacity = _capacity(self.cluster)
        need = self._needs(table)
        if (need > capacity).any():
            table[need > capacity] = np.inf
            fits = np.isfinite(table).any(axis=1)
            if self.cluster.bundles:
                fits |= fits_bundle(columns, self.cluster, runs, capacity)
            if not fits.all():
                i = int(np.argmin(fits))
                self._refuse_too_large(i, runs[i], np.broadcast_to(need, runs.shape)[i])
        return table

    def _needs(self, table: Floats) -> Ints:
        columns, division = self.columns, self.division
        if division is None:
            return op_needs(columns, table, static_memory=self.static_memory)
        return member_needs(columns, division, table, static_memory=self.static_memory)

    def _pinned(self) -> Bools:
        """Devices in each set of pins; in the last row, which `NONE` finds, all (p + 1, m)."""
        columns, cluster = self.columns, self.cluster
        allowed = np.zeros((len(columns.pins) + 1, len(cluster.devices)), dtype=bool)
        allowed[NONE] = True
        strange: dict[int, int] = {}  # set of pins -> position of an unknown name in it
        for p, names in enumerate(columns.pins):
            for k, name in enumerate(names):
                members = cluster.members(name)
                allowed[p, [cluster.index[device.id] for device in members]] = True
                if not members:
                    strange.setdefault(p, k)
        astray = np.isin(columns.pin, list(strange))
        if astray.any():
            i = int(np.argmax(astray))
            p = int(columns.pin[i])
            known = ", ".join([*cluster.index, *cluster.kinds])
            raise GraphError(
                f"op {columns.name(i)} is pinned to {columns.pins[p][strange[p]]!r}, "
                f"expected a device of {known}",
                path=columns.op_path(i, f"devices[{strange[p]}]"),
            )
        return allowed

    def _refuse_unrunnable(self, i: int) -> NoReturn:
        columns, devices = self.columns, self.cluster.devices
        there = ", ".join(
            f"{device.id} ({device.kind}, {device.slots} slots)" for device in devices
        )
        given = zip(columns.time_keys, columns.time[i].tolist(), strict=True)
        times = ", ".join(key for key, time in given if time == time)
        pin = int(columns.pin[i])
        pins = f", pinned to {', '.join(columns.pins[pin])}" if pin != NONE else ""
        raise GraphError(
            f"op {columns.name(i)} can run on no device: it has times for "
            f"{times or 'nothing'} and needs {columns.slots[i]} slot(s){pins}; "
            f"the cluster has {there}",
            path=columns.op_path(i, "time"),
        )

    def _refuse_too_large(self, i: int, runs: Bools, need: Ints) -> NoReturn:
        capacity = _capacity(self.cluster)
        limit = ", ".join(
            f"{device.id} {units.format_bytes(int(capacity[d]))}"
            for d, device in enumerate(self.cluster.devices)
            if runs[d]
        )
        least = int(need[runs].min())
        raise GraphError(
            f"op {self.columns.name(i)} needs {units.format_bytes(least)} ({least} bytes), "
            f"more than any device that can run it has ({limit})",
            path=self.columns.op_path(i, "memory"),
        )


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
