"""Running the formulations: placement alone, or placement first and then everything."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from talos_opt.core.problem import Bools, Floats, Ints, Problem
from talos_opt.core.result import Status
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import simulate
from talos_opt.solvers.engine.base import Verdict, is_placement_only
from talos_opt.solvers.engine.budget import Budget
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.ilp.backend import Job, Outcome
from talos_opt.solvers.ilp.bounding import safe_bound, time_error
from talos_opt.solvers.ilp.builder import BuildStoppedError
from talos_opt.solvers.ilp.cbc import solve_cbc
from talos_opt.solvers.ilp.diagnosis import diagnose
from talos_opt.solvers.ilp.extract import Values, read_placement, read_schedule, start_values
from talos_opt.solvers.ilp.first import balance_greedily
from talos_opt.solvers.ilp.highs import solve_highs
from talos_opt.solvers.ilp.placement import PlacementFormulation
from talos_opt.solvers.ilp.sequencing import SequencingFormulation
from talos_opt.solvers.ilp.windows import make_windows, possible_devices, safe_horizon
from talos_opt.solvers.shared.paths import best_times
from talos_opt.solvers.shared.steps import value_step

BACKENDS: dict[str, Callable[[Job], Outcome]] = {"highs": solve_highs, "cbc": solve_cbc}

#: Times are scaled so that the horizon is this long, and the objective so that its value is:
#: the absolute tolerances of the backends are then far below both.
_LONG = 100.0
#: Smallest improvement of the bound that is reported while the backend runs.
_BOUND_STEP = 1e-3
#: Share of the time, and gap, for a first placement where no schedule is known.
_FIRST_SHARE, _FIRST_GAP = 0.2, 0.02


class Search:
    """One solve.

    Parameters
    ----------
    problem : Problem
    run : Run
        Its incumbent, if there is one, is the start of the search.
    name : str
        Name to report under.
    backend : str
        A key of `BACKENDS`.
    mip_gap : float
        Relative gap at which the backend may stop.
    """

    def __init__(self, problem: Problem, run: Run, name: str, backend: str, mip_gap: float) -> None:
        self.problem, self.run, self.name = problem, run, name
        self.backend, self.mip_gap = BACKENDS[backend], mip_gap
        self.possible: Bools = possible_devices(problem)
        self.step = value_step(problem)
        #: What the backend's tolerances on times are worth in the objective.
        self.error = 0.0

    def solve(self) -> Verdict:
        """Search until proven, out of time or cancelled."""
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
        except BuildStoppedError:
            return self._verdict("the time limit was reached while the formulation was written")

    # ---- the two formulations --------------------------------------------------------------

    def _solve_placement(self) -> Verdict:
        scale = self._load_scale()
        unit = self._unit(scale)
        formulation = self._write_placement(scale, unit)
        return self._conclude(self._search(formulation, unit, self.mip_gap, self.run.budget))

    def _find_first(self) -> Verdict | None:
        """Look for a balanced placement: the start of the search, or a proof that none fits."""
        scale = self._load_scale()
        formulation = self._write_placement(scale, scale)
        budget = self.run.budget.within(_FIRST_SHARE * self.run.remaining)
        outcome = self._search(formulation, None, _FIRST_GAP, budget)
        return self._conclude(outcome) if outcome.status is Status.INFEASIBLE else None

    def _solve_sequence(self) -> Verdict:
        windows = make_windows(self.problem, self.possible, self.run.best)
        if not np.isfinite(windows.completion).all():
            return self._conclude(Outcome(Status.INFEASIBLE))
        scale = float(windows.deadline.max()) / _LONG or 1.0
        self.error = time_error(self.problem, scale)
        weight = float(self.problem.arrays.model_weight.max()) or 1.0
        unit = self._unit(scale * weight)
        formulation = SequencingFormulation(
            self.problem, self.possible, scale, self._stopped, windows, unit
        )
        return self._conclude(self._search(formulation, unit, self.mip_gap, self.run.budget))

    def _write_placement(self, scale: float, unit: float) -> PlacementFormulation:
        engines = self.problem.arrays.copy_engine
        formulation = PlacementFormulation(
            self.problem,
            self.possible,
            scale,
            self._stopped,
            lambda a, b: not (engines[a] and engines[b]),
        )
        formulation.minimise_bottleneck(unit)
        return formulation

    def _load_scale(self) -> float:
        arrays = self.problem.arrays
        time: Floats = np.where(self.possible[arrays.group], arrays.time, np.inf)
        return safe_horizon(self.problem, time) / arrays.device_count / _LONG or 1.0

    def _unit(self, otherwise: float) -> float:
        """Return what a unit of the objective is worth, so that its value is about `_LONG`."""
        known = self.run.value
        return known / _LONG if math.isfinite(known) and known > 0 else otherwise

    # ---- running a backend -----------------------------------------------------------------

    def _search(
        self, formulation: PlacementFormulation, unit: float | None, gap: float, budget: Budget
    ) -> Outcome:
        """Run the backend; again with a cut where memory was overrun below its tolerance.

        Parameters
        ----------
        formulation : PlacementFormulation
        unit : float or None
            What one unit of its objective is worth in the problem's; None: it has another
            objective, and its bounds say nothing.
        gap : float
        budget : Budget
        """
        while True:
            outcome = self.backend(
                Job(
                    formulation.write.program,
                    budget,
                    gap,
                    self.run.seed,
                    self.run.workers,
                    self._stopped,
                    lambda values: self._hand_in_all(formulation, values),
                    lambda bound: self._claim(bound, unit, running=True),
                    {} if self.run.best is None else start_values(formulation, self.run.best),
                )
            )
            if outcome.bound is not None:
                self._claim(outcome.bound, unit)
            if outcome.values is None:
                return outcome
            device = read_placement(formulation, outcome.values)
            self._hand_in_all(formulation, outcome.values)
            if not formulation.forbid_crowd(device) or self._stopped():
                return outcome

    def _hand_in_all(self, formulation: PlacementFormulation, values: Values) -> None:
        """Hand in the schedules that a solution stands for."""
        device = read_placement(formulation, values)
        schedule = None
        if isinstance(formulation, SequencingFormulation):
            schedule = read_schedule(formulation, values, device)
        if schedule is None:
            self._try(device)
        else:
            self._hand_in(schedule)
            self._hand_in(simulate(self.problem, device, schedule.start))

    def _try(self, device: Ints) -> None:
        """Hand in the schedules of a placement that list scheduling finds."""
        if not self.problem.keeps_stages(device):
            return  # balanced without a look at stages, or within a tolerance
        for priority in self._priorities():
            self._hand_in(simulate(self.problem, device, priority))

    def _priorities(self) -> list[Floats]:
        """Orders to try for a placement without one: by topology, and model by model."""
        arrays = self.problem.arrays
        rank = arrays.rank.astype(np.float64)
        if is_placement_only(self.problem):
            return [rank]
        work = np.bincount(arrays.model, weights=best_times(arrays))
        with np.errstate(divide="ignore", invalid="ignore"):
            smith = np.where(arrays.model_weight > 0, work / arrays.model_weight, np.inf)
        turn = np.argsort(np.argsort(smith, kind="stable"), kind="stable")
        return [rank, turn[arrays.model] * arrays.op_count + rank]

    def _hand_in(self, schedule: Schedule) -> None:
        # Within the backend's tolerances a device may be overrun by some bytes: the solution is
        # then no answer, and is cut off.
        self.run.consider(schedule, self.name)

    def _claim(self, bound: float, unit: float | None, *, running: bool = False) -> None:
        """Claim a bound; while the backend runs, only if it is worth a line in the history."""
        if unit is None or not math.isfinite(bound):
            return
        safe = safe_bound(bound, unit, self.step, self.error)
        if not running or safe > self.run.lower_bound * (1 + _BOUND_STEP):
            self.run.raise_bound(safe, self.name)

    def _stopped(self) -> bool:
        return self.run.stopped

    # ---- verdicts --------------------------------------------------------------------------

    def _conclude(self, outcome: Outcome) -> Verdict:
        if outcome.status is Status.INFEASIBLE and self.run.best is not None:
            self.run.note("ilp: the backend wrongly called the formulation infeasible: no proof")
        elif outcome.status is Status.INFEASIBLE:
            found = diagnose(self.problem, self.possible, self.backend, self.run)
            if found.counterexample is None:
                return Verdict(Status.INFEASIBLE, found.reason)
            self._try(found.counterexample)
        return self._verdict("no feasible schedule was found within the time limit")

    def _verdict(self, otherwise: str) -> Verdict:
        if self.run.best is None:
            return Verdict(Status.UNKNOWN, otherwise)
        return Verdict(Status.FEASIBLE)
