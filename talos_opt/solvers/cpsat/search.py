"""Runs CP-SAT on a thread of its own and turns what it finds into schedules and bounds.

The caller's thread stays free, so that signals, cancellation and the time limit are looked at
every few milliseconds, and schedules are rebuilt and checked outside CP-SAT's callbacks.
"""

from __future__ import annotations

import math
import threading
import time
from typing import Any, NamedTuple

import numpy as np

from talos_opt.core.errors import (
    InfeasibleScheduleError,
    InternalError,
    RefutedProofError,
    SolverError,
)
from talos_opt.core.problem import Ints, Objective, Problem
from talos_opt.core.result import Status
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import Activity, MemoryDeadlockError, retime, simulate
from talos_opt.solvers.cpsat.answers import Answer, read_answer
from talos_opt.solvers.cpsat.backend import make_solver
from talos_opt.solvers.cpsat.checks import second_opinion
from talos_opt.solvers.cpsat.image import image_of
from talos_opt.solvers.cpsat.placement import PlacementFormulation
from talos_opt.solvers.cpsat.sequencing import SequencingFormulation
from talos_opt.solvers.engine.base import Verdict
from talos_opt.solvers.engine.run import Run

#: Seconds between looks at the clock and the cancel flag while CP-SAT runs.
_PATIENCE = 0.05
#: A proof that took less than so many seconds gets a second opinion.
QUICK_S = 1.0
#: CP-SAT has work for some dozens of threads, and refuses more than some thousands.
_MOST_WORKERS = 256
#: Share of the remaining time kept back for rebuilding the last schedule.
_RESERVE = 0.02
#: Share of the time that building took, kept back too: CP-SAT looks at the clock rarely while it
#: presolves, and is late by about so much (0.5 s after 3.5 s of building, 0.05 s after 0.5 s).
_LATENESS = 0.2


class Searched(NamedTuple):
    """How a search ended.

    Parameters
    ----------
    verdict : Verdict
    finished : bool
        The formulation was solved to its optimum.
    """

    verdict: Verdict
    finished: bool = False


def hint(formulation: PlacementFormulation, schedule: Schedule) -> None:
    """Give CP-SAT a known schedule to start from, relabelled to its canonical devices."""
    arrays, model = formulation.arrays, formulation.model
    group_device = np.zeros(arrays.group_count, dtype=np.int64)
    group_device[arrays.group] = schedule.device
    label = formulation.relabelled(schedule.device)
    for group, row in enumerate(formulation.x):
        for d, literal in enumerate(row):
            if literal is not None:
                model.add_hint(literal, bool(label[group_device[group]] == d))
    if not isinstance(formulation, SequencingFormulation):
        return
    image = image_of(formulation, schedule)
    for i, (first, last) in enumerate(image.ops):
        model.add_hint(formulation.start[i], first)
        model.add_hint(formulation.end[i], last)
    for row_, (first, last) in zip(schedule.transfers.rows(), image.hops, strict=True):
        source, target = int(label[row_.source]), int(label[row_.target])
        if formulation.hops_are_activities:
            key = (row_.tensor, source, target)
            if key in formulation.hop_start:
                model.add_hint(formulation.hop_start[key], first)
                model.add_hint(formulation.hop_end[key], last)
        elif (row_.tensor, target) in formulation.arrival:
            model.add_hint(formulation.arrival[row_.tensor, target], last)


def rebuild(problem: Problem, formulation: PlacementFormulation, answer: Answer) -> list[Schedule]:
    """Return exact schedules for a grid solution: its own order re-timed, and list scheduled.

    The second often closes idle time that CP-SAT left where the objective did not mind.
    """
    arrays = problem.arrays
    device = answer.group_device[arrays.group]
    if not answer.start and not formulation.relaxed:
        return [simulate(problem, device, problem.arrays.rank)]
    if formulation.relaxed:
        try:
            return [simulate(problem, device, answer.start or problem.arrays.rank)]
        except MemoryDeadlockError:
            return []  # the relaxation knows no memory over time
    ops = [Activity(a, b) for a, b in zip(answer.start, answer.end, strict=True)]
    home = device[arrays.tensor_op]
    hops = {
        (tensor, target): Activity(*times)
        for (tensor, source, target), times in answer.hops.items()
        if source in (int(home[tensor]), int(arrays.via[home[tensor], target]))
    }
    if not answer.hops and isinstance(formulation, SequencingFormulation):
        hops = _eager_hops(formulation, answer, device)
    found = [retime(problem, device, ops, hops)]
    try:
        found.append(simulate(problem, device, answer.start))
    except MemoryDeadlockError:
        return found  # the list scheduler is more careful with memory than it need be
    return found


