"""Searches for the fewest limits to relax, for single changes, and for schedules that prove them.

Fewest: the number of relaxed limits is minimised, then the bytes of the memories among them.
Single changes: the solutions with one relaxed limit are listed until there is no other; for each
memory the bytes are minimised with all else kept. All answers are shown to be enough by a
schedule that has passed the checker; that nothing less is enough is CP-SAT's proof. Under the
peak rule that proof is of a necessary condition: where no schedule fits the bytes it asks for,
those that a schedule needs are told, as enough, with what is proven to be needed.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from talos_opt.core.cluster import Cluster
from talos_opt.core.errors import SolverError, TalosError
from talos_opt.core.feasibility import check
from talos_opt.core.occupancy import memory_intervals, resident_weights
from talos_opt.core.problem import UNLIMITED, Ints, MemoryRule, Problem
from talos_opt.core.relaxations import (
    Explanation,
    Relaxation,
    RelaxationKind,
    apply_relaxations,
)
from talos_opt.core.simulator import MemoryDeadlockError, simulate
from talos_opt.core.transfers import NoRouteError
from talos_opt.solvers.cpsat import backend
from talos_opt.solvers.engine import isolation
from talos_opt.solvers.engine.background import run_beside
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.infeasibility.elastic import (
    MOST_TERMS,
    ElasticPlacement,
    Limit,
    StoppedError,
    first_fit,
    size_of,
)
from talos_opt.solvers.shared.moments import fullest_moment

#: What runs this in a process of its own, beside TensorFlow.
_CHILD = "talos_opt.solvers.infeasibility.child"
#: Single changes that are listed at most.
MOST_SINGLE = 12


def explain_infeasibility(
    problem: Problem,
    *,
    seconds: float = 10.0,
    seed: int = 0,
    workers: int = 1,
    cancel: threading.Event | None = None,
) -> Explanation | None:
    """Find out what would make an infeasible problem feasible.

    Parameters
    ----------
    problem : Problem
        Proven to have no schedule.
    seconds : float
        Time limit.
    seed, workers : int
        Of CP-SAT.
    cancel : threading.Event, optional
        Set it, from another thread, to stop.

    Returns
    -------
    Explanation or None
        None: nothing was found in time, or the problem is too large to ask.

    Raises
    ------
    DependencyError
        If OR-Tools is missing or broken by another library.
    SolverError
        If CP-SAT fails.
    """
    if size_of(problem) > MOST_TERMS or problem.stages:
        return None  # neither the rule for stages nor that of pipelines is relaxed here
    run = Run(problem, time_limit=seconds, seed=seed, workers=workers, cancel=cancel)
    if backend.needs_own_process():
        until = time.time() + run.remaining  # starting up counts too
        request = (problem, until, seed, workers)
        answer: Explanation | None = isolation.ask(_CHILD, request, run)
        return answer
    return _Diagnosis(problem, backend.load(), run).explain()


@dataclass(frozen=True)
class _Answer:
    """A solution of the elastic formulation: what is relaxed, where ops sit, and the proof."""

    relaxed: tuple[Relaxation, ...]
    device: Ints
    optimal: bool


class _Diagnosis:
    def __init__(self, problem: Problem, cp: Any, run: Run) -> None:
        self.problem, self.cp, self.run = problem, cp, run

    def explain(self) -> Explanation | None:
        try:
            return self._explain()
        except StoppedError:
            return None

    def _explain(self) -> Explanation | None:
        fewest = self._solve(self._count, 0.4)
        if fewest is None:
            return None
        count = len(fewest.relaxed)
        if count == 0:  # a placement is there: the order is what memory does not allow
            return self._explain_order(fewest)
        if count > 1:
            return self._explain_set(fewest)
        single, complete = self._single(fewest)
        if single:
            return Explanation(single[:1], True, single, complete)
        together = self._shown(fewest)  # more than one limit, though one was asked for (peak)
        return Explanation(together, False) if together else None

    def _explain_set(self, fewest: _Answer) -> Explanation | None:
        """Explain a problem of which several limits have to be relaxed."""
        count = len(fewest.relaxed)
        try:
            cheapest = self._solve(partial(self._bytes, count, fewest), least=True) or fewest
        except StoppedError:
            cheapest = fewest
        relaxations = self._shown(cheapest)
        if relaxations is None:
            return None
        return Explanation(relaxations, fewest.optimal and len(relaxations) == count)

    # ---- searches ----------------------------------------------------------------------

    def _count(self, form: ElasticPlacement) -> None:
        form.model.minimize(sum(limit.literal for limit in form.limits))
        self._begin(form, set())

    def _begin(
        self, form: ElasticPlacement, seen: Iterable[tuple[RelaxationKind, str, str]]
    ) -> None:
        """Begin at a placement that needs more memory on one device that was not yet seen to do."""
        for limit in form.limits:
            if limit.over is not None and _key(limit.relaxation) not in seen:
                form.hint(first_fit(form, limit.relaxation.name))
                return

    def _bytes(self, count: int, known: _Answer, form: ElasticPlacement) -> None:
        form.model.add(sum(limit.literal for limit in form.limits) <= count)
        form.model.minimize(sum(limit.over for limit in form.limits if limit.over is not None))
        form.hint(known.device)

    def _single(self, first: _Answer) -> tuple[tuple[Relaxation, ...], bool]:
        """List the limits that are enough alone, beside the first; whether there is no other."""
        answers, complete = self._list_single(first)
        found: list[Relaxation] = []
        left = sum(answer.relaxed[0].kind is RelaxationKind.MEMORY for answer in answers)
        for answer in answers:
            (one,) = answer.relaxed
            if one.kind is RelaxationKind.MEMORY:
                with suppress(StoppedError):  # the bytes of some placement, then
                    answer = self._solve(partial(self._only, one), 1 / left, least=True) or answer
                left -= 1
            shown = self._shown(answer)
            if shown is None or len(shown) > 1:  # whether it is enough is not known
                complete = False
            else:
                found += shown
        return _ordered(found), complete

    def _list_single(self, first: _Answer) -> tuple[list[_Answer], bool]:
        """Return a solution for each limit that is enough alone; whether there is no other."""
        answers, seen = [first], {_key(first.relaxed[0])}
        while len(answers) < MOST_SINGLE:
            try:
                answer = self._solve(partial(self._one_of_the_others, seen), 0.3)
            except StoppedError:
                return answers, False
            if answer is None:
                return answers, True
            answers.append(answer)
            seen.add(_key(answer.relaxed[0]))
        return answers, False

    def _one_of_the_others(
        self, seen: Iterable[tuple[RelaxationKind, str, str]], form: ElasticPlacement
    ) -> None:
        form.model.add(sum(limit.literal for limit in form.limits) == 1)
        for limit in form.limits:
            if _key(limit.relaxation) in seen:
                form.model.add(limit.literal == 0)
        self._begin(form, seen)

    def _only(self, one: Relaxation, form: ElasticPlacement) -> None:
        for limit in form.limits:
            chosen = _key(limit.relaxation) == _key(one)
            form.model.add(limit.literal == int(chosen))
            if chosen:
                form.model.minimize(limit.over)
        form.hint(first_fit(form, one.name))

    def _solve(
        self, state: Callable[[ElasticPlacement], None], share: float = 1.0, *, least: bool = False
    ) -> _Answer | None:
        """Build the formulation, ask it something and return the answer; None: there is none.

        Parameters
        ----------
        state : callable
            Adds the question.
        share : float
            Of the time that is left.
        least : bool
            It asks for the fewest bytes.

        Raises
        ------
        StoppedError
            If the time is over before there is an answer.
        """
        run = self.run.limited(share * self.run.remaining)
        form = ElasticPlacement(self.cp, self.problem, lambda: run.stopped)
        state(form)
        solver = backend.make_solver(self.cp)
        solver.parameters.random_seed = self.run.seed % 2**31
        solver.parameters.num_workers = self.run.workers
        solver.parameters.max_time_in_seconds = max(0.01, run.remaining)
        status = run_beside(
            lambda: solver.solve(form.model), lambda: run.stopped, solver.stop_search
        )
        if status == self.cp.INFEASIBLE:
            return None
        if status == self.cp.MODEL_INVALID:
            raise SolverError(f"CP-SAT refuses the formulation: {form.model.validate()[:500]}")
        if status not in (self.cp.OPTIMAL, self.cp.FEASIBLE):
            raise StoppedError
        optimal = status == self.cp.OPTIMAL
        relaxed = tuple(_relaxed(form, solver.value, least=least and optimal))
        if least and len(relaxed) == 1 and not optimal:
            relaxed = (self._bounded(form, relaxed[0], solver.best_objective_bound),)
        return _Answer(relaxed, form.read(solver.value), optimal)

    def _bounded(self, form: ElasticPlacement, one: Relaxation, bound: float) -> Relaxation:
        """Say what is proven of the bytes where the fewest were not found."""
        if one.kind is not RelaxationKind.MEMORY:
            return one
        least = form.bytes_over(self.problem.device_ids.index(one.name), math.ceil(bound - 1e-6))
        return replace(one, bound=max(1, least), least=least >= one.bytes)

    # ---- schedules ---------------------------------------------------------------------

    def _shown(self, answer: _Answer) -> tuple[Relaxation, ...] | None:
        """Return relaxations that a schedule shows to be enough: the answer's, or more bytes."""
        if self._has_schedule(answer):
            return answer.relaxed
        return self._grown(answer.relaxed, answer.device)

    def _has_schedule(self, answer: _Answer) -> bool:
        try:
            changed = apply_relaxations(self.problem, answer.relaxed)
            schedule = simulate(changed, answer.device, _ranks(changed))
        except (TalosError, MemoryDeadlockError, NoRouteError):
            return False
        return not check(changed, schedule)

    def _grown(
        self, relaxed: tuple[Relaxation, ...], device: Ints, only: str = ""
    ) -> tuple[Relaxation, ...] | None:
        """Return the relaxations with the bytes that a schedule of this placement needs (peak).

        Parameters
        ----------
        relaxed : tuple of Relaxation
        device : (n,) int
        only : str
            Device whose memory alone may grow; empty: all.
        """
        if self.problem.memory_rule is not MemoryRule.PEAK:
            return None
        others = tuple(item for item in relaxed if item.kind is not RelaxationKind.MEMORY)
        try:
            changed = apply_relaxations(self.problem, others)
            free = _without_limits(changed, only)
            schedule = simulate(free, device, _ranks(free))
        except (TalosError, MemoryDeadlockError, NoRouteError):
            return None
        alive = memory_intervals(free, schedule)
        weights = resident_weights(free, device)
        memory = []
        for d, capacity in enumerate(self.problem.arrays.capacity.tolist()):
            short = int(weights[d]) + alive.peak(d)[0] - capacity
            if capacity < UNLIMITED and short > 0:
                name = self.problem.device_ids[d]
                memory.append(
                    Relaxation(RelaxationKind.MEMORY, name, bytes=short, bound=1, least=False)
                )
        grown = (*memory, *others)
        try:
            changed = apply_relaxations(self.problem, grown)
            if check(changed, schedule):
                return None
        except TalosError:
            return None
        return (*self._with_bounds(changed, memory, relaxed), *others)

    def _with_bounds(
        self, changed: Problem, memory: Sequence[Relaxation], relaxed: Sequence[Relaxation]
    ) -> Iterator[Relaxation]:
        """Say what is proven of the bytes that a schedule needs (peak).

        What is in memory while some op runs, in every order and on whatever devices, has to fit
        all of them together, so one device has to take what the others leave. Where one limit is
        relaxed, what the formulation has proven of it holds too.
        """
        arrays, moment = changed.arrays, None
        if arrays.division is None and not (arrays.capacity >= UNLIMITED).any():
            moment = fullest_moment(arrays)
        short = 0 if moment is None else moment.held - sum(self.problem.arrays.capacity.tolist())
        alone = len(relaxed) == len(memory) == 1 and _key(relaxed[0]) == _key(memory[0])
        for item in memory:
            beside = sum(other.bytes for other in memory if other is not item)
            least = max(1, short - beside, relaxed[0].bound if alone else 0)
            yield replace(item, bound=least, least=least >= item.bytes)

    def _explain_order(self, answer: _Answer) -> Explanation | None:
        """Explain what memory over time forbids: bytes that are enough, and what is proven."""
        if self.problem.memory_rule is not MemoryRule.PEAK:
            return None
        ids = np.array(self.problem.device_ids)[self.problem.arrays.capacity < UNLIMITED]
        alone = (self._grown((), answer.device, str(name)) for name in ids)
        single = _ordered([found[0] for found in alone if found is not None and len(found) == 1])
        if single:
            return Explanation(single[:1], True, single[:MOST_SINGLE])
        together = self._grown((), answer.device)
        return Explanation(together, False) if together else None


