"""`auto`: cheap answers first, then the exact solvers in their shadow."""

from __future__ import annotations

from collections.abc import Iterator

from talos_opt.core.errors import UnsupportedError
from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.solvers import registry
from talos_opt.solvers.base import NoOptions, Solver, Verdict
from talos_opt.solvers.run import Run

#: In order of cost; run until the time is over, so that the answer is no worse than the best.
BASELINES = ("single", "sequential", "aswm", "tsam", "heft", "etf", "talos")

#: From this size on the dynamic programme is tried before CP-SAT; below, CP-SAT needs less than
#: loading the compiled kernel takes.
_DP_FROM_OPS = 30
#: Share of the remaining time that the dynamic programme may take: a graph that turns out not to
#: be narrow must leave CP-SAT its turn.
_DP_SHARE = 0.5
#: Building CP-SAT's formulation for more ops than this takes longer than it is worth.
_CPSAT_UP_TO_OPS = 20_000


class AutoSolver(Solver):
    """Baselines and Talos, then the exact solvers with the best of them as incumbent.

    Never worse than the best baseline, and always with a proven bound: the root bounds, and
    whatever an exact solver proves in the time that is left.
    """

    name = "auto"
    summary = "baselines and talos first, then the exact solvers; the best of all"
    exact = True
    Options = NoOptions

    def solve(self, problem: Problem, run: Run) -> Verdict:
        """Run the solvers in turn until the answer is proven or the time is over."""
        reason = ""
        for name in BASELINES:
            if run.stopped:
                break
            reason = reason or registry.create(name).solve(problem, run).reason
        for solver, share in _exact(problem):
            if run.stopped:
                break
            with run.limited_to(share * run.remaining):
                verdict = solver.solve(problem, run)
            if verdict.status is Status.INFEASIBLE:
                return verdict
        if run.best is not None:
            return Verdict(Status.FEASIBLE)
        return Verdict(Status.UNKNOWN, f"no schedule was found within the time limit; {reason}")


def _exact(problem: Problem) -> Iterator[tuple[Solver, float]]:
    """Yield the exact solvers that suit a problem, with their share of the remaining time."""
    count = problem.arrays.op_count
    if count >= _DP_FROM_OPS:
        solver = registry.create("dp", {"most_ideals": 3000})
        try:
            solver.require(problem)
        except UnsupportedError:
            pass
        else:
            yield solver, _DP_SHARE
    if count <= _CPSAT_UP_TO_OPS:
        yield registry.create("cpsat"), 1.0
