"""What a placement and an order are worth: queues, loads and memory, from docs/model.md alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

from talos_opt.core.problem import MemoryRule, Objective, Problem
from talos_opt.core.schedule import TransferRow
from talos_opt.testing.reference.checker import peak_need
from talos_opt.testing.reference.flat import Flat, channel, route


@dataclass(frozen=True)
class Queued:
    """A schedule in which devices and channels serve what comes as queues."""

    start: list[float]
    end: list[float]
    moves: list[TransferRow]
    value: float


def queue_schedule(problem: Problem, device: list[int], order: list[int]) -> Queued | None:
    """Take the ops in order, each behind all that came before; None without a route.

    A tensor sets out when the first op in the order asks for it, behind whatever its channel and
    the slots of devices without a copy engine have been promised to. An op asks for its inputs in
    the order of their numbers.
    """
    flat, cluster = Flat(problem), problem.cluster
    sizes = flat.hops(device)
    if sizes is None:
        return None
    slots = [[0.0] * item.slots for item in cluster.devices]
    carried: dict[object, float] = {}
    start, end = [math.nan] * len(device), [math.nan] * len(device)
    there: dict[tuple[int, int], float] = {}
    moves = []
    for i in order:
        ready = flat.release[i]
        for tensor in sorted(tensor for tensor, reader, _ in flat.reads if reader == i):
            source = flat.tensors[tensor][0]
            arrival = end[source]
            for a, b in route(cluster, device[source], device[i]) or ():
                if (tensor, b) not in there:
                    time = flat.hop_time(a, b, sizes[tensor, a, b])
                    if time > 0:
                        line = channel(cluster, a, b)
                        if line is not None:
                            arrival = max(arrival, carried.get(line, 0.0))
                        held = [slots[d] for d in (a, b) if not cluster.devices[d].copy_engine]
                        for queue in held:
                            arrival = max(arrival, min(queue))
                        for queue in held:
                            queue[queue.index(min(queue))] = arrival + time
                        carried[line] = arrival + time
                    there[tensor, b] = arrival + time
                    moves.append(
                        TransferRow(
                            source, a, b, arrival, arrival + time, sizes[tensor, a, b], tensor
                        )
                    )
                arrival = there[tensor, b]
            ready = max(ready, arrival)
        time = flat.time(i, device[i])
        assert time is not None
        start[i] = ready
        if time > 0:
            queue = sorted(slots[device[i]])
            wanted = flat.ops[i].slots
            start[i] = max(ready, queue[wanted - 1])
            slots[device[i]] = [start[i] + time] * wanted + queue[wanted:]
        end[i] = start[i] + time
    return Queued(start, end, moves, _worth(problem, flat, end))


def _worth(problem: Problem, flat: Flat, end: list[float]) -> float:
    models = problem.graph.models
    done = [
        max(time for time, j in zip(end, flat.model, strict=True) if j == m)
        for m in range(len(models))
    ]
    if problem.objective is Objective.MAKESPAN:
        return max(done)
    return sum(model.weight * c for model, c in zip(models, done, strict=True))


def steady_loads(problem: Problem, device: list[int]) -> tuple[list[float], dict[object, float]]:
    """Loads of devices and of channels; edges without a route load nothing."""
    flat, cluster = Flat(problem), problem.cluster
    load = [0.0] * len(cluster.devices)
    for i, d in enumerate(device):
        load[d] += (flat.time(i, d) or 0.0) * flat.ops[i].slots / cluster.devices[d].slots
    sizes: dict[tuple[int, int, int], int] = {}
    for tensor, reader, size in flat.reads:
        source = flat.tensors[tensor][0]
        for a, b in route(cluster, device[source], device[reader]) or ():
            sizes[tensor, a, b] = max(size, sizes.get((tensor, a, b), 0))
    carried: dict[object, float] = {}
    for (_, a, b), size in sizes.items():
        time = flat.hop_time(a, b, size)
        for d in (a, b):
            if not cluster.devices[d].copy_engine:
                load[d] += time
        line = channel(cluster, a, b)
        if line is not None:
            carried[line] = carried.get(line, 0.0) + time
    return load, carried


def unreached_edges(problem: Problem, device: list[int]) -> int:
    """Count the edges whose reader sits where its tensor cannot be sent."""
    return sum(
        route(problem.cluster, device[source], device[reader]) is None
        for source, reader, _ in Flat(problem).edges
    )


def groups(problem: Problem) -> list[list[int]]:
    """Ops of each colocation group, an op without one alone; by their first op."""
    found: dict[object, list[int]] = {}
    for i, op in enumerate(Flat(problem).ops):
        found.setdefault((i,) if op.colocate is None else op.colocate, []).append(i)
    return list(found.values())


def capacity(problem: Problem, d: int) -> float:
    """Usable bytes of a device; infinite without a limit."""
    item = problem.cluster.devices[d]
    return math.inf if item.memory is None else math.floor(item.memory * item.memory_fraction)


def excess_bytes(problem: Problem, device: list[int], queued: Queued | None) -> float:
    """Bytes over memory by the rule in force; under the peak rule 0 without a schedule."""
    flat = Flat(problem)
    total = 0.0
    for d in range(len(problem.cluster.devices)):
        if problem.memory_rule is MemoryRule.STATIC:
            need = flat.static_need(device, d)
        elif queued is not None:
            need = peak_need(flat, device, queued.start, queued.end, queued.moves, d)
        else:
            continue
        total += max(0.0, need - capacity(problem, d))
    return total
