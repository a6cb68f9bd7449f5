"""How alike two models are in what speeds up and by how much.

Three measures, all smaller for models that are more alike. `Affinity.talos_affinity` is Eq. 3 of
the Talos paper as it is printed, over Eq. 2, which compares ops by their position. The paper's
table of affinities does not follow from its published profiles by these equations or by others.
`Affinity.affinity` compares ops by type instead: how much the speedups of the op types that two
models have in common differ, over the share of op types that they have in common.
`Affinity.distance` compares the distributions of the single ops' speedups, whatever the ops are
called, and so has a value for any two models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from talos_opt.analysis.model_speedups import ModelSpeedups
from talos_opt.core.problem import Floats


@dataclass(frozen=True, slots=True)
class Affinity:
    """How alike two models are.

    Parameters
    ----------
    first, second : str
        Models.
    common : tuple of str
        Op types that both have, sorted.
    overlap : float
        Their number over the number of op types of the model that has more; 0 to 1.
    difference : float
        Mean over the common types of |log2(speedup of the type in one / in the other)|, a type's
        speedup being total over total: 1 means that they differ by a factor of two. nan where no
        common type has a speedup above 0 in both.
    affinity : float
        ``difference / overlap``: 0 for the same speedups of the same types. Infinite where the
        models have no op type in common to compare.
    distance : float
        Wasserstein-1 distance between the distributions of log2(speedup) over all ops, each of
        equal weight: 1 means that the one's are, on average, twice the other's or half of them.
        nan only where a model has no op with a speedup above 0.
    talos_difference : float
        Eq. 2: sum over k of |speedup of the one's k-th op - speedup of the other's|, in the order
        of the graph, as far as both have ops. Positions where one of them has no speedup are left
        out; nan where that leaves none.
    talos_affinity : float
        Eq. 3: `talos_difference` over the common op types' share of all that the two have
        together. Infinite without common types, nan where `talos_difference` is.
    """

    first: str
    second: str
    common: tuple[str, ...]
    overlap: float
    difference: float
    affinity: float
    distance: float
    talos_difference: float
    talos_affinity: float


def affinities(
    models: Sequence[ModelSpeedups], *, progress: Callable[[float], None] = lambda share: None
) -> tuple[Affinity, ...]:
    """Compare all pairs of models, in their order; see `model_choice` where there are many.

    Parameters
    ----------
    models : sequence of ModelSpeedups
    progress : callable
        Called now and then with the share of the pairs that have been compared.
    """
    by_type = [type_speedups(model) for model in models]
    logs = [np.sort(_logs(model.speedup)) for model in models]
    found = []
    for i, first in enumerate(models):
        # The i models before this one have been compared with all others.
        progress(i / len(models) * (2 - (i + 1) / len(models)))
        found += [
            _affinity(first, models[j], by_type[i], by_type[j], logs[i], logs[j])
            for j in range(i + 1, len(models))
        ]
    return tuple(found)


def type_speedups(model: ModelSpeedups) -> dict[str, float]:
    """Speedup of each op type of a model, total over total; nan where it has none."""
    totals: dict[str, tuple[float, float]] = {kind: (0.0, 0.0) for kind in model.types if kind}
    rows = zip(
        model.types,
        model.reference_time.tolist(),
        model.other_time.tolist(),
        model.timed.tolist(),
        strict=True,
    )
    for kind, here, there, timed in rows:
        if kind and timed:
            totals[kind] = (totals[kind][0] + here, totals[kind][1] + there)
    return {kind: here / there if there > 0 else math.nan for kind, (here, there) in totals.items()}


def wasserstein(first: Floats, second: Floats) -> float:
    """Return the Wasserstein-1 distance of two samples of numbers, each value of equal weight.

    The area between their distribution functions; nan where a sample is empty.
    """
    if not (len(first) and len(second)):
        return math.nan
    values = np.sort(np.concatenate([first, second]))
    shares = [
        np.searchsorted(np.sort(sample), values[:-1], side="right") / len(sample)
        for sample in (first, second)
    ]
    return float(np.sum(np.abs(shares[0] - shares[1]) * np.diff(values)))


def talos_difference(first: Floats, second: Floats) -> float:
    """Return Eq. 2 of the Talos paper for the speedups of two models' ops, in order.

    Positions where one of them is nan are left out; nan where that leaves none.
    """
    shorter = min(len(first), len(second))
    gaps = np.abs(first[:shorter] - second[:shorter])
    known = gaps[~np.isnan(gaps)]
    return float(known.sum()) if len(known) else math.nan


def _affinity(
    first: ModelSpeedups,
    second: ModelSpeedups,
    one: dict[str, float],
    two: dict[str, float],
    one_logs: Floats,
    two_logs: Floats,
) -> Affinity:
    common = sorted(one.keys() & two.keys())
    overlap = len(common) / max(len(one), len(two), 1)
    pairs = [(one[kind], two[kind]) for kind in common]
    # Comparisons with nan are false.
    gaps = [abs(math.log2(a) - math.log2(b)) for a, b in pairs if a > 0 and b > 0]
    difference = sum(gaps) / len(gaps) if gaps else math.nan
    by_position = talos_difference(first.speedup, second.speedup)
    return Affinity(
        first.model,
        second.model,
        tuple(common),
        overlap,
        difference,
        difference / overlap if gaps else math.inf,
        wasserstein(one_logs, two_logs),
        by_position,
        by_position * len(one.keys() | two.keys()) / len(common) if common else math.inf,
    )


def _logs(speedup: Floats) -> Floats:
    # nan > 0 is false: ops without a speedup are left out too.
    return np.asarray(np.log2(speedup[speedup > 0]))
