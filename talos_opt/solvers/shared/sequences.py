"""All ops on one device, one after the other, in an order that is known to hold few bytes."""

from __future__ import annotations

import numpy as np

from talos_opt.core.problem import Ints
from talos_opt.core.schedule import Schedule, Transfers
from talos_opt.solvers.engine.run import Run


def offer_sequence(run: Run, device: int, order: Ints, name: str) -> bool:
    """Offer all ops on a device in exactly this order; what takes no time waits for its turn.

    Parameters
    ----------
    run : Run
    device : int
        It may run them all.
    order : (n,) int
        A topological order.
    name : str
        Who to report as.

    Returns
    -------
    bool
        Whether it became the incumbent.
    """
    arrays = run.problem.arrays
    release = arrays.release[arrays.model[order]]
    kept = _offer(run, device, order, release, name)
    if (arrays.time[:, device] <= 0).any() and release.max() > release.min():
        # What waits for a release between two ops of no length would be held meanwhile.
        kept |= _offer(run, device, order, np.full(len(order), release.max()), name)
    return kept


def _offer(run: Run, device: int, order: Ints, first: np.ndarray, name: str) -> bool:
    time = run.problem.arrays.time[order, device].tolist()
    start, end, now = np.empty(len(order)), np.empty(len(order)), 0.0
    for i, length, earliest in zip(order.tolist(), time, first.tolist(), strict=True):
        start[i] = max(now, earliest)
        end[i] = now = start[i] + length
    where = np.full(len(order), device, dtype=np.int64)
    return run.consider(Schedule(where, start, end, Transfers.from_rows([])), name)
