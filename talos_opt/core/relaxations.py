"""What would make an infeasible problem feasible: limits to relax, and the problem without them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from talos_opt.core.cluster import Cluster, Device, Link
from talos_opt.core.graph import SEPARATOR, Graph, Model
from talos_opt.core.problem import Problem
from talos_opt.core.units import format_bytes


class RelaxationKind(StrEnum):
    """Kinds of limits that can be relaxed."""

    MEMORY = "memory"
    COLOCATION = "colocation"
    PIN = "pin"
    ROUTE = "route"


@dataclass(frozen=True, slots=True)
class Relaxation:
    """One limit to relax.

    Parameters
    ----------
    kind : RelaxationKind
    name : str
        Device with too little memory, colocation group to dissolve, op (``MODEL/OP``) to unpin, or
        device that a new route starts from.
    target : str
        Device that a new route leads to.
    bytes : int
        Usable memory that the device needs beyond what it has.
    bound : int
        With fewer bytes than this, and everything else as it is, there is no schedule: proven.
    least : bool
        `bytes` are those of `bound`.
    """

    kind: RelaxationKind
    name: str
    target: str = ""
    bytes: int = 0
    bound: int = 0
    least: bool = True

    def __str__(self) -> str:
        if self.kind is RelaxationKind.MEMORY:
            return f"give {self.name} {self.bytes} more usable bytes ({format_bytes(self.bytes)})"
        if self.kind is RelaxationKind.COLOCATION:
            return f"allow colocation group {self.name!r} on several devices"
        if self.kind is RelaxationKind.PIN:
            return f"unpin {self.name}"
        return f"add a link from {self.name} to {self.target}"

    def to_dict(self) -> dict[str, Any]:
        """Return the relaxation as plain data."""
        if self.kind is RelaxationKind.MEMORY:
            return {
                "kind": self.kind.value,
                "device": self.name,
                "bytes": self.bytes,
                "bytes_at_least": self.bound,
            }
        if self.kind is RelaxationKind.COLOCATION:
            return {"kind": self.kind.value, "group": self.name}
        if self.kind is RelaxationKind.PIN:
            return {"kind": self.kind.value, "op": self.name}
        return {"kind": self.kind.value, "from": self.name, "to": self.target}


@dataclass(frozen=True)
class Explanation:
    """Why there is no schedule, as changes that would make one possible.

    Parameters
    ----------
    relaxations : tuple of Relaxation
        Together they make the problem feasible: a schedule was made and checked. The first of
        `single`, if there is one; else, of the smallest sets, one with the fewest bytes in all.
    smallest : bool
        No smaller set would do: proven.
    single : tuple of Relaxation
        Each alone makes it feasible; empty if none does, or it was not found out.
    complete : bool
        `single` leaves none out: proven.
    """

    relaxations: tuple[Relaxation, ...]
    smallest: bool
    single: tuple[Relaxation, ...] = ()
    complete: bool = False

    def __str__(self) -> str:
        if self.single:
            shown = "; or ".join(str(item) for item in self.single[:4])
            more = len(self.single) - 4
            return shown + (f"; or {more} other changes" if more > 0 else "")
        return ", and ".join(str(item) for item in self.relaxations)

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation as the fields that it adds to a talos-schedule/1 document."""
        return {
            "relaxations": [item.to_dict() for item in self.relaxations],
            "relaxations_smallest": self.smallest,
            "single_changes": [item.to_dict() for item in self.single],
            "single_changes_complete": self.complete,
        }


def apply_relaxations(problem: Problem, relaxations: Iterable[Relaxation]) -> Problem:
    """Return a problem with some limits relaxed; a new route is a link that takes no time."""
    chosen = list(relaxations)
    extra = {item.name: item.bytes for item in chosen if item.kind is RelaxationKind.MEMORY}
    parted = {item.name for item in chosen if item.kind is RelaxationKind.COLOCATION}
    unpinned = {item.name for item in chosen if item.kind is RelaxationKind.PIN}
    links = tuple(
        Link(item.name, item.target, one_way=True)
        for item in chosen
        if item.kind is RelaxationKind.ROUTE
    )
    cluster = problem.cluster
    if extra or links:
        devices = tuple(enlarge(device, extra.get(device.id, 0)) for device in cluster.devices)
        known = cluster.links if not links else (*(cluster.links or ()), *links)
        cluster = Cluster(devices, known, cluster.reference, cluster.contention)
    graph = problem.graph
    if parted or unpinned:
        models = tuple(_freed(model, parted, unpinned) for model in graph.models)
        graph = Graph(graph.name, models, graph.time_unit, graph.known, graph.description)
    return Problem(
        graph, cluster, problem.objective, problem.memory_rule,
        stages=problem.stages, pipeline=problem.pipeline,
    )  # fmt: skip


def enlarge(device: Device, extra: int) -> Device:
    """Return a device with at least so many more usable bytes; all of them with fraction 1."""
    usable = device.usable_memory
    if usable is None or extra == 0:
        return device
    memory = math.ceil((usable + extra) / device.memory_fraction)
    while math.floor(memory * device.memory_fraction) < usable + extra:
        memory += 1
    return replace(device, memory=memory)


def _freed(model: Model, parted: set[str], unpinned: set[str]) -> Model:
    ops = tuple(
        replace(
            op,
            colocate=None if op.colocate in parted else op.colocate,
            devices=None if f"{model.id}{SEPARATOR}{op.id}" in unpinned else op.devices,
        )
        for op in model.ops
    )
    return Model(model.id, ops, model.weight, model.release)
