"""Awkward numbers for a random problem: what profilers write and floats cannot hold.

The structure of a problem (who reads whom, what fits where, what takes no time, which times are
equal) stays; all its times, weights and sizes become thirds, decimals or random mantissas, over
up to nine decades, released at once or as late as a Unix time in microseconds.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

from talos_opt.core.cluster import Cluster, Device, Link
from talos_opt.core.errors import GraphError
from talos_opt.core.graph import Graph, Memory, Model, Op
from talos_opt.core.problem import Problem
from talos_opt.testing.reference.flat import PER_SECOND, Flat, usable_memory

#: Releases that ordinary input has: none, a small and a large one, Unix time in s, ms and us.
ORIGINS = (0.0, 0.0, 0.0, 1e3, 1e9, 1_764_153_000.0, 1_764_153_000_000.0, 1_764_153_000_000_000.0)
SPANS = (0.5, 0.5, 3.0, 6.0, 9.0)
FRACTIONS = (1.0, 1.0, 1.0, 0.5, 0.29, 0.9, 1 / 3)
BYTES = (1, 1, 1000, 4096, 12_345_677)
#: Units in the last place of the latest time that the shortest should last, so that it shows.
ENOUGH = 2.0**14
Number = Callable[[], float]


def awkward(problem: Problem, rng: random.Random) -> Problem | None:
    """Return the problem with awkward numbers; None where an op then fits nowhere."""
    numbers = _Numbers(rng, problem)
    size = rng.choice(BYTES)
    models = tuple(_model(model, numbers, size) for model in problem.graph.models)
    cluster = _cluster(problem, numbers, size, rng)
    try:
        graph = Graph(problem.graph.name, models, problem.graph.time_unit)
        return replace(problem, graph=graph, cluster=cluster)
    except GraphError:
        return None


def has_enough_digits(problem: Problem) -> bool:
    """Whether even the shortest time is far above the rounding of the latest moment."""
    times = [time for op in problem.ops for time in op.time.values()]
    links = problem.cluster.links or ()
    times += [link.latency for link in links]
    rate = PER_SECOND[problem.graph.time_unit]
    sizes = {edge.bytes for op in problem.ops for edge in op.inputs}
    sizes |= {size for _, _, size in Flat(problem).tensors}
    times += [size * rate / link.bandwidth for link in links for size in sizes if size]
    shortest = min((time for time in times if time > 0), default=math.inf)
    return shortest >= ENOUGH * math.ulp(_latest(problem, times))


def _latest(problem: Problem, times: list[float]) -> float:
    return max(model.release for model in problem.graph.models) + max([0.0, *times])


@dataclass
class _Style:
    """How the numbers of one problem are written."""

    rng: random.Random
    base: float
    decades: float

    def draw(self) -> float:
        rng = self.rng
        scale = self.base * 10 ** rng.uniform(-self.decades / 2, self.decades / 2)
        kind = rng.choice(("thirds", "decimals", "mantissa", "mantissa", "dyadic"))
        if kind == "thirds":
            power: float = 10.0 ** round(math.log10(scale))
            return rng.randint(1, 20) / rng.choice((3, 7, 9)) * power
        if kind == "decimals":
            return float(f"{scale:.{rng.randint(0, 3)}e}")
        if kind == "dyadic":
            return rng.randint(1, 9) * 2.0 ** round(math.log2(scale))
        return scale * (1 + rng.random())


class _Numbers:
    """Times, releases and weights of one problem."""

    def __init__(self, rng: random.Random, problem: Problem) -> None:
        self.rng = rng
        self.origin = rng.choice(ORIGINS)
        decades = rng.choice(SPANS)
        base = 10 ** rng.uniform(-6, 6)
        if self.origin and rng.random() < 0.85:  # mostly, the shortest time still shows
            base = math.ulp(self.origin) * ENOUGH * 10 ** (decades / 2 + rng.uniform(1, 3))
        self.style = _Style(rng, base, decades)
        # A few values come up again and again: ties are where order and rounding matter.
        self.pool = [self.style.draw() for _ in range(rng.randint(2, 6))]
        if rng.random() < 0.1:
            self.pool.append(math.nextafter(self.pool[0], math.inf))
        if rng.random() < 0.05:
            self.pool.append(1e9 * base)  # what people write for "forbidden"
        self.weight = 10.0 ** rng.randint(-12, 6)
        self.spread = rng.choice((0, 0, 3, 9))
        self.late = rng.choice((False, False, False, True))

    def time(self, given: float) -> float:
        """A time, of none where there was none."""
        if given == 0:
            return 0.0
        return self.rng.choice(self.pool) if self.rng.random() < 0.8 else self.style.draw()

    def release(self, given: float) -> float:
        """Most releases are the origin or a little later; some problems mix them freely."""
        if self.late and self.rng.random() < 0.5:
            return self.rng.choice(ORIGINS)
        return self.origin + self.time(given)

    def heaviness(self, given: float) -> float:
        """A weight, none where it was none."""
        return (
            given
            * self.weight
            * 10.0 ** self.rng.randint(-self.spread, 0)
            / self.rng.choice((1, 1, 3, 10))
        )


def _model(model: Model, numbers: _Numbers, size: int) -> Model:
    return Model(
        model.id,
        tuple(_op(op, numbers, size) for op in model.ops),
        numbers.heaviness(model.weight),
        numbers.release(model.release),
    )


def _op(op: Op, numbers: _Numbers, size: int) -> Op:
    memory = Memory(op.memory.weights * size, op.memory.output * size, op.memory.workspace * size)
    inputs = tuple(
        replace(edge, bytes=None if edge.bytes is None else edge.bytes * size) for edge in op.inputs
    )
    outputs = {name: given * size for name, given in op.outputs.items()}
    time = {key: numbers.time(given) for key, given in op.time.items()}
    return replace(op, time=time, memory=memory, inputs=inputs, outputs=outputs)


def _cluster(problem: Problem, numbers: _Numbers, size: int, rng: random.Random) -> Cluster:
    cluster = problem.cluster
    rate = PER_SECOND[problem.graph.time_unit]
    links = cluster.links
    if links is not None:
        links = tuple(_link(link, numbers, size, rate) for link in links)
    devices = tuple(_device(device, size, rng) for device in cluster.devices)
    return replace(cluster, devices=devices, links=links)


def _link(link: Link, numbers: _Numbers, size: int, rate: float) -> Link:
    """Tensors travel for about as long as ops run."""
    if link.via is not None:
        return link
    bandwidth = link.bandwidth
    if math.isfinite(bandwidth):
        bandwidth = size * rate / numbers.time(1.0) * numbers.rng.choice((1, 2, 3, 7))
    return replace(link, latency=numbers.time(link.latency), bandwidth=bandwidth)


def _device(device: Device, size: int, rng: random.Random) -> Device:
    """As many usable bytes as before, of another memory."""
    usable = usable_memory(device)
    if usable is None:
        return device
    fraction = rng.choice(FRACTIONS)
    memory = math.ceil(usable * size / Fraction(repr(fraction)))
    return replace(device, memory=memory, memory_fraction=fraction)
