"""Which models to compare with each other where there are too many for all pairs.

A thousand models make half a million pairs, which nobody reads. Serving mixes are copies of a few
networks: of models with the same op types and speedups one stands for all. If those that are left
still make too many pairs, the ones that take most time on the reference are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, isqrt

import numpy as np

from talos_opt.analysis.affinity import type_speedups
from talos_opt.analysis.model_speedups import ModelSpeedups


@dataclass(frozen=True)
class ModelChoice:
    """Models to compare, and what was left out.

    Parameters
    ----------
    chosen : tuple of int
        Positions of the models to compare, ascending.
    alike : tuple of tuple of int
        Models with the same op types, and the same speedups in the same order, two at least; the
        first stands for all.
        Empty where nothing had to be left out.
    left_out : int
        Pairs of models that are not compared, those of models that are alike not counted.
    """

    chosen: tuple[int, ...]
    alike: tuple[tuple[int, ...], ...] = ()
    left_out: int = 0


def choose_models(models: Sequence[ModelSpeedups], most_pairs: int) -> ModelChoice:
    """Choose models that make no more than a number of pairs; all of them, if they do.

    Linear in the ops of all models.

    Parameters
    ----------
    models : sequence of ModelSpeedups
    most_pairs : int
        At least 0.
    """
    if comb(len(models), 2) <= most_pairs:
        return ModelChoice(tuple(range(len(models))))
    groups: dict[object, list[int]] = {}
    for position, model in enumerate(models):
        groups.setdefault(_likeness(model), []).append(position)
    first = [members[0] for members in groups.values()]
    count = (1 + isqrt(1 + 8 * most_pairs)) // 2  # so many models make at most as many pairs
    longest = sorted(first, key=lambda position: -_time(models[position]))[:count]
    return ModelChoice(
        tuple(sorted(longest)),
        tuple(tuple(members) for members in groups.values() if len(members) > 1),
        comb(len(first), 2) - comb(len(longest), 2),
    )


def _likeness(model: ModelSpeedups) -> object:
    """Return what two models have in common iff every comparison with them is the same."""
    types = sorted(type_speedups(model).items())
    by_type = np.array([speedup for _, speedup in types])
    return tuple(kind for kind, _ in types), by_type.tobytes(), model.speedup.tobytes()


def _time(model: ModelSpeedups) -> float:
    return float(model.reference_time[model.timed].sum())
