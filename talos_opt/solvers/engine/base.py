"""What a solver is: a name, declared features, options, and one function that runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, ClassVar, TypeVar

from talos_opt.core.errors import ConfigError, UnsupportedError
from talos_opt.core.problem import MemoryRule, Objective, Problem
from talos_opt.core.result import Status
from talos_opt.solvers.engine.run import Run


class Feature(StrEnum):
    """Parts of the model that a solver may or may not cover."""

    TOCT = "objective toct"
    MAKESPAN = "objective makespan"
    BOTTLENECK = "objective bottleneck"
    MEMORY = "objective memory"
    STEP = "objective step"
    PEAK_MEMORY = "memory_rule peak"
    PIPELINE_MEMORY = "memory_rule pipeline"
    SERIAL_LINKS = "contention serial"
    NO_COPY_ENGINE = "devices with copy_engine false"
    SLOTS = "devices or ops with several slots"
    VIA = "links via a device"
    STAGES = "stages that are acyclic, ordered or use all devices"
    FROZEN = "ops that have started"


ALL_FEATURES = frozenset(Feature)
#: What is covered by whoever knows of one sample at a time.
SAMPLE_FEATURES = ALL_FEATURES - {Feature.STEP, Feature.PIPELINE_MEMORY, Feature.FROZEN}
#: What is covered by whoever puts ops wherever it likes, too.
FREE_FEATURES = SAMPLE_FEATURES - {Feature.STAGES}
#: What is covered by the simple rules: what has started is there before they begin.
RULE_FEATURES = FREE_FEATURES | {Feature.FROZEN}


def features_of(problem: Problem) -> frozenset[Feature]:
    """Return the features that a problem uses, beyond what every solver covers."""
    arrays = problem.arrays
    found = {Feature(f"objective {problem.objective.value}")}
    watched = arrays.memory_limited or problem.objective is Objective.MEMORY
    if problem.memory_rule is MemoryRule.PEAK and watched:
        found.add(Feature.PEAK_MEMORY)
    if problem.memory_rule is MemoryRule.PIPELINE:
        found.add(Feature.PIPELINE_MEMORY)
    if (arrays.channel >= 0).any():
        found.add(Feature.SERIAL_LINKS)
    if not arrays.copy_engine.all():
        found.add(Feature.NO_COPY_ENGINE)
    if (arrays.slots > 1).any():
        found.add(Feature.SLOTS)
    if (arrays.via >= 0).any():
        found.add(Feature.VIA)
    if problem.stages:
        found.add(Feature.STAGES)
    if problem.frozen is not None:
        found.add(Feature.FROZEN)
    return frozenset(found)


@dataclass(frozen=True)
class Verdict:
    """What a solver says when it stops; schedules and bounds went to the `Run` before.

    Parameters
    ----------
    status : Status
        ``INFEASIBLE`` only if proven; ``UNKNOWN`` if nothing was found and nothing proven;
        otherwise ``FEASIBLE`` (the run's bound decides whether that is optimal).
    reason : str
        Why there is no schedule, in words a user can act on.
    """

    status: Status
    reason: str = ""


OptionsT = TypeVar("OptionsT")


@dataclass(frozen=True)
class NoOptions:
    """Options of a solver that has none."""


class Solver(ABC):
    """Base of all solvers.

    A subclass sets the class attributes and writes `solve`. It hands every schedule it finds to
    ``run.offer`` (which checks it) and every bound it proves to ``run.raise_bound``, looks at
    ``run.stopped`` often, and returns a `Verdict`.
    """

    name: ClassVar[str]
    summary: ClassVar[str] = ""
    exact: ClassVar[bool] = False
    features: ClassVar[frozenset[Feature]] = FREE_FEATURES
    #: Frozen dataclass of the solver's own options, every field with a default.
    Options: ClassVar[type[Any]] = NoOptions

    def __init__(self, options: Any = None) -> None:
        self.options = self.Options() if options is None else options
        #: Options that were given for other solvers, by name: for one that runs them.
        self.others: Mapping[str, Mapping[str, Any]] = {}

    def require(self, problem: Problem) -> None:
        """Refuse a problem that uses a feature outside what the solver covers.

        Raises
        ------
        UnsupportedError
        """
        outside = sorted(features_of(problem) - self.features)
        if outside:
            other = "pipeline" if problem.is_pipelined else "cpsat"
            raise UnsupportedError(
                f"solver {self.name!r} does not cover {', '.join(outside)}; use {other} or auto"
            )

    def covers(self, problem: Problem) -> bool:
        """Whether it does not refuse a problem."""
        try:
            self.require(problem)
        except UnsupportedError:
            return False
        return True

    def kernels(self, problem: Problem) -> tuple[str, ...]:
        """Return which compiled kernels it needs (see `compilation.KERNELS`), the first first."""
        return ()

    @abstractmethod
    def solve(self, problem: Problem, run: Run) -> Verdict:
        """Search until done, out of time or cancelled."""

    def go_on(self, problem: Problem, run: Run) -> None:
        """Use time that was kept for polishing and not needed; by default it stays unused."""
        return


def read_options(kind: type[OptionsT], given: Mapping[str, Any], where: str) -> OptionsT:
    """Build an options dataclass from a mapping, refusing unknown names and wrong types."""
    known = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]
    for key, value in given.items():
        if key not in known:
            expected = f"one of: {', '.join(known)}" if known else "none: it has no options"
            raise ConfigError(f"unknown option {key!r}, expected {expected}", path=f"{where}.{key}")
        default = known[key].default
        wanted = (int, float) if type(default) is float else type(default)
        if default is not None and (
            not isinstance(value, wanted) or isinstance(value, bool) != isinstance(default, bool)
        ):
            raise ConfigError(
                f"{key} is {value!r}, expected a value like {default!r}", path=f"{where}.{key}"
            )
    try:
        return kind(**given)
    except ValueError as error:
        raise ConfigError(str(error), path=where) from None


def is_placement_only(problem: Problem) -> bool:
    """Tell whether value and feasibility hang on the placement alone.

    Loads and the static memory rule know no order, so nothing needs to be sequenced.
    """
    if problem.objective is Objective.MEMORY:
        return problem.memory_rule is MemoryRule.STATIC
    if problem.is_pipelined:
        return False
    static = problem.memory_rule is MemoryRule.STATIC or not problem.arrays.memory_limited
    return problem.objective is Objective.BOTTLENECK and static
