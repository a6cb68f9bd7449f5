"""The join bound: an op whose inputs would come late from elsewhere has them made beside it.

On each device on its own; see docs/bounds.md, "Joins".
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from talos_opt.core.errors import DependencyError
from talos_opt.core.problem import Arrays, Floats, Ints, Problem
from talos_opt.core.rounding import sum_error
from talos_opt.solvers.bounds.path_memory import PathMemory, never
from talos_opt.solvers.bounds.root import load_shares
from talos_opt.solvers.bounds.routes import route_costs
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.engine.warmup import get_ready, tiny_problem
from talos_opt.solvers.shared.paths import times_within_groups

#: Edges times pairs of devices, and ops times devices, of one pass; beyond, there is none.
_MOST_PAIRS, _MOST_CELLS = 50_000_000, 5_000_000
#: Ops times devices between two looks at the clock: tenths of a second at the most.
_CHUNK = 200
#: Quantiles of starts and ends that windows are made of.
_CUTS = np.array([0.0, 0.25, 0.5, 0.75])
#: Share of a value within which it is not worth refuting another one.
_ENOUGH = 1e-3
#: Passes in both directions while devices are ruled out.
_ROUNDS = 6


class Joins:
    """Earliest starts of all ops on all devices, and the least time that follows them.

    Parameters
    ----------
    memory : PathMemory
        What is known; what is found goes there.

    Attributes
    ----------
    head, tail : (n, m) float
        Earliest start, and least time from the end to the completion of the model, if an op runs
        on a device; infinite where it may not, or not within ``memory.upper``.
    """

    def __init__(self, memory: PathMemory) -> None:
        self.memory = memory
        arrays = self.arrays = memory.arrays
        self.time = times_within_groups(arrays)
        count, devices = self.time.shape
        pairs = len(arrays.edge_src) * devices * devices
        self.applies = devices > 1 and pairs <= _MOST_PAIRS and count * devices <= _MOST_CELLS
        if not self.applies:
            return
        self.origin = float(arrays.release.min())
        # What adding and taking off large releases may have cost.
        self._blur = sum_error(4 * count) * float(np.abs(arrays.release).max())
        release = (arrays.release - self.origin)[arrays.model]
        self.head = np.where(np.isfinite(self.time), release[:, None], np.inf)
        self.tail = np.where(np.isfinite(self.time), 0.0, np.inf)
        self._ways = _ways(arrays)
        # Devices that are ruled out later are not looked up here any more.
        busy = np.where(np.isfinite(self.time), self.time, 0.0)
        self._load = busy * (arrays.demand[:, None] / arrays.slots)
        self._held = (arrays.group, memory.group_bytes.astype(np.int64))
        self._read_classes()

    def _read_classes(self) -> None:
        """Take over what is known of classes of devices."""
        memory = self.memory
        starts = memory.starts() - self.origin - self._blur
        for c, members in enumerate(memory.classes.members):
            known = np.isfinite(self.time[:, members])
            self.head[:, members] = np.where(
                known, np.maximum(self.head[:, members], starts[:, c, None]), np.inf
            )
            self.tail[:, members] = np.where(
                known, np.maximum(self.tail[:, members], memory.tail[:, c, None]), np.inf
            )

    def improve(self, upper: float, stopped: Callable[[], bool] = never) -> bool:
        """Raise heads and tails, and rule devices out that leave no schedule of at most `upper`.

        Parameters
        ----------
        upper : float
            Value of a known schedule; infinite: there is none.
        stopped : callable
            Asked now and then, whether to leave it at that.

        Returns
        -------
        bool
            Whether every pass was finished.
        """
        if not self.applies:
            return True
        memory = self.memory
        memory.upper = min(memory.upper, upper)
        for _ in range(_ROUNDS):
            for forwards in (True, False):
                if not self._pass(forwards, stopped):
                    return False
                self._tell()
            if not self._rule_out(upper):
                return True
            if np.isinf(self.head).all(axis=1).any():
                self._tell()
                return True
        return True

    def refute(self, upper: float, stopped: Callable[[], bool] = never) -> float:
        """Return the largest value found that no schedule keeps within; at most `upper`.

        Halves the interval between the bound and `upper`: a value is refuted if, with every op
        within its heads and tails, some op has no device left, or some work no time.
        """
        memory = self.memory
        low, high = memory.bound(), upper
        if not self.applies or not np.isfinite(high):
            return low
        while high - low > _ENOUGH * high and not stopped():
            middle = low + (high - low) / 2
            if self._copy()._refutes(middle, stopped):  # noqa: SLF001 - one of its own kind
                low = middle
            else:
                high = middle
        return low

    def _copy(self) -> Joins:
        twin = copy.copy(self)
        twin.memory = copy.copy(self.memory)  # its arrays are replaced, never written to
        twin.time, twin.head, twin.tail = self.time.copy(), self.head.copy(), self.tail.copy()
        return twin

    def _refutes(self, value: float, stopped: Callable[[], bool]) -> bool:
        """Tell whether there is no schedule of at most a value."""
        for _ in range(_ROUNDS):
            found = self._rule_out(value)
            if np.isinf(self.time).all(axis=1).any() or self._overfull(value, stopped):
                return True
            if not found:
                return False
            if not (self._pass(True, stopped) and self._pass(False, stopped)):
                return False
        return False

    def _overfull(self, value: float, stopped: Callable[[], bool]) -> bool:
        """Tell whether the work of some window of time is more than all devices do in it.

        Ops count in windows that they have to run in wherever they are; see `root.load_shares`.
        """
        begin = self.head.min(axis=1)
        end = self._limits(value) - self.tail.min(axis=1)
        if not (np.isfinite(begin) & np.isfinite(end)).all():
            return False
        work = np.where(np.isfinite(self.time), self._load, np.inf)
        for first in np.unique(np.quantile(begin, _CUTS, method="lower")):
            for last in np.unique(np.quantile(end, _CUTS[::-1], method="higher")):
                inside = (begin >= first) & (end <= last)
                if not inside.any():
                    continue
                if stopped():
                    return False
                load, _ = load_shares(work[inside], stopped)
                if load > (last - first) * (1 + 1e-9):
                    return True
        return False

    def _pass(self, forwards: bool, stopped: Callable[[], bool]) -> bool:
        """Go through all ops once, producers first or readers first; False if stopped."""
        from talos_opt.kernels.joins import raise_starts

        arrays, way = self.arrays, self._ways[0 if forwards else 1]
        order = way.order
        start = (self.head if forwards else self.tail).copy()
        arrive = np.full((len(arrays.edge_src), self.time.shape[1]), np.inf)
        step = max(1, _CHUNK // self.time.shape[1])
        for first in range(0, len(order), step):
            if stopped():
                return False
            raise_starts(
                order[first : first + step], way.place, way.edges, arrays.edge_bytes, way.link,
                self.time, self._load, self._held, arrays.capacity, start, arrive,
            )  # fmt: skip
        start *= 1.0 - sum_error(4 * arrays.op_count)
        if forwards:
            self.head = np.maximum(self.head, start)
        else:
            self.tail = np.maximum(self.tail, start)
        return True

    def _rule_out(self, upper: float) -> bool:
        """Rule out devices on which an op would end its model too late; False if there is none."""
        if not np.isfinite(upper):
            return False
        whole = self.head + self.time + self.tail
        late = np.isfinite(self.time) & (whole > self._limits(upper)[:, None])
        if not late.any():
            return False
        for table in (self.time, self.head, self.tail):
            table[late] = np.inf
        return True

    def _limits(self, upper: float) -> Floats:
        """Return when each op's model has to be complete, and a little (n,)."""
        limit = self.memory.limits(upper)[self.arrays.model] - self.origin
        return np.asarray(limit * (1 + 1e-9) + self._blur)

    def _tell(self) -> None:
        """Hand what was found to the classes of devices, and to models."""
        memory, arrays = self.memory, self.arrays
        ends = self.head + self.time + self.origin - self._blur
        whole = (ends + self.tail).min(axis=1)
        found = np.where(np.isfinite(whole), whole, 0.0) * (1.0 - sum_error(8))
        np.maximum.at(memory.proven, arrays.model, found)
        members = memory.classes.members
        heads = np.column_stack([ends[:, own].min(axis=1) for own in members])
        tails = np.column_stack([self.tail[:, own].min(axis=1) for own in members])
        memory.learn(heads=heads, tails=tails)


