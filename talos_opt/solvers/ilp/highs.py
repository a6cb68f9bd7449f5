"""HiGHS, in this process, through highspy; it is handed what PuLP has written down."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from talos_opt.core.errors import SolverError
from talos_opt.core.problem import Floats
from talos_opt.core.result import Status
from talos_opt.importing import import_whole
from talos_opt.solvers.ilp.backend import Job, Outcome
from talos_opt.solvers.ilp.builder import Variable, load_pulp

#: HiGHS 1.14 calls wrong solutions optimal: its MIP presolve fixes singleton columns that stand
#: beside integer ones (ERGO-Code/HiGHS issues 2957 and 3002). Mended in 1.15, which cannot be
#: used beside OR-Tools; 1.12 and 1.13 are sound and need no such care.
_BROKEN_PRESOLVE = "1.14."
#: HiGHS takes seeds up to this.
_MAX_SEED = 2**31 - 1
#: Feasibility tolerance of rows and of integrality, far below HiGHS' own 1e-6.
_TOLERANCE = 1e-9
#: Seconds between two looks at the thread that HiGHS runs on.
_POLL = 0.05


class _Watch:
    """Callback of a running HiGHS; an exception must not pass through its C++ frames."""

    def __init__(self, job: Job, kinds: Any) -> None:
        self.job = job
        self.error: BaseException | None = None
        self.abandoned = False
        self._improving = kinds.kCallbackMipImprovingSolution
        self._bounding = (self._improving, kinds.kCallbackMipInterrupt)
        #: What HiGHS is to call back for.
        self.kinds = (
            *self._bounding, kinds.kCallbackSimplexInterrupt, kinds.kCallbackIpmInterrupt,
        )  # fmt: skip

    def __call__(self, kind: Any, _message: str, found: Any, reply: Any, _data: Any) -> None:
        try:
            if kind == self._improving:
                self.job.on_solution(_reader(np.array(found.mip_solution)))
            if kind in self._bounding and math.isfinite(found.mip_dual_bound):
                self.job.on_bound(float(found.mip_dual_bound))
        except BaseException as error:
            self.error = self.error or error
        if self.abandoned or self.error is not None or self.job.stopped():
            reply.user_interrupt = True


def _reader(values: Floats) -> Callable[[Variable], float]:
    return lambda variable: float(values[variable.index])


def solve_highs(job: Job) -> Outcome:
    """Run HiGHS on a program.

    Raises
    ------
    DependencyError
        If PuLP or highspy is missing or known to break.
    SolverError
        If HiGHS fails.
    """
    load_pulp()
    highspy: Any = import_whole("highspy")
    # Not `highspy.Highs`, which 1.16 greets standard output with, and which keeps itself alive.
    highs = highspy._Highs()  # noqa: SLF001 - the class that HiGHS itself exports
    watch = _Watch(job, highspy.cb.HighsCallbackType)
    try:
        return _solve(highspy, highs, job, watch)
    finally:  # C++ holds the callback, and through it all else: no collector sees that circle
        highs.setCallback(None, None)


def _solve(highspy: Any, highs: Any, job: Job, watch: _Watch) -> Outcome:
    options = {
        "output_flag": False,
        "mip_rel_gap": job.mip_gap,
        "mip_abs_gap": 0.0,
        "random_seed": job.seed % _MAX_SEED,
        "parallel": "choose" if job.threads > 1 else "off",
        "mip_feasibility_tolerance": _TOLERANCE,
        "primal_feasibility_tolerance": _TOLERANCE,
    }
    if highs.version().startswith(_BROKEN_PRESOLVE):
        # A restart would presolve again.
        options |= {"presolve": "off", "mip_allow_restart": False}
    for name, value in options.items():
        highs.setOptionValue(name, value)
    highs.setCallback(watch, None)
    for kind in watch.kinds:
        highs.startCallback(kind)
    columns = _load(highspy, highs, job.program)
    if job.stopped():
        return Outcome(Status.UNKNOWN)
    if job.start:
        known = {columns[id(v)]: value for v, value in job.start.items() if id(v) in columns}
        places = np.fromiter(known, dtype=np.int32, count=len(known))
        highs.setSolution(len(known), places, np.array(list(known.values()), dtype=np.float64))
    highs.setOptionValue("time_limit", job.remaining)
    _run(highs, watch)
    if watch.error is not None:
        raise watch.error
    return _read(highspy, highs)


def _load(highspy: Any, highs: Any, program: Any) -> dict[int, int]:
    """Hand a program to HiGHS at once; PuLP's own row by row takes ten times as long.

    Returns
    -------
    dict of int to int
        Column of each variable, by its `id`; also kept as its attribute ``index``.
    """
    variables = program.variables()
    columns = {}
    for k, variable in enumerate(variables):
        columns[id(variable)] = variable.index = k
    starts, places, factors = [0], [], []
    lower, upper = [], []
    for row in program.constraints():
        for variable, factor in row.items():
            if variable.lowBound == variable.upBound == 0:
                continue  # what cannot be chosen may have a factor that HiGHS refuses (1e15)
            places.append(columns[id(variable)])
            factors.append(factor)
        starts.append(len(places))
        lower.append(row.getLb())
        upper.append(row.getUb())
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(variables), len(lower)
    lp.col_cost_ = _numbers([program.objective.get(v, 0.0) for v in variables])
    lp.col_lower_ = _numbers([v.lowBound for v in variables], -highspy.kHighsInf)
    lp.col_upper_ = _numbers([v.upBound for v in variables], highspy.kHighsInf)
    lp.row_lower_ = _numbers(lower, -highspy.kHighsInf)
    lp.row_upper_ = _numbers(upper, highspy.kHighsInf)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.num_col_, lp.a_matrix_.num_row_ = lp.num_col_, lp.num_row_
    lp.a_matrix_.start_ = np.array(starts, dtype=np.int32)
    lp.a_matrix_.index_ = np.array(places, dtype=np.int32)
    lp.a_matrix_.value_ = np.array(factors, dtype=np.float64)
    kinds = highspy.HighsVarType
    lp.integrality_ = [
        kinds.kInteger if v.cat == "Integer" else kinds.kContinuous for v in variables
    ]
    if highs.passModel(lp) == highspy.HighsStatus.kError:
        raise SolverError("HiGHS refused the program")
    return columns


def _numbers(values: list[float | None], missing: float = 0.0) -> Floats:
    return np.array([missing if v is None else v for v in values], dtype=np.float64)


def _run(highs: Any, watch: _Watch) -> None:
    """Run HiGHS on a thread of its own: the caller's stays open for signals."""
    failure: list[BaseException] = []

    def work() -> None:
        try:
            highs.run()
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=work, name="talos-opt-highs", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_POLL)
    except BaseException:  # Ctrl-C without a handler: let HiGHS go before passing it on
        watch.abandoned = True
        thread.join()
        raise
    if failure:
        raise SolverError(f"HiGHS failed: {failure[0]}") from failure[0]


def _read(highspy: Any, highs: Any) -> Outcome:
    """Translate HiGHS' answer (PuLP's `status` would say Optimal at a time limit too)."""
    status = highs.getModelStatus()
    known = highspy.HighsModelStatus
    if status in (known.kInfeasible, known.kUnboundedOrInfeasible):  # nothing here is unbounded
        return Outcome(Status.INFEASIBLE)
    stopped = (known.kTimeLimit, known.kInterrupt, known.kSolutionLimit, known.kIterationLimit)
    if status != known.kOptimal and status not in stopped:
        raise SolverError(f"HiGHS failed: {highs.modelStatusToString(status)}")
    info = highs.getInfo()
    bound = float(info.mip_dual_bound) if math.isfinite(info.mip_dual_bound) else None
    if info.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
        return Outcome(Status.UNKNOWN, bound)
    values = _reader(np.array(highs.getSolution().col_value))
    return Outcome(Status.OPTIMAL if status == known.kOptimal else Status.FEASIBLE, bound, values)
