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

from talos_opt.core.problem import MemoryRule, Objective, Problem, StageRule
from talos_opt.solvers.engine.base import is_placement_only
from talos_opt.solvers.shared.queues import is_shop
from talos_opt.solvers.shared.whole_models import MANY_MODELS

#: Below this size CP-SAT needs less time than loading compiled kernels takes.
SMALL = 30
#: Up to this size the full CP-SAT formulation proves optima in seconds to minutes.
PROVABLE = 120
#: Above this size building CP-SAT's formulation takes longer than it is worth.
CPSAT_UP_TO_OPS = 5_000
#: Above this size CP-SAT finds nothing about memory over time within a minute.
_LIVE_UP_TO_OPS = 300
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
#: The same, over packs of ops before the ops themselves.
_PACKS_FIRST = _FAST_FIRST._replace(solver="coarse")
#: What it finds at all is found early, unless the order decides whether there is a schedule.
_BEAM = Stage("beam", 0.4)
_COARSE = Stage("coarse", 0.7, {"share": 1.0})

#: Simple rules have had their turn.
_GO_ON = {"rules": False}
#: From this size on merging ops finds what moving single ones does not, if it has the time.
_MERGE_FROM = 500
_MERGING = Stage("coarse", 2.0, {"share": 1.0})

#: Whatever stops one of them short, the next begins with what it has learned.
_SMALL_AGAIN = (
    Stage("dp", 0.3),
    Stage("relax", 0.3),
    Stage("fast", 0.3),
    Stage("lns", 0.3),
    Stage("cpsat", 1.0),
)
#: Steps of a pipeline are nobody else's matter.
_PIPELINE = Stage("pipeline", 1.0)
#: Nothing is to be ordered: loads under the static rule.
_PLACEMENT_ONLY = (
    _FAST_FIRST,
    Stage("relax", 0.4, {"superblocks": False}),
    Stage("cpsat", 0.4),
    Stage("relax", 0.4, {"contents": False}),
    Stage("cpsat", 0.5),
)
#: Stages that are acyclic are chains of order ideals.
_SPLITS = Stage("dp", 0.5)
_BOUNDS = (Stage("dp", 0.4, {"most_ideals": 3000}), Stage("relax", 0.35))
#: Objective memory: an order first; then whatever finds schedules within smaller devices.
_LEAST_MEMORY = (
    Stage("relax", 0.2),
    Stage("beam", 0.5),
    Stage("fast", 0.5),
    Stage("cpsat", 0.5),
    Stage("beam", 0.5),
    Stage("fast", 1.0),
)
#: On one device an order is all that there is to find.
_ORDER_ALONE = (Stage("dp", 0.2), Stage("beam", 0.5), Stage("dp", 0.5), Stage("beam", 1.0))
#: Most is to be found by ordering, which `shop` does best.
_SHOP_FIRST = Stage("shop", 0.3, most_s=2.0, most_s_per_op=0.01)
_THOUSANDS = (Stage("coarse", 0.5, {"share": 1.0}), Stage("large", 0.2))
_FIRST_LARGE, _LAST_LARGE = Stage("large", 0.3), Stage("large", 1.0)


def stages(problem: Problem) -> Iterator[Stage]:
    """Return the turns that suit a problem, by its size; without end where it is small."""
    count = problem.arrays.op_count
    if problem.is_pipelined:
        return iter((_PIPELINE,))
    if _to_plan(problem) < SMALL:
        return chain((Stage("cpsat", 0.5),), cycle(_SMALL_AGAIN))
    if problem.objective is Objective.MEMORY and count <= LARGE:
        return _for_memory(problem)
    tight = problem.memory_rule is MemoryRule.PEAK and problem.arrays.memory_limited
    if tight and count <= LARGE:
        return chain((_BEAM,), _by_size(problem))
    return _by_size(problem)


def _to_plan(problem: Problem) -> int:
    """Return the number of ops that have not started, on which it depends what can be proven."""
    count, frozen = problem.arrays.op_count, problem.frozen
    if frozen is None or count > CPSAT_UP_TO_OPS:
        return count
    return count - int(frozen.started.sum())


def _for_memory(problem: Problem) -> Iterator[Stage]:
    if problem.arrays.device_count == 1:
        return iter(_ORDER_ALONE)
    most = CPSAT_UP_TO_OPS if is_placement_only(problem) else _LIVE_UP_TO_OPS
    few = problem.arrays.op_count <= most
    return iter(stage for stage in _LEAST_MEMORY if few or stage.solver != "cpsat")


def _by_size(problem: Problem) -> Iterator[Stage]:
    count = problem.arrays.op_count
    if problem.stages and count > CPSAT_UP_TO_OPS:
        return iter((Stage("dp", 0.5),))  # then `searches`
    if problem.stages.rule is not StageRule.ANY and is_placement_only(problem):
        return iter((_SPLITS, *_PLACEMENT_ONLY))
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
    exact = (Stage("cpsat", 0.5),) if _to_plan(problem) <= PROVABLE else ()
    first = (_FIRST_LARGE,) if many else ()
    if is_shop(problem):
        return iter((*first, _SHOP_FIRST, *_BOUNDS, *exact))
    packed = count >= _MERGE_FROM and not (many or problem.stages) and problem.frozen is None
    return iter((*first, _PACKS_FIRST if packed else _FAST_FIRST, *_BOUNDS, *exact))


def searches(problem: Problem) -> tuple[Stage, ...]:
    """Return those that share what time is left, by what they gain; none: the stages end it.

    The first is the one to rely on, the others are tried; their shares say how long, beside 1.
    """
    count = problem.arrays.op_count
    if (
        _to_plan(problem) < SMALL
        or problem.is_pipelined
        or (count > LARGE and not problem.stages)
        or problem.objective is Objective.MEMORY
    ):
        return ()
    merging = (_MERGING,) if count >= _MERGE_FROM else ()
    fast, shop, lns = Stage("fast", 1.0, _GO_ON), Stage("shop", 1.0, _GO_ON), Stage("lns", 1.0)
    if count > CPSAT_UP_TO_OPS:
        return (fast, Stage("large", 1.0), *merging)
    if is_placement_only(problem):
        return (fast, lns)
    if is_shop(problem):
        # Where several completions count, `fast` calculates what a move does to each.
        return (shop, lns, fast)
    return (fast, lns, *merging)


def last_stage(problem: Problem) -> Stage:
    """Return a turn that always finds something to do."""
    if problem.stages:
        return Stage("fast", 1.0)
    if problem.arrays.op_count > LARGE:
        return Stage("large", 1.0)
    return Stage("shop" if is_shop(problem) else "fast", 1.0)