def _eager_hops(
    formulation: SequencingFormulation, answer: Answer, device: Ints
) -> dict[tuple[int, int], Activity]:
    """Grid times of hops that nothing delays: each starts when its tensor is at its source."""
    from talos_opt.core.transfers import plan_transfers

    grid = formulation.grid
    hops: dict[tuple[int, int], Activity] = {}
    maker = formulation.arrays.tensor_op.tolist()
    for tensor, targets in enumerate(plan_transfers(formulation.problem, device)):
        op = maker[tensor]
        home = int(device[op])
        for target, hop in sorted(targets.items(), key=lambda item: item[1].source != home):
            start = float(max(answer.end[op], formulation.soonest))
            if (tensor, target) in formulation.begun_hops:
                start = float(formulation.begun_hops[tensor, target])
            elif hop.source != home and (tensor, hop.source) in hops:
                start = max(hops[tensor, hop.source].end, formulation.soonest)
            hops[tensor, target] = Activity(start, start + grid.ticks(hop.duration))
    return hops


class _Watcher:
    """What CP-SAT's callbacks leave behind for the caller's thread.

    Parameters
    ----------
    formulation : PlacementFormulation
    every : bool
        Keep every solution until it is taken, not only the latest.
    """

    def __init__(self, formulation: PlacementFormulation, every: bool) -> None:
        self.formulation = formulation
        self.every = every
        self.news = threading.Event()
        self.lock = threading.Lock()
        self.answers: list[Answer] = []
        self.bound: float | None = None
        self.error: BaseException | None = None

    def solution(self, value: Any) -> None:
        """Copy a solution; `value` evaluates a variable."""
        answer = read_answer(self.formulation, value)
        with self.lock:
            if not self.every:
                self.answers.clear()
            self.answers.append(answer)
        self.news.set()

    def best_bound(self, bound: float) -> None:
        """Keep a bound on the grid objective."""
        with self.lock:
            self.bound = bound
        self.news.set()

    def take(self) -> tuple[list[Answer], float | None]:
        """Return what is new and forget it."""
        with self.lock:
            self.news.clear()
            news = (self.answers, self.bound)
            self.answers, self.bound = [], None
            return news


def search(
    cp: Any,
    formulation: PlacementFormulation,
    run: Run,
    name: str,
    parameters: dict[str, Any],
    build_s: float = 0.0,
    *,
    every: bool = False,
    patience: float = 1.0,
    ceiling: float = math.inf,
) -> Searched:
    """Run CP-SAT until it is done, out of time or cancelled.

    Parameters
    ----------
    cp : module
    formulation : PlacementFormulation
        Built.
    run : Run
    name : str
        Who to report as.
    parameters : dict
        CP-SAT parameters to set besides time, seed and workers.
    build_s : float
        Seconds that building took, a measure of the formulation's size.
    every : bool
        Report every solution, and let CP-SAT find out by itself that it is done: what is
        reported then does not hang on when this thread happens to look.
    patience : float
        Share of the time after which to stop if neither value nor bound has moved for so long.
    ceiling : float
        What another proof says that the formulation's optimum cannot exceed.

    Raises
    ------
    InternalError
        If CP-SAT contradicts what is known: the formulation, or CP-SAT, is at fault.
    """
    limit = run.remaining * (1 - _RESERVE) - _LATENESS * build_s
    if limit <= 0:
        return Searched(no_time(run))
    claims = _Claims(formulation, run, name, ceiling)
    watcher = _Watcher(formulation, every)
    solver = make_solver(cp)
    solver.parameters.random_seed = run.seed % 2**31
    solver.parameters.num_workers = min(run.workers, _MOST_WORKERS)
    for key, setting in parameters.items():
        setattr(solver.parameters, key, setting)
    solver.parameters.max_time_in_seconds = max(0.01, limit)
    solver.best_bound_callback = watcher.best_bound

    class Callback(cp.CpSolverSolutionCallback):  # type: ignore[misc]
        def on_solution_callback(self) -> None:
            watcher.solution(self.value)

    outcome: list[Any] = []

    def work() -> None:
        try:
            outcome.append(solver.solve(formulation.model, Callback()))
        except BaseException as error:  # handed to the caller's thread
            watcher.error = error
        watcher.news.set()

    thread = threading.Thread(target=work, name="cpsat", daemon=True)
    known, since = (run.value, run.lower_bound), run.elapsed
    try:
        thread.start()  # in here: Ctrl-C while it starts must not leave it behind
        while thread.is_alive():
            watcher.news.wait(_PATIENCE)
            _report(formulation, run, name, watcher.take(), claims)
            done = run.spent if every else run.stopped
            if (run.value, run.lower_bound) != known:
                known, since = (run.value, run.lower_bound), run.elapsed
            done = done or run.elapsed - since > patience * limit
            if done and thread.is_alive():
                solver.stop_search()
            if outcome or watcher.error:
                thread.join()
    finally:  # also where Ctrl-C, or an error in a caller's on_progress, ends the loop
        while thread.is_alive():
            solver.stop_search()
            thread.join(_PATIENCE)
        _report(formulation, run, name, watcher.take(), claims)
    if watcher.error is not None:
        raise SolverError(f"CP-SAT failed: {watcher.error}") from watcher.error
    return _conclude(cp, solver, outcome[0], formulation, run, claims)


