"""The ``ilp`` solver: placement alone, or placement and sequencing, as one MILP."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from talos_opt.core.errors import InfeasibleScheduleError, UnsupportedError
from talos_opt.core.problem import Bools, Floats, Ints, Objective, Problem
from talos_opt.core.result import Status
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import simulate
from talos_opt.solvers.base import Feature, Solver, Verdict, is_placement_only
from talos_opt.solvers.bounds import best_times, root_bound
from talos_opt.solvers.cpsat.grid import make_grid, whole_weights
from talos_opt.solvers.ilp.backend import Job, Outcome
from talos_opt.solvers.ilp.builder import BuildStopped
from talos_opt.solvers.ilp.cbc import solve_cbc
from talos_opt.solvers.ilp.diagnosis import explain_infeasible
from talos_opt.solvers.ilp.extract import Values, read_placement, read_schedule, start_values
from talos_opt.solvers.ilp.first import balance_greedily
from talos_opt.solvers.ilp.highs import solve_highs
from talos_opt.solvers.ilp.placement import Placement, tensors_of
from talos_opt.solvers.ilp.sequencing import Sequencing
from talos_opt.solvers.ilp.windows import make_windows, possible_devices, safe_horizon
from talos_opt.solvers.obstacles import find_obstacle
from talos_opt.solvers.run import Run

BACKENDS: dict[str, Callable[[Job], Outcome]] = {"highs": solve_highs, "cbc": solve_cbc}

#: Times are scaled so that the horizon is this long: absolute tolerances are then far below it.
_HORIZON = 100.0
#: A MILP bound holds up to the backend's tolerances (1e-9 on rows and integrality, and node
#: pruning and printed digits at 1e-7 or less, all absolute, on objectives of the order of
#: `_HORIZON`): it is lowered by this absolute amount and this share before it is claimed.
_ABSOLUTE, _RELATIVE = 1e-6, 2e-7
#: Smallest improvement of the bound that is reported while the backend runs.
_BOUND_STEP = 1e-3
#: Share of the time, and gap, for a first placement where no schedule is known.
_FIRST_SHARE, _FIRST_GAP = 0.2, 0.02


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
    features = frozenset(Feature) - {Feature.PEAK_MEMORY, Feature.SERIAL_LINKS}
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
        run.raise_bound(root_bound(problem), self.name)
        return _Search(problem, run, self.options, self.name).solve()

    def _require_size(self, problem: Problem) -> None:
        if is_placement_only(problem):
            self._refuse_above("max_placement_ops", problem.arrays.op_count, "ops", problem)
        else:
            moves = occupying_transfers(problem)
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


class _Search:
    """One solve: placement first if nothing is known, then everything."""

    def __init__(self, problem: Problem, run: Run, options: IlpOptions, name: str) -> None:
        self.problem, self.run, self.options, self.name = problem, run, options, name
        self.possible: Bools = possible_devices(problem)
        self.step = value_step(problem)

    def solve(self) -> Verdict:
        try:
            if self.run.best is None:
                device = balance_greedily(self.problem, self.possible)
                if device is not None:
                    self._try(device)
            if is_placement_only(self.problem):
                return self._solve_placement()
            if self.run.best is None or self.run.best_solver == self.name:
                verdict = self._find_first()
                if verdict is not None:
                    return verdict
            return self._solve_sequence()
        except BuildStopped:
            return self._verdict("the time limit was reached while the formulation was written")

    # ---- the two formulations --------------------------------------------------------------

    def _solve_placement(self) -> Verdict:
        formulation, scale = self._write_placement(self.problem)
        outcome = self._search(formulation, scale, self.options.mip_gap, self.run.deadline)
        return self._conclude(outcome)

    def _find_first(self) -> Verdict | None:
        """Look for a balanced placement: the start of the search, or a proof that none fits."""
        balanced = self.problem.with_objective(Objective.BOTTLENECK)
        formulation, _ = self._write_placement(balanced)
        deadline = time.monotonic() + _FIRST_SHARE * self.run.remaining
        outcome = self._search(formulation, None, _FIRST_GAP, deadline)
        if outcome.status is Status.INFEASIBLE:
            return self._conclude(outcome)
        return None

    def _solve_sequence(self) -> Verdict:
        windows = make_windows(self.problem, self.possible, self.run.best)
        if not np.isfinite(windows.completion).all():
            return self._conclude(Outcome(Status.INFEASIBLE))
        scale = float(windows.deadline.max()) / _HORIZON or 1.0
        formulation = Sequencing(self.problem, self.possible, scale, self._stopped, windows)
        outcome = self._search(
            formulation, formulation.unit, self.options.mip_gap, self.run.deadline
        )
        return self._conclude(outcome)

    def _write_placement(self, problem: Problem) -> tuple[Placement, float]:
        arrays = problem.arrays
        time: Floats = np.where(self.possible[arrays.group], arrays.time, np.inf)
        scale = safe_horizon(problem, time) / max(1, arrays.device_count) / _HORIZON or 1.0
        engines = arrays.copy_engine
        formulation = Placement(
            problem,
            self.possible,
            scale,
            self._stopped,
            lambda a, b: not (engines[a] and engines[b]),
        )
        formulation.minimise_bottleneck()
        return formulation, scale

    # ---- running a backend -----------------------------------------------------------------

    def _search(
        self, formulation: Placement, unit: float | None, gap: float, deadline: float
    ) -> Outcome:
        """Run the backend; again with a cut where memory was overrun below its tolerance.

        Parameters
        ----------
        formulation : Placement
        unit : float or None
            What one unit of its objective is worth in the problem's; None: it has another
            objective, and its bounds say nothing.
        gap : float
        deadline : float
            `time.monotonic` value at which to stop.
        """
        while True:
            outcome = BACKENDS[self.options.backend](
                Job(
                    formulation.write.program,
                    deadline,
                    gap,
                    self.run.seed,
                    self.run.workers,
                    self._stopped,
                    lambda values: self._offer(formulation, values),
                    lambda bound: self._claim(bound, unit, running=True),
                    {} if self.run.best is None else start_values(formulation, self.run.best),
                )
            )
            if outcome.bound is not None:
                self._claim(outcome.bound, unit)
            if outcome.values is None:
                return outcome
            device = self._offer(formulation, outcome.values)
            if not formulation.forbid_crowd(device) or self._stopped():
                return outcome

    def _offer(self, formulation: Placement, values: Values) -> Ints:
        """Hand the schedules that a solution stands for to the run; return its placement."""
        device = read_placement(formulation, values)
        if isinstance(formulation, Sequencing):
            schedule = read_schedule(formulation, values, device)
            if schedule is not None:
                self._hand_in(schedule)
                self._hand_in(simulate(self.problem, device, schedule.start))
                return device
        self._try(device)
        return device

    def _try(self, device: Ints) -> None:
        """Hand in the schedules of a placement that list scheduling finds."""
        for priority in self._priorities():
            self._hand_in(simulate(self.problem, device, priority))

    def _priorities(self) -> list[Floats]:
        """Orders to try for a placement without one: by topology, and model by model."""
        arrays = self.problem.arrays
        rank = np.empty(arrays.op_count)
        rank[arrays.order] = np.arange(arrays.op_count)
        if is_placement_only(self.problem):
            return [rank]
        work = np.bincount(arrays.model, weights=best_times(arrays))
        with np.errstate(divide="ignore", invalid="ignore"):
            smith = np.where(arrays.model_weight > 0, work / arrays.model_weight, np.inf)
        turn = np.argsort(np.argsort(smith, kind="stable"), kind="stable")
        return [rank, turn[arrays.model] * arrays.op_count + rank]

    def _hand_in(self, schedule: Schedule) -> None:
        try:
            self.run.offer(schedule, self.name)
        except InfeasibleScheduleError as error:
            # Within the backend's tolerances a device may be overrun by some bytes: the
            # solution is then no answer, and is cut off. Anything else is a mistake here.
            if not all(item.startswith("memory") for item in error.violations):
                raise

    def _claim(self, bound: float, unit: float | None, *, running: bool = False) -> None:
        """Lower a MILP bound to what is safe, round it up to a possible value, and claim it.

        While the backend runs, only steps worth a line in the history are passed on.
        """
        if unit is None or not math.isfinite(bound):
            return
        safe = (bound - _ABSOLUTE - _RELATIVE * abs(bound)) * unit
        if self.step > 0:
            safe = max(safe, math.ceil(safe / self.step - _ABSOLUTE) * self.step)
        if not running or safe > self.run.lower_bound * (1 + _BOUND_STEP):
            self.run.raise_bound(safe, self.name)

    def _stopped(self) -> bool:
        return self.run.stopped

    # ---- verdicts --------------------------------------------------------------------------

    def _conclude(self, outcome: Outcome) -> Verdict:
        if outcome.status is not Status.INFEASIBLE or self.run.best is not None:
            return self._verdict("no feasible schedule was found in the time given")
        reason = explain_infeasible(
            self.problem,
            self.possible,
            BACKENDS[self.options.backend],
            self.run,
        )
        return Verdict(Status.INFEASIBLE, reason)

    def _verdict(self, otherwise: str) -> Verdict:
        if self.run.best is None:
            return Verdict(Status.UNKNOWN, otherwise)
        return Verdict(Status.FEASIBLE)


def value_step(problem: Problem) -> float:
    """Return a number that every value of the objective is a multiple of; 0 if none is known.

    Where all times are multiples of a tick, so are completion times and loads, and a bound can
    be rounded up to the next multiple.
    """
    grid = make_grid(problem)
    if not grid.exact:
        return 0.0
    if problem.objective is Objective.MAKESPAN:
        return 1.0 / grid.per_unit
    if problem.objective is Objective.BOTTLENECK:  # loads are divided over slots
        divided = grid.per_unit % int(np.lcm.reduce(problem.arrays.slots)) == 0
        return 1.0 / grid.per_unit if divided else 0.0
    weights = problem.arrays.model_weight
    whole, factor = whole_weights(weights)
    if any(known / factor != weight for known, weight in zip(whole, weights.tolist(), strict=True)):
        return 0.0
    return 1.0 / (grid.per_unit * factor)


def occupying_transfers(problem: Problem) -> int:
    """Return how many hops might have to be sequenced on devices without a copy engine."""
    arrays = problem.arrays
    if arrays.copy_engine.all():
        return 0
    possible = possible_devices(problem)
    targets = np.arange(arrays.device_count)
    count = 0
    for tensor in tensors_of(problem):
        into: set[int] = set()
        for s in np.flatnonzero(possible[tensor.group]).tolist():
            for t in targets[possible[[group for group, _ in tensor.readers]].any(axis=0)].tolist():
                into.update(
                    b
                    for a, b in arrays.path(s, t) or ()
                    if not (arrays.copy_engine[a] and arrays.copy_engine[b])
                    and arrays.transfer_time(a, b, tensor.sizes[-1]) > 0
                )
        count += len(into)
    return count
