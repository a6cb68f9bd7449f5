"""The ``ilp`` solver."""

from __future__ import annotations

from dataclasses import dataclass

from talos_opt.core.errors import UnsupportedError
from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.solvers.bounds import root_bound
from talos_opt.solvers.engine.base import (
    SAMPLE_FEATURES,
    Feature,
    Solver,
    Verdict,
    is_placement_only,
)
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.ilp.search import BACKENDS, Search
from talos_opt.solvers.ilp.tensors import occupying_transfers
from talos_opt.solvers.ilp.windows import possible_devices
from talos_opt.solvers.shared.obstacles import find_obstacle


@dataclass(frozen=True)
class IlpOptions:
    """Options of the ``ilp`` solver.

    Parameters
    ----------
    backend : {'highs', 'cbc'}
    mip_gap : float
        Relative gap at which the backend may stop, in [0, 1).
    max_ops : int
        Most ops, transfers that occupy a device included, of a problem whose order is to be
        decided (objectives toct and makespan): the formulation grows with the square.
    max_placement_ops : int
        Most ops of a problem of placement alone (objective bottleneck).

    Raises
    ------
    ValueError
        On an unknown backend or a number out of range.
    """

    backend: str = "highs"
    mip_gap: float = 0.0
    max_ops: int = 100
    max_placement_ops: int = 10_000

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise ValueError(f"backend is {self.backend!r}, expected one of {', '.join(BACKENDS)}")
        if not 0 <= self.mip_gap < 1:
            raise ValueError(f"mip_gap is {self.mip_gap!r}, expected at least 0 and below 1")
        for name in ("max_ops", "max_placement_ops"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected at least 1")


class IlpSolver(Solver):
    """Exact solver over mixed-integer programming (PuLP; HiGHS or CBC)."""

    name = "ilp"
    summary = "exact, mixed-integer programming through PuLP (HiGHS or CBC); for small graphs"
    exact = True
    features = SAMPLE_FEATURES - {Feature.MEMORY, Feature.PEAK_MEMORY, Feature.SERIAL_LINKS}
    Options = IlpOptions

    def solve(self, problem: Problem, run: Run) -> Verdict:
        """Search until proven, out of time or cancelled.

        Raises
        ------
        UnsupportedError
            If the problem uses what the formulation does not cover, or is too large for it.
        """
        self.require(problem)
        self._require_size(problem)
        obstacle = find_obstacle(problem)
        if obstacle:
            return Verdict(Status.INFEASIBLE, obstacle)
        run.raise_bound(root_bound(problem, lambda: run.stopped), self.name)
        return Search(problem, run, self.name, self.options.backend, self.options.mip_gap).solve()

    def _require_size(self, problem: Problem) -> None:
        if is_placement_only(problem):
            self._refuse_above("max_placement_ops", problem.arrays.op_count, "ops", problem)
        else:
            moves = occupying_transfers(problem, possible_devices(problem))
            what = f"ops and up to {moves} transfers that occupy a device" if moves else "ops"
            self._refuse_above("max_ops", problem.arrays.op_count + moves, what, problem)

    def _refuse_above(self, option: str, size: int, what: str, problem: Problem) -> None:
        limit = getattr(self.options, option)
        if size > limit:
            count = problem.arrays.op_count
            raise UnsupportedError(
                f"solver {self.name!r} takes at most {limit} ops under objective "
                f"{problem.objective.value}, this graph has {count} {what}: the formulation would "
                f"be too large to solve; use cpsat or auto, or raise the option {option}"
            )
