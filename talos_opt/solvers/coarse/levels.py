"""Levels of packs, and the run of a search on one of them."""

from __future__ import annotations

import math

from talos_opt.core.errors import GraphError
from talos_opt.core.problem import Problem
from talos_opt.solvers.coarse.coarsening import Caps, coarsen
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.shared.quotient import Packed

#: Parts that all work is cut into where the options leave it open, on the finer and on the
#: coarser level, and how many times fewer packs than ops there are to be: else half the parts.
_LEVELS = ((400, 4.0), (100, 20.0))
_LEAST_PARTS = 12
#: Where there are more packs than wanted by less than this, they will do; and of settings that
#: come this near to the fewest packs, the one with the smallest packs is taken.
_ENOUGH, _AS_FEW = 2.0, 1.1
#: After a share of the coarsest level's time, its best value may be so many times the best known
#: one: where it is farther off, ops want to be apart. The search cools over all of its time, so
#: that it tells little at first.
_PROBES = ((0.1, 3.0), (0.3, 1.3))
#: Fewer packs by this factor are asked for where the options say how many parts there are.
_LEAST_FACTOR = 3.0


def find_levels(problem: Problem, packs: int) -> list[Packed]:
    """Return packs of the ops, and packs of these, as far as they get fewer.

    Parameters
    ----------
    problem : Problem
    packs : int
        Parts that all work is cut into, on one level; 0: two levels of the usual sizes.
    """
    levels: list[Packed] = []
    for first, factor in ((packs, _LEAST_FACTOR),) if packs else _LEVELS:
        below = levels[-1].problem if levels else problem
        most = int(problem.arrays.op_count / factor)
        packed = _packed(below, first, most, halve=not packs)
        if packed is not None:
            levels.append(packed)
    return levels


def _packed(problem: Problem, packs: int, most: int, *, halve: bool) -> Packed | None:
    """Return packs, about so many at the most; None if they do not get so few.

    Parameters
    ----------
    problem : Problem
    packs : int
        Parts that all work is cut into at first.
    most : int
        Packs.
    halve : bool
        Whether to try with half as many parts, and so on, and to take what comes near.
    """
    tried: list[Packed] = []
    while packs >= (_LEAST_PARTS if halve else 1):
        try:
            tried.append(coarsen(problem, Caps(packs)))
        except GraphError:  # under liveness a pack may be too large for every device
            break
        if len(tried[-1].packs) <= most:
            return tried[-1]
        if not halve:
            return None
        packs //= 2
    least = min((len(item.packs) for item in tried), default=0)
    if not 0 < least <= _ENOUGH * most:
        return None
    return next(item for item in tried if len(item.packs) <= _AS_FEW * least)


class LevelRun(Run):
    """The run of a level: it ends early if it stays far behind what is known of the ops.

    Parameters
    ----------
    problem : Problem
    run : Run
        That of the ops; cancelled with it.
    seconds : float
    target : float
        Value that is to be come near to in the first part of the time.
    """

    def __init__(
        self, problem: Problem, run: Run, seconds: float = 0.0, target: float = math.inf
    ) -> None:
        self._target, self._seconds = target, max(0.0, seconds)
        super().__init__(
            problem, time_limit=self._seconds, seed=run.seed, workers=run.workers, inside=run
        )
        self.budget = self.budget.within(math.inf, lambda: self.hopeless)

    @property
    def hopeless(self) -> bool:
        """Whether the search is too far behind."""
        return any(
            self.elapsed > share * self._seconds and self.value > factor * self._target
            for share, factor in _PROBES
        )