def learn_windows(problem: Problem, run: Run, upper: float, share: float) -> PathMemory:
    """Return what paths and joins prove of starts and tails, in a share of what time is left.

    Parameters
    ----------
    problem : Problem
        Under makespan or toct.
    run : Run
    upper : float
        All of it is claimed for schedules of at most this value.
    share : float
    """
    part = run.limited(share * run.remaining)
    memory = PathMemory(problem)
    memory.improve(lambda: part.stopped)
    with suppress(DependencyError):  # without numba paths have to do
        if get_ready(part, "joins", urgent=False):
            Joins(memory).improve(upper, lambda: part.stopped)
    return memory


class _Way(NamedTuple):
    """The graph as the kernel reads it, from producers to readers or the other way round.

    Parameters
    ----------
    order, place : (n,) int
        Ops as they come, and the position of each.
    edges : tuple of int arrays
        As `kernels.joins.raise_starts` takes them.
    link : (2, m, m) float
        Latency and time per byte of routes.
    """

    order: Ints
    place: Ints
    edges: tuple[Ints, ...]
    link: Floats


def _ways(arrays: Arrays) -> tuple[_Way, _Way]:
    """Return the graph forwards and backwards; all of it may be written to, as one kernel asks."""
    numbers, link = np.arange(len(arrays.edge_src)), np.stack(route_costs(arrays))
    out = (arrays.out_ptr.copy(), arrays.edge_dst.copy(), numbers)
    into = (arrays.in_ptr.copy(), arrays.edge_src[arrays.in_edge], arrays.in_edge.copy())
    last = arrays.op_count - 1
    return (
        _Way(arrays.order.copy(), arrays.rank.copy(), (*into, *out), link),
        _Way(
            arrays.order[::-1].copy(),
            last - arrays.rank,
            (*out, *into),
            link.transpose(0, 2, 1).copy(),
        ),
    )


def use_joins() -> None:
    """Call the kernel of joins."""
    joins = Joins(PathMemory(tiny_problem()))
    joins.improve(np.inf)
