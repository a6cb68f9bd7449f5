"""Loads of contiguous chunks, each from scratch."""

from __future__ import annotations

import math
import random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.kernels.chunks import chunk_loads


class Chunked:
    """Groups in an order, and tensors that one makes and others read.

    Parameters
    ----------
    count, tensors : int
    seed : int
    """

    def __init__(self, count: int, tensors: int, seed: int) -> None:
        pick = random.Random(seed)
        self.work = [pick.choice((0.0, 1.0, 2.5, 3.0, math.inf, 1.0, 2.0)) for _ in range(count)]
        self.size = [pick.randint(0, 4) for _ in range(count)]
        self.room = pick.choice((5, 12, 2**62))
        self.moves = [pick.choice((0.0, 0.5, 2.0)) for _ in range(tensors)]
        self.owner = [pick.randrange(count) for _ in range(tensors)]
        # Readers may stand before their producer: the order is one of groups, not of ops.
        self.readers = [
            [pick.randrange(count) for _ in range(pick.randint(1, 4))] for _ in range(tensors)
        ]

    def load(self, i: int, j: int) -> float:
        """Load of the groups at positions i..j; a tensor crosses once whoever reads it."""
        inside = range(i, j + 1)
        work = sum(self.work[i : j + 1])
        if work == math.inf or sum(self.size[i : j + 1]) > self.room:
            return math.inf
        return work + sum(
            time
            for time, owner, readers in zip(self.moves, self.owner, self.readers, strict=True)
            if (owner in inside and any(r not in inside for r in readers))
            or (owner not in inside and any(r in inside for r in readers))
        )


def ragged(lists: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    ptr = np.cumsum([0, *map(len, lists)]).astype(np.int64)
    return ptr, np.array([x for row in lists for x in row], dtype=np.int64)


@given(st.integers(1, 9), st.integers(0, 12), st.integers(0, 2**32 - 1))
def test_chunk_loads(count: int, tensors: int, seed: int) -> None:
    case = Chunked(count, tensors, seed)
    touching = [
        [t for t in range(tensors) if position in (case.owner[t], *case.readers[t])]
        for position in range(count)
    ]
    found = chunk_loads(
        np.array(case.work),
        np.array(case.moves),
        *ragged(case.readers),
        *ragged(touching),
        np.array(case.owner, dtype=np.int64),
        np.array(case.size, dtype=np.int64),
        case.room,
    )
    for i in range(count):
        for j in range(count):
            assert found[i, j] == (case.load(i, j) if i <= j else math.inf)
