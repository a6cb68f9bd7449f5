"""The `fast` solver: local search from constructive starts, any time limit."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from talos_opt.core.problem import Objective, Problem
from talos_opt.core.result import Status
from talos_opt.solvers.engine.base import SAMPLE_FEATURES, Feature, Solver, Verdict
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.engine.warmup import get_ready, give_up, tiny_problem
from talos_opt.solvers.fast.chain import Chain, Turn
from talos_opt.solvers.fast.contiguous import contiguous_split
from talos_opt.solvers.fast.starts import RULES, find_starts, try_rules, wants_splits
from talos_opt.solvers.shared.instance import make_instance
from talos_opt.solvers.shared.obstacles import find_obstacle
from talos_opt.solvers.shared.squeezing import descend

#: Most chains: one per worker, up to this number.
_MOST_CHAINS = 8


class Round(NamedTuple):
    """A turn that all chains take at a time; afterwards all go on from the best point.

    Parameters
    ----------
    share : float
        Share of all the time, or of all moves.
    even, odd : float
        First temperature of the annealing by chains of even and of odd number, as a share of the
        value; 0 (`OTHER`): the other search.
    """

    share: float
    even: float
    odd: float


#: The other search: tabu search where it applies; under the bottleneck annealing that is led by all
#: loads instead of the largest one.
OTHER = 0.0
#: Hot cycles find other placements, where memory and transfers rule; cool ones, and tabu search,
#: other orders, where there is much to run side by side. Short rounds find out which start is
#: promising, and who does better on this problem; long ones finish.
TRIALS = (
    Round(0.05, OTHER, 0.003),
    Round(0.10, 0.03, OTHER),
    Round(0.10, OTHER, 0.01),
)
#: What follows if neither of the two won all trials, if the other search did, if annealing did.
MIXED = (Round(0.25, 0.003, 0.03), Round(0.20, OTHER, 0.001), Round(0.30, 0.01, OTHER))
OTHER_LEADS = (Round(0.25, OTHER, OTHER), Round(0.20, OTHER, 0.001), Round(0.30, OTHER, OTHER))
ANNEALING_LEADS = (Round(0.25, 0.003, 0.03), Round(0.20, 0.01, 0.001), Round(0.30, 0.01, 0.03))
#: What annealing starts with in place of the other search.
_INSTEAD = 0.03


@dataclass(frozen=True)
class FastOptions:
    """Options of `FastSolver`.

    Parameters
    ----------
    moves : int
        Moves that each chain tries; 0: until the time is over. With a number, the same seed and
        the same number of workers give the same answer.
    order_share : float
        Share of the annealing moves that change the order of the ops instead of the placement.
    rules : bool
        Whether to start from simple rules too where there is an incumbent; without one, always.
    """

    moves: int = 0
    order_share: float = 0.2
    rules: bool = True

    def __post_init__(self) -> None:
        if self.moves < 0:
            raise ValueError(f"moves is {self.moves}, expected at least 0")
        if not 0 <= self.order_share < 1:
            raise ValueError(f"order_share is {self.order_share}, expected 0 <= share < 1")


class FastSolver(Solver):
    """Annealing and tabu search in turns, one chain per worker, from constructive starts."""

    name = "fast"
    summary = "local search over placement and order from constructive starts; any time limit"
    features = SAMPLE_FEATURES | {Feature.FROZEN}
    Options = FastOptions

    def kernels(self, problem: Problem) -> tuple[str, ...]:
        """Return those of both searches, and that of contiguous splits where it is needed."""
        both = ("annealing", "reinsertion")
        return (*both, "splits") if wants_splits(problem) else both

    def solve(self, problem: Problem, run: Run) -> Verdict:
        """Improve until the time, or the number of moves, is used up."""
        if problem.objective is Objective.MEMORY:
            if run.best is None:
                try_rules(problem, run, self.name, RULES)
            return descend(problem, run, self.solve, self.name)
        obstacle = find_obstacle(problem)
        if obstacle:
            return Verdict(Status.INFEASIBLE, obstacle)
        first, second, *rest = self.kernels(problem)
        run.kernels.start(first, *rest, second)
        names = RULES if self.options.rules or run.best is None else ()
        rules = try_rules(problem, run, self.name, names)  # while kernels are loaded
        if not get_ready(run, first, *rest):
            return give_up(run, self.name)
        both = get_ready(run, second, urgent=False)
        starts = find_starts(problem, run, self.name, rules)
        if run.stopped and run.best is not None:
            return Verdict(Status.FEASIBLE)
        if not starts:
            return Verdict(Status.UNKNOWN, "fast: nothing to start from keeps the rule for stages")
        instance = make_instance(problem)
        chains = [
            Chain(
                problem, instance, run.seed * 1000 + number, starts[number % len(starts)], tabu=both
            )
            for number in range(max(1, min(run.workers, _MOST_CHAINS)))
        ]
        begin, total, spent = run.clock(), run.remaining, 0.0
        won = {OTHER: 0, _INSTEAD: 0}
        with ThreadPoolExecutor(len(chains)) as pool:
            for turn in chain_rounds(won):
                spent += turn.share
                moves = self.options.moves
                count = max(1, int(moves * turn.share)) if moves else 0
                hots = [turn.odd if number % 2 else turn.even for number in range(len(chains))]
                until = Turn(count, begin + spent * total)
                try:
                    list(pool.map(lambda c, h, t=until: self._improve(c, h, t, run), chains, hots))
                except BaseException:  # Ctrl-C: the pool waits for its threads
                    run.cancel.set()
                    raise
                _count_win(chains, hots, won)
                best = min(chains, key=Chain.rank)
                _offer(problem, best, run)
                for chain in chains:
                    chain.restart(best)
                if run.stopped:
                    break
        if run.best is not None:
            return Verdict(Status.FEASIBLE)
        return Verdict(
            Status.UNKNOWN, f"fast: every placement tried exceeds memory by {best.excess()} bytes"
        )

    def _improve(self, chain: Chain, hot: float, turn: Turn, run: Run) -> None:
        """Let a chain take its turn."""
        if hot == OTHER and chain.can_reinsert:
            chain.reinsert(turn, run)
        else:
            smooth = hot == OTHER and chain.counts_loads
            chain.cool(turn, run, hot or _INSTEAD, self.options.order_share, smooth=smooth)


def chain_rounds(won: dict[float, int]) -> Iterator[Round]:
    """Yield the trials, then the rounds that suit who won them."""
    yield from TRIALS
    if won[OTHER] == len(TRIALS):
        yield from OTHER_LEADS
    elif won[_INSTEAD] == len(TRIALS):
        yield from ANNEALING_LEADS
    else:
        yield from MIXED


def _count_win(chains: list[Chain], hots: list[float], won: dict[float, int]) -> None:
    """Count a round for the other search or for annealing, if one of them got further."""
    ranks: dict[float, tuple[float, float]] = {}
    for chain, hot in zip(chains, hots, strict=True):
        other = hot == OTHER and (chain.can_reinsert or chain.counts_loads)
        kind = OTHER if other else _INSTEAD
        ranks[kind] = min(chain.rank(), ranks.get(kind, chain.rank()))
    if len(ranks) == 2 and ranks[OTHER] != ranks[_INSTEAD]:
        won[min(ranks, key=lambda kind: ranks[kind])] += 1


def _offer(problem: Problem, chain: Chain, run: Run) -> None:
    overflow, value = chain.rank()
    if overflow == 0 and value < run.value:
        run.offer(chain.schedule(), FastSolver.name)


def use_annealing() -> None:
    """Call annealing, and the kernels beside both searches."""
    chain = _tiny_chain()
    chain.anneal(1, 1.0, 1.0, 0.5)
    chain.schedule()
    contiguous_split(tiny_problem().with_objective(Objective.BOTTLENECK))


def use_reinsertion() -> None:
    """Call tabu search, and nothing that compiles annealing."""
    _tiny_chain().reinsert(Turn(1, 0.0), Run(tiny_problem()))


def _tiny_chain() -> Chain:
    problem = tiny_problem()
    order = problem.arrays.order.copy()
    start = (np.zeros(2, dtype=np.int64), order)
    chain = Chain(problem, make_instance(problem), 0, start, valued=False)
    chain.state.best_order[:] = order
    return chain
