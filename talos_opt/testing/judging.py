"""What is wrong with an answer, by an optimum that no solver's code had a part in."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from talos_opt.core.feasibility import check
from talos_opt.core.problem import Problem
from talos_opt.core.result import Result, Status
from talos_opt.core.schedule import Schedule
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.base import Solver
from talos_opt.solvers.session import NO_REASON
from talos_opt.testing.awkward import has_enough_digits
from talos_opt.testing.expected_notes import unexpected
from talos_opt.testing.reference.checker import exact_value, naive_check
from talos_opt.testing.reference.flat import Flat, best_link

#: The share of what can still change that an optimal value may be above the optimum.
OPTIMAL = Fraction(1, 10**6)
#: The share by which a bound may be above the optimum: sums of floats end no closer.
ROUNDING = Fraction(1, 10**11)
#: The share by which values may differ that count as equal.
TIE = 1e-12
#: Units in the last place that a moment may be off after a few sums.
ULPS = 64
#: Remark on a schedule that CP-SAT's grid was too coarse for.
COARSE_NOTE = re.compile("a schedule from the rounded grid was dropped")
#: Remarks that only an input of too few digits may bring.
DIGITS_NOTE = re.compile("times near .* can be written to .* only")
#: A feature that no name of `Feature` says: see `DpSolver.require`.
UNEQUAL_BYTES = "readers name different bytes"


@dataclass(frozen=True)
class Find:
    """Something wrong: its kind, and what was found and expected."""

    kind: str
    text: str


@dataclass(frozen=True)
class Truth:
    """What is known of a problem: its optimum, None where nothing is feasible."""

    problem: Problem
    optimum: Fraction | None

    @property
    def forced(self) -> Fraction:
        """The part of every value that the releases alone force."""
        models = self.problem.graph.models
        if self.problem.objective == "makespan":
            return max(Fraction(model.release) for model in models)
        if self.problem.objective in ("bottleneck", "memory", "step"):
            return Fraction(0)
        weighed = (Fraction(model.weight) * Fraction(model.release) for model in models)
        return sum(weighed, Fraction(0))

    def rounding(self, schedule: Schedule | None = None) -> Fraction:
        """How far rounded moments can move a value."""
        problem = self.problem
        if problem.objective == "memory":  # a quotient of whole numbers
            return Fraction(math.ulp(float(self.optimum or 0)))
        bottleneck = problem.objective in ("bottleneck", "step")  # loads are no moments
        latest = 0.0 if bottleneck else max(m.release for m in problem.graph.models)
        weights = [Fraction(1)]
        if problem.objective == "toct":
            weights = [Fraction(model.weight) for model in problem.graph.models]
        heaviest = max(weights)
        if self.optimum is not None and heaviest > 0:
            latest = max(latest, float(self.optimum / max(sum(weights), Fraction(1, 10**30))))
        if schedule is not None and not bottleneck:
            latest = max(latest, float(schedule.end.max()))
        moved = sum(weights) * Fraction(math.ulp(latest)) * ULPS
        whole = 0.0 if self.optimum is None else float(self.optimum)
        return moved + ULPS * Fraction(math.ulp(whole))


def judge(truth: Truth, result: Result) -> list[Find]:
    """Return all that is wrong with a result."""
    found = [*_judge_status(truth, result), *_judge_notes(truth.problem, result)]
    found += _judge_history(result)
    if result.schedule is not None:
        found += judge_schedule(truth.problem, result.schedule)
        found += _judge_value(truth, result, result.schedule)
    found += _judge_bound(truth, result)
    return found


def judge_refusal(problem: Problem, solver: str | Solver, message: str) -> list[Find]:
    """Return what is wrong with a solver's refusal of a problem."""
    outside = uncovered(problem, solver)
    if not outside:
        return [Find("refused", f"{name_of(solver)} covers all of this, yet: {message}")]
    return [
        Find("refused without the name", f"{name!r} is not in: {message}")
        for name in outside
        if name not in message
    ]


def judge_schedule(problem: Problem, schedule: Schedule) -> list[Find]:
    """Compare the package's check with an independent one, where rounding decides nothing."""
    said = check(problem, schedule)
    if not has_enough_digits(problem):
        return []
    if not said:
        broken = naive_check(problem, schedule, ulps=ULPS)
        return [Find("check accepts", "; ".join(broken))] if broken else []
    if not naive_check(problem, schedule, ulps=1):
        return [Find("check rejects", "; ".join(map(str, said)))]
    return []


def name_of(solver: str | Solver) -> str:
    """Return a solver's name."""
    return solver if isinstance(solver, str) else solver.name


def uncovered(problem: Problem, solver: str | Solver) -> list[str]:
    """Return the features of a problem that a solver does not declare."""
    if isinstance(solver, Solver):
        return sorted(set(features(problem)) - set(solver.features) - {UNEQUAL_BYTES})
    declared = next(info.features for info in registry.describe() if info.name == solver)
    needed = set(features(problem))
    if solver == "pipeline" and not problem.is_pipelined:
        return ["problems without a pipeline"]
    if solver == "dp" and problem.objective == "memory":
        return [] if len(problem.cluster.devices) == 1 else ["objective memory"]
    acyclic = problem.stages.rule != "any" and problem.memory_rule != "pipeline"
    if solver == "dp" and problem.objective == "bottleneck" and acyclic:
        return []
    if solver == "dp" and UNEQUAL_BYTES in needed:
        return sorted((needed - set(declared) - {UNEQUAL_BYTES}) or {UNEQUAL_BYTES})
    return sorted(needed - set(declared) - {UNEQUAL_BYTES})


