"""Feasibility and metrics of a schedule, straight from docs/model.md, in quadratic time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

from talos_opt.core.pipelining.step import step_memory, step_time
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule, TransferRow
from talos_opt.testing.reference.flat import Flat, channel, route, usable_memory
from talos_opt.testing.reference.memory import largest_share
from talos_opt.testing.reference.stages import broken_stages
from talos_opt.testing.reference.ticks import Ticks

#: What separates two moments that are meant to be one: rounding, and nothing beside it.
ULPS = 8.0


def naive_check(
    problem: Problem, schedule: Schedule, tolerance: float | None = None, *, ulps: float = ULPS
) -> list[str]:
    """Every rule of the model that a schedule breaks, as ``rule: sentence``.

    Two moments are one if they are no farther apart than the tolerance; by default, than so many
    units in the last place of the larger.
    """

    def slack(*moments: float) -> float:
        if tolerance is not None:
            return tolerance
        return ulps * math.ulp(max(map(abs, moments)))

    return _NaiveChecker(Flat(problem), schedule, slack).run()


class _NaiveChecker:
    def __init__(self, flat: Flat, schedule: Schedule, slack: Callable[..., float]) -> None:
        self.flat, self.problem, self.slack = flat, flat.problem, slack
        self.cluster = flat.problem.cluster
        self.device: list[int] = schedule.device.tolist()
        self.start: list[float] = schedule.start.tolist()
        self.end: list[float] = schedule.end.tolist()
        self.moves = list(schedule.transfers.rows())
        self.bad: list[str] = []

    def run(self) -> list[str]:
        for i, name in enumerate(self.flat.names):
            if not 0 <= self.device[i] < len(self.cluster.devices):
                return [f"placement: {name} is on no device"]
            time = self.flat.time(i, self.device[i])
            if time is None:
                return [f"placement: {name} cannot run there"]
            if not self.lasts(self.start[i], self.end[i], time):
                self.bad.append(f"duration: {name}")
            if not self.follows(self.start[i], self.flat.release[i]):
                self.bad.append(f"release: {name}")
        self.colocation()
        self.bad += broken_stages(self.problem, self.device)
        if self.transfers():
            self.arrivals()
        self.devices()
        self.links()
        return self.bad

    def lasts(self, start: float, end: float, time: float) -> bool:
        """Whether an interval is as long as it should be."""
        return abs(end - start - time) <= self.slack(start, end, time)

    def follows(self, moment: float, other: float) -> bool:
        """Whether a moment is not before another."""
        return moment >= other or other - moment <= self.slack(moment, other)

    def colocation(self) -> None:
        for i, a in enumerate(self.flat.ops):
            for j, b in enumerate(self.flat.ops[:i]):
                together = a.colocate is not None and a.colocate == b.colocate
                if together and self.device[i] != self.device[j]:
                    self.bad.append(f"colocation: {self.flat.names[i]}, {self.flat.names[j]}")

    def transfers(self) -> bool:
        """Whether the hops listed are those needed, each once."""
        before = len(self.bad)
        needed = self.flat.hops(self.device)
        if needed is None:
            self.bad.append("transfer: no route")
            return False
        seen = set()
        for move in self.moves:
            key = (move.tensor, move.source, move.target)
            if self.flat.tensors[move.tensor][0] != move.op:
                self.bad.append(f"transfer: {key} is not of op {move.op}")
            if key in seen or key not in needed:
                self.bad.append(f"transfer: {key} is not wanted (again)")
            seen.add(key)
        for (tensor, a, b), size in needed.items():
            costs = size > 0 or self.flat.hop_time(a, b, size) > 0
            if (tensor, a, b) not in seen and costs:
                self.bad.append(f"transfer: {(tensor, a, b)} is missing")
        if len(self.bad) > before:
            return False
        for move in self.moves:
            size = needed[move.tensor, move.source, move.target]
            time = self.flat.hop_time(move.source, move.target, size)
            if move.bytes != size or not self.lasts(move.start, move.end, time):
                self.bad.append(f"transfer: {move} should take {time} for {size} bytes")
        return True

    def there(self, tensor: int, d: int) -> float:
        """When a tensor is on a device."""
        op = self.flat.tensors[tensor][0]
        if d == self.device[op]:
            return self.end[op]
        for move in self.moves:
            if (move.tensor, move.target) == (tensor, d):
                return move.end
        way = route(self.cluster, self.device[op], d)
        assert way is not None
        return self.there(tensor, way[-1][0])  # a hop of nothing in no time need not be listed

    def arrivals(self) -> None:
        for move in self.moves:
            if not self.follows(move.start, self.there(move.tensor, move.source)):
                self.bad.append(f"transfer: {move} starts before the tensor is there")
        for tensor, reader, _ in self.flat.reads:
            if not self.follows(self.start[reader], self.there(tensor, self.device[reader])):
                self.bad.append(f"precedence: {self.flat.names[reader]}")

    def devices(self) -> None:
        for d, device in enumerate(self.cluster.devices):
            held = [
                (self.start[i], self.end[i], op.slots)
                for i, op in enumerate(self.flat.ops)
                if self.device[i] == d
            ]
            if not device.copy_engine:
                held += [(m.start, m.end, 1) for m in self.moves if d in (m.source, m.target)]
            if most(held, self.slack) > device.slots:
                self.bad.append(f"slots: {device.id}")
            usable = usable_memory(device)
            if usable is None:
                continue
            if self.problem.memory_rule == "static":
                need = self.flat.static_need(self.device, d)
            elif self.problem.memory_rule == "pipeline":
                need = int(step_memory(self.problem, np.array(self.device))[d])
            else:
                need = peak_need(
                    self.flat, self.device, self.start, self.end, self.moves, d, self.slack
                )
            if need > usable:
                self.bad.append(f"memory: {device.id} needs {need}")

    def links(self) -> None:
        for move in self.moves:
            busy = channel(self.cluster, move.source, move.target)
            if busy is None:
                continue
            held = [
                (other.start, other.end, 1)
                for other in self.moves
                if channel(self.cluster, other.source, other.target) == busy
            ]
            if most(held, self.slack) > 1:
                self.bad.append(f"link: {move}")


def exactly(*moments: float) -> float:
    """No two moments are one that differ; whole ticks stay whole."""
    return 0


def most(held: list[tuple[float, float, int]], slack: Callable[..., float] = exactly) -> int:
    """Largest amount held at once; what ends at t makes room for what starts at t."""
    cut = [(start, end - slack(start, end), amount) for start, end, amount in held]
    real = [(start, end, amount) for start, end, amount in cut if end > start]
    return max(
        (sum(amount for s, e, amount in real if s <= start < e) for start, _, _ in real), default=0
    )


def peak_need(
    flat: Flat,
    device: list[int],
    start: Sequence[float],
    end: Sequence[float],
    moves: list[TransferRow],
    d: int,
    slack: Callable[..., float] = exactly,
) -> int:
    """Most bytes alive at once on a device, weights included."""
    weights = 0
    held = []
    for i, op in enumerate(flat.ops):
        if device[i] == d:
            weights += op.memory.weights
            held.append((start[i], end[i], op.memory.workspace))
    for r, (i, _, size) in enumerate(flat.tensors):
        uses = [
            end[reader] for tensor, reader, _ in flat.reads if tensor == r and device[reader] == d
        ]
        uses += [move.end for move in moves if move.tensor == r and move.source == d]
        if device[i] == d:
            held.append((start[i], max([end[i], *uses]), size))
        for move in moves:
            if move.tensor == r and move.target == d:
                held.append((move.start, max([move.end, *uses]), move.bytes))
    return weights + most(held, slack)


def held_bytes(problem: Problem, schedule: Schedule) -> list[int]:
    """Bytes that a schedule needs on each device under the problem's memory rule."""
    flat, device, moves = Flat(problem), schedule.device.tolist(), list(schedule.transfers.rows())
    every = range(len(problem.cluster.devices))
    if problem.memory_rule == "static":
        return [flat.static_need(device, d) for d in every]
    start, end = schedule.start.tolist(), schedule.end.tolist()

    def slack(*moments: float) -> float:
        return ULPS * math.ulp(max(map(abs, moments)))

    return [peak_need(flat, device, start, end, moves, d, slack) for d in every]


