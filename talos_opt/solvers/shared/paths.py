"""Passes along the edges: least times before and after each op, and heavy paths."""

from __future__ import annotations

from contextlib import suppress
from typing import TypeVar

import numpy as np

from talos_opt.core.problem import Arrays, Bools, Floats, Ints, Problem
from talos_opt.solvers.engine.compilation import load
from talos_opt.solvers.engine.warmup import tiny_problem

T = TypeVar("T", int, float)

#: From this size on a pass over the graph is compiled: loading the kernel takes less.
COMPILED_FROM_OPS = 20_000


def best_times(arrays: Arrays) -> Floats:
    """Time of each op on the best device that its whole colocation group may use (n,)."""
    best = arrays.time.min(axis=1)
    shared = _sharing(arrays)
    best[shared] = _confined(arrays, shared).min(axis=1)
    return np.asarray(best)


def times_within_groups(arrays: Arrays) -> Floats:
    """Time of each op on each device, infinite where its colocation group may not go (n, m)."""
    time = arrays.time.copy()
    shared = _sharing(arrays)
    time[shared] = _confined(arrays, shared)
    return np.asarray(time)


def _sharing(arrays: Arrays) -> Ints:
    """Ops that share their colocation group; the others may go wherever they have a time."""
    if arrays.group_count == arrays.op_count:
        return np.zeros(0, dtype=np.int64)
    return np.flatnonzero(np.bincount(arrays.group)[arrays.group] > 1)


def _confined(arrays: Arrays, ops: Ints) -> Floats:
    return np.where(arrays.allowed[arrays.group[ops]], arrays.time[ops], np.inf)


def spread(arrays: Arrays, end: Floats, rest: Floats, time: Floats) -> tuple[Floats, Floats]:
    """Carry what is known about single ops to all that come before and after them.

    Parameters
    ----------
    arrays : Arrays
    end : (n,) float
        Earliest end of each op, from its release or from an argument of its own.
    rest : (n,) float
        Least time from each op's start to the completion of its model.
    time : (n,) float
        Best time of each op.

    Returns
    -------
    (n,) float
        Earliest start of each op that the ends of its producers allow; 0 without any.
    (n,) float
        Least time from each op's end to the completion of its model that its readers ask for.
    """
    own, ends, rests = time.tolist(), end.tolist(), rest.tolist()
    readers, out = arrays.edge_dst.tolist(), arrays.out_ptr.tolist()
    start, after = [0.0] * len(own), [0.0] * len(own)
    order = arrays.order.tolist()
    for i in order:
        done = max(ends[i], start[i] + own[i])
        for reader in readers[out[i] : out[i + 1]]:
            start[reader] = max(start[reader], done)
    for i in reversed(order):
        for reader in readers[out[i] : out[i + 1]]:
            after[i] = max(after[i], rests[reader], after[reader] + own[reader])
    return np.array(start), np.array(after)


def earliest_ends(arrays: Arrays, time: Floats, ready: Floats) -> Floats:
    """Earliest end of ops (n,) that take `time` and start at `ready` or later; nothing else."""
    if arrays.op_count > COMPILED_FROM_OPS and _can_load():
        from talos_opt.kernels import graphs

        return np.asarray(
            graphs.earliest_ends(arrays.order, arrays.out_ptr, arrays.edge_dst, time, ready)
        )
    return np.array(add_up_ends(arrays, time.tolist(), ready.tolist()))


def add_up_ends(arrays: Arrays, time: list[T], ready: list[T]) -> list[T]:
    """Return what `earliest_ends` does, in numbers of any kind: whole ones stay exact."""
    end = list(ready)
    readers, out = arrays.edge_dst.tolist(), arrays.out_ptr.tolist()
    for i in arrays.order.tolist():  # end[i] holds the latest input until i is reached
        end[i] += time[i]
        for reader in readers[out[i] : out[i + 1]]:
            end[reader] = max(end[reader], end[i])
    return end


