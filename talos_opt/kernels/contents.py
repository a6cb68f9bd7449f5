"""Kernel of the contents bound: what one device may hold, part by part.

The argument is in docs/bounds.md, "Contents".
"""

from __future__ import annotations

import numpy as np

from talos_opt.kernels.compiling import kernel


@kernel
def extend_contents(load, span, moves, costs, work, price, count, limit, least, spare, slope):  # type: ignore[no-untyped-def]
    """Decide for one more part whether the device holds it, in all ways that may be best.

    Parameters
    ----------
    load : (s, v) float
        Least load of the device for each state of the open tensors and each sum of prices of the
        parts it holds, the last for all sums from there on; infinite where there is none.
    span : (s, 2) int
        First and last finite entry of each state's row.
    moves : (2, s) int
        Next state without the part, and with it; -1: the part may not be there.
    costs : (2, s) float
        Transfers that are due on the way.
    work : float
        Time of the part.
    price : int
    count : int
        Number of next states.
    limit : float
        Larger loads do not matter.
    least : int
        Smaller sums at the end do not matter.
    spare, slope : float
        All later parts together add at most ``spare + slope * (limit - load)`` to a sum.

    Returns
    -------
    (t, v) float, (t, 2) int
        `load` and `span` of the next states. A larger sum has a larger load.
    (t, v) int
        Twice the state before, and 1 more if the device holds the part.
    (t,) int
        The sum before, of the last entry of each row.
    """
    states, width = load.shape
    after = np.full((count, width), np.inf)
    origin = np.zeros((count, width), dtype=np.int32)
    before = np.zeros(count, dtype=np.int32)
    for s in range(states):
        for p in range(span[s, 0], span[s, 1] + 1):
            have = load[s, p]
            if have == np.inf:
                continue
            for taken in range(2):
                t = moves[taken, s]
                if t < 0:
                    continue
                total = have + costs[taken, s]
                r = p
                if taken == 1:
                    total += work
                    r = min(width - 1, p + price)
                if total > limit or total >= after[t, r]:
                    continue
                if r + spare + slope * (limit - total) < least - 1e-6:
                    continue
                after[t, r] = total
                origin[t, r] = 2 * s + taken
                if r == width - 1:
                    before[t] = p
    spans = np.zeros((count, 2), dtype=np.int64)
    for t in range(count):
        first, last = width, -1
        best = np.inf
        for p in range(width - 1, -1, -1):
            if after[t, p] < best:
                best = after[t, p]
                first = p
                last = max(last, p)
            else:
                after[t, p] = np.inf
        spans[t, 0], spans[t, 1] = first, last
    return after, spans, origin, before
