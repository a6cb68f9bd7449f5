"""Passes over a whole DAG, linear in its size: longest paths, depth-first order."""

from __future__ import annotations

import numpy as np

from talos_opt.kernels.compiling import kernel


@kernel
def earliest_ends(order, out_ptr, out_op, time, ready):  # type: ignore[no-untyped-def]
    """Longest path from the sources to each op's end (n,).

    Parameters
    ----------
    order : (n,) int
        Topological.
    out_ptr, out_op : (n + 1,), (e,) int
        Readers of each op.
    time : (n,) float
    ready : (n,) float
        When each op may start at the earliest; its release.
    """
    end = ready.copy()
    for op in order:  # until an op is reached, `end` holds its latest input
        end[op] += time[op]
        for e in range(out_ptr[op], out_ptr[op + 1]):
            if end[out_op[e]] < end[op]:
                end[out_op[e]] = end[op]
    return end


@kernel
def least_tails(order, out_ptr, out_op, time):  # type: ignore[no-untyped-def]
    """Longest path from each op's end to a sink (n,); see `earliest_ends`."""
    tail = np.zeros(len(order))
    for position in range(len(order) - 1, -1, -1):
        op = order[position]
        below = 0.0
        for e in range(out_ptr[op], out_ptr[op + 1]):
            below = max(below, tail[out_op[e]] + time[out_op[e]])
        tail[op] = below
    return tail


@kernel
def depth_first_order(order, out_ptr, out_op, in_ptr):  # type: ignore[no-untyped-def]
    """Topological order that follows a tensor to its readers as soon as they are ready (n,).

    Consecutive stretches of it are cut off from the rest by few edges.

    Parameters
    ----------
    order : (n,) int
        A topological order, by which sources are taken.
    """
    count = len(order)
    missing = np.empty(count, dtype=np.int64)
    for op in range(count):
        missing[op] = in_ptr[op + 1] - in_ptr[op]
    found = np.empty(count, dtype=np.int64)
    stack = np.empty(count, dtype=np.int64)
    done = 0
    for source in order:
        if in_ptr[source + 1] > in_ptr[source]:
            continue
        stack[0] = source
        height = 1
        while height > 0:
            height -= 1
            op = stack[height]
            found[done] = op
            done += 1
            for e in range(out_ptr[op + 1] - 1, out_ptr[op] - 1, -1):
                reader = out_op[e]
                missing[reader] -= 1
                if missing[reader] == 0:
                    stack[height] = reader
                    height += 1
    return found