def exact_value(problem: Problem, schedule: Schedule) -> Fraction:
    """Value of the problem's objective, as the model has it, without any rounding.

    A load is the sum of the times that the problem names; completion is what the schedule says.
    """
    ticks, cluster, device = Ticks(problem), problem.cluster, schedule.device.tolist()
    if problem.objective == "bottleneck":
        loads: dict[object, int] = {}
        for i, (op, d) in enumerate(zip(ticks.ops, device, strict=True)):
            work = (ticks.time(i, d) or 0) * op.slots // cluster.devices[d].slots
            loads[d] = loads.get(d, 0) + work
        for move in schedule.transfers.rows():
            a, b = move.source, move.target
            held = [x for x in (a, b) if not cluster.devices[x].copy_engine]
            for what in (*held, channel(cluster, a, b)):
                loads[what] = loads.get(what, 0) + ticks.hop_time(a, b, move.bytes)
        loads.pop(None, None)
        return ticks.in_units(max(loads.values()))
    if (
        problem.objective == "step"
    ):  # `talos_opt.testing.reference.steps` has its own for free links
        return Fraction(step_time(problem, schedule.device))
    if problem.objective == "memory":
        return largest_share(problem, held_bytes(problem, schedule))
    ends = [Fraction(end) for end in schedule.end.tolist()]
    done = [
        max(end for end, model in zip(ends, ticks.model, strict=True) if model == j)
        for j in range(len(problem.graph.models))
    ]
    if problem.objective == "makespan":
        return max(done)
    weights = [Fraction(model.weight) for model in problem.graph.models]
    return sum((w * c for w, c in zip(weights, done, strict=True)), Fraction(0))


