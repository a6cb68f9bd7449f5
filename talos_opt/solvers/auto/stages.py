"""Which solvers `auto` runs, in which order, and for what share of the time: data alone.

Shares are of the time that remains when a stage begins. They were found on models/, the published
workloads and random graphs of each size (docs/results.md): more for whichever solver improved the
answer or the bound last.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import chain, cycle
from typing import Any, NamedTuple

from talos_opt.core.problem import MemoryRule, Problem
from talos_opt.solvers.engine.base import is_placement_only
from talos_opt.solvers.shared.whole_models import MANY_MODELS

#: Below this size CP-SAT needs less time than loading compiled kernels takes.
SMALL = 30
#: Up to this size the full CP-SAT formulation proves optima in seconds to minutes.
PROVABLE = 120
#: Above this size building CP-SAT's formulation takes longer than it is worth.
CPSAT_UP_TO_OPS = 5_000
#: Above this size even the baselines take longer than a good answer by linear passes.
LARGE = 20_000
#: Above this size merging ops and taking packs apart takes too much of the time.
COARSE_UP_TO_OPS = 200_000


class Stage(NamedTuple):
    """A solver's turn.

    Parameters
    ----------
    solver : str
    share : float
        Share of the time that remains when its turn comes.
    options : mapping
    most_s, most_s_per_op : float
        Seconds that it takes at most, whatever the share: so many, and so many for each op.
    """

    solver: str
    share: float
    options: Mapping[str, Any] = {}
    most_s: float = math.inf
    most_s_per_op: float = 0.0

    def limit(self, remaining: float, op_count: int) -> float:
        """Return the seconds that it may take."""
        return min(self.share * remaining, self.most_s + self.most_s_per_op * op_count)


#: Exact solvers need a good incumbent, not the best: what is left to find has another turn.
_FAST_FIRST = Stage("fast", 0.3, most_s=2.0, most_s_per_op=0.01)
#: What it finds at all is found early, unless the order decides whether there is a schedule.
_BEAM = Stage("beam", 0.4)
_COARSE = Stage("coarse", 0.7, {"share": 1.0})

#: Whatever stops one of them short, the next begins with what it has learned.
_SMALL_AGAIN = (
    Stage("dp", 0.3),
    Stage("relax", 0.3),
    Stage("fast", 0.3),
    Stage("lns", 0.3),
    Stage("cpsat", 1.0),
)
#: Nothing is to be ordered: loads under the static rule.
_PLACEMENT_ONLY = (
    _FAST_FIRST,
    Stage("relax", 0.4, {"superblocks": False}),
    Stage("cpsat", 0.4),
    Stage("relax", 0.4, {"contents": False}),
    Stage("cpsat", 0.5),
    Stage("lns", 0.5),
    Stage("fast", 1.0),
)
_MEDIUM = (_FAST_FIRST, Stage("dp", 0.4, {"most_ideals": 3000}), Stage("relax", 0.35))
_REPAIR = (Stage("lns", 0.2), Stage("fast", 1.0))
_THOUSANDS = (_COARSE, Stage("large", 0.4), Stage("fast", 1.0))
_FIRST_LARGE, _LAST_LARGE = Stage("large", 0.3), Stage("large", 1.0)


def stages(problem: Problem) -> Iterator[Stage]:
    """Return the turns that suit a problem, by its size; without end where it is small."""
    count = problem.arrays.op_count
    if count < SMALL:
        return chain((Stage("cpsat", 0.5),), cycle(_SMALL_AGAIN))
    tight = problem.memory_rule is MemoryRule.PEAK and problem.arrays.memory_limited
    if tight and count <= LARGE:
        return chain((_BEAM,), _by_size(problem))
    return _by_size(problem)


def _by_size(problem: Problem) -> Iterator[Stage]:
    count = problem.arrays.op_count
    # Merging ops finds little between models of a few ops, and moving single ones takes long.
    many = len(problem.arrays.release) >= MANY_MODELS
    if count > COARSE_UP_TO_OPS:
        return iter((_LAST_LARGE,))
    if count > LARGE:
        return iter((_FIRST_LARGE, _COARSE, _LAST_LARGE))
    if count > CPSAT_UP_TO_OPS:
        return iter((_FIRST_LARGE, *_THOUSANDS) if many else _THOUSANDS)
    if is_placement_only(problem):
        return iter(_PLACEMENT_ONLY)
    exact = (Stage("cpsat", 0.5),) if count <= PROVABLE else ()
    first = (_FIRST_LARGE,) if many else ()
    return iter((*first, *_MEDIUM, *exact, *_REPAIR))


def last_stage(problem: Problem) -> Stage:
    """Return a turn that always finds something to do."""
    return Stage("large" if problem.arrays.op_count > LARGE else "fast", 1.0)
