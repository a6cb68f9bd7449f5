"""Column generation for the contents bound, and placements made of the contents it finds.

Prices of parts come from a covering LP over the contents found so far (`master`); a dynamic
programme finds what a device may hold that is worth most at these prices (`contents`), which
proves a bound, and is what the LP had missed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing, suppress

import numpy as np

from talos_opt.core.problem import Floats, Ints, Problem
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.engine.warmup import get_ready
from talos_opt.solvers.ilp.backend import Job
from talos_opt.solvers.ilp.builder import Builder, BuildStoppedError, Variable
from talos_opt.solvers.ilp.highs import solve_highs
from talos_opt.solvers.relax.contents import Contents, Kind
from talos_opt.solvers.relax.master import Master
from talos_opt.solvers.shared.offering import offer_placement

#: Share of the time that writing the layers may take.
_SET_UP_SHARE = 0.3
#: Sums of prices that a device's share is told apart by: at first, and at the most.
_FIRST_LEVELS, _MOST_LEVELS = 600, 2400
#: More of them at first where tables have no more entries than these.
_FIRST_ENTRIES = 3_000_000
#: The same for contents that complete a placement, of which no bound is asked.
_ROUGH_LEVELS = 150
#: Fewer than this say nothing.
_LEAST_LEVELS = 40
#: Entries of all layers' tables; five bytes and more each.
_MOST_ENTRIES = 20_000_000
#: Share of the best prices so far that the next ones keep: duals of an LP jump.
_KEEP = 0.5
#: Relative width of what is left between bound and limit at which the search ends.
_NARROW = 1e-4
#: Where the search took less than that, so does this; but not less than so many seconds.
_LEAST_BUILD_S = 2.0
#: Share of that time in which contents are varied before, and the noise of their prices.
_VARY_SHARE, _NOISE = 0.5, 0.3
#: How far above the limit asked for a bound may come out.
_BEYOND = 0.01
#: Share of an equal share that a device is to hold where one after the other is filled.
_AT_LEAST = 0.5
#: Passes without success after which the next limit is closer to the bound.
_TRIES = 20
#: What a share of devices has to be above 1 by, to count as more than all.
_CLEAR = 1e-9
#: Seconds for one LP: longer ones would not repeat often enough.
_LP_S = 2.0
#: Share of the remaining time that a placement made of contents may take, and its seconds.
_BUILD_SHARE, _BUILD_S = 0.4, 6.0
#: Contents that a placement is made of: those of least load.
_MOST_CONTENTS = 1500
#: Value that the incumbent has in that formulation.
_SCALE = 100.0


def prove_by_contents(problem: Problem, run: Run, name: str) -> bool:
    """Raise the bound on the bottleneck, and offer placements.

    Parameters
    ----------
    problem : Problem
        Objective bottleneck.
    run : Run
        Has an incumbent.
    name : str
        Who to report as.

    Returns
    -------
    bool
        Whether the bound suits the problem.
    """
    if not 0 < run.value < math.inf or problem.arrays.copy_engine.all():
        return False
    if not get_ready(run, "contents", urgent=False):
        return False
    part = run.limited(_SET_UP_SHARE * run.remaining)
    contents = Contents(problem, run.value, lambda: part.stopped)
    if not contents.covered or contents.most_levels(_MOST_ENTRIES) < _LEAST_LEVELS:
        return False
    contents.stopped = lambda: run.stopped
    with closing(Master(contents, contents.stopped)) as master:
        _Generation(contents, master, run, name).search()
    return True


class _Generation:
    """The state of a search.

    Parameters
    ----------
    contents : Contents
    master : Master
    run : Run
    name : str
    """

    def __init__(self, contents: Contents, master: Master, run: Run, name: str) -> None:
        self.contents, self.run, self.name = contents, run, name
        self.master = master
        self.random = np.random.default_rng(run.seed)
        self.most_levels = min(_MOST_LEVELS, contents.most_levels(_MOST_ENTRIES))
        first = max(_FIRST_LEVELS, contents.most_levels(_FIRST_ENTRIES))
        self.levels = min(first, self.most_levels)
        self.bound = 0.0
        #: Loads from here on are known to be possible, or nothing is known to refute them.
        self.above = contents.upper
        self.found: list[dict[frozenset[int], float]] = [{} for _ in contents.kinds]
        #: Prices that gave the bound, with sum 1.
        self.best = np.zeros(contents.parts)

    def search(self) -> None:
        """Generate contents until bound and limit meet, then place by them."""
        run = self.run
        began = run.clock()
        part = run.limited((1 - _BUILD_SHARE) * run.remaining)
        kind = self.contents.paying[0]
        start = np.where(np.isfinite(kind.work), kind.work, 0.0)
        self.best = start / start.sum() if start.sum() > 0 else self.best + 1 / len(start)
        self._price(self.best, self.above)
        kept, way, tried = _KEEP, 0.5, 0
        while not part.stopped and self.above - self.bound > _NARROW * self.contents.upper:
            self.above = min(self.above, run.value)
            limit = self.bound + way * (self.above - self.bound)
            answer = self.master.solve(limit, min(_LP_S, part.remaining))
            if answer is None:  # it took too long
                self._price(self.best * self._noise(), limit)
                continue
            share, duals = answer
            if share <= 1 + _CLEAR or duals.sum() <= 0:
                if self.master.keep_whole():
                    continue
                self.above, way, tried = limit, 0.5, 0
                continue
            before = self.bound
            prices = kept * self.best + (1 - kept) * duals / duals.sum()
            if self._price(prices, limit):
                kept = _KEEP
            elif kept:
                kept = 0.0
            elif self.levels < self.most_levels:
                self.levels = min(2 * self.levels, self.most_levels)
            else:
                self.above, way, tried = limit, 0.5, 0
            tried += 1
            if self.bound > before:
                way, tried = 0.5, 0
            elif tried % _TRIES == 0:
                way *= 0.5
        spent = max(_LEAST_BUILD_S, part.clock() - began)
        build = run.limited(min(_BUILD_S, spent, _BUILD_SHARE * run.remaining))
        self._vary(build.limited(_VARY_SHARE * build.remaining))
        if not run.stopped and any(self.found):
            with suppress(BuildStoppedError):
                _place(self.contents, self.found, build, self.name)

    def _vary(self, run: Run) -> None:
        """Complete placements at prices around the best, with loads between bound and value."""
        while not run.stopped:
            rise = self.random.uniform() * (run.value - self.bound)
            self._complete(self.best * self._noise(), min(self.bound + rise, run.target))

    def _noise(self) -> Floats:
        return np.exp(_NOISE * self.random.standard_normal(self.contents.parts))

    def _price(self, prices: Floats, limit: float) -> bool:
        """Find contents worth most; return whether any is new, or the bound has risen."""
        contents = self.contents
        contents.upper = min(contents.upper, self.run.value)
        # Not all that is possible: the closer the limit, the fewer entries the tables have.
        top = min((1 + _BEYOND) * limit, contents.upper)
        whole = contents.whole(prices, self.levels)
        fillings = contents.fill_all(whole, top)
        if fillings is None:
            return False
        bound = contents.bound(whole, fillings, top)
        better = bound > self.bound
        if better:
            self.bound, self.best = bound, prices
            self.run.raise_bound(min(bound, self.run.value), self.name)
        new = False
        for number, filling in enumerate(fillings):
            last = int(np.searchsorted(filling.loads, limit, side="right"))
            for place in {last - 1, last - 4, last - 16}:
                if place >= 0:
                    new |= self._keep(number, filling.content(place))
        return self._complete(prices, limit) or new or better

    def _complete(self, prices: Floats, limit: float) -> bool:
        """Fill one device after the other with what the others have left, and offer that.

        Returns
        -------
        bool
            Whether a content is new.
        """
        contents = self.contents
        whole = contents.whole(prices, min(_ROUGH_LEVELS, self.levels))
        home = np.full(contents.parts, -1, dtype=np.int64)
        held: frozenset[int] = frozenset()
        new = False
        for number, kind in enumerate(contents.kinds):
            cap = contents.share(kind, whole)
            for device in kind.devices:
                left = int(whole.sum() - whole[sorted(held)].sum())
                least = int(_AT_LEAST * min(cap, left)) if kind.crossings else 0
                filling = contents.fill(kind, whole, limit, cap, least, held)
                if filling is None:
                    return new
                if not len(filling.sums):
                    continue
                content = filling.content(len(filling.sums) - 1)
                new |= self._keep(number, content)
                held |= content
                home[sorted(content)] = device
        self._offer(home)
        return new

    def _offer(self, home: Ints) -> None:
        """Offer a placement of parts (p,); those without a device go where that costs least."""
        contents, run = self.contents, self.run
        loads = np.zeros(contents.problem.arrays.device_count)
        placed = home >= 0
        np.add.at(loads, home[placed], contents.work[np.flatnonzero(placed), home[placed]])
        near: dict[int, list[int]] = {}
        for crossing in contents.paying[0].crossings:
            for part in crossing.parts:
                if home[part] < 0:
                    near.setdefault(part, []).extend(crossing.parts)
        for part in np.flatnonzero(~placed).tolist():
            around = home[near.get(part, [])]
            close = np.bincount(around[around >= 0], minlength=len(loads))
            after = loads + contents.work[part]
            after[after > run.value] += run.value
            best = int(np.lexsort((after, -close, after > run.value))[0])
            home[part] = best
            loads[best] += contents.work[part, best]
        if self._least_value(home) < run.target:
            device = home[contents.part[contents.problem.arrays.group]]
            offer_placement(run, device, contents.problem.arrays.level, self.name)

    def _least_value(self, home: Ints) -> float:
        """Return what a placement of parts is worth at least: its transfers may cost more."""
        largest = 0.0
        for kind in self.contents.kinds:
            for device in kind.devices:
                content = frozenset(np.flatnonzero(home == device).tolist())
                largest = max(largest, kind.load(content))
        return largest

    def _keep(self, number: int, content: frozenset[int]) -> bool:
        """Add a content to those found; return whether it is new."""
        found = self.found[number]
        if not content or content in found:
            return False
        found[content] = self.contents.kinds[number].load(content)
        self.master.add(number, content, found[content])
        return True


def _place(
    contents: Contents, found: list[dict[frozenset[int], float]], run: Run, name: str
) -> None:
    """Offer the best placement whose devices hold contents that were found, if there is one."""
    unit = run.value / _SCALE
    write = Builder("covering", lambda: run.stopped)
    bottleneck = write.continuous("T", 0.0, _SCALE)
    covering: list[list[tuple[Variable, float]]] = [[] for _ in range(contents.parts)]
    chosen: list[tuple[Kind, frozenset[int], Variable]] = []
    for number, kind in enumerate(contents.paying):
        small = sorted(found[number].items(), key=lambda item: item[1])
        small = [item for item in small if item[1] < run.target][-_MOST_CONTENTS:]
        shares = []
        for place, (content, load) in enumerate(small):
            one = write.binary(f"z{number}_{place}")
            write.at_least([(bottleneck, 1.0), (one, -load / unit)], 0.0)
            chosen.append((kind, content, one))
            shares.append((one, 1.0))
            for part in content:
                covering[part].append((one, 1.0))
        write.at_most(shares, float(len(kind.devices)))
    moved: list[tuple[int, int, Variable]] = []
    for number, free in enumerate(contents.free):
        for device in free.devices:
            terms = []
            for part in np.flatnonzero(np.isfinite(free.work)).tolist():
                load = float(free.work[part]) / unit
                if load < _SCALE:
                    one = write.binary(f"y{number}_{device}_{part}")
                    terms.append((one, load))
                    covering[part].append((one, 1.0))
                    moved.append((device, part, one))
            write.at_most([*terms, (bottleneck, -1.0)], 0.0)
    if not all(covering):
        return
    for terms in covering:
        write.at_least(terms, 1.0)
    write.minimise([(bottleneck, 1.0)])

    def offer(values: Callable[[Variable], float]) -> None:
        device = _devices(contents, chosen, moved, values)
        offer_placement(run, device, contents.problem.arrays.level, name)

    solve_highs(
        Job(
            write.program,
            run.budget,
            1e-4,
            run.seed,
            run.workers,
            lambda: run.stopped,
            offer,
            lambda _: None,
        )
    )


def _devices(
    contents: Contents,
    chosen: list[tuple[Kind, frozenset[int], Variable]],
    moved: list[tuple[int, int, Variable]],
    values: Callable[[Variable], float],
) -> Ints:
    """Device of every op (n,); of several that hold a part, one has it."""
    home = np.full(contents.parts, -1, dtype=np.int64)
    waiting = {kind.devices: list(kind.devices) for kind in contents.paying}
    for kind, content, one in chosen:
        if values(one) > 0.5:
            home[sorted(content)] = waiting[kind.devices].pop()
    for device, part, one in moved:
        if values(one) > 0.5:
            home[part] = device
    return home[contents.part[contents.problem.arrays.group]]


def use_contents() -> None:
    """Call the kernel of contents."""
    from talos_opt.kernels.contents import extend_contents

    extend_contents(
        np.zeros((1, 2)),
        np.array([[0, 1]]),
        np.zeros((2, 1), dtype=np.int64),
        np.zeros((2, 1)),
        1.0,
        1,
        1,
        1.0,
        0,
        0.0,
        1.0,
    )
