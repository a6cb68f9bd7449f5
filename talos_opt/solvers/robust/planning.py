"""From a nominal schedule to a robust one.

Sample average approximation (Kleywegt, Shapiro, Homem-de-Mello, 2002), with draws of samples that
have nothing to do with each other: each replication of the search minimises the risk over one, one
of the candidates, or the nominal schedule, is chosen by another, which is larger, and the last one,
which decided nothing, says how good the choice is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from talos_opt.analysis.sensitivity import Noise, Sensitivity, simulate_noise
from talos_opt.core.feasibility import check
from talos_opt.core.metrics import forced_value, objective_value
from talos_opt.core.normalised import Normalised
from talos_opt.core.problem import Floats, Problem
from talos_opt.core.robustness import Asked, Robustness, Standing, half_interval
from talos_opt.core.schedule import Schedule
from talos_opt.solvers.engine.run import Progress, Run
from talos_opt.solvers.robust.search import MOST_NUMBERS, Search, numbers_of

#: Draws of a solve: those of the replications of the search, of the choice, of the figures.
SEARCHING, CHOICE, FIGURES = range(2, 5), 0, 1
#: Samples that the choice is made on, and as many that the figures are of; fewer where that takes
#: too long for at least `_FEW_CANDIDATES`. And how many the time is measured with.
SAMPLES, _MEASURED = (1000, 400, 150), (10, 60)
#: Fewest candidates beside the nominal schedule that all samples are worth, and most candidates.
_FEW_CANDIDATES, MOST_CANDIDATES = 2, 8
#: Share of the time that choosing and judging may take together.
_JUDGING_SHARE = 0.4
#: Samples in the tail below which the interval of CVaR covers it in fewer than 9 of 10 cases.
_FEW_IN_TAIL = 10
#: A candidate has to be better by this share of the nominal risk, less what releases force, to be
#: chosen.
_CLEAR = 1e-9

_NOMINAL = "nominal"


@dataclass(frozen=True)
class Plan:
    """What came of it.

    Parameters
    ----------
    schedule : Schedule
        Feasible; the nominal one if nothing better was found.
    robustness : Robustness
    notes : tuple of str
    """

    schedule: Schedule
    robustness: Robustness
    notes: tuple[str, ...]


def sample_seed(seed: int, draw: int) -> int:
    """Return the seed of one of the draws of a solve, for which there are numbers above."""
    return int(np.random.SeedSequence((seed, draw)).generate_state(1)[0] >> 1)


def plan_robustly(
    problem: Problem,
    nominal: Schedule,
    asked: Asked,
    *,
    lower_bound: float,
    time_limit: float,
    seed: int,
    workers: int,
    cancel: threading.Event | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Plan:
    """Look for a placement and an order of smaller risk than those of a schedule.

    Parameters
    ----------
    problem : Problem
        One that `Asked.require` lets pass.
    nominal : Schedule
        A feasible one; the best that is known without noise.
    asked : Asked
    lower_bound : float
        Proven bound on the value without noise.
    time_limit : float
        Seconds from now, compiling not counted.
    seed, workers : int
    cancel : threading.Event, optional
        Set it, from another thread, to stop; what was found until then is judged.
    on_progress : callable, optional
        Called with the smallest risk over the samples of the search, from this thread.
    """
    value, forced = objective_value(problem, nominal), forced_value(problem)
    run = Run(
        Normalised.of(problem).problem, time_limit=time_limit, seed=seed, workers=workers,
        cancel=cancel, on_progress=lambda event: tell(value, event.solver),
    )  # fmt: skip

    def tell(best: float, stage: str) -> None:
        if on_progress is not None:
            on_progress(Progress(run.elapsed, best, lower_bound, stage, forced))

    judge = _Judge(problem, asked, seed)
    most = judge.affordable(nominal, run)
    found: list[Schedule] = []
    why_not = _obstacle(problem, asked, most)
    if not why_not:
        part = run.limited(run.remaining - judge.reserve(most))
        found = _find(problem, nominal, asked, part, most, tell)
        run.kernels.close()
    candidates = [nominal, *found]
    # The search may have found what the solver did not: the robust plan is compared with the best.
    nominal = min(candidates, key=lambda item: objective_value(problem, item))
    chosen = judge.choose(nominal, candidates)
    robustness = judge.judge(nominal, chosen, lower_bound, len(candidates))
    doubt = _doubt(asked, judge.samples)
    notes = (item for item in (why_not, doubt) if item)
    return Plan(chosen, robustness, (*notes, *run.notes))


def _doubt(asked: Asked, samples: int) -> str:
    """Say where an interval promises too much; else empty."""
    tail = (1 - asked.risk.level) * samples
    if tail >= _FEW_IN_TAIL - 1e-6:
        return ""
    return (
        f"{asked.risk} is the mean of the worst {tail:.3g} of {samples} samples: with fewer than "
        f"{_FEW_IN_TAIL}, its interval is too narrow"
    )


def _obstacle(problem: Problem, asked: Asked, candidates: int) -> str:
    """Say why there is nothing to search for, or no way to; else empty."""
    if asked.noise == asked.transfer_noise == 0:
        return "without noise the nominal schedule is the plan"
    if numbers_of(problem, asked.samples) > MOST_NUMBERS:
        return (
            f"{asked.samples} samples of {problem.arrays.op_count} ops are too many numbers to "
            "search on: the nominal schedule is the plan; ask for fewer samples"
        )
    if candidates < 1:
        return "no time was left to search for a robust plan: the nominal schedule is it"
    return ""


def _find(
    problem: Problem,
    nominal: Schedule,
    asked: Asked,
    run: Run,
    most: int,
    tell: Callable[[float, str], None],
) -> list[Schedule]:
    """Return feasible candidates of small risk; `tell` is called with what the search reaches."""
    shape = Normalised.of(problem)
    search = Search(
        shape.problem, asked, run, [sample_seed(run.seed, draw) for draw in SEARCHING],
        lambda risk: tell(shape.value(risk), "robust plan, risk over samples"),
    )  # fmt: skip
    found = [shape.restore(item) for item in search.find(shape.adopt(nominal), most)]
    # Rounding can keep a schedule that was found at another scale from being feasible at this.
    return [item for item in found if not check(problem, item)]


class _Judge:
    """Values schedules over samples that the search has not seen.

    How many samples, and how many candidates, depends on how long they take on this problem.
    """

    def __init__(self, problem: Problem, asked: Asked, seed: int) -> None:
        self.problem, self.asked, self.seed = problem, asked, seed
        self.noise = Noise(float(asked.noise), float(asked.transfer_noise))
        self.samples = SAMPLES[0]
        self.seconds = 0.0

    def affordable(self, nominal: Schedule, run: Run) -> int:
        """Return how many candidates there is time to choose from, and settle for samples."""
        few, many = (self._measure(nominal, count) for count in _MEASURED)
        each = max(0.0, many - few) / (_MEASURED[1] - _MEASURED[0])
        allowed = _JUDGING_SHARE * run.remaining
        candidates = 0
        for self.samples in SAMPLES:
            self.seconds = few + each * self.samples
            # The nominal schedule is valued twice, and the chosen one a second time.
            candidates = int(allowed / max(self.seconds, 1e-9)) - 3
            if candidates >= _FEW_CANDIDATES:
                break
        return min(MOST_CANDIDATES, candidates)

    def _measure(self, nominal: Schedule, count: int) -> float:
        began = time.monotonic()
        self._sample({_NOMINAL: nominal}, count, CHOICE)
        return time.monotonic() - began

    def reserve(self, candidates: int) -> float:
        """Return the seconds that choosing from so many, and judging, will take."""
        return self.seconds * (candidates + 3)

    def _sample(self, schedules: dict[str, Schedule], count: int, draw: int) -> Sensitivity:
        seed = sample_seed(self.seed, draw)
        return simulate_noise(self.problem, schedules, self.noise, samples=count, seed=seed)

    def choose(self, nominal: Schedule, candidates: list[Schedule]) -> Schedule:
        """Return the candidate of least risk; the nominal one, if none is clearly better."""
        named = {str(number): item for number, item in enumerate(candidates)}
        if len(named) == 1:
            return nominal
        outcomes = self._sample(named, self.samples, CHOICE).outcomes
        risks = [self.asked.risk.value(outcome.values) for outcome in outcomes]
        best = min(range(len(risks)), key=risks.__getitem__)
        (first,) = (r for r, item in zip(risks, candidates, strict=True) if item is nominal)
        clear = _CLEAR * (first - forced_value(self.problem))
        return candidates[best] if risks[best] < first - clear else nominal

    def judge(
        self, nominal: Schedule, chosen: Schedule, lower_bound: float, candidates: int
    ) -> Robustness:
        """Compare the chosen schedule with the nominal one on fresh samples."""
        both = {_NOMINAL: nominal, "chosen": chosen}
        outcomes = self._sample(both, self.samples, FIGURES).outcomes
        first, second = (self.asked.risk.terms(outcome.values) for outcome in outcomes)
        return Robustness(
            asked=self.asked,
            fresh=self.samples,
            fresh_seed=sample_seed(self.seed, FIGURES),
            nominal=self._standing(nominal, first),
            chosen=self._standing(chosen, second),
            difference=float((second - first).mean()),
            error=half_interval(second - first),
            lower_bound=lower_bound,
            forced=forced_value(self.problem),
            candidates=candidates,
        )

    def _standing(self, schedule: Schedule, terms: Floats) -> Standing:
        value = objective_value(self.problem, schedule)
        return Standing(value, float(terms.mean()), half_interval(terms))
