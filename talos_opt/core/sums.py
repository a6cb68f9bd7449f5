"""Whole numbers by owner: bytes of ops by device, of edges by tensor, and the like."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


def sum_by(owner: Ints, amount: Ints, count: int) -> Ints:
    """Return the sum of the amounts of each owner (count,); exact, as whole numbers are."""
    total = np.zeros(count, dtype=np.int64)
    np.add.at(total, owner, amount)
    return total


def max_by(owner: Ints, amount: Ints, count: int) -> Ints:
    """Return the largest of the amounts of each owner, 0 where there is none (count,)."""
    largest = np.zeros(count, dtype=np.int64)
    np.maximum.at(largest, owner, amount)
    return largest
