"""Even loads: the objective bottleneck knows no order, so moves are valued by loads alone."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import numpy as np

from talos_opt.solvers.large.passes import Candidate
from talos_opt.solvers.large.search import Incumbent
from talos_opt.solvers.large.trivial import trivial_candidates

#: Single moves tried between two looks at the clock.
_MOVES = 20_000
#: Shares of the mean load by which a device gets e times dearer: the smaller, the evener.
_SCALES = (0.02, 0.05, 0.01)
#: Multiples of the mean load at which the next device is filled.
_TARGETS = (1.0, 1.1)


class Balancer(Incumbent):
    """Evens out loads, from a spread and from a contiguous start."""

    def first_candidates(self) -> Iterator[Candidate | None]:
        """Yield placements until one of them is feasible."""
        yield self.passes.spread(_SCALES[0] * self._mean_load(), self.passes.arrays.order)
        yield from super().first_candidates()

    def _mean_load(self) -> float:
        arrays = self.passes.arrays
        total = float((self.passes.best_time * arrays.demand).sum())
        return max(total / float(arrays.slots.sum()), 1e-300)

    def improve(self, passes: int) -> None:
        """Try other starts, then move single groups, until time or passes are used up."""
        kinds = (self._spreads(), chain(self._stretches(), trivial_candidates(self.passes)))
        families: list[list[Candidate]] = [[] if self.best is None else [self.best], []]
        for family, candidates in zip(families, kinds, strict=True):
            for candidate in candidates:
                if self.over:
                    break
                valued = self.passes.value(candidate)
                if valued is not None:
                    family.append(valued)
                self.keep(valued)
            self.offer_if_cheap()
        if self.passes.arrays.device_count > 1 and not self.passes.peak:
            self._move(_two_best(families), passes)
        self.offer()

    def _spreads(self) -> Iterator[Candidate | None]:
        mean, order = self._mean_load(), self.passes.depth_first()
        return (self.passes.spread(scale * mean, order) for scale in _SCALES)

    def _stretches(self) -> Iterator[Candidate | None]:
        passes = self.passes
        order, turn = passes.depth_first(), np.arange(passes.arrays.device_count)
        mean = self.best.value if self.best is not None else self._mean_load()
        return (passes.fill(order, turn, passes.usable, f * mean, order) for f in _TARGETS)

    def _move(self, starts: list[Candidate], passes: int) -> None:
        """Move single groups, in turn from each start."""
        chains = [_Chain(self, start, number) for number, start in enumerate(starts)]
        made = 0
        while not self.over and not (passes and made >= passes):
            chain = chains[made % len(chains)]
            chain.move()
            made += 1
            if made % 100 == 0:
                chain.hand_over()
                self.offer_if_cheap()
        for chain in chains:
            chain.hand_over()


def _two_best(families: list[list[Candidate]]) -> list[Candidate]:
    """Return the best start of each family: where they lead to shows only later."""
    return [min(family, key=lambda item: item.value) for family in families if family]


class _Chain:
    """A placement that single moves change."""

    def __init__(self, owner: Balancer, start: Candidate, number: int) -> None:
        passes, arrays = owner.passes, owner.passes.arrays
        self.owner, self.start = owner, start
        self.device = start.device.copy()
        self.load, self.channel = passes.loads(self.device)
        self.held = np.zeros(arrays.device_count, dtype=np.int64)
        home = np.zeros(arrays.group_count, dtype=np.int64)
        home[arrays.group] = self.device
        np.add.at(self.held, home, passes.size)
        self.seen = np.zeros(arrays.op_count + 1, dtype=np.int64)
        self.random = np.array([owner.run.seed * 1000 + number], dtype=np.uint64)

    def move(self) -> None:
        """Try a number of moves."""
        from talos_opt.kernels.relieving import relieve

        passes = self.owner.passes
        relieve(
            passes.instance,
            self.device,
            self.held,
            self.load,
            self.channel,
            passes.usable,
            self.seen,
            self.random,
            _MOVES,
        )

    def hand_over(self) -> None:
        """Let the search keep the placement, if it is the best."""
        moved = self.start._replace(device=self.device.copy())
        self.owner.keep(self.owner.passes.value(moved))
