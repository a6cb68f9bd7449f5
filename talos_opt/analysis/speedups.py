"""How much faster ops run on one device than on another, from a run of a model on each.

Speedup = time on the reference / time on the other (Talos, section III: CPU / GPU). The two op
sequences are aligned by names that are unique, and the others by name and order; what has no
partner is reported, not dropped in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from talos_opt.analysis.alignment import TimedOp, match


@dataclass(frozen=True, slots=True)
class Pair:
    """One op on both devices.

    Parameters
    ----------
    reference, other : int
        Positions in the two sequences.
    name, type : str
    reference_us, other_us : float
        Microseconds.
    """

    reference: int
    other: int
    name: str
    type: str
    reference_us: float
    other_us: float

    @property
    def speedup(self) -> float | None:
        """Time on the reference over time on the other; None where the other took none."""
        return _ratio(self.reference_us, self.other_us)


@dataclass(frozen=True, slots=True)
class Row:
    """The aligned ops of one type, or of one name.

    Parameters
    ----------
    name : str
    count : int
        Aligned pairs.
    reference_us, other_us : float
        Sums over the pairs, microseconds.
    speedup : float or None
        Of the sums; None where the other took no time.
    spread : float or None
        Half the interquartile range of the pairs' speedups over their median; None where no pair
        has a speedup.
    """

    name: str
    count: int
    reference_us: float
    other_us: float
    speedup: float | None
    spread: float | None


@dataclass(frozen=True, slots=True)
class LeftOver:
    """Ops of one name that have no partner on the other device.

    Parameters
    ----------
    name : str
    count : int
    total_us : float
        Microseconds.
    """

    name: str
    count: int
    total_us: float


@dataclass(frozen=True)
class Speedups:
    """The op speedup table of two runs.

    Parameters
    ----------
    pairs : tuple of Pair
        Every aligned op, in order.
    types, ops : tuple of Row
        By type and by name; longest on the reference first.
    reference_us, other_us : float
        Time of all ops on each side, microseconds.
    left_reference, left_other : tuple of LeftOver
        Longest first.
    """

    pairs: tuple[Pair, ...]
    types: tuple[Row, ...]
    ops: tuple[Row, ...]
    reference_us: float
    other_us: float
    left_reference: tuple[LeftOver, ...]
    left_other: tuple[LeftOver, ...]

    @property
    def speedup(self) -> float | None:
        """Of the aligned ops together."""
        return _ratio(
            sum(pair.reference_us for pair in self.pairs), sum(pair.other_us for pair in self.pairs)
        )

    @property
    def reference_coverage(self) -> float:
        """Share of the reference's time that is aligned."""
        return _share(sum(pair.reference_us for pair in self.pairs), self.reference_us)

    @property
    def other_coverage(self) -> float:
        """Share of the other's time that is aligned."""
        return _share(sum(pair.other_us for pair in self.pairs), self.other_us)

    def to_dict(self) -> dict[str, Any]:
        """Return the table as plain data; times in microseconds."""
        return {
            "speedup": self.speedup,
            "aligned": len(self.pairs),
            "reference": _side(self.reference_us, self.reference_coverage, self.left_reference),
            "other": _side(self.other_us, self.other_coverage, self.left_other),
            "types": [_row(row) for row in self.types],
            "ops": [_row(row) for row in self.ops],
            "pairs": [_pair(pair) for pair in self.pairs],
        }


def compare(reference: Sequence[TimedOp], other: Sequence[TimedOp]) -> Speedups:
    """Align two op sequences and return their speedups.

    Ops whose name both runs have once are pairs. The others are paired by name and order so that
    the pairs hold as much of both runs' time as possible; each op also counts a little for itself,
    so that short ops are paired too.

    Parameters
    ----------
    reference, other : sequence of TimedOp
        The ops of one device each, in the order of their execution.

    Raises
    ------
    InputError
        If the sequences are too long to align.
    """
    matched = match(
        [op.name for op in reference],
        [op.name for op in other],
        _weights(reference),
        _weights(other),
    )
    pairs = tuple(
        Pair(
            i,
            j,
            reference[i].name,
            reference[i].type,
            reference[i].duration_us,
            other[j].duration_us,
        )
        for i, j in matched
    )
    return Speedups(
        pairs=pairs,
        types=_rows(pairs, lambda pair: pair.type),
        ops=_rows(pairs, lambda pair: pair.name),
        reference_us=sum(op.duration_us for op in reference),
        other_us=sum(op.duration_us for op in other),
        left_reference=_left(reference, {i for i, _ in matched}),
        left_other=_left(other, {j for _, j in matched}),
    )


def _weights(ops: Sequence[TimedOp]) -> list[float]:
    """Share of each op in its run's time, and a hundredth of the time spread evenly."""
    total = sum(op.duration_us for op in ops)
    return [_share(op.duration_us, total) + 0.01 / len(ops) for op in ops]


def _rows(pairs: Iterable[Pair], key: Callable[[Pair], str]) -> tuple[Row, ...]:
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        groups.setdefault(key(pair), []).append(pair)
    rows = [
        Row(
            name=name,
            count=len(group),
            reference_us=(reference := sum(pair.reference_us for pair in group)),
            other_us=(other := sum(pair.other_us for pair in group)),
            speedup=_ratio(reference, other),
            spread=_spread([pair.speedup for pair in group if pair.speedup is not None]),
        )
        for name, group in groups.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.reference_us, row.name)))


def _left(ops: Sequence[TimedOp], aligned: set[int]) -> tuple[LeftOver, ...]:
    groups: dict[str, list[float]] = {}
    for k, op in enumerate(ops):
        if k not in aligned:
            groups.setdefault(op.name, []).append(op.duration_us)
    found = [LeftOver(name, len(times), sum(times)) for name, times in groups.items()]
    return tuple(sorted(found, key=lambda item: (-item.total_us, item.name)))


def _spread(values: Sequence[float]) -> float | None:
    """Half the interquartile range over the median; None for no values, 0 for a median of 0."""
    if not values:
        return None
    low, median, high = (float(q) for q in np.percentile(values, (25, 50, 75)))
    return (high - low) / 2 / median if median > 0 else 0.0


def _ratio(reference: float, other: float) -> float | None:
    return reference / other if other > 0 else None


def _share(part: float, whole: float) -> float:
    return min(1.0, part / whole) if whole > 0 else 0.0


def _side(total: float, coverage: float, left: Iterable[LeftOver]) -> dict[str, Any]:
    return {
        "total_us": total,
        "coverage": coverage,
        "left_over": [
            {"name": item.name, "count": item.count, "total_us": item.total_us} for item in left
        ],
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "count": row.count,
        "reference_us": row.reference_us,
        "other_us": row.other_us,
        "speedup": row.speedup,
        "spread": row.spread,
    }


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "name": pair.name,
        "type": pair.type,
        "reference": pair.reference,
        "other": pair.other,
        "reference_us": pair.reference_us,
        "other_us": pair.other_us,
        "speedup": pair.speedup,
    }
