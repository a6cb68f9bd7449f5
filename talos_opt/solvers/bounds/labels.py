"""Labels of the cut diagram: what partial placements are remembered by, and how many are kept.

Arrays of N labels over the F open ops of a cut. All functions return new arrays.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from talos_opt.core.problem import Bools, Floats, Ints

Bytes8 = npt.NDArray[np.int8]

#: Rows that are compared with all rows before them at once.
_CHUNK = 256


@dataclass(frozen=True)
class Labels:
    """N labels over F open ops.

    Parameters
    ----------
    unit : (N, F) int8
        Which open ops share a limited device: the first column on it. Devices without a limit are
        told apart by class only: -1 - class.
    kind : (N, F) int8
        Class of the device; the number of classes: *any*, where it does not matter or was merged.
    end : (N, F) float
        Earliest end of each open op; 0 where it does not matter any more.
    used : (N, F) float
        Bytes on the limited device of each open op.
    value : (N,) float
        Lower bound on the completion.
    origin : (N, 3) int
        Label one op before, and where that op was put: class, and unit or -1.
    """

    unit: Bytes8
    kind: Bytes8
    end: Floats
    used: Floats
    value: Floats
    origin: Ints

    @classmethod
    def root(cls) -> Labels:
        """Return the one label from which nothing is placed."""
        none = np.zeros((1, 0))
        kind = none.astype(np.int8)
        return cls(kind, kind, none, none, np.zeros(1), np.zeros((1, 3), dtype=np.int64))

    def __len__(self) -> int:
        return len(self.value)

    @property
    def width(self) -> int:
        """Number of open ops."""
        return int(self.unit.shape[1])

    def take(self, rows: Ints | Bools) -> Labels:
        """Return some of the labels."""
        return Labels(
            self.unit[rows],
            self.kind[rows],
            self.end[rows],
            self.used[rows],
            self.value[rows],
            self.origin[rows],
        )


def join(parts: list[Labels]) -> Labels:
    """Return all labels of several sets over the same open ops."""
    return Labels(
        np.concatenate([part.unit for part in parts]),
        np.concatenate([part.kind for part in parts]),
        np.concatenate([part.end for part in parts]),
        np.concatenate([part.used for part in parts]),
        np.concatenate([part.value for part in parts]),
        np.concatenate([part.origin for part in parts]),
    )


def rename(unit: Bytes8) -> Bytes8:
    """Let every limited device be named by its first column again."""
    named = unit.copy()
    for k in range(unit.shape[1]):
        held = unit[:, k] >= 0
        named[:, k] = np.where(held, k, unit[:, k])
        for q in range(k - 1, -1, -1):
            named[:, k] = np.where(held & (unit[:, k] == unit[:, q]), q, named[:, k])
    return named


def reduce(labels: Labels, most: int, any_kind: int) -> tuple[Labels, int]:
    """Drop dominated labels, then merge until at most `most` are left.

    A label is dominated by one with the same units and kinds that is nowhere worse. Merged labels
    are replaced by their least values column by column, which stand for all of them: that
    relaxes. Those of least value are left alone, since the bound hangs on them; the others are
    merged where units and kinds agree, neighbours in used bytes with each other. If even their
    units and kinds are too many, the worst become one label of unknown kinds.

    Parameters
    ----------
    labels : Labels
    most : int
        At least 4.
    any_kind : int
        Number of classes.

    Returns
    -------
    Labels
    int
        Labels that were lost by merging; 0: nothing was relaxed.
    """
    if labels.width == 0:
        return labels.take(np.array([labels.value.argmin()])), 0
    state = np.column_stack([labels.unit, labels.kind])
    _, family = np.unique(state, axis=0, return_inverse=True)
    family = family.reshape(-1)
    cost = np.column_stack([labels.end, labels.used, labels.value])
    span = np.ptp(cost, axis=0)
    order = np.lexsort(((cost / np.where(span > 0, span, 1.0)).sum(axis=1), family))
    labels, family, cost = labels.take(order), family[order], cost[order]
    alive = _undominated(family, cost)
    labels, family = labels.take(alive), family[alive]
    if len(labels) <= most:
        return labels, 0
    best = np.argsort(labels.value, kind="stable")
    kept = labels.take(best[: most // 2])
    merged = _merge(labels, family, best[most // 2 :], most - most // 2, any_kind)
    return join([kept, merged]), len(labels) - len(kept) - len(merged)


def _undominated(family: Ints, cost: Floats) -> Bools:
    """Rows that no earlier row of their family undercuts in all columns."""
    alive = np.ones(len(family), dtype=bool)
    cuts = np.flatnonzero(np.diff(family)) + 1
    bounds = [0, *cuts.tolist(), len(family)]
    for first, last in itertools.pairwise(bounds):
        rows = cost[first:last]
        for begin in range(0, len(rows), _CHUNK):
            some = rows[begin : begin + _CHUNK]
            before = rows[: begin + len(some)]
            better = np.arange(len(before))[:, None] < begin + np.arange(len(some))[None, :]
            for column in range(rows.shape[1]):
                better &= before[:, column, None] <= some[None, :, column]
            alive[first + begin : first + begin + len(some)] = ~better.any(axis=0)
    return alive


def _merge(labels: Labels, family: Ints, rows: Ints, room: int, any_kind: int) -> Labels:
    """Merge some labels into at most `room`."""
    parts = []
    families, place = np.unique(family[rows], return_inverse=True)
    if len(families) > room - 1:
        least = np.full(len(families), np.inf)
        np.minimum.at(least, place, labels.value[rows])
        worst = np.zeros(len(families), dtype=bool)
        worst[np.argsort(least, kind="stable")[room // 2 :]] = True
        parts.append(_forget(labels.take(rows[worst[place]]), any_kind))
        rows = rows[~worst[place]]
        room -= 1
    rows = rows[np.lexsort((labels.used[rows].max(axis=1), family[rows]))]
    own = family[rows]
    first = np.concatenate([[True], own[1:] != own[:-1]])
    size = -(-len(rows) // max(1, room - int(first.sum())))
    begins = np.flatnonzero(first)
    inside = np.arange(len(rows)) - begins[np.cumsum(first) - 1]
    cuts = np.flatnonzero(first | (inside % size == 0))
    group = labels.take(rows)
    parts.append(
        Labels(
            group.unit[cuts],
            group.kind[cuts],
            np.minimum.reduceat(group.end, cuts, axis=0),
            np.minimum.reduceat(group.used, cuts, axis=0),
            np.minimum.reduceat(group.value, cuts),
            group.origin[cuts],
        )
    )
    return join(parts)


def _forget(labels: Labels, any_kind: int) -> Labels:
    """Merge labels into one whose ops sit on devices of any kind."""
    width = labels.width
    return Labels(
        np.full((1, width), -1 - any_kind, dtype=np.int8),
        np.full((1, width), any_kind, dtype=np.int8),
        labels.end.min(axis=0, keepdims=True),
        np.zeros((1, width)),
        labels.value.min(keepdims=True),
        labels.origin[:1],
    )