def _relaxed(
    form: ElasticPlacement, value: Callable[[Any], int], *, least: bool
) -> Iterator[Relaxation]:
    for limit in form.limits:
        # Where the time ended the search, a limit may be relaxed for nothing.
        if value(limit.literal) and (limit.over is None or value(limit.over)):
            yield _with_bytes(form, limit, value, least=least)


def _with_bytes(
    form: ElasticPlacement, limit: Limit, value: Callable[[Any], int], *, least: bool
) -> Relaxation:
    if limit.over is None:
        return limit.relaxation
    size = form.excess(limit, value)
    return replace(limit.relaxation, bytes=size, bound=size if least else 1, least=least)


def _without_limits(problem: Problem, only: str) -> Problem:
    """Return a problem in which one device, or all, have no memory limit."""
    devices = tuple(
        replace(device, memory=None) if only in ("", device.id) else device
        for device in problem.cluster.devices
    )
    cluster = problem.cluster
    cluster = Cluster(devices, cluster.links, cluster.reference, cluster.contention)
    return replace(problem, cluster=cluster)


def _ranks(problem: Problem) -> Ints:
    """Position of every op in a topological order, model after model."""
    arrays = problem.arrays
    ranks = np.empty(arrays.op_count, dtype=np.int64)
    ranks[np.lexsort((arrays.level, arrays.model))] = np.arange(arrays.op_count)
    return ranks


def _ordered(found: Iterable[Relaxation]) -> tuple[Relaxation, ...]:
    """Return memory first, fewest bytes first; then the rest by kind and name."""
    kinds = list(RelaxationKind)
    return tuple(
        sorted(found, key=lambda one: (kinds.index(one.kind), one.bytes, one.name, one.target))
    )


def _key(one: Relaxation) -> tuple[RelaxationKind, str, str]:
    return one.kind, one.name, one.target
