"""Least transfer times between classes of devices, which the path and diagram bounds share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from talos_opt.core.problem import (
    DIRECT,
    NO_ROUTE,
    UNLIMITED,
    Arrays,
    Bools,
    Floats,
    Ints,
    MemoryRule,
)

#: More classes than this are merged into one with a memory limit and one without,
_MOST_CLASSES = 12
#: unless there are no more than these, and edges times pairs of classes no more than those.
_ABLE_CLASSES, _MOST_CELLS = 40, 1_000_000
#: From this number of devices on, a route counts its least latency and least time per byte.
_MANY_DEVICES = 128


@dataclass(frozen=True)
class DeviceClasses:
    """Devices that a bound does not tell apart.

    Parameters
    ----------
    members : tuple of (k,) int
        Devices of each of the c classes.
    time : (n, c) float
        Least time of each op on a device of the class, infinite where it may not go.
    capacity : (c,) int
        Largest memory of a device of the class.
    """

    members: tuple[Ints, ...]
    time: Floats
    capacity: Ints


def resident_bytes(arrays: Arrays, rule: MemoryRule) -> Ints:
    """Bytes that an op holds on its device from beginning to end, whatever the order (n,).

    Under the peak rule outputs come and go, so weights alone count.
    """
    return arrays.weights + arrays.output if rule is MemoryRule.STATIC else arrays.weights


def classify(arrays: Arrays) -> DeviceClasses:
    """Group devices with the same op times and the same memory."""
    time = np.where(arrays.allowed[arrays.group], arrays.time, np.inf)
    classes: dict[object, list[int]] = {}
    for d in range(arrays.device_count):
        classes.setdefault((int(arrays.capacity[d]), time[:, d].tobytes()), []).append(d)
    cells = len(classes) ** 2 * len(arrays.edge_src)
    able = len(classes) <= _ABLE_CLASSES and cells <= _MOST_CELLS
    if len(classes) > _MOST_CLASSES and not able:
        classes = {}
        for d, capacity in enumerate(arrays.capacity.tolist()):
            classes.setdefault(capacity >= UNLIMITED, []).append(d)
    members = tuple(np.array(devices, dtype=np.int64) for devices in classes.values())
    return DeviceClasses(
        members,
        np.column_stack([time[:, devices].min(axis=1) for devices in members]),
        np.array([arrays.capacity[devices].max() for devices in members], dtype=np.int64),
    )


def least_delays(arrays: Arrays, classes: DeviceClasses, sizes: Ints) -> Floats:
    """Least time of sending a tensor between two different devices (k, c, c).

    Parameters
    ----------
    arrays : Arrays
    classes : DeviceClasses
    sizes : (k,) int
        Bytes.

    Returns
    -------
    (k, c, c) float
        Entry ``[s, a, b]``: from a device of class a to *another* one, of class b; infinite if
        there is none or no route.
    """
    latency, per_byte = route_costs(arrays)
    count = len(classes.members)
    if count == arrays.device_count:  # all differ
        own = np.concatenate(classes.members)
        with np.errstate(invalid="ignore"):  # no bytes over no route
            exact = latency[None] + sizes[:, None, None] * per_byte[None]
        apart = np.isfinite(latency) & ~np.eye(count, dtype=bool)
        return np.where(apart, exact, np.inf)[:, own[:, None], own[None, :]]
    result = np.full((len(sizes), count, count), np.inf)
    for a, sources in enumerate(classes.members):
        for b, targets in enumerate(classes.members):
            pairs = np.ix_(sources, targets)
            apart = (sources[:, None] != targets[None, :]) & np.isfinite(latency[pairs])
            costs = np.column_stack([latency[pairs][apart], per_byte[pairs][apart]])
            if len(costs) == 0:
                continue
            if arrays.device_count > _MANY_DEVICES:
                costs = costs.min(axis=0, keepdims=True)
            for fixed, slope in np.unique(costs, axis=0):
                np.minimum(result[:, a, b], fixed + sizes * slope, out=result[:, a, b])
    return result


def route_costs(arrays: Arrays) -> tuple[Floats, Floats]:
    """Latency and time per byte of whole routes, stages included (m, m); infinite: no route."""
    latency, per_byte = arrays.latency.copy(), arrays.per_byte.copy()
    staged = arrays.via >= 0
    source, target = np.nonzero(staged)
    stage = arrays.via[source, target]
    for whole, leg in ((latency, arrays.latency), (per_byte, arrays.per_byte)):
        whole[source, target] = leg[source, stage] + leg[stage, target]
    missing = arrays.via == NO_ROUTE
    latency[missing] = np.inf
    per_byte[missing] = np.inf
    assert ((arrays.via == DIRECT) | staged | missing).all()
    return latency, per_byte


@dataclass(frozen=True)
class Legs:
    """Hops by which tensors leave, or reach, some devices: the least of them counts.

    Parameters
    ----------
    latency, per_byte : (k,) float
    """

    latency: Floats
    per_byte: Floats

    def time(self, size: int) -> float:
        """Least time of a hop with so many bytes; infinite if there is no hop."""
        return float((self.latency + size * self.per_byte).min(initial=np.inf))


def route_legs(arrays: Arrays, inside: Bools, *, within: bool = False) -> tuple[Legs, Legs]:
    """Return the first legs of routes out of some devices, and the last legs of routes in.

    Parameters
    ----------
    arrays : Arrays
    inside : (m,) bool
    within : bool
        Routes between two of them count too.
    """
    out, into = set(), set()
    for source in range(arrays.device_count):
        for target in range(arrays.device_count):
            path = arrays.path(source, target)
            if not path or (inside[source] and inside[target] and not within):
                continue
            if inside[source]:
                out.add(path[0])
            if inside[target]:
                into.add(path[-1])
    return _legs(arrays, out), _legs(arrays, into)


def _legs(arrays: Arrays, hops: set[tuple[int, int]]) -> Legs:
    source = np.array([a for a, _ in hops], dtype=np.int64)
    target = np.array([b for _, b in hops], dtype=np.int64)
    return Legs(arrays.latency[source, target], arrays.per_byte[source, target])