def naive_metrics(problem: Problem, schedule: Schedule) -> dict[str, object]:
    """Metrics of a feasible schedule, under the names of `talos_opt.core.metrics.Metrics`."""
    flat, cluster, models = Flat(problem), problem.cluster, problem.graph.models
    device, start, end = (x.tolist() for x in (schedule.device, schedule.start, schedule.end))
    moves = list(schedule.transfers.rows())
    kinds = [item.kind for item in cluster.devices]
    reference = cluster.devices[kinds.index(cluster.reference)]
    done, alone = [], []
    for j, model in enumerate(models):
        done.append(max(end[i] for i in range(len(end)) if flat.model[i] == j))
        times = [op.time.get(reference.id, op.time.get(reference.kind)) for op in model.ops]
        known = [time for time in times if time is not None]
        alone.append(sum(known) if len(known) == len(times) else None)
    toct = sum(model.weight * c for model, c in zip(models, done, strict=True))
    counted = [(m.weight, r) for m, r in zip(models, alone, strict=True) if m.weight > 0]
    weighed = [w * r for w, r in counted if r is not None]
    speedup = sum(weighed) / toct if toct > 0 and len(weighed) == len(counted) else None
    load, idle, peak, static = {}, {}, {}, {}
    for d, item in enumerate(cluster.devices):
        mine = [i for i in range(len(end)) if device[i] == d]
        carried = [m for m in moves if d in (m.source, m.target) and not item.copy_engine]
        work = sum((end[i] - start[i]) * flat.ops[i].slots for i in mine)
        busy = sum(m.end - m.start for m in carried)
        last = max([0.0, *(end[i] for i in mine), *(m.end for m in carried)])
        load[item.id] = work / item.slots + busy
        idle[item.id] = last - (work + busy) / item.slots
        peak[item.id] = peak_need(flat, device, start, end, moves, d)
        static[item.id] = flat.static_need(device, d)
    links: dict[object, float] = {}
    for move in moves:
        key = channel(cluster, move.source, move.target)
        if key is not None:
            links[key] = links.get(key, 0.0) + move.end - move.start
    return {
        "toct": toct,
        "makespan": max(end),
        "bottleneck": max([*load.values(), *links.values()]),
        "memory": float(largest_share(problem, held_bytes(problem, schedule))),
        "weighted_speedup": speedup,
        "model_speedup": {
            m.id: None if r is None or c - m.release <= 0 else r / (c - m.release)
            for m, r, c in zip(models, alone, done, strict=True)
        },
        "completion": {m.id: c for m, c in zip(models, done, strict=True)},
        "idle_time": idle,
        "load": load,
        "peak_memory": peak,
        "static_memory": static,
        "transferred_bytes": sum(m.bytes for m in moves),
    }
