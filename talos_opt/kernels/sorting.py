"""Sorting and copying inside kernels: numba's own take seconds to compile, these do not."""

from __future__ import annotations

import numpy as np

from talos_opt.kernels.compiling import kernel, part


@part
def copy_range(target, to, source, first, last):  # type: ignore[no-untyped-def]
    """Copy ``source[first:last]`` to ``target[to:]``; slice assignment compiles far slower."""
    for k in range(last - first):
        target[to + k] = source[first + k]


@part
def sort_few(values, first, last):  # type: ignore[no-untyped-def]
    """Sort ``values[first:last]`` in place by insertion: for the slots of one device."""
    for k in range(first + 1, last):
        value = values[k]
        at = k
        while at > first and values[at - 1] > value:
            values[at] = values[at - 1]
            at -= 1
        values[at] = value


@kernel
def stable_order(keys):  # type: ignore[no-untyped-def]
    """Return the indices that sort `keys`, equal ones in their order: a bottom-up merge sort."""
    count = len(keys)
    order = np.arange(count)
    spare = np.empty(count, dtype=np.int64)
    width = 1
    while width < count:
        for low in range(0, count, 2 * width):
            middle, high = min(low + width, count), min(low + 2 * width, count)
            a, b = low, middle
            for k in range(low, high):
                if b >= high or (a < middle and keys[order[a]] <= keys[order[b]]):
                    spare[k] = order[a]
                    a += 1
                else:
                    spare[k] = order[b]
                    b += 1
        order, spare = spare, order
        width *= 2
    return order
