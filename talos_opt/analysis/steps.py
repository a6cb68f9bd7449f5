"""One step from several: the mean time of each op over all of them.

Steps of one run execute nearly the same ops in the same order, and each may have a few that others
lack: a first step makes the optimiser's state, every hundredth writes a log. They are merged into
one sequence, op by op, and a step without an op counts as one in which it took no time. So the
times of the merged ops sum to the mean of the steps' times.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from talos_opt.analysis.alignment import TimedOp, align
from talos_opt.core.errors import InputError

#: How many times as long as the median of the others the first step takes that looks like one in
#: which something was still being set up.
WARM_UP = 1.5


T = TypeVar("T", bound=TimedOp)


@dataclass(frozen=True, slots=True)
class MeanOp(Generic[T]):
    """An op of several steps.

    Parameters
    ----------
    name, type : str
    duration_us : float
        Mean over all steps, microseconds; a step without the op counts as 0.
    events : tuple of T or None
        The op in each step.
    """

    name: str
    type: str
    duration_us: float
    events: tuple[T | None, ...]

    @property
    def first(self) -> T:
        """The op in the first step that has it."""
        return next(event for event in self.events if event is not None)


@dataclass(slots=True)
class _Row(Generic[T]):
    events: list[T | None] = field(default_factory=list)

    @property
    def name(self) -> str:
        return next(event.name for event in self.events if event is not None)


def mean_step(steps: Sequence[Sequence[T]]) -> tuple[MeanOp[T], ...]:
    """Merge steps into one.

    Parameters
    ----------
    steps : sequence of sequence of T
        The ops of each step, in their order; at least one step.

    Returns
    -------
    tuple of MeanOp
        In the order of the most usual step. What it lacks stands behind what it followed.

    Raises
    ------
    InputError
        If steps that differ are too long to align.
    """
    names = [tuple(op.name for op in step) for step in steps]
    usual = Counter(names).most_common(1)[0][0]
    rows: list[_Row[T]] = [_Row([None] * len(steps)) for _ in usual]
    first = names.index(usual)
    order = [first, *(k for k in range(len(steps)) if k != first)]
    for k in order:
        rows = _merged(rows, steps[k], k, len(steps), fresh=k == first)
    return tuple(_mean(row) for row in rows)


def _merged(
    rows: list[_Row[T]], ops: Sequence[T], k: int, count: int, *, fresh: bool
) -> list[_Row[T]]:
    """Return rows with the ops of step `k` in theirs, and rows for those that have none."""
    if fresh:
        pairs = [(i, i) for i in range(len(ops))]
    else:
        even = [1.0] * len(rows), [1.0] * len(ops)
        pairs = align([row.name for row in rows], [op.name for op in ops], *even)
    for i, j in pairs:
        rows[i].events[k] = ops[j]
    taken = {j: i for i, j in pairs}
    if len(taken) == len(ops):
        return rows
    behind: dict[int, list[_Row[T]]] = {}
    last = -1
    for j, op in enumerate(ops):
        if j in taken:
            last = taken[j]
            continue
        row: _Row[T] = _Row([None] * count)
        row.events[k] = op
        behind.setdefault(last, []).append(row)
    merged = list(behind.get(-1, ()))
    for i, row in enumerate(rows):
        merged.append(row)
        merged += behind.get(i, ())
    return merged


def _mean(row: _Row[T]) -> MeanOp[T]:
    there = [event for event in row.events if event is not None]
    total = sum(event.duration_us for event in there)
    return MeanOp(there[0].name, there[0].type, total / len(row.events), tuple(row.events))


def typical(
    ops: Sequence[T], steps: Sequence[Sequence[T]], skip: int = 0
) -> tuple[tuple[T, ...], tuple[MeanOp[T], ...]]:
    """Return what a run is compared by: one step of it, or all of it where it marks none.

    Parameters
    ----------
    ops : sequence of T
        Of the whole run.
    steps : sequence of sequence of T
        Of each step that it marks; may be empty.
    skip : int
        How many of the first steps are left out.

    Returns
    -------
    ops : tuple of T
        All of them, where no steps are marked; else empty.
    mean : tuple of MeanOp
        Of the steps that are left; empty where none are marked.

    Raises
    ------
    InputError
        If none is left, or steps that differ are too long to align.
    """
    if not steps:
        return tuple(ops), ()
    if skip >= len(steps):
        raise InputError(
            f"has {len(steps)} steps, of which {skip} are to be left out, expected at most "
            f"{len(steps) - 1}"
        )
    return (), mean_step(steps[skip:])


def warm_up(times: Sequence[float]) -> float | None:
    """Return how many times as long as the median of the others the first step took.

    Parameters
    ----------
    times : sequence of float
        Of each step, in order.

    Returns
    -------
    float or None
        None if there are fewer than two steps, or it took less than `WARM_UP` times as long.
    """
    if len(times) < 2:
        return None
    usual = statistics.median(times[1:])
    ratio = times[0] / usual if usual > 0 else 0.0
    return ratio if ratio >= WARM_UP else None
