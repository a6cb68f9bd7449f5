"""What a study asks for: the file, read and checked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from talos_opt import api
from talos_opt.core import units
from talos_opt.core.errors import GraphError
from talos_opt.core.granularity import Granularity
from talos_opt.core.machine import available_cores
from talos_opt.core.plain import Keys, as_list, as_mapping, as_name
from talos_opt.core.problem import Objective
from talos_opt.formats.source import Source, open_source
from talos_opt.studies.parameters import Parameters, read_parameters

KEYS = Keys(
    "graphs",
    "clusters objectives solvers seeds parameters time_limit workers prices name granularity "
    "no_split",
)

#: Cores of a process where a study does not say how many processes there are.
CORES_EACH = 4


@dataclass(frozen=True)
class Study:
    """A study as its file describes it.

    Parameters
    ----------
    name : str
    source : Source
        Its file, whose folder paths are relative to.
    graphs : tuple of str
    clusters : tuple of str
        Empty: each graph's own.
    objectives : tuple of str
        Empty: what the format of each graph takes.
    solvers : tuple of str
    seeds : tuple of int
    parameters : Parameters
    time_limit : float
        Seconds of each case.
    workers : int
        Processes.
    prices : mapping of str to float
        By device id or kind, in a unit of the user's.
    granularity : Granularity
        What is placed as a whole.
    no_split : tuple of str
        With modules, patterns of those to keep whole.
    """

    name: str
    source: Source
    graphs: tuple[str, ...]
    clusters: tuple[str, ...] = ()
    objectives: tuple[str, ...] = ()
    solvers: tuple[str, ...] = ("auto",)
    seeds: tuple[int, ...] = (0,)
    parameters: Parameters = field(default_factory=Parameters)
    time_limit: float = 10.0
    workers: int = 1
    prices: Mapping[str, float] = field(default_factory=dict)
    granularity: Granularity = Granularity.OP
    no_split: tuple[str, ...] = ()


def read_study(path: str | os.PathLike[str]) -> Study:
    """Read a study.

    Raises
    ------
    InputError
        Names the file, the line and the key.
    """
    source = open_source(path)
    with source.blamed():
        record = KEYS.check(source.document, "the study", "")
        given: dict[str, Any] = {}
        for key in ("clusters", "solvers", "objectives"):
            if key in record:
                given[key] = _names(record, key)
        for k, name in enumerate(given.get("objectives", ())):
            if name not in tuple(Objective):
                raise GraphError(
                    f"objective is {name!r}, expected one of {', '.join(Objective)}",
                    path=f"objectives[{k}]",
                )
        known = [info.name for info in api.solvers()]
        for k, name in enumerate(given.get("solvers", ())):
            if name not in known:
                raise GraphError(
                    f"no solver is called {name!r}, expected one of: {', '.join(known)}",
                    path=f"solvers[{k}]",
                )
        if "seeds" in record:
            given["seeds"] = _seeds(record["seeds"])
        if "parameters" in record:
            given["parameters"] = read_parameters(record["parameters"])
        if "time_limit" in record:
            given["time_limit"] = units.number(
                record["time_limit"], "time_limit", path="time_limit", positive=True
            )
        given["workers"] = (
            units.positive_int(record["workers"], "workers", path="workers")
            if "workers" in record
            else max(1, available_cores() // CORES_EACH)
        )
        if "prices" in record:
            given["prices"] = {
                as_name(name, "a device of prices", "prices"): units.number(
                    price, "a price", path=f"prices.{name}"
                )
                for name, price in as_mapping(record["prices"], "prices", "prices").items()
            }
        given |= _granularity(record)
        name = as_name(record["name"], "name", "name") if "name" in record else source.stem
        return Study(name=name, source=source, graphs=_names(record, "graphs"), **given)


def _granularity(record: Mapping[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if "granularity" in record:
        if record["granularity"] not in tuple(Granularity):
            raise GraphError(
                f"granularity is {units.describe(record['granularity'])}, expected one of "
                f"{', '.join(Granularity)}",
                path="granularity",
            )
        given["granularity"] = Granularity(record["granularity"])
    if "no_split" in record:
        if given.get("granularity") is not Granularity.MODULE:
            raise GraphError("no_split needs granularity: module", path="no_split")
        given["no_split"] = _names(record, "no_split")
    return given


def _names(record: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """Return one name, or a list of them, each once."""
    value = record[key]
    if isinstance(value, str):
        return (as_name(value, key, key),)
    items = as_list(value, key, key)
    names = tuple(
        as_name(item, f"an entry of {key}", f"{key}[{k}]") for k, item in enumerate(items)
    )
    return _distinct(names, key)


def _seeds(value: object) -> tuple[int, ...]:
    items = [value] if isinstance(value, int) else as_list(value, "seeds", "seeds")
    for k, item in enumerate(items):
        if isinstance(item, bool) or not isinstance(item, int) or not 0 <= item < 2**31:
            raise GraphError(
                f"a seed is {units.describe(item)}, expected a whole number of at least 0",
                path=f"seeds[{k}]",
            )
    return _distinct(tuple(items), "seeds")


def _distinct(items: tuple[Any, ...], key: str) -> tuple[Any, ...]:
    if not items:
        raise GraphError(
            f"{key} is an empty list, so the study has no cases: expected at least one entry",
            path=key,
        )
    if len(set(items)) < len(items):
        twice = next(item for item in items if items.count(item) > 1)
        raise GraphError(f"{key} names {twice!r} twice, expected each once", path=key)
    return items