class _Claims:
    """Bounds on their way from CP-SAT to the run: held back while a proof may yet be checked.

    Parameters
    ----------
    formulation : PlacementFormulation
    run : Run
    name : str
    ceiling : float
        See `search`.
    """

    def __init__(
        self, formulation: PlacementFormulation, run: Run, name: str, ceiling: float
    ) -> None:
        self.formulation, self.run, self.name, self.ceiling = formulation, run, name, ceiling
        self.began = time.monotonic()

    @property
    def quick(self) -> bool:
        """Whether what ends now has a second opinion."""
        return time.monotonic() - self.began < QUICK_S

    def value(self, bound: float) -> float:
        """Bound in time units, less what releases and loads may have gained on the grid.

        One tick where a load was rounded up to a whole one; see `Grid.lateness` for moments.
        """
        formulation, problem = self.formulation, self.formulation.problem
        bottleneck = problem.objective is Objective.BOTTLENECK
        rounded = bottleneck and not formulation.load_grid.exact
        ticks = max(0.0, bound - (1 if rounded else 0))
        value = formulation.objective_base + ticks / formulation.objective_scale
        if bottleneck:
            return value
        moved = problem.objective is Objective.TOCT
        weight = float(problem.arrays.model_weight.sum()) if moved else 1.0
        return value - weight * formulation.load_grid.lateness(problem)

    def claim(self, bound: float) -> None:
        """Raise the run's bound to one on the grid."""
        formulation, value = self.formulation, self.value(bound)
        if formulation.restricted or formulation.feasibility:
            return
        if value > self.ceiling * (1 + 1e-9):
            self.run.note(
                f"{self.name}: a bound of {value!r} is above {self.ceiling!r}, which another "
                "proof allows; it does not count"
            )
            return
        self.run.raise_bound(value, self.name)


def no_time(run: Run) -> Verdict:
    """Return the verdict where the time ended before CP-SAT could start."""
    if run.best is not None:
        return Verdict(Status.FEASIBLE)
    return Verdict(Status.UNKNOWN, "the time limit ended before CP-SAT could start")


def _report(
    formulation: PlacementFormulation,
    run: Run,
    name: str,
    news: tuple[list[Answer], float | None],
    claims: _Claims,
) -> None:
    answers, bound = news
    for answer in answers:
        for schedule in rebuild(run.problem, formulation, answer):
            try:
                run.offer(schedule, name)
            except InfeasibleScheduleError as error:
                # Rounding to a grid too coarse for the shortest ops; never for an exact grid.
                if formulation.load_grid.exact:
                    raise
                run.note(f"{name}: a schedule from the rounded grid was dropped ({error})")
    if bound is not None and not claims.quick:
        claims.claim(bound)


def _conclude(
    cp: Any,
    solver: Any,
    status: Any,
    formulation: PlacementFormulation,
    run: Run,
    claims: _Claims,
) -> Searched:
    if status == cp.MODEL_INVALID:
        raise InternalError(f"CP-SAT refuses the formulation: {formulation.model.validate()[:500]}")
    if formulation.restricted:
        return Searched(no_time(run))
    found = status in (cp.OPTIMAL, cp.FEASIBLE)
    if status in (cp.OPTIMAL, cp.INFEASIBLE) and claims.quick:
        better = second_opinion(cp, solver, status, formulation, run)
        if better is not None:
            _report(formulation, run, claims.name, ([better], None), claims)
            run.note(f"{claims.name}: a proof was refuted by a search without presolve; it is void")
            return Searched(_without_proof(run))
    if status == cp.OPTIMAL and not formulation.relaxed and not formulation.feasibility:
        reached = claims.value(solver.objective_value) + formulation.load_grid.loss(run.problem)
        if reached < run.lower_bound * (1 - 1e-9):
            raise RefutedProofError(
                f"CP-SAT's optimum is at most {reached!r}, below the bound {run.lower_bound!r}"
            )
    if status == cp.INFEASIBLE:
        if run.best is None:
            return Searched(Verdict(Status.INFEASIBLE, _why_infeasible(formulation.problem)))
        raise RefutedProofError("CP-SAT calls the problem infeasible although a schedule is known")
    if not formulation.feasibility:
        claims.claim(solver.best_objective_bound)
    if found and run.best is None:
        return Searched(Verdict(Status.UNKNOWN, "CP-SAT's schedule could not be given exact times"))
    return Searched(_without_proof(run), finished=status == cp.OPTIMAL)


def _without_proof(run: Run) -> Verdict:
    if run.best is not None:
        return Verdict(Status.FEASIBLE)
    return Verdict(Status.UNKNOWN, "no schedule was found within the time limit")


def _why_infeasible(problem: Problem) -> str:
    rule, stages = problem.memory_rule.value, problem.stages
    return (
        "CP-SAT proved that no placement satisfies device memory "
        f"(rule {rule}), {f'stages ({stages}), ' if stages else ''}colocation, pins and routes "
        "together; give a device more memory, relax a pin or a colocation group, or add a link"
        f"{', or ask for other stages' if stages else ''}"
    )
