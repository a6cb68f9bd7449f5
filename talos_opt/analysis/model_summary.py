"""What the speedups of one model's ops come to: totals, shares, distributions, costliest ops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from talos_opt.analysis.model_speedups import ModelSpeedups
from talos_opt.core.problem import Floats

#: Shares of the ops for which the distributions are given.
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)

#: Ops that are listed as those that cost most.
TOP = 10


@dataclass(frozen=True)
class ModelSummary:
    """The speedups of one model in a few numbers; times in the graph's unit.

    Parameters
    ----------
    model : str
    ops : int
    op_types : int
        Different types; ops without a type count for none.
    timed : int
        Ops with a time on both sides, which alone count in what follows.
    reference_total, other_total : float
        Sums of their times.
    speedup : float or None
        The average speedup: total over total, not a mean over ops. None where the other's is 0.
    slower_ops : float or None
        Share of the ops with a speedup that have one below 1: faster on the reference.
    slower_reference, slower_other : float or None
        Their share of the time on the reference, and on the other.
    speedups, reference_times, other_times : mapping of float to float
        The distributions, by `QUANTILES`; empty where there are no values.
    costliest : tuple of int
        Positions of the ops that take longest on the reference (an op without a time there: on
        the other), longest first; at most `TOP`.
    """

    model: str
    ops: int
    op_types: int
    timed: int
    reference_total: float
    other_total: float
    speedup: float | None
    slower_ops: float | None
    slower_reference: float | None
    slower_other: float | None
    speedups: Mapping[float, float]
    reference_times: Mapping[float, float]
    other_times: Mapping[float, float]
    costliest: tuple[int, ...]


def summarise_model(found: ModelSpeedups) -> ModelSummary:
    """Return the summary of a model's speedups."""
    here, there = found.reference_time[found.timed], found.other_time[found.timed]
    defined = ~np.isnan(found.speedup)
    slower = np.zeros(len(found.ops), dtype=bool)
    slower[defined] = found.speedup[defined] < 1
    cost = np.where(np.isfinite(found.reference_time), found.reference_time, found.other_time)
    # An op may have no time on either: on a third kind only.
    cost = np.where(np.isfinite(cost), cost, -1.0)
    return ModelSummary(
        model=found.model,
        ops=len(found.ops),
        op_types=len({kind for kind in found.types if kind}),
        timed=len(here),
        reference_total=float(here.sum()),
        other_total=float(there.sum()),
        speedup=_ratio(float(here.sum()), float(there.sum())),
        slower_ops=_ratio(float(slower.sum()), float(defined.sum())),
        slower_reference=_ratio(float(found.reference_time[slower].sum()), float(here.sum())),
        slower_other=_ratio(float(found.other_time[slower].sum()), float(there.sum())),
        speedups=_quantiles(found.speedup[defined]),
        reference_times=_quantiles(here),
        other_times=_quantiles(there),
        costliest=tuple(np.argsort(-cost, kind="stable")[:TOP].tolist()),
    )


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None


def _quantiles(values: Floats) -> dict[float, float]:
    if not len(values):
        return {}
    return dict(zip(QUANTILES, np.quantile(values, QUANTILES).tolist(), strict=True))
