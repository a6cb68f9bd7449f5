"""The solver for graphs that are too large for everything else."""

from __future__ import annotations

from dataclasses import dataclass

from talos_opt.core.problem import Objective, Problem
from talos_opt.core.result import Status
from talos_opt.solvers.engine.base import Solver, Verdict
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.engine.warmup import get_ready, give_up, tiny_problem
from talos_opt.solvers.large.loads import Balancer
from talos_opt.solvers.large.passes import Passes
from talos_opt.solvers.large.search import Search
from talos_opt.solvers.shared.obstacles import find_obstacle
from talos_opt.solvers.shared.squeezing import descend


@dataclass(frozen=True)
class LargeOptions:
    """Options of `LargeSolver`.

    Parameters
    ----------
    passes : int
        Passes to make over the graph (or calls of the single-move kernel); 0: until the time is
        over. With a number, the same seed and the same number of workers give the same answer.
    """

    passes: int = 0

    def __post_init__(self) -> None:
        if self.passes < 0:
            raise ValueError(f"passes is {self.passes}, expected at least 0")


class LargeSolver(Solver):
    """Constructive passes that are linear in the number of ops and edges.

    One pass places every op where it ends first (`talos_opt.kernels.placing`); then the placement
    is scheduled with all of the model. A handful of numbers steers a pass: the search tries those
    that usually do well, then variations of the best. Under the objective ``bottleneck`` loads
    are evened out, by a greedy pass and then by single moves.
    """

    name = "large"
    summary = "linear-time passes for graphs of up to millions of ops, tuned until the limit"
    Options = LargeOptions

    def kernels(self, problem: Problem) -> tuple[str, ...]:
        """Return those of the passes that the objective asks for."""
        bottleneck = problem.objective is Objective.BOTTLENECK
        return ("loads" if bottleneck else "passes", "paths")

    def solve(self, problem: Problem, run: Run) -> Verdict:
        """Find a schedule, then better ones until the time, or the passes, are used up."""
        if problem.objective is Objective.MEMORY:
            return descend(problem, run, self.solve, self.name)
        obstacle = find_obstacle(problem)
        if obstacle:
            return Verdict(Status.INFEASIBLE, obstacle)
        if not get_ready(run, *self.kernels(problem)):
            return give_up(run, self.name)
        passes = Passes(problem, run.seed)
        kind = Balancer if problem.objective is Objective.BOTTLENECK else Search
        search = kind(passes, run)
        search.start()
        if run.best is None:
            return Verdict(
                Status.UNKNOWN,
                "large: every placement tried exceeds memory, or separates ops that have no route",
            )
        search.improve(self.options.passes)
        return Verdict(Status.FEASIBLE)


def use_passes() -> None:
    """Call the kernels that place ops by when they end."""
    _use_kernels(Objective.TOCT)


def use_loads() -> None:
    """Call the kernels that even out loads."""
    _use_kernels(Objective.BOTTLENECK)


def _use_kernels(objective: Objective) -> None:
    problem = tiny_problem().with_objective(objective)
    passes = Passes(problem, 0)
    passes.use_others()
    kind = Balancer if objective is Objective.BOTTLENECK else Search
    search = kind(passes, Run(problem, time_limit=60.0))
    search.start()
    search.improve(1)
