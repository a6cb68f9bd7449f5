"""What the pictures of a study show: its fronts, and maps over two of its parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from talos_opt.analysis.fronts import Point
from talos_opt.core import units
from talos_opt.core.errors import InputError
from talos_opt.core.problem import Objective
from talos_opt.reports.study_plots import HeatMap, Scatter
from talos_opt.studies.tables import Table, entitled, fronts, written


def list_scatters(table: Table) -> list[Scatter]:
    """Return a picture of price against value for each graph and objective."""
    found = []
    for (graph, objective, unit, same), (points, front) in fronts(table).items():
        shown, factor = _legible(objective, unit, max(point.value for point in points))
        found.append(
            Scatter(
                f"{entitled(graph, same)}: price against {objective}",
                f"{objective} ({shown})",
                tuple(_scaled(point, factor) for point in points),
                tuple(_scaled(point, factor) for point in front),
            )
        )
    return found


def _legible(objective: str, unit: str, highest: float) -> tuple[str, float]:
    """Return a unit of time in which the highest value is at least 1, and the factor to it."""
    if objective == Objective.MEMORY or unit not in units.PER_SECOND:
        return unit, 1.0
    for name in ("s", "ms", "us"):
        factor = units.PER_SECOND[name] / units.PER_SECOND[unit]
        if highest * factor >= 1:
            return name, factor
    return unit, 1.0


def _scaled(point: Point, factor: float) -> Point:
    bound = None if point.bound is None else point.bound * factor
    return replace(point, value=point.value * factor, bound=bound)


def list_maps(table: Table, names: Sequence[str]) -> list[HeatMap]:
    """Return a map for each graph and objective: the best value over two parameters.

    Parameters
    ----------
    table : Table
    names : sequence of str
        The two that span the map; fewer: the first two that differ between cases.

    Raises
    ------
    InputError
        If more than two are named.
    """
    table.require(names)
    if len(names) > 2:
        raise InputError(f"a map has two parameters, --by names {len(names)}")
    apart = ("graph", "objective")
    spare = [name for name in table.dimensions if name not in (*apart, *names)]
    # Parameters first: solvers and seeds are seldom what a map is about.
    spare.sort(key=lambda name: name not in table.parameters)
    chosen = [*names, *spare[: 2 - len(names)]]
    if len(chosen) < 2:
        return []
    down, along = chosen
    cases = dict.fromkeys((row["graph"], row["objective"]) for row in table.rows)
    return [_map(table, graph, objective, down, along) for graph, objective in cases]


def _map(table: Table, graph: str, objective: str, down: str, along: str) -> HeatMap:
    mine = [row for row in table.rows if (row["graph"], row["objective"]) == (graph, objective)]
    rows = list(dict.fromkeys(written(table.value(row, down)) for row in mine))
    columns = list(dict.fromkeys(written(table.value(row, along)) for row in mine))
    values = np.full((len(rows), len(columns)), np.nan)
    proven = np.zeros(values.shape, dtype=bool)
    for row in mine:
        i = rows.index(written(table.value(row, down)))
        j = columns.index(written(table.value(row, along)))
        if row["value"] is not None and not row["value"] >= values[i, j]:
            values[i, j], proven[i, j] = row["value"], row["status"] == "optimal"
    unit = next((row["time_unit"] for row in mine if row["time_unit"]), "")
    title = f"{entitled(graph, '')}: {objective}" + (f" ({unit})" if unit else "")
    return HeatMap(title, along, down, tuple(columns), tuple(rows), values, proven)
