"""What a solver hands back: a status, a schedule, its value, and a proven bound."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING, Any

from talos_opt.core import presenting
from talos_opt.core.config import SolveConfig
from talos_opt.core.errors import InputError
from talos_opt.core.gains import Rules
from talos_opt.core.metrics import Metrics, forced_value, measure, objective_value
from talos_opt.core.problem import Problem
from talos_opt.core.relaxations import Explanation
from talos_opt.core.robustness import Robustness
from talos_opt.core.schedule import Schedule
from talos_opt.version import __version__

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd

SCHEMA = "talos-schedule/1"

#: A value is optimal if at most this share of what is above the releases is above the bound.
OPTIMALITY_TOLERANCE = 1e-6


class Status(StrEnum):
    """How much is known about the answer."""

    OPTIMAL = "optimal"
    FEASIBLE = "feasible"
    INFEASIBLE = "infeasible"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Event:
    """One improvement of the incumbent or of the bound while a solver ran.

    Parameters
    ----------
    time_s : float
        Seconds since the solve began.
    value, lower_bound : float or None
        Best known at that moment.
    solver : str
        Who found it.
    """

    time_s: float
    value: float | None
    lower_bound: float
    solver: str


@dataclass(frozen=True)
class Result:
    """Answer to a problem; every schedule in it has passed `check`.

    Parameters
    ----------
    problem : Problem
    status : Status
    schedule : Schedule or None
    lower_bound : float
        Proven: no feasible schedule has a smaller value. Infinite if infeasible.
    solver : str
    seed : int
    runtime_s : float
    history : tuple of Event
    reason : str
        Why there is no schedule, in words a user can act on; empty if there is one.
    interrupted : bool
        The run was cancelled before its time limit.
    notes : tuple of str
        What a user should know beside the numbers.
    explanation : Explanation or None
        Of an infeasible problem, what would make it feasible, where that was found out.
    config : SolveConfig or None
        Limits and options of the solve, where there was one.
    robust : Robustness or None
        Of a plan that was made for times that vary, what is known of it beside the nominal one.
    rules : Rules or None
        What the baselines that were run on the way came to.
    """

    problem: Problem
    status: Status
    schedule: Schedule | None
    lower_bound: float
    solver: str
    seed: int = 0
    runtime_s: float = 0.0
    history: tuple[Event, ...] = ()
    reason: str = ""
    interrupted: bool = False
    notes: tuple[str, ...] = ()
    explanation: Explanation | None = None
    config: SolveConfig | None = None
    robust: Robustness | None = None
    rules: Rules | None = None

    def __repr__(self) -> str:
        value = "no schedule" if self.value is None else f"{self.problem.objective} {self.value:g}"
        return (
            f"Result({self.problem.graph.name!r}: {self.status}, {value}, "
            f"lower_bound={self.lower_bound:g}, solver={self.solver!r}, "
            f"runtime_s={self.runtime_s:.3g})"
        )

    def __str__(self) -> str:
        return presenting.text_of(self)

    def _repr_html_(self) -> str:
        return presenting.html_of(self)

    def summary(self, *, time_limit: float = 1.0) -> str:
        """Return what ``talos-opt solve`` prints, as text.

        Parameters
        ----------
        time_limit : float
            Seconds for each of the two baselines that the schedule is compared with
            (`talos_opt.gains`), which take milliseconds for a thousand ops; 0: do not compare it,
            as ``str(result)`` does not.
        """
        return presenting.text_of(self, compared_for=time_limit)

    def to_frame(self, rows: str = "ops") -> pd.DataFrame:
        """Return the schedule as a `pandas.DataFrame`; see `Schedule.to_frame`."""
        return self._found().to_frame(self.problem, rows)

    def to_networkx(self) -> nx.DiGraph[Any]:
        """Return the graph with the schedule on its nodes; see `Schedule.to_networkx`."""
        return self._found().to_networkx(self.problem)

    def _found(self) -> Schedule:
        if self.schedule is None:
            raise InputError(f"the result has no schedule: it is {self.status}")
        return self.schedule

    @cached_property
    def metrics(self) -> Metrics | None:
        """All objectives and reported quantities; None without a schedule."""
        return None if self.schedule is None else measure(self.problem, self.schedule)

    @property
    def value(self) -> float | None:
        """Value of the optimised objective; None without a schedule."""
        if self.schedule is not None and self.problem.frozen is not None:
            return objective_value(self.problem, self.schedule)  # with the price of what moves
        return None if self.metrics is None else self.metrics.value(self.problem.objective)

    @property
    def gap(self) -> float | None:
        """Gap of the value above the bound (see `relative_gap`); None without a schedule."""
        if self.value is None:
            return None
        return relative_gap(self.value, self.lower_bound, forced_value(self.problem))

    @property
    def placement(self) -> dict[str, str]:
        """Device id of every ``MODEL/OP``; empty without a schedule."""
        return {} if self.schedule is None else self.schedule.placement(self.problem)

    def to_dict(self, *, rows: bool = True, made: bool = True) -> dict[str, Any]:
        """Return the result as a talos-schedule/1 document of plain Python values.

        Parameters
        ----------
        rows : bool
            False: ``ops`` and ``transfers`` stay empty, which takes no time or memory for them.
        made : bool
            False: without what decided about it, whose fingerprint takes 2 s for a million ops.
        """
        problem, schedule = self.problem, self.schedule
        ops: list[dict[str, Any]] = []
        transfers: list[dict[str, Any]] = []
        if schedule is not None and rows:
            ops = [item._asdict() for item in schedule.named_ops(problem)]
            transfers = [
                {
                    "model": item.model,
                    "op": item.op,
                    **({"output": item.output} if item.output else {}),
                    "from": item.source,
                    "to": item.target,
                    "start": item.start,
                    "end": item.end,
                    "bytes": item.bytes,
                }
                for item in schedule.named_transfers(problem)
            ]
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "graph": problem.graph.name,
            "time_unit": problem.graph.time_unit,
            "status": self.status.value,
            "solver": self.solver,
            "seed": self.seed,
            "objective": problem.objective.value,
            "value": self.value,
            "lower_bound": self.lower_bound if self.status is not Status.INFEASIBLE else None,
            "gap": self.gap,
            "runtime_s": self.runtime_s,
            "metrics": None if self.metrics is None else self.metrics.to_dict(),
            "ops": ops,
            "transfers": transfers,
            "history": [asdict(event) for event in self.history],
        }
        if problem.bundling is not None:
            document["bundles"] = [bundle.to_plain() for bundle in problem.bundling.bundles]
        if self.robust is not None:
            document["robust"] = self.robust.to_dict()
        if made:
            document["made"] = self._made()
        if self.reason:
            document["reason"] = self.reason
        if self.explanation is not None:
            document |= self.explanation.to_dict()
        if self.interrupted:
            document["interrupted"] = True
        if self.notes:
            document["notes"] = list(self.notes)
        return document

    def _made(self) -> dict[str, Any]:
        """Return what decided about the answer beside the graph, the objective and the seed."""
        problem, plan = self.problem.source, self.config
        made: dict[str, Any] = {
            "version": __version__,
            "fingerprint": problem.graph.fingerprint,
            "memory_rule": problem.memory_rule.value,
            "stages": problem.stages.to_plain(),
            "granularity": problem.granularity,
            "no_split": list(problem.no_split),
        }
        if problem.pipeline is not None:
            made["pipeline"] = problem.pipeline.to_plain()
        if problem.graph.description:  # of a profile: with which inputs, say
            made["description"] = problem.graph.description
        if plan is not None:
            made["time_limit"] = plan.time_limit
            made["workers"] = plan.workers
            made["worth"] = plan.worth
            made["options"] = {name: dict(given) for name, given in plan.options.items()}
        return made | {"cluster": problem.cluster.to_dict()}


def relative_gap(value: float, lower_bound: float, forced: float = 0.0) -> float:
    """(value - lower_bound) / (value - forced), from 0 to 1; 0 where nothing is above `forced`.

    Parameters
    ----------
    value, lower_bound : float
    forced : float
        What releases alone force (`metrics.forced_value`), the least that a bound can be.
    """
    if value <= forced:
        return 0.0
    return min(1.0, max(0.0, (value - max(lower_bound, forced)) / (value - forced)))


@dataclass(frozen=True)
class Row:
    """One line of a comparison: a solver on a graph.

    Parameters
    ----------
    graph : str
        What the graph is called here: its name, with a number where several have that name.
    solver : str
    result : Result or None
    error : str
        Why there is no result.
    """

    graph: str
    solver: str
    result: Result | None
    error: str = ""


@dataclass(frozen=True)
class Comparison:
    """Several solvers on one or more graphs.

    Parameters
    ----------
    rows : tuple of Row
        Graph by graph, in the order the solvers were named.
    best : mapping of str to float
        Best value of each graph, by what the rows call it.
    """

    rows: tuple[Row, ...]
    best: Mapping[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        names = dict.fromkeys(row.graph for row in self.rows)
        solvers = dict.fromkeys(row.solver for row in self.rows)
        return f"Comparison({len(names)} graphs, {len(solvers)} solvers: {', '.join(solvers)})"

    def ratio(self, row: Row) -> float | None:
        """Return a row's value over the best value on its graph; None without a value."""
        if row.result is None or row.result.value is None:
            return None
        best = self.best[row.graph]
        return row.result.value / best if best > 0 else 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison as plain Python values."""
        return {"schema": "talos-comparison/1", "rows": [self._row(row) for row in self.rows]}

    def _row(self, row: Row) -> dict[str, Any]:
        shown: dict[str, Any] = {"graph": row.graph, "solver": row.solver}
        if row.result is None:
            return shown | {"status": "error", "reason": row.error}
        result = row.result
        document = result.to_dict(rows=False, made=False)
        kept = ("objective", "time_unit", "status", "value", "lower_bound", "gap", "runtime_s")
        shown |= {key: document[key] for key in kept}
        shown["ratio_to_best"] = self.ratio(row)
        shown["metrics"] = document["metrics"]
        if result.reason:
            shown["reason"] = result.reason
        return shown


def distinct_names(problems: Iterable[Problem]) -> Iterator[tuple[str, Problem]]:
    """Yield problems with the names of their graphs, of which each is given once.

    Where a name comes again it has a number: ``graph``, ``graph (2)``.
    """
    seen: set[str] = set()
    for problem in problems:
        name, k = problem.graph.name, 1
        while name in seen:
            k += 1
            name = f"{problem.graph.name} ({k})"
        seen.add(name)
        yield name, problem


def compare_results(rows: Sequence[Row]) -> Comparison:
    """Build a comparison from rows: the best value of each graph is that of its best row."""
    best: dict[str, float] = {}
    for row in rows:
        if row.result is not None and row.result.value is not None:
            best[row.graph] = min(row.result.value, best.get(row.graph, row.result.value))
    return Comparison(tuple(rows), best)
