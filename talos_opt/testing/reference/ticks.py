"""A problem in whole numbers: exact sums and comparisons, whatever its floats look like."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cached_property

from talos_opt.testing.reference.flat import PER_SECOND, Flat, best_link


class Ticks(Flat):
    """`Flat` with all times as whole numbers of one tick, which divides every time of the problem.

    A float is the rational number that it stands for; a hop takes its latency plus its bytes over
    the bandwidth, not rounded.
    """

    @cached_property
    def per_unit(self) -> int:
        """Ticks in one unit of the graph's time; each device's slots divide every op's ticks."""
        devices = self.problem.cluster.devices
        times = [Fraction(time) for op in self.ops for time in op.time.values()]
        times += [Fraction(model.release) for model in self.problem.graph.models]
        times += [Fraction(moment) for moment in self._frozen_moments()]
        sizes = {size for _, _, size in self.edges}
        pairs = [(a, b) for a in range(len(devices)) for b in range(len(devices)) if a != b]
        times += [self._hop(a, b, size) for a, b in pairs for size in sizes]
        shared = math.lcm(*(time.denominator for time in times))
        return shared * math.lcm(*(device.slots for device in devices))

    @cached_property
    def per_weight(self) -> int:
        """What makes every weight a whole number."""
        return math.lcm(*(Fraction(m.weight).denominator for m in self.problem.graph.models))

    @cached_property
    def weights(self) -> list[int]:
        """Weight of each model, times `per_weight`."""
        return [int(Fraction(m.weight) * self.per_weight) for m in self.problem.graph.models]

    @cached_property
    def release(self) -> list[int]:  # type: ignore[override]
        """Release of each op's model, or the moment from which on what has not started does."""
        models = self.problem.graph.models
        soonest = self.soonest
        return [max(soonest, self._ticks(Fraction(models[j].release))) for j in self.model]

    @cached_property
    def soonest(self) -> int:
        """When all that has not started starts at the earliest."""
        frozen = self.problem.frozen
        return 0 if frozen is None else self._ticks(Fraction(frozen.moment))

    @cached_property
    def begun_ops(self) -> dict[int, int]:
        """When the ops started that have started."""
        frozen = self.problem.frozen
        if frozen is None:
            return {}
        started = [i for i, started in enumerate(frozen.started) if started]
        return {i: self._ticks(Fraction(float(frozen.start[i]))) for i in started}

    @cached_property
    def begun_hops(self) -> dict[tuple[int, int, int, int], int]:
        """When hops started that have: tensor, from, to, bytes."""
        frozen = self.problem.frozen
        rows = () if frozen is None else frozen.transfers.rows()
        return {
            (row.tensor, row.source, row.target, row.bytes): self._ticks(Fraction(row.start))
            for row in rows
        }

    def _frozen_moments(self) -> list[float]:
        frozen = self.problem.frozen
        if frozen is None:
            return []
        starts = [float(frozen.start[i]) for i, started in enumerate(frozen.started) if started]
        return [frozen.moment, *starts, *(row.start for row in frozen.transfers.rows())]

    def price(self, device: list[int]) -> Fraction:
        """What a placement costs by what moves in it."""
        frozen = self.problem.frozen
        if frozen is None:
            return Fraction(0)
        rows = zip(frozen.planned.tolist(), frozen.price.tolist(), device, strict=True)
        return sum((Fraction(p) for to, p, at in rows if to not in (-1, at)), Fraction(0))

    def time(self, i: int, d: int) -> int | None:
        """Ticks of an op on a device; None where it cannot run, whatever else is there."""
        return self._op_ticks[i][d]

    def hop_time(self, a: int, b: int, size: int) -> int:
        """Ticks of a direct hop."""
        return self._ticks(self._hop(a, b, size))

    @cached_property
    def _op_ticks(self) -> list[list[int | None]]:
        given = super().time
        devices = range(len(self.problem.cluster.devices))
        times = [[given(i, d) for d in devices] for i in range(len(self.ops))]
        frozen = self.problem.frozen
        if frozen is not None:
            may = frozen.allowed.tolist()
            times = [
                [time if here else None for time, here in zip(row, open_, strict=True)]
                for row, open_ in zip(times, may, strict=True)
            ]
        return [
            [None if time is None else self._ticks(Fraction(time)) for time in row] for row in times
        ]

    def in_units(self, value: int) -> Fraction:
        """Turn a value of the problem's objective into the graph's time unit."""
        shared = self.per_weight if self.problem.objective == "toct" else 1
        return Fraction(value, self.per_unit * shared)

    def _ticks(self, time: Fraction) -> int:
        ticks = time * self.per_unit
        assert ticks.denominator == 1
        return ticks.numerator

    def _hop(self, a: int, b: int, size: int) -> Fraction:
        link = best_link(self.problem.cluster, a, b)
        if link is None or link.via is not None:
            return Fraction(0)
        moving = Fraction(0)
        if math.isfinite(link.bandwidth):
            rate = Fraction(link.bandwidth) / int(PER_SECOND[self.problem.graph.time_unit])
            moving = size / rate
        return Fraction(link.latency) + moving
