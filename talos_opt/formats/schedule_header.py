"""What a talos-schedule/1 document says beside its rows: checked, and what decided about it.

The one place where ``made`` is read. Files without it (older ones, those of other tools) are as
good: then the graph and the command line decide.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from talos_opt.core import units
from talos_opt.core.bundles import Bundle, read_chosen
from talos_opt.core.cluster import Cluster
from talos_opt.core.errors import InputError, ScheduleError
from talos_opt.core.granularity import Granularity
from talos_opt.core.plain import MAX_DEPTH, as_list, as_mapping, as_text
from talos_opt.core.problem import MemoryRule, Objective, Pipelining, Stages
from talos_opt.formats.cluster_reader import cluster_from

#: Keys that hold the rows, which their readers check.
ROWS = ("ops", "transfers")


@dataclass(frozen=True)
class Made:
    """What decided about a schedule; None: its document does not say.

    Parameters
    ----------
    objective : Objective or None
    memory_rule : MemoryRule or None
    stages : Stages or None
    pipeline : Pipelining or None
    granularity : Granularity or None
    no_split : tuple of str
    cluster : Cluster or None
    fingerprint : str or None
        Of the graph's ops and edges; see `talos_opt.core.fingerprint`.
    description : str or None
        The graph's own.
    bundles : tuple of Bundle
        Devices that act as one in it.
    """

    objective: Objective | None = None
    memory_rule: MemoryRule | None = None
    stages: Stages | None = None
    pipeline: Pipelining | None = None
    granularity: Granularity | None = None
    no_split: tuple[str, ...] = ()
    cluster: Cluster | None = None
    fingerprint: str | None = None
    description: str | None = None
    bundles: tuple[Bundle, ...] = ()


def read_header(document: Mapping[str, Any]) -> Made:
    """Check what a document says beside its rows, and return what decided about it.

    Raises
    ------
    ScheduleError
        If a number is not finite, the objective or unit is none, or ``made`` is broken; with the
        path of the value.
    """
    try:
        _require_finite({key: document[key] for key in document if key not in ROWS})
        unit = document.get("time_unit", "us")
        _one_of(unit, tuple(units.PER_SECOND), "time_unit", "time_unit")
        objective = document.get("objective")
        found: dict[str, Any] = {}
        if objective is not None:
            found["objective"] = Objective(_one_of(objective, tuple(Objective), "objective"))
        if document.get("bundles") is not None:
            found["bundles"] = read_chosen(document["bundles"])
        if document.get("made") is not None:
            found |= _made(document["made"])
        return Made(**found)
    except ScheduleError:
        raise
    except InputError as error:  # a value of the wrong type, or a cluster that is none
        raise ScheduleError(error.message, path=error.path) from None


def _made(value: object) -> dict[str, Any]:
    record = as_mapping(value, "made", "made")
    found: dict[str, Any] = {}
    for key, kind in (("memory_rule", MemoryRule), ("granularity", Granularity)):
        if record.get(key) is not None:
            found[key] = kind(_one_of(record[key], tuple(kind), key, f"made.{key}"))
    if record.get("stages") is not None:
        found["stages"] = Stages.of(record["stages"], "made.stages")
    if record.get("pipeline") is not None:
        found["pipeline"] = Pipelining.of(record["pipeline"], "made.pipeline")
    if record.get("no_split") is not None:
        patterns = as_list(record["no_split"], "no_split", "made.no_split")
        found["no_split"] = tuple(
            as_text(item, "a pattern", f"made.no_split[{k}]") for k, item in enumerate(patterns)
        )
    if record.get("cluster") is not None:
        found["cluster"] = cluster_from(record["cluster"], "made.cluster")
    for key in ("fingerprint", "description"):
        if record.get(key) is not None:
            found[key] = as_text(record[key], key, f"made.{key}")
    return found


def _one_of(value: object, known: tuple[str, ...], what: str, path: str | None = None) -> str:
    if not isinstance(value, str) or value not in known:
        raise ScheduleError(
            f"{what} is {units.describe(value)}, expected one of {', '.join(known)}",
            path=path or what,
        )
    return value


def _require_finite(document: Mapping[str, Any]) -> None:
    """Refuse numbers that no float can hold, and what is nested too deep to be looked through."""
    left: list[tuple[str, object, int]] = [("", document, 0)]
    while left:
        path, value, depth = left.pop()
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            if not _is_finite(value):
                raise ScheduleError(
                    f"{path.rpartition('.')[2]} is {units.describe(value)}, "
                    "expected a finite number",
                    path=path,
                )
        elif isinstance(value, (Mapping, list, tuple)):
            if depth > MAX_DEPTH:
                raise ScheduleError(f"is nested deeper than {MAX_DEPTH} levels", path=path)
            if isinstance(value, Mapping):
                left += [
                    (f"{path}.{key}" if path else str(key), item, depth + 1)
                    for key, item in value.items()
                ]
            else:
                left += [(f"{path}[{k}]", item, depth + 1) for k, item in enumerate(value)]


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False
