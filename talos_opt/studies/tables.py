"""The results of a study as rows, in groups, and as fronts of price against value."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from talos_opt.analysis.fronts import Point, pareto_front
from talos_opt.core.errors import ConfigError
from talos_opt.formats.source import split_suffix
from talos_opt.studies.parameters import VARIANT
from talos_opt.studies.store import FAILURES, Store

PENDING = "pending"

#: What a case is made of beside its parameters.
FIELDS = ("graph", "cluster", "objective", "solver", "seed")
#: What came of it.
OUTCOME = (
    "price", "status", "value", "lower_bound", "gap", "time_unit", "runtime_s", "wall_s", "threads",
    "peak_bytes", "warm_start", "bound_from", "reason",
)  # fmt: skip


@dataclass(frozen=True)
class Table:
    """All cases of a study.

    Parameters
    ----------
    study : str
    parameters : tuple of str
        Names of the parameters, in the order of the study.
    rows : tuple of mapping
        For each case its ``case`` number, `FIELDS`, ``parameters``, `OUTCOME` and ``metrics``.
        `warm_start` and `bound_from` are numbers of cases.
    """

    study: str
    parameters: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]

    def value(self, row: Mapping[str, Any], name: str) -> Any:
        """Return what a case has for a field or parameter; None where it has none."""
        return row["parameters"].get(name) if name in self.parameters else row[name]

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Fields and parameters in which cases differ; a variant's name stands for its values."""
        named = (VARIANT,) if VARIANT in self.parameters else self.parameters
        names = (*FIELDS, *named)
        return tuple(
            name for name in names if len({written(self.value(row, name)) for row in self.rows}) > 1
        )

    def require(self, names: Iterable[str]) -> None:
        """Refuse a name that cases do not have.

        Raises
        ------
        ConfigError
        """
        known = (*FIELDS, *self.parameters)
        for name in names:
            if name not in known:
                raise ConfigError(
                    f"the study has no parameter {name!r}, expected one of: {', '.join(known)}"
                )


def read_table(store: Store) -> Table:
    """Return the cases of a study and what came of them.

    Raises
    ------
    FormatError
        If the file cannot be read.
    """
    found = store.rows()
    numbers: dict[str, int] = {}
    for row in found:
        numbers.setdefault(row["fingerprint"], row["number"])
    rows = []
    for row in found:
        shown = {"case": row["number"]} | {name: row[name] for name in FIELDS}
        shown["parameters"] = row["parameters"]
        shown |= {name: row[name] for name in OUTCOME}
        shown["status"] = row["status"] or PENDING
        for name in ("warm_start", "bound_from"):
            shown[name] = numbers.get(row[name]) if row[name] else None
        rows.append(shown | {"metrics": row["metrics"]})
    parameters = dict.fromkeys(name for row in rows for name in row["parameters"])
    return Table(store.study(), tuple(parameters), tuple(rows))


def written(value: object) -> str:
    """Return a value of a parameter as text."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def group(table: Table, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return a row for each combination of values, with what the cases that have it came to.

    Values are those of the objective, so cases that are grouped should have one.
    """
    table.require(names)
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in table.rows:
        groups.setdefault(tuple(written(table.value(row, name)) for name in names), []).append(row)
    return [_grouped(table, names, members) for members in groups.values()]


def _grouped(
    table: Table, names: Sequence[str], members: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    values = [row["value"] for row in members if row["value"] is not None]
    bounds = [row["lower_bound"] for row in members if row["value"] is not None]
    times = [row["runtime_s"] for row in members if row["runtime_s"] is not None]
    prices = [row["price"] for row in members if row["price"] is not None]
    return {name: table.value(members[0], name) for name in names} | {
        "cases": len(members),
        "solved": len(values),
        "optimal": sum(row["status"] == "optimal" for row in members),
        "failed": sum(row["status"] in FAILURES for row in members),
        "pending": sum(row["status"] == PENDING for row in members),
        "price": min(prices, default=None),
        "best": min(values, default=None),
        "median": median(values) if values else None,
        "lower_bound": None if not bounds or None in bounds else min(bounds),
        "runtime_s": sum(times) if times else None,
    }


#: Graph, objective, time unit, and the parameters that cases on one front have in common.
FrontKey = tuple[str, str, str, str]


def fronts(table: Table) -> dict[FrontKey, tuple[tuple[Point, ...], tuple[Point, ...]]]:
    """Return all points with a price, and their front, for each question that is asked.

    Cases ask different questions if they differ in graph, objective, or a parameter of the models;
    what they differ in otherwise are ways to answer.
    """
    points: dict[FrontKey, list[Point]] = {}
    asked = [name for name in table.dimensions if name.startswith("models")]
    ways = [name for name in table.dimensions if name not in ("graph", "objective", *asked)]
    for row in table.rows:
        if row["price"] is None or row["value"] is None:
            continue
        key = (row["graph"], row["objective"], row["time_unit"], describe(table, row, asked))
        points.setdefault(key, []).append(
            Point(
                row["price"],
                row["value"],
                row["lower_bound"],
                describe(table, row, ways),
                row["case"],
            )
        )
    return {key: (tuple(items), pareto_front(items)) for key, items in points.items()}


def entitled(graph: str, same: str) -> str:
    """Return how a front is called: by its graph, and by what else its cases have in common."""
    name = split_suffix(graph.replace("\\", "/").rpartition("/")[2])[0]
    return f"{name}, {same}" if same else name


def describe(table: Table, row: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return what tells a case from the others; paths by their last key where that is clear."""
    ends = [name.rpartition(".")[2] for name in table.parameters]
    parts = []
    for name in names:
        value = written(table.value(row, name))
        end = name.rpartition(".")[2]
        known = end if ends.count(end) == 1 and end not in FIELDS else name
        if value:
            bare = name in ("variant", "solver", "cluster")
            parts.append(value if bare else f"{known}={value}")
    return ", ".join(parts)
