"""Routes and a flat view of a problem, read off the domain objects alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from talos_opt.core.cluster import Cluster, Device, Link
from talos_opt.core.graph import Op
from talos_opt.core.problem import Problem

PER_SECOND = {"us": 1e6, "ms": 1e3, "s": 1.0}


def _stands_for(cluster: Cluster, name: str, device: int) -> bool:
    ids = [item.id for item in cluster.devices]
    return ids[device] == name if name in ids else cluster.devices[device].kind == name


def _fits(cluster: Cluster, link: Link, a: int, b: int) -> bool:
    there = _stands_for(cluster, link.a, a) and _stands_for(cluster, link.b, b)
    back = _stands_for(cluster, link.b, a) and _stands_for(cluster, link.a, b)
    return there or (back and not link.one_way)


def best_link(cluster: Cluster, a: int, b: int) -> Link | None:
    """The rule that says how a tensor gets from device a to device b."""
    ids = [item.id for item in cluster.devices]
    fitting = [
        (link.via is None, (link.a in ids) + (link.b in ids), link.one_way, position)
        for position, link in enumerate(cluster.links or ())
        if _fits(cluster, link, a, b) and link.via not in (ids[a], ids[b])
    ]
    return (cluster.links or ())[max(fitting)[3]] if fitting else None


def route(cluster: Cluster, a: int, b: int) -> list[tuple[int, int]] | None:
    """Hops from one device to another; None where there is no way."""
    if a == b:
        return []
    if cluster.links is None:
        return [(a, b)]
    link = best_link(cluster, a, b)
    if link is None:
        return None
    if link.via is None:
        return [(a, b)]
    stage = [item.id for item in cluster.devices].index(link.via)
    return [(a, stage), (stage, b)]


def channel(cluster: Cluster, a: int, b: int) -> object:
    """What a direct hop occupies under contention serial; None where it occupies nothing."""
    if cluster.contention != "serial":
        return None
    link = best_link(cluster, a, b)
    return frozenset((a, b)) if link is not None and link.duplex == "half" else (a, b)


def usable_memory(device: Device) -> int | None:
    """Bytes that ops may fill; the fraction is the decimal number that was written."""
    if device.memory is None:
        return None
    return math.floor(device.memory * Fraction(repr(float(device.memory_fraction))))


@dataclass(frozen=True)
class Flat:
    """Ops of all models in file order, numbered from 0, and the facts about them."""

    problem: Problem

    @cached_property
    def ops(self) -> list[Op]:
        """All ops, model after model."""
        return [op for model in self.problem.graph.models for op in model.ops]

    @cached_property
    def names(self) -> list[str]:
        """``MODEL/OP`` of each."""
        return [f"{m.id}/{op.id}" for m in self.problem.graph.models for op in m.ops]

    @cached_property
    def model(self) -> list[int]:
        """Number of each op's model."""
        return [j for j, model in enumerate(self.problem.graph.models) for _ in model.ops]

    @cached_property
    def release(self) -> list[float]:
        """Release of each op's model."""
        return [float(self.problem.graph.models[j].release) for j in self.model]

    @cached_property
    def tensors(self) -> list[tuple[int, str, int]]:
        """Op, name and bytes of every output, op by op; an op that names none makes one."""
        return [
            (i, name, size)
            for i, op in enumerate(self.ops)
            for name, size in (op.outputs or {"": op.memory.output}).items()
        ]

    @cached_property
    def reads(self) -> list[tuple[int, int, int]]:
        """Tensor, reader, bytes that travel.

        Who names no output reads all, or but waits for the op if nothing is to travel.
        """
        found = []
        first = 0
        for model in self.problem.graph.models:
            number = {op.id: first + i for i, op in enumerate(model.ops)}
            for op in model.ops:
                for edge in op.inputs:
                    made = [
                        (r, size)
                        for r, (maker, name, size) in enumerate(self.tensors)
                        if maker == number[edge.op] and edge.output in (None, name)
                    ]
                    for r, size in made[:1] if edge.bytes == 0 else made:
                        given = size if edge.bytes is None else edge.bytes
                        found.append((r, number[op.id], given))
            first += len(model.ops)
        return found

    @cached_property
    def edges(self) -> list[tuple[int, int, int]]:
        """Producer, reader, bytes that travel."""
        return [(self.tensors[r][0], reader, size) for r, reader, size in self.reads]

    def time(self, i: int, d: int) -> float | None:
        """Time of an op on a device; None where it cannot run, whatever else is there."""
        op, device = self.ops[i], self.problem.cluster.devices[d]
        if op.devices is not None and not {device.id, device.kind} & set(op.devices):
            return None
        if op.slots > device.slots:
            return None
        return op.time.get(device.id, op.time.get(device.kind))

    def hop_time(self, a: int, b: int, size: int) -> float:
        """Return how long so many bytes take from one device to another."""
        link = best_link(self.problem.cluster, a, b)
        if link is None:
            return 0.0
        per_second = PER_SECOND[self.problem.graph.time_unit]
        return link.latency + size * (per_second / link.bandwidth)

    def hops(self, device: list[int]) -> dict[tuple[int, int, int], int] | None:
        """Bytes of each hop (tensor, from, to) that a placement needs; None without a way."""
        needed: dict[tuple[int, int, int], int] = {}
        for tensor, reader, size in self.reads:
            source = self.tensors[tensor][0]
            way = route(self.problem.cluster, device[source], device[reader])
            if way is None:
                return None
            for a, b in way:
                needed[tensor, a, b] = max(size, needed.get((tensor, a, b), 0))
        return needed

    def static_need(self, device: list[int], d: int) -> int:
        """Return the bytes that a device needs under the rule ``static``."""
        here = [op.memory for op, where in zip(self.ops, device, strict=True) if where == d]
        largest = max((memory.workspace for memory in here), default=0)
        return sum(memory.weights + memory.output for memory in here) + largest
