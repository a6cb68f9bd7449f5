"""What has to be in memory at the moment an op runs, whatever the order and the placement.

What an op's ancestors made and its descendants read has been made and is still to be read while it
runs; so it is on some device. See docs/bounds.md, "Moments".
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from talos_opt.core.problem import Arrays, Ints
from talos_opt.core.sums import max_by

#: Ops times edges, and pairs of ops, beyond which this is left out.
_MOST_CELLS = 10_000_000


class Moment(NamedTuple):
    """An op, and the least bytes that all devices hold together while it runs."""

    op: int
    held: int


def fullest_moment(arrays: Arrays) -> Moment | None:
    """Return the op that finds the most bytes in memory, under the peak rule.

    None for graphs that are too large, or without ops that take time: an op of no length holds
    nothing at any moment.
    """
    count, source, target = arrays.op_count, arrays.edge_src, arrays.edge_dst
    tensor, tensors = arrays.edge_tensor, arrays.tensor_count
    lasting = arrays.time.min(axis=1) > 0
    if not lasting.any() or count * max(count, len(source)) > _MOST_CELLS:
        return None
    before = _ancestors(arrays)
    size = least_held(arrays)
    best = Moment(0, -1)
    for i in np.flatnonzero(lasting).tolist():
        # Read by the op itself, or made before it and read after it.
        alive = (target == i) | (before[source, i] & before[i, target])
        held = max_by(tensor[alive], size[alive], tensors)
        total = int(held.sum() + arrays.output[i] + arrays.workspace[i])
        if total > best.held:
            best = Moment(i, total)
    return Moment(best.op, best.held + int(arrays.weights.sum()))


def least_held(arrays: Arrays) -> Ints:
    """Return the least bytes that a device holds of the tensor of each edge, for its reader (e,).

    A copy elsewhere holds what its reader names, which may be less than was made.
    """
    made = arrays.tensor_size[arrays.edge_tensor]
    return np.minimum(made, arrays.edge_bytes) if arrays.device_count > 1 else made


def _ancestors(arrays: Arrays) -> np.ndarray:
    """Return whether one op comes before another, by paths (n, n) bool."""
    before = np.zeros((arrays.op_count, arrays.op_count), dtype=bool)
    readers, out = arrays.edge_dst, arrays.out_ptr
    for i in arrays.order[::-1].tolist():
        for reader in readers[out[i] : out[i + 1]].tolist():
            before[i] |= before[reader]
            before[i, reader] = True
    return before
