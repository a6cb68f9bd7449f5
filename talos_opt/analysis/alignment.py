"""Which element of one sequence is which of another: by unique names, then by order.

Two runs of one model on two devices execute nearly the same ops in the same order; each has a few
that the other lacks. A name that both have once says all: nodes of TensorFlow run in any order.
Of all ways to pair equal names in order, the one is taken for the others that covers most: the
pairs' weights sum to the maximum (the weighted longest common subsequence). Talos aligns its traces
in this manner.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from talos_opt.core.errors import InputError

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Most pairs of elements that are compared: 30,000 x 30,000 take some 20 s.
MAX_CELLS = 10**9


class TimedOp(Protocol):
    """An op of a run: what the readers of traces return."""

    @property
    def name(self) -> str:
        """Name by which ops are aligned."""

    @property
    def type(self) -> str:
        """Operator type."""

    @property
    def duration_us(self) -> float:
        """Microseconds."""


def match(
    first: Sequence[str],
    second: Sequence[str],
    first_weight: Sequence[float] | Floats,
    second_weight: Sequence[float] | Floats,
) -> list[tuple[int, int]]:
    """Pair names that both sequences have once, wherever they stand, and `align` the others.

    Parameters and errors are those of `align`. The pairs never weigh less than its own.

    Returns
    -------
    list of (int, int)
        Positions in both, by the first; those in the second may fall where unique names cross.
    """
    once = {name for name, count in Counter(first).items() if count == 1}
    once &= {name for name, count in Counter(second).items() if count == 1}
    place = {name: j for j, name in enumerate(second) if name in once}
    pairs = [(i, place[name]) for i, name in enumerate(first) if name in once]
    if len(pairs) == len(first) or len(pairs) == len(second):
        return pairs
    rest_a = [i for i, name in enumerate(first) if name not in once]
    rest_b = [j for j, name in enumerate(second) if name not in once]
    u, v = np.asarray(first_weight, dtype=float), np.asarray(second_weight, dtype=float)
    aligned = align([first[i] for i in rest_a], [second[j] for j in rest_b], u[rest_a], v[rest_b])
    return sorted(pairs + [(rest_a[i], rest_b[j]) for i, j in aligned])


def align(
    first: Sequence[str],
    second: Sequence[str],
    first_weight: Sequence[float] | Floats,
    second_weight: Sequence[float] | Floats,
) -> list[tuple[int, int]]:
    """Pair equal names of two sequences, in order, so that the weight of the pairs is largest.

    Parameters
    ----------
    first, second : sequence of str
        n and m names.
    first_weight, second_weight : sequence of float
        n and m weights, at least 0; a pair weighs the sum of its two. Of two ways of the same
        weight either may be taken, so give each element some weight.

    Returns
    -------
    list of (int, int)
        Positions in both, each rising. O(n m) time and O(n + m) memory (Hirschberg 1975). Two
        sequences too long for this are first rid of the ends that they have in common.

    Raises
    ------
    InputError
        If what is left is still more than `MAX_CELLS` pairs.
    """
    if list(first) == list(second):
        return [(i, i) for i in range(len(first))]
    numbers: dict[str, int] = {}
    a = np.array([numbers.setdefault(name, len(numbers)) for name in first], dtype=np.int64)
    b = np.array([numbers.setdefault(name, len(numbers)) for name in second], dtype=np.int64)
    u, v = np.asarray(first_weight, dtype=float), np.asarray(second_weight, dtype=float)
    head = tail = 0
    if len(a) * len(b) > MAX_CELLS:
        head, tail = _common_ends(a, b)
    inner = (slice(head, len(a) - tail), slice(head, len(b) - tail))
    if len(a[inner[0]]) * len(b[inner[1]]) > MAX_CELLS:
        raise InputError(
            f"the sequences are too long to align ({len(a)} and {len(b)} ops), expected traces "
            "of fewer steps"
        )
    pairs = [(i, i) for i in range(head)]
    middle = _hirschberg(a[inner[0]], b[inner[1]], u[inner[0]], v[inner[1]])
    pairs += [(i + head, j + head) for i, j in middle]
    pairs += [(len(a) - k, len(b) - k) for k in range(tail, 0, -1)]
    return pairs


def _common_ends(a: Ints, b: Ints) -> tuple[int, int]:
    """Lengths of the common beginning and, of the rest, the common end."""
    shorter = min(len(a), len(b))
    differs = np.flatnonzero(a[:shorter] != b[:shorter])
    head = int(differs[0]) if len(differs) else shorter
    rest = shorter - head
    backwards = a[len(a) - rest :][::-1] != b[len(b) - rest :][::-1]
    differs = np.flatnonzero(backwards)
    return head, int(differs[0]) if len(differs) else rest


def _hirschberg(a: Ints, b: Ints, u: Floats, v: Floats) -> list[tuple[int, int]]:
    """Split the first sequence in half, and the second where both halves together weigh most."""
    pairs: list[tuple[int, int]] = []
    todo = [(0, len(a), 0, len(b))]
    while todo:
        low, high, left, right = todo.pop()
        if low == high or left == right:
            continue
        if high - low == 1:
            places = np.flatnonzero(b[left:right] == a[low])
            if len(places):
                pairs.append((low, left + int(places[np.argmax(v[left:right][places])])))
            continue
        middle = (low + high) // 2
        before = _weights(a[low:middle], b[left:right], u[low:middle], v[left:right])
        after = _weights(
            a[middle:high][::-1], b[left:right][::-1], u[middle:high][::-1], v[left:right][::-1]
        )
        cut = left + int(np.argmax(before + after[::-1]))
        todo += [(low, middle, left, cut), (middle, high, cut, right)]
    return sorted(pairs)


def _weights(a: Ints, b: Ints, u: Floats, v: Floats) -> Floats:
    """Largest weight of pairs between all of `a` and each beginning of `b` (m + 1,)."""
    best = np.zeros(len(b) + 1)
    for name, weight in zip(a.tolist(), u.tolist(), strict=True):
        paired = np.where(b == name, best[:-1] + (weight + v), 0.0)
        np.maximum(best[1:], paired, out=best[1:])
        np.maximum.accumulate(best, out=best)
    return best
