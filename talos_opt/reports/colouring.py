"""What the colours of bars stand for: models, op types, or slack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from talos_opt.core.problem import Floats, Ints

#: What ops can be coloured by.
COLOUR_BY = ("model", "type", "slack")

#: Op types that have a colour of their own: those of most ops. The others share one.
TYPES = 16

#: Shares of the values of slack that lie below the edges between two colours.
_SHARES = (0.2, 0.4, 0.6, 0.8)

#: Significant digits of these edges.
_DIGITS = 2


def ranked_types(types: Iterable[str]) -> tuple[str, ...]:
    """Return the op types, those of most ops first."""
    numbers = Counter(types)
    return tuple(sorted(numbers, key=lambda name: (-numbers[name], name)))


def slack_edges(slacks: Sequence[Floats]) -> tuple[float, ...]:
    """Return round edges between classes of slack, so that each has about as many values.

    Values that are equal when they are rounded count once: often many ops wait for the same one.

    Parameters
    ----------
    slacks : sequence of (n,) float arrays
        Of one schedule each; what is infinite has no class.
    """
    every = np.concatenate([np.zeros(0), *slacks])
    some = np.unique(every[np.isfinite(every) & (every > 0)])
    values = sorted({_rounded(value) for value in some.tolist()})
    if len(values) < 2:
        return ()
    return tuple(sorted({_rounded(edge) for edge in np.quantile(values, _SHARES).tolist()}))


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")


def slack_classes(slack: Floats, edges: Sequence[float]) -> Ints:
    """Return the class of each slack (n,).

    0: none; k: up to edge k, and above the one before it; one more: above all edges; yet one more:
    infinite, as nothing that counts depends on the op.
    """
    found = 1 + np.searchsorted(np.asarray(edges, dtype=np.float64), slack, side="left")
    found[slack <= 0] = 0
    found[np.isinf(slack)] = len(edges) + 2
    return np.asarray(found, dtype=np.int64)
