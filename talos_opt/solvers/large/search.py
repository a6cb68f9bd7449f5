"""The search over what steers a pass: first what usually does well, then variations of it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from talos_opt.core.problem import NO_ROUTE, Bools, Objective
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.large.passes import Candidate, Knobs, Passes
from talos_opt.solvers.large.trivial import trivial_candidates

#: Most threads that make passes: each has a working space of 32 bytes per op and device.
_MOST_THREADS = 4
#: A better schedule is handed in at once where checking it takes but this share of the time left.
_CHEAP = 0.05
#: Shares of the outputs that are counted as resident, until a placement keeps to liveness.
_SHARES = (1.0, 0.3, 0.1, 0.03, 0.0)


class Incumbent:
    """The best candidate so far, and when to hand it in: checking takes as long as a few passes.

    Parameters
    ----------
    passes : Passes
    run : Run
    """

    def __init__(self, passes: Passes, run: Run) -> None:
        self.passes, self.run = passes, run
        self.best: Candidate | None = None
        self._offered = math.inf  # value of the last candidate handed in
        self._offer_cost = 0.0  # seconds that handing one in takes
        self._pass_cost = 0.0

    def keep(self, candidate: Candidate | None) -> bool:
        """Keep a candidate if it is the best so far."""
        if candidate is None or (self.best is not None and candidate.value >= self.best.value):
            return False
        self.best = candidate
        return True

    def offer(self) -> None:
        """Hand the best candidate in, which checks it."""
        if self.best is None or self.best.value >= min(self._offered, self.run.value):
            return
        began = time.monotonic()
        self.run.offer(self.passes.schedule(self.best), "large")
        self._offered = self.best.value
        self._offer_cost = time.monotonic() - began

    def offer_if_cheap(self) -> None:
        """Hand the best candidate in where that takes but a small part of the time left."""
        if self._offer_cost < _CHEAP * self.run.remaining:
            self.offer()

    @property
    def over(self) -> bool:
        """Whether to stop: time is left for handing in what has not been yet."""
        pending = self.best is not None and self.best.value < self._offered
        needed = self._pass_cost + (self._offer_cost if pending else 0.0)
        return self.run.stopped or self.run.remaining <= needed

    # ---- the first schedule ----------------------------------------------------------------

    def start(self) -> None:
        """Find a first schedule: the usual pass, or what needs less memory or fewer routes."""
        began = time.monotonic()
        for candidate in self._tightening():
            if self.keep(self.passes.value(candidate)) or self.run.overdue:
                break
            began = time.monotonic()
        self._pass_cost = time.monotonic() - began
        self.offer()

    def _tightening(self) -> Iterator[Candidate | None]:
        """Yield the first candidates; under liveness again with fewer outputs counted."""
        for share in _SHARES if self.passes.peak else _SHARES[:1]:
            self.passes.count_outputs(share)
            yield from self.first_candidates()

    def first_candidates(self) -> Iterator[Candidate | None]:
        """Yield placements until one of them is feasible."""
        yield self.passes.place(Knobs(6.0))
        for usable in self._cliques():
            yield self.passes.place(Knobs(6.0), usable)
            yield from self._filled(usable)

    def _cliques(self) -> Iterator[Bools]:
        """Yield the usable devices, then sets of devices that can all exchange tensors."""
        arrays = self.passes.arrays
        linked = (arrays.via != NO_ROUTE) & (arrays.via != NO_ROUTE).T
        np.fill_diagonal(linked, True)
        yield self.passes.usable
        for seed in range(arrays.device_count):
            chosen = [seed]
            for d in range(arrays.device_count):
                if d != seed and linked[d, chosen].all():
                    chosen.append(d)
            inside = np.zeros(arrays.device_count, dtype=bool)
            inside[chosen] = True
            if (self.passes.usable[:, inside].any(axis=1)).all() and not inside.all():
                yield np.ascontiguousarray(self.passes.usable & inside)
            inside[chosen[1:]] = False
            if len(chosen) > 1 and self.passes.usable[:, seed].all():
                yield np.ascontiguousarray(self.passes.usable & inside)

    def _filled(self, usable: Bools) -> Iterator[Candidate | None]:
        """Yield placements that spare memory or links: stretches of ops, and the largest first."""
        passes, arrays = self.passes, self.passes.arrays
        depth = passes.depth_first()
        turn = np.argsort(-arrays.capacity, kind="stable")
        yield passes.fill(depth, turn, usable, math.inf, depth)
        group_size = passes.size + passes.instance.group[:, 1]
        # Those with the least choice come first, then the largest.
        by_size = np.lexsort((-group_size, usable.sum(axis=1)))
        rank = np.empty(arrays.group_count, dtype=np.int64)
        rank[by_size] = np.arange(arrays.group_count)
        largest_first = np.argsort(rank[arrays.group], kind="stable")
        yield passes.fill(largest_first, turn, usable, 0.0, depth)
        yield passes.fill(largest_first, turn, usable, math.inf, depth)


class Search(Incumbent):
    """Variations of what steers a pass, one per thread at a time."""

    def __init__(self, passes: Passes, run: Run) -> None:
        super().__init__(passes, run)
        self.knobs = Knobs(6.0)

    def improve(self, passes: int) -> None:
        """Make passes until the time, or their number, is used up."""
        workers = max(1, min(self.run.workers, _MOST_THREADS))
        spaces = self.passes.spaces
        while len(spaces) < workers:
            spaces.append(self.passes.new_space())
        self._try_trivial()
        made = 0
        proposals = self._proposals()
        with ThreadPoolExecutor(workers) as pool:
            while not self.over and not (passes and made >= passes):
                batch = [next(proposals) for _ in range(workers)]
                began = time.monotonic()
                found = list(pool.map(self._try, batch, range(workers)))
                self._pass_cost = time.monotonic() - began
                made += workers
                for knobs, candidate in zip(batch, found, strict=True):
                    if self.keep(candidate):
                        self.knobs = knobs
                self.offer_if_cheap()
        self.offer()

    def _try_trivial(self) -> None:
        """Be no worse than the baselines."""
        for candidate in trivial_candidates(self.passes):
            if self.over:
                return
            self.keep(self.passes.value(candidate))

    def _try(self, knobs: Knobs, space: int) -> Candidate | None:
        like = None if self.best is None else self.best.device
        return self.passes.value(self.passes.place(knobs, like=like), space)

    def _proposals(self) -> Iterator[Knobs]:
        """Yield knobs: first those that usually do well, then variations of the best."""
        several = len(self.passes.hold) > 1 and self.passes.problem.objective is Objective.TOCT
        if several:
            for stagger in (0.8, 0.4, 1.2, 2.0):
                yield self.knobs._replace(stagger=stagger)
        for thrift in (12.0, 2.0, 0.0):
            yield self.knobs._replace(thrift=thrift)
        yield self.knobs._replace(window=1.0)
        draw = self.passes.random
        while True:
            knobs = self.knobs
            tilt = np.array(knobs.tilt or (1.0,) * self.passes.arrays.device_count)
            change = draw.random(5) < (0.5, 0.2, 0.5, 0.2, 0.5)
            if several and change[2]:
                stagger = max(0.0, knobs.stagger * draw.lognormal(0, 0.3) + draw.normal(0, 0.05))
                knobs = knobs._replace(stagger=float(stagger))
            if change[0]:
                knobs = knobs._replace(thrift=float((knobs.thrift + 0.1) * draw.lognormal(0, 0.4)))
            if change[1]:
                knobs = knobs._replace(window=float(10 ** draw.uniform(-5, -0.3)))
            if change[3]:
                knobs = knobs._replace(ranked=not knobs.ranked)
            if change[4]:
                tilt = tilt * draw.lognormal(0, 0.1, len(tilt))
                knobs = knobs._replace(tilt=tuple(tilt.tolist()))
            yield knobs
