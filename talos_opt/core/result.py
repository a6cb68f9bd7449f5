"""What a solver hands back: a status, a schedule, its value, and a proven bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from talos_opt.core.metrics import Metrics, forced_value, measure
from talos_opt.core.problem import Problem
from talos_opt.core.relaxations import Explanation
from talos_opt.core.schedule import Schedule

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

    @cached_property
    def metrics(self) -> Metrics | None:
        """All objectives and reported quantities; None without a schedule."""
        return None if self.schedule is None else measure(self.problem, self.schedule)

    @property
    def value(self) -> float | None:
        """Value of the optimised objective; None without a schedule."""
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

    def to_dict(self, *, rows: bool = True) -> dict[str, Any]:
        """Return the result as a talos-schedule/1 document of plain Python values.

        Parameters
        ----------
        rows : bool
            False: ``ops`` and ``transfers`` stay empty, which takes no time or memory for them.
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
            "metrics": None if self.metrics is None else asdict(self.metrics),
            "ops": ops,
            "transfers": transfers,
            "history": [asdict(event) for event in self.history],
        }
        if self.reason:
            document["reason"] = self.reason
        if self.explanation is not None:
            document |= self.explanation.to_dict()
        if self.interrupted:
            document["interrupted"] = True
        if self.notes:
            document["notes"] = list(self.notes)
        return document


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
    """One line of a comparison: a solver on a graph."""

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
        Best value of each graph.
    """

    rows: tuple[Row, ...]
    best: Mapping[str, float] = field(default_factory=dict)

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
        document = result.to_dict(rows=False)
        kept = ("objective", "time_unit", "status", "value", "lower_bound", "gap", "runtime_s")
        shown |= {key: document[key] for key in kept}
        shown["ratio_to_best"] = self.ratio(row)
        shown["metrics"] = document["metrics"]
        if result.reason:
            shown["reason"] = result.reason
        return shown


def compare_results(rows: Sequence[Row]) -> Comparison:
    """Build a comparison from rows: the best value of each graph is that of its best row."""
    best: dict[str, float] = {}
    for row in rows:
        if row.result is not None and row.result.value is not None:
            best[row.graph] = min(row.result.value, best.get(row.graph, row.result.value))
    return Comparison(tuple(rows), best)
