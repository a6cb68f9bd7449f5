"""How much faster the ops of each model run on one device kind than on another.

Speedup = time on the reference / time on the other (Talos, section III: CPU / GPU). Times are
those that the graph gives; pins and memory, which say where an op may be placed, are left aside.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from talos_opt.core.arrays import Bools, times_on
from talos_opt.core.cluster import Cluster, Device
from talos_opt.core.errors import InputError
from talos_opt.core.problem import Floats, Ints, Problem


@dataclass(frozen=True)
class ModelSpeedups:
    """The k ops of one model on two devices.

    Parameters
    ----------
    model : str
    reference, other : str
        Device kinds or ids. A kind stands for its first device.
    ops : (k,) int
        Numbers of the ops in the problem.
    names, types : tuple of str
        Op ids; operator types, empty where the graph names none.
    reference_time, other_time : (k,) float
        In the graph's time unit; infinite where the op has no time there.
    speedup : (k,) float
        ``reference_time / other_time``; nan where one of them is infinite or the other is 0.
    """

    model: str
    reference: str
    other: str
    ops: Ints
    names: tuple[str, ...]
    types: tuple[str, ...]
    reference_time: Floats
    other_time: Floats
    speedup: Floats

    def __post_init__(self) -> None:
        for value in (self.ops, self.reference_time, self.other_time, self.speedup):
            value.setflags(write=False)

    @property
    def timed(self) -> Bools:
        """Which ops have a time on both sides (k,)."""
        return np.asarray(np.isfinite(self.reference_time) & np.isfinite(self.other_time))


def model_speedups(
    problem: Problem, *, reference: str | None = None, other: str | None = None
) -> tuple[ModelSpeedups, ...]:
    """Return the speedups of each model of a problem.

    Parameters
    ----------
    problem : Problem
    reference : str, optional
        Device kind or id; default: the cluster's reference kind.
    other : str, optional
        Device kind or id; default: the first kind that is not the reference's.

    Raises
    ------
    InputError
        If there is no such device, or both are the same.
    """
    cluster = problem.cluster
    base = cluster.reference if reference is None else reference
    here = _device(cluster, base, "reference")
    if other is None:
        kinds = [device.kind for device in cluster.devices if device.kind != here.kind]
        if not kinds:
            raise InputError(
                f"all devices of the cluster are of kind {here.kind!r}, expected two kinds, or the "
                "ids of two devices as reference and other"
            )
        other = kinds[0]
    there = _device(cluster, other, "other")
    if here == there:
        raise InputError(
            f"reference {base!r} and other {other!r} are the same device, expected two"
        )
    columns = problem.graph.columns
    first, second = (times_on(columns, device.id, device.kind) for device in (here, there))
    speedup = speedups_of(first, second)
    found = []
    for j, model in enumerate(columns.model_ids):
        a, b = columns.model_ptr[j : j + 2].tolist()
        found.append(
            ModelSpeedups(
                model=model,
                reference=base,
                other=other,
                ops=np.arange(a, b),
                names=tuple(columns.ids.slice(a, b)),
                types=tuple(columns.types[kind] for kind in columns.type[a:b].tolist()),
                reference_time=first[a:b].copy(),
                other_time=second[a:b].copy(),
                speedup=speedup[a:b].copy(),
            )
        )
    return tuple(found)


def speedups_of(reference: Floats, other: Floats) -> Floats:
    """Return reference / other, nan where one is infinite or the other is 0."""
    known = np.isfinite(reference) & np.isfinite(other) & (other > 0)
    speedup = np.full(len(reference), np.nan)
    speedup[known] = reference[known] / other[known]
    return speedup


def _device(cluster: Cluster, name: str, what: str) -> Device:
    members = cluster.members(name)
    if not members:
        known = ", ".join(dict.fromkeys((*cluster.kinds, *cluster.index)))
        raise InputError(f"{what} is {name!r}, expected a device kind or id of {known}")
    return members[0]