def tails(arrays: Arrays, time: Floats) -> Floats:
    """Least time from each op's end to its model's end (n,), where ops take `time`."""
    if arrays.op_count > COMPILED_FROM_OPS and _can_load():
        from talos_opt.kernels.graphs import least_tails

        return np.asarray(least_tails(arrays.order, arrays.out_ptr, arrays.edge_dst, time))
    return np.array(add_up_tails(arrays, time.tolist(), 0.0))


def add_up_tails(arrays: Arrays, time: list[T], none: T) -> list[T]:
    """Return what `tails` does, in numbers of any kind, of which `none` is the zero."""
    tail = [none] * arrays.op_count
    readers, out = arrays.edge_dst.tolist(), arrays.out_ptr.tolist()
    for i in arrays.order[::-1].tolist():
        for reader in readers[out[i] : out[i + 1]]:
            tail[i] = max(tail[i], tail[reader] + time[reader])
    return tail


def _can_load() -> bool:
    with suppress(ImportError):  # slower without numba, but as good
        return load("paths")
    return False


def use_paths() -> None:
    """Call the kernels of paths."""
    from talos_opt.kernels import graphs

    arrays = tiny_problem().arrays
    best = best_times(arrays)
    edges = (arrays.order, arrays.out_ptr, arrays.edge_dst)
    graphs.earliest_ends(*edges, best, arrays.release[arrays.model])
    graphs.least_tails(*edges, best)


def critical_paths(problem: Problem) -> Floats:
    """Earliest completion of every model on unlimited devices (k,), its release included."""
    arrays = problem.arrays
    result = np.zeros(len(arrays.release))
    ends = earliest_ends(arrays, best_times(arrays), problem.earliest)
    np.maximum.at(result, arrays.model, ends)
    return result


def heaviest_paths(
    arrays: Arrays,
    weight: Floats,
    edge_weight: Floats | None = None,
    chosen: Bools | None = None,
) -> list[Ints]:
    """Return the heaviest path of every model; one backward pass serves all of them.

    Parameters
    ----------
    arrays : Arrays
    weight : (n,) float
        Weight of each op, at least 0.
    edge_weight : (e,) float, optional
        Weight of each edge, at least 0.
    chosen : (k,) bool, optional
        The models that are asked for; default: all.

    Returns
    -------
    list of (length,) int
        Ops of each model's path, producers first.
    """
    own = weight.tolist()
    extra = [0.0] * len(arrays.edge_src) if edge_weight is None else edge_weight.tolist()
    readers, out = arrays.edge_dst.tolist(), arrays.out_ptr.tolist()
    order = arrays.order if chosen is None else arrays.order[chosen[arrays.model[arrays.order]]]
    best, after = own[:], [-1] * len(own)
    for i in reversed(order.tolist()):
        most, next_op = 0.0, -1
        for e in range(out[i], out[i + 1]):
            value = best[readers[e]] + extra[e]
            if next_op < 0 or value > most:
                most, next_op = value, readers[e]
        best[i] += most
        after[i] = next_op
    found = []
    for j, i in enumerate(_heaviest_ops(arrays, np.array(best)).tolist()):
        if chosen is None or chosen[j]:
            path = []
            while i >= 0:
                path.append(i)
                i = after[i]
            found.append(np.array(path, dtype=np.int64))
    return found


def _heaviest_ops(arrays: Arrays, value: Floats) -> Ints:
    """Return the op of the largest value of each model, the first of equal ones (k,)."""
    largest = np.maximum.reduceat(value, arrays.model_ptr[:-1])
    tied = np.flatnonzero(value == largest[arrays.model])
    return np.asarray(tied[np.searchsorted(arrays.model[tied], np.arange(len(largest)))])


def edge_numbers(arrays: Arrays, path: Ints) -> Ints:
    """Return the edge from each op of a path to the next, of several the largest (length - 1,)."""
    found = []
    for op, reader in zip(path[:-1].tolist(), path[1:].tolist(), strict=True):
        first, last = int(arrays.out_ptr[op]), int(arrays.out_ptr[op + 1])
        reads = first + np.flatnonzero(arrays.edge_dst[first:last] == reader)
        found.append(int(reads[arrays.edge_bytes[reads].argmax()]))
    return np.array(found, dtype=np.int64)
