"""The cut diagram: a relaxed decision diagram over placements of a narrow graph.

Ops are placed one by one in a topological order; nobody waits for a device, so the order is not a
decision. What a partial placement leaves behind is where its *open* ops sit (those with a reader
still to come), when they end, and how full their devices are: a label. Devices without an open op
are forgotten, and count as empty if they are used again. Labels that are nowhere better than
another are dropped; where too many are left, some are merged into their least values (a relaxed
decision diagram: Bergman, Cire, van Hoeve, Hooker, "Discrete Optimization with Decision
Diagrams", 2016). The argument is in docs/bounds.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from talos_opt.core.problem import Arrays, Floats, Ints
from talos_opt.solvers.bounds.labels import Bytes8, Labels, join, reduce, rename
from talos_opt.solvers.bounds.path_memory import PathMemory

#: Labels reach the upper limit within rounding: they must not be lost.
_ROUNDING = 1e-9
#: Models with more open ops than this at a time are left to the other bounds.
_WIDEST = 24


@dataclass(frozen=True)
class View:
    """One model, read forwards or backwards.

    Backwards every edge is turned round, and the tails of the ops take the place of their starts:
    what is placed last comes first.

    Parameters
    ----------
    order : tuple of int
        Ops, each after its inputs.
    place : dict of int to int
        Position of each op in the order.
    into : dict of int to list of (int, int)
        Producers of each op, with the edge.
    out : dict of int to list of (int, int)
        Readers of each op, with the edge.
    delay : (e, c + 1, c + 1) float
        Least transfer time between different devices; 0 from or to *any* class.
    closes : dict of int to int
        Position in the order after which an op's last reader, and the last member of its
        colocation group in this model, are placed.
    ungrouped : dict of int to int
        The same for the last member of the group alone.
    backward : bool
    """

    order: tuple[int, ...]
    place: dict[int, int]
    into: dict[int, list[tuple[int, int]]]
    out: dict[int, list[tuple[int, int]]]
    delay: Floats
    closes: dict[int, int]
    ungrouped: dict[int, int]
    backward: bool

    @property
    def width(self) -> int:
        """Largest number of open ops."""
        count = np.zeros(len(self.order) + 1, dtype=np.int64)
        for position, op in enumerate(self.order):
            if self.closes[op] > position:
                count[position] += 1
                count[self.closes[op]] -= 1
        return int(np.cumsum(count).max(initial=0))


class Edges:
    """What the views of all models share.

    Parameters
    ----------
    memory : PathMemory

    Attributes
    ----------
    delay, turned : (e, c + 1, c + 1) float
        As `View.delay`, forwards and backwards.
    into, out : list of list of (op, edge)
        Producers and readers of every op.
    """

    def __init__(self, memory: PathMemory) -> None:
        arrays = self.arrays = memory.arrays
        classes = len(memory.classes.members)
        self.delay = np.zeros((len(arrays.edge_src), classes + 1, classes + 1))
        self.delay[:, :classes, :classes] = memory.delays
        for c in np.flatnonzero(memory.roomy):
            self.delay[:, c, c] = 0.0  # all of it may sit on one device of the class
        self.turned = self.delay.transpose(0, 2, 1)
        self.into: list[list[tuple[int, int]]] = [[] for _ in range(arrays.op_count)]
        self.out: list[list[tuple[int, int]]] = [[] for _ in range(arrays.op_count)]
        for e, (op, reader) in enumerate(
            zip(arrays.edge_src.tolist(), arrays.edge_dst.tolist(), strict=True)
        ):
            self.out[op].append((reader, e))
            self.into[reader].append((op, e))
        self.level: list[int] = arrays.level.tolist()


def views(memory: PathMemory, model: int, edges: Edges | None = None) -> tuple[View, View]:
    """Return a model read forwards and backwards."""
    edges = Edges(memory) if edges is None else edges
    order = _narrow_order(edges, model)
    into, out = ({op: table[op] for op in order} for table in (edges.into, edges.out))
    forward = _view(memory.arrays, order, into, out, edges.delay, backward=False)
    return forward, _view(memory.arrays, order[::-1], out, into, edges.turned, backward=True)


def _view(
    arrays: Arrays,
    order: tuple[int, ...],
    into: dict[int, list[tuple[int, int]]],
    out: dict[int, list[tuple[int, int]]],
    delay: Floats,
    *,
    backward: bool,
) -> View:
    place = {op: position for position, op in enumerate(order)}
    group = dict(zip(order, arrays.group[list(order)].tolist(), strict=True))
    last: dict[int, int] = {}
    for position, op in enumerate(order):
        last[group[op]] = position
    ungrouped = {op: last[group[op]] for op in order}
    closes = {
        op: max(ungrouped[op], *(place[reader] for reader, _ in out[op]), place[op]) for op in order
    }
    return View(order, place, into, out, delay, closes, ungrouped, backward)


def _narrow_order(edges: Edges, model: int) -> tuple[int, ...]:
    """Return a topological order of a model in which few ops are open at a time.

    Depth first from the sinks, deepest input first: side inputs such as constants come right
    before the op that reads them.
    """
    level = edges.level
    ops = range(*edges.arrays.model_ptr[model : model + 2].tolist())
    order: list[int] = []
    seen: set[int] = set()
    for sink in sorted((i for i in ops if not edges.out[i]), key=level.__getitem__):
        stack = [(sink, False)]
        while stack:
            op, ready = stack.pop()
            if ready:
                order.append(op)
            elif op not in seen:
                seen.add(op)
                stack.append((op, True))
                inputs = sorted((i for i, _ in edges.into[op]), key=level.__getitem__)
                stack.extend((i, False) for i in inputs if i not in seen)
    return tuple(order)


@dataclass(frozen=True)
class Reading:
    """What one pass over a view has found out.

    Parameters
    ----------
    value : float
        Lower bound on the completion of the model in all schedules whose completion is at most
        the upper limit; infinite: there are none.
    end : (n, c) float
        Earliest end of each op on each class in such schedules (backwards: least time from the
        op's start to the completion); infinite: never there. NaN for ops of other models.
    merged : int
        Labels lost by merging; 0: nothing was relaxed by it.
    runs : dict of int to (int, int)
        A best placement: class of each op, and a number that ops on one device share. Where labels
        were merged, it is put together from several.
    """

    value: float
    end: Floats
    merged: int
    runs: dict[int, tuple[int, int]]


def read(
    memory: PathMemory, view: View, upper: float, most: int, stopped: Callable[[], bool]
) -> Reading | None:
    """Pass over a view once.

    Parameters
    ----------
    memory : PathMemory
        Heads and tails per class, which strengthen the labels.
    view : View
    upper : float
        Only completions up to this one matter.
    most : int
        Labels kept at each cut.
    stopped : callable
        Looked at after every op.

    Returns
    -------
    Reading or None
        None if stopped.
    """
    step = _Step(memory, view, upper)
    labels, merged = Labels.root(), 0
    origins = []
    for position, op in enumerate(view.order):
        labels = step.place(labels, op)
        if len(labels) == 0:
            return Reading(math.inf, step.end, merged, {})
        labels = step.close(labels, position)
        labels, lost = reduce(labels, most, step.any_kind)
        merged += lost
        origins.append(labels.origin)
        if stopped():
            return None
    best = int(labels.value.argmin())
    return Reading(float(labels.value[best]), step.end, merged, _trace(view, origins, best))


def _trace(view: View, origins: list[Ints], last: int) -> dict[int, tuple[int, int]]:
    """Follow a label back to the root, and name the runs that it was put together from."""
    choices = []
    for origin in reversed(origins):
        last, kind, unit = origin[last].tolist()
        choices.append((kind, unit))
    runs: dict[int, tuple[int, int]] = {}
    open_ops: list[int] = []
    for position, op in enumerate(view.order):
        kind, unit = choices[-1 - position]
        runs[op] = (kind, runs[open_ops[unit]][1] if unit >= 0 else position)
        open_ops = [w for w in [*open_ops, op] if view.closes[w] > position]
    return runs


class Diagrams:
    """Passes over all models of a problem, forwards and backwards, that sharpen a `PathMemory`.

    Parameters
    ----------
    memory : PathMemory
    """

    def __init__(self, memory: PathMemory) -> None:
        self.memory = memory
        self.edges = Edges(memory)
        #: Of the models that have been looked at: there may be thousands.
        self.views: dict[int, tuple[View, View]] = {}
        self.exact: dict[int, float] = {}
        self.runs: dict[int, dict[int, tuple[int, int]]] = {}

    def improve(self, upper: float, most: int, stopped: Callable[[], bool]) -> bool:
        """Pass over every narrow model once in both directions.

        Parameters
        ----------
        upper : float
            Value of the incumbent; infinite: none.
        most : int
            Labels kept at each cut.
        stopped : callable

        Returns
        -------
        bool
            Whether more labels could tell more; False: nothing was merged, or stopped.
        """
        memory = self.memory
        memory.upper = min(memory.upper, upper)
        more = False
        for model in range(len(memory.arrays.release)):
            if stopped():
                return False
            both = self.views.get(model) or views(memory, model, self.edges)
            self.views[model] = both
            if both[0].width > _WIDEST or self.exact.get(model) == upper:
                continue
            merged = [self._pass(view, model, upper, most, stopped) for view in both]
            if None in merged:
                return False
            if 0 in merged:
                self.exact[model] = upper
            else:
                more = True
        return more

    def placement(self) -> Ints | None:
        """Return a placement (n,) made of the best ones found for each model, or None.

        Runs get devices of their class one after the other, the emptiest first; nothing checks
        whether they fit.
        """
        memory = self.memory
        arrays, classes = memory.arrays, memory.classes
        if len(self.runs) < len(arrays.release):
            return None
        free = arrays.capacity.astype(np.float64)
        home = np.full(arrays.group_count, -1)
        for model, (forward, _) in self.views.items():
            chosen: dict[tuple[int, int], int] = {}
            for op in forward.order:
                group = arrays.group[op]
                if home[group] >= 0:
                    continue
                run = self.runs[model][op]
                if run not in chosen:
                    members = classes.members[run[0]]
                    members = members[arrays.allowed[group, members]]
                    if len(members) == 0:
                        return None
                    chosen[run] = int(members[free[members].argmax()])
                    free[chosen[run]] -= self._run_bytes(model, run)
                home[group] = chosen[run]
        device = home[arrays.group]
        runs_there = np.isfinite(arrays.time[np.arange(len(device)), device]).all()
        return device if runs_there else None

    def _run_bytes(self, model: int, run: tuple[int, int]) -> float:
        ops = [op for op, own in self.runs[model].items() if own == run]
        groups = np.unique(self.memory.arrays.group[ops])
        return float(self.memory.group_bytes[groups].sum())

    def _pass(
        self, view: View, model: int, upper: float, most: int, stopped: Callable[[], bool]
    ) -> int | None:
        memory = self.memory
        limit = float(memory.limits(upper)[model])
        reading = read(memory, view, limit, most, stopped)
        if reading is None:
            return None
        proven = min(reading.value, limit)
        if not math.isfinite(proven):
            return None  # nothing fits at all, which is for others to prove and to explain
        memory.proven[model] = max(memory.proven[model], proven)
        if math.isinf(reading.value):
            return 0  # nothing is within the limit
        self.runs[model] = reading.runs
        if view.backward:
            with np.errstate(invalid="ignore"):
                memory.learn(tails=reading.end - memory.classes.time)
        else:
            memory.learn(heads=reading.end)
        return reading.merged


class _Step:
    """Places one op after the other for all labels."""

    def __init__(self, memory: PathMemory, view: View, upper: float) -> None:
        self.memory, self.view = memory, view
        self.arrays = memory.arrays
        self.limit = upper * (1 + _ROUNDING)
        self.time = memory.classes.time
        self.capacity = memory.classes.capacity
        self.any_kind = self.time.shape[1]
        ways: tuple[Floats, Floats] = (memory.starts(), memory.tail)
        self.starts, self.tails = ways[int(view.backward)], ways[1 - int(view.backward)]
        self.soonest = self.starts.min(axis=1)
        self.slowest = np.where(np.isfinite(view.delay), view.delay, 0.0).max(axis=(1, 2))
        self.end = np.full(self.time.shape, np.nan)
        self.end[list(view.order)] = np.inf
        self.open: list[int] = []

    def place(self, labels: Labels, op: int) -> Labels:
        """Return the labels after one more op, on every device that makes a difference."""
        group = self.arrays.group
        mate = next((k for k, w in enumerate(self.open) if group[w] == group[op]), None)
        size = 0.0 if mate is not None else float(self.memory.group_bytes[group[op]])
        with_mate = np.ones(len(labels), dtype=bool)
        parts = []
        for c in np.flatnonzero(np.isfinite(self.time[op])).tolist():
            unknown = np.zeros(len(labels), dtype=bool)
            if mate is not None:
                unknown = labels.kind[:, mate] == self.any_kind
                with_mate = unknown | (labels.kind[:, mate] == c)
            if self.memory.roomy[c]:
                parts.append(self._put(labels, np.flatnonzero(with_mate), op, c, -1, size))
                continue
            devices = np.zeros(len(labels), dtype=np.int64)
            for k in range(labels.width):
                there = (labels.unit[:, k] == k) & (labels.kind[:, k] == c)
                devices += there
                if mate is not None:
                    there &= unknown | (labels.unit[:, mate] == k)
                parts.append(self._put(labels, np.flatnonzero(there), op, c, k, size))
            fresh = devices < len(self.memory.classes.members[c])
            if mate is not None:
                fresh &= unknown
            parts.append(self._put(labels, np.flatnonzero(fresh), op, c, -1, size))
        self.open.append(op)
        return join(parts) if parts else labels.take(np.zeros(0, dtype=np.int64))

    def _put(self, labels: Labels, rows: Ints, op: int, c: int, unit: int, size: float) -> Labels:
        """Put an op on the device of an open op, or (unit -1) on another one of its class."""
        start = np.full(len(rows), self.starts[op, c])
        for producer, e in self.view.into[op]:
            k = self.open.index(producer)
            delay = self.view.delay[e][labels.kind[rows, k], c]
            if unit >= 0:
                delay = np.where(labels.unit[rows, k] == unit, 0.0, delay)
            np.maximum(start, labels.end[rows, k] + delay, out=start)
        end = start + self.time[op, c]
        value = np.maximum(labels.value[rows], end + self.tails[op, c])
        fits = np.isfinite(value) & (value <= self.limit)
        used = labels.used[rows, unit] if unit >= 0 else np.zeros(len(rows))
        if not self.memory.roomy[c]:
            used = used + size
            fits &= used <= self.capacity[c]
        rows, end, value, used = rows[fits], end[fits], value[fits], used[fits]
        self.end[op, c] = min(self.end[op, c], end.min(initial=np.inf))
        units, held = labels.unit[rows], labels.used[rows]
        if unit >= 0:
            held = np.where(units == unit, used[:, None], held)
        own = -1 - c if self.memory.roomy[c] else (unit if unit >= 0 else labels.width)
        origin = np.empty((len(rows), 3), dtype=np.int64)
        origin[:, 0], origin[:, 1], origin[:, 2] = rows, c, unit
        return Labels(
            _append(units, own),
            _append(labels.kind[rows], c),
            np.column_stack([labels.end[rows], end]),
            np.column_stack([held, used]),
            value,
            origin,
        )

    def close(self, labels: Labels, position: int) -> Labels:
        """Forget what cannot matter any more: closed ops, and ends that no reader waits for."""
        view = self.view
        keep = [k for k, w in enumerate(self.open) if view.closes[w] > position]
        self.open = [self.open[k] for k in keep]
        unit, kind = labels.unit[:, keep].copy(), labels.kind[:, keep].copy()
        end, used = labels.end[:, keep].copy(), labels.used[:, keep].copy()
        for k, op in enumerate(self.open):
            slack = end[:, k] <= self._needed(op, position)
            end[slack, k] = 0.0
            if view.ungrouped[op] <= position:
                unit[slack, k], kind[slack, k] = -1 - self.any_kind, self.any_kind
                used[slack, k] = 0.0
        return Labels(rename(unit), kind, end, used, labels.value, labels.origin)

    def _needed(self, op: int, position: int) -> float:
        """Time up to which an op may end without any reader to come noticing, from anywhere."""
        needed = [
            float(self.soonest[reader] - self.slowest[e])
            for reader, e in self.view.out[op]
            if self.view.place[reader] > position
        ]
        return min(needed, default=math.inf) * (1 - _ROUNDING)


def _append(table: Bytes8, value: int) -> Bytes8:
    return np.column_stack([table, np.full(len(table), value, dtype=np.int8)])