def features(problem: Problem) -> Iterator[str]:
    """Yield the features that a problem uses, told from the domain objects alone."""
    cluster, devices = problem.cluster, problem.cluster.devices
    yield f"objective {problem.objective.value}"
    limited = any(device.memory is not None for device in devices)
    if problem.memory_rule == "peak" and (limited or problem.objective == "memory"):
        yield "memory_rule peak"
    if problem.memory_rule == "pipeline":
        yield "memory_rule pipeline"
    pairs = [(a, b) for a in range(len(devices)) for b in range(len(devices)) if a != b]
    if cluster.links is None:
        direct, staged = bool(pairs), False
    else:
        links = [link for a, b in pairs if (link := best_link(cluster, a, b)) is not None]
        direct = any(link.via is None for link in links)
        staged = any(link.via is not None for link in links)
    if cluster.contention == "serial" and direct:
        yield "contention serial"
    if not all(device.copy_engine for device in devices):
        yield "devices with copy_engine false"
    if any(device.slots > 1 for device in devices):
        yield "devices or ops with several slots"
    if staged:
        yield "links via a device"
    if problem.stages.rule != "any" or problem.stages.use_all:
        yield "stages that are acyclic, ordered or use all devices"
    read: dict[int, set[int]] = {}
    for tensor, _, size in Flat(problem).reads:
        read.setdefault(tensor, set()).add(size)
    if any(len(sizes) > 1 for sizes in read.values()):
        yield UNEQUAL_BYTES


# ---- parts of a result ---------------------------------------------------------------------


def _judge_status(truth: Truth, result: Result) -> Iterator[Find]:
    optimum, status = truth.optimum, result.status
    if status is Status.INFEASIBLE and optimum is not None:  # also where few digits are left
        yield Find("false infeasible", f"{float(optimum)!r} is possible; said: {result.reason}")
    if (result.schedule is not None) != (status in (Status.OPTIMAL, Status.FEASIBLE)):
        yield Find("status", f"{status} with schedule {result.schedule is not None}")
    if result.schedule is None and result.reason in ("", NO_REASON):
        yield Find("status", f"{status} without a reason")
    shows = has_enough_digits(truth.problem)
    if result.schedule is not None and optimum is None and shows:
        yield Find("check accepts", "a schedule where none is feasible")


def _judge_value(truth: Truth, result: Result, schedule: Schedule) -> Iterator[Find]:
    value, bound, gap = result.value, result.lower_bound, result.gap
    assert value is not None
    assert gap is not None
    rounding, forced = truth.rounding(schedule), truth.forced
    measured = exact_value(truth.problem, schedule)
    rounding += ULPS * Fraction(math.ulp(value))
    shown = truth.problem.objective != "memory" or has_enough_digits(truth.problem)
    if shown and abs(Fraction(value) - measured) > rounding:
        yield Find("value", f"{value!r} reported, {float(measured)!r} measured")
    if bound > value:
        yield Find("bound above value", f"{bound!r} above {value!r}")
    open_part = Fraction(value) - forced
    expected = max(Fraction(0), Fraction(value) - Fraction(bound))
    slack = rounding + open_part * Fraction(4 * math.ulp(gap))
    if open_part > rounding and abs(Fraction(gap) * open_part - expected) > slack:
        yield Find("gap", f"{gap!r} reported, {float(expected / open_part)!r} by its definition")
    if result.status is Status.OPTIMAL:
        if open_part > rounding and expected > OPTIMAL * open_part + rounding:
            yield Find("status", f"optimal {value!r} with bound {bound!r}")
        if truth.optimum is not None:
            excess = measured - truth.optimum
            if excess > OPTIMAL * max(open_part, Fraction(0)) + rounding:
                yield Find("wrong optimal", f"{value!r}; {float(truth.optimum)!r} is possible")
    elif has_enough_digits(truth.problem) and (
        open_part <= 0 or expected < OPTIMAL * open_part * Fraction(99, 100)
    ):
        yield Find("status", f"{result.status} {value!r} with bound {bound!r}")
    shows = has_enough_digits(truth.problem)  # else checks cannot tell, which a note says
    if shows and truth.optimum is not None and measured < truth.optimum - rounding:
        yield Find("below the optimum", f"{value!r} below {float(truth.optimum)!r}")


def _judge_bound(truth: Truth, result: Result) -> Iterator[Find]:
    if truth.optimum is None or result.status is Status.INFEASIBLE:
        return
    slack = ROUNDING * truth.optimum + truth.rounding(result.schedule)
    if not result.lower_bound >= 0 or math.isinf(result.lower_bound):
        yield Find("wrong bound", f"{result.lower_bound!r}")
    elif Fraction(result.lower_bound) > truth.optimum + slack:
        yield Find("wrong bound", f"{result.lower_bound!r}; {float(truth.optimum)!r} is possible")


def _judge_notes(problem: Problem, result: Result) -> Iterator[Find]:
    for note in unexpected(list(result.notes)):
        if COARSE_NOTE.search(note):  # docs/bounds.md: ops far shorter than a tick
            continue
        if DIGITS_NOTE.search(note) and not has_enough_digits(problem):
            continue
        yield Find("note", note)


def _judge_history(result: Result) -> Iterator[Find]:
    value, bound = math.inf, 0.0
    for event in result.history:
        fell = event.lower_bound < bound
        # A schedule of equal value that wins the tie may be worth a rounding more.
        if fell or (event.value is not None and event.value > value * (1 + TIE)):
            yield Find("history", f"{event} after value {value!r}, bound {bound!r}")
        bound = event.lower_bound
        value = value if event.value is None else event.value
