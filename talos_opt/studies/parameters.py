"""The parameters of a study: a grid, a list of variants, or a random sample, as value sets."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from talos_opt.core import units
from talos_opt.core.errors import GraphError
from talos_opt.core.plain import Keys, as_list, as_mapping, as_name
from talos_opt.studies.paths import parse_path

#: How a random sample is asked for, beside the parameters.
SAMPLE, SEED = "sample", "seed"
#: What a named variant is called in tables.
VARIANT = "variant"

RANGE_KEYS = Keys("from to", "scale")
_MOST_CASES = 1_000_000


@dataclass(frozen=True)
class Parameters:
    """Value sets of a study.

    Parameters
    ----------
    names : tuple of str
        Columns of a table: the paths, or ``variant`` and the paths.
    rows : tuple of mapping of str to object
        What each set gives to the paths, in order; variants may leave out some.
    positions : tuple of tuple of int
        Of a grid, the place of each value in its list; empty otherwise. Neighbours differ by 1 in
        one place.
    """

    names: tuple[str, ...] = ()
    rows: tuple[Mapping[str, Any], ...] = ({},)
    positions: tuple[tuple[int, ...], ...] = ((),)


def read_parameters(value: object) -> Parameters:
    """Return what the ``parameters`` of a study say.

    Raises
    ------
    GraphError
        With the path in the study.
    """
    if isinstance(value, (list, tuple)):
        return _variants(value)
    record = as_mapping(value, "parameters", "parameters")
    sampled = SAMPLE in record
    paths = {
        name: item for name, item in record.items() if not (sampled and name in (SAMPLE, SEED))
    }
    for name in paths:
        _check_path(name, f"parameters.{name}")
    if sampled:
        return _sample(record, paths)
    lists = {name: _values(item, f"parameters.{name}") for name, item in paths.items()}
    if math.prod(map(len, lists.values())) > _MOST_CASES:
        raise GraphError(f"the grid has more than {_MOST_CASES} points", path="parameters")
    rows = tuple(dict(zip(lists, row, strict=True)) for row in product(*lists.values()))
    places = tuple(product(*(range(len(items)) for items in lists.values())))
    return Parameters(tuple(lists), rows, places)


def _check_path(name: object, where: str) -> None:
    try:
        parse_path(as_name(name, "a parameter", where))
    except GraphError as error:
        raise GraphError(error.message, path=where) from None


def _values(value: object, where: str) -> list[Any]:
    items = list(as_list(value, "a parameter of a grid", where))
    if not items:
        raise GraphError("the list is empty, expected at least one value", path=where)
    return items


def _variants(value: list[Any] | tuple[Any, ...]) -> Parameters:
    if not value:
        raise GraphError("the list of variants is empty, expected at least one", path="parameters")
    rows: list[dict[str, Any]] = []
    for k, item in enumerate(value):
        where = f"parameters[{k}]"
        record = dict(as_mapping(item, "a variant", where))
        if "name" not in record:
            raise GraphError("a variant has no 'name', expected one", path=where)
        name = as_name(record.pop("name"), "name", f"{where}.name")
        if any(row[VARIANT] == name for row in rows):
            raise GraphError(f"variant {name!r} is given twice", path=f"{where}.name")
        for path in record:
            _check_path(path, f"{where}.{path}")
        rows.append({VARIANT: name, **record})
    names = tuple(dict.fromkeys(name for row in rows for name in row))
    return Parameters(names, tuple(rows), ())


def _sample(record: Mapping[str, Any], paths: Mapping[str, Any]) -> Parameters:
    count = units.positive_int(record[SAMPLE], SAMPLE, path="parameters.sample")
    seed = record.get(SEED, 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        found = units.describe(seed)
        raise GraphError(
            f"seed is {found}, expected a whole number of at least 0", path="parameters.seed"
        )
    if not paths:
        raise GraphError("a sample of no parameters, expected at least one", path="parameters")
    source = random.Random(seed)
    if all(isinstance(item, (list, tuple)) for item in paths.values()):
        lists = {name: _values(item, f"parameters.{name}") for name, item in paths.items()}
        total = math.prod(map(len, lists.values()))
        if count > total:
            raise GraphError(
                f"sample is {count}, but the lists have {total} combinations",
                path="parameters.sample",
            )
        rows = [_point(lists, number) for number in source.sample(range(total), count)]
    else:
        rows = [
            {name: _draw(source, item, f"parameters.{name}") for name, item in paths.items()}
            for _ in range(count)
        ]
    return Parameters(tuple(paths), tuple(rows), ())


def _point(lists: Mapping[str, list[Any]], number: int) -> dict[str, Any]:
    row = {}
    for name, items in lists.items():
        number, k = divmod(number, len(items))
        row[name] = items[k]
    return row


def _draw(source: random.Random, item: object, where: str) -> Any:
    """Draw from a list, or from a range: uniform, or uniform in the logarithm."""
    if isinstance(item, (list, tuple)):
        return source.choice(_values(item, where))
    record = RANGE_KEYS.check(item, "a range", where)
    low, high = (_amount(record[key], f"{where}.{key}") for key in ("from", "to"))
    if not low <= high:
        raise GraphError(f"the range goes from {low:g} to {high:g}, which is less", path=where)
    scale = record.get("scale", "linear")
    if scale not in ("linear", "log") or (scale == "log" and low <= 0):
        raise GraphError(
            f"scale is {units.describe(scale)}, expected linear, or log and a range above 0",
            path=f"{where}.scale",
        )
    if scale == "log":
        drawn = math.exp(source.uniform(math.log(low), math.log(high)))
    else:
        drawn = source.uniform(low, high)
    drawn = min(max(drawn, low), high)
    return round(drawn) if isinstance(low, int) and isinstance(high, int) else drawn


def _amount(value: object, where: str) -> int | float:
    if isinstance(value, str):
        if value.strip().endswith("/s"):
            return units.bandwidth(value, "an end of the range", path=where)
        return units.size(value, "an end of the range", path=where)
    number = units.number(value, "an end of the range", path=where)
    return value if isinstance(value, int) else number
