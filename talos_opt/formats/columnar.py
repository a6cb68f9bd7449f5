"""talos-columns/1: a graph as named arrays in an ``.npz`` file, for graphs too large for text.

The arrays are those of `talos_opt.core.columns.Columns`; what is not an array is JSON in the array
``header``. docs/columns.md lists both.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from talos_opt.core import units
from talos_opt.core.bundles import Bundles
from talos_opt.core.cluster import Cluster
from talos_opt.core.column_checks import check_columns
from talos_opt.core.columns import (
    ALL_OUTPUTS,
    FORWARD,
    NONE,
    WHOLE_OUTPUT,
    Bools,
    Columns,
    Outputs,
    Texts,
    pointers,
)
from talos_opt.core.errors import FormatError, GraphError, InputError
from talos_opt.core.graph import ColumnarModels, Graph
from talos_opt.core.plain import Keys, as_list, as_mapping, as_name, as_plain, as_text
from talos_opt.core.problem import MemoryRule, Objective, Pipelining, Problem, Stages
from talos_opt.formats.cluster_reader import cluster_beside
from talos_opt.formats.graph_writer import head_of, plain
from talos_opt.formats.npz import Array, Members, is_npz, write_members
from talos_opt.formats.source import Source
from talos_opt.formats.text import require_few_values

SCHEMA = "talos-columns/1"

HEADER_KEYS = Keys(
    "schema models time_keys",
    "name description time_unit memory_rule stages pipeline cluster known types groups pins",
)
MODEL_KEYS = Keys("id ops", "weight release")


def recognises(source: Source) -> bool:
    """Whether a file is a zip archive; no other format for graphs is one."""
    return is_npz(source)


def read_problem(
    source: Source,
    *,
    cluster: Cluster | None = None,
    objective: Objective | str | None = None,
    bundles: Bundles | str | Mapping[str, Any] | None = None,
) -> Problem:
    """Read a problem without an object for each op.

    Parameters
    ----------
    source : Source
    cluster : Cluster, optional
        Takes the place of the file's own, which is not read then.
    objective : Objective or str, optional
        Default: toct.
    bundles : Bundles, mapping or 'all', optional
        In place of what the file's cluster says.

    Raises
    ------
    InputError
        Names the file, the column or the op, what was found and what was expected.
    """
    with _blamed(source):
        members = Members(source)
        header = members.header()
        if header.get("schema") != SCHEMA:
            found = units.describe(header.get("schema"))
            raise FormatError(f"schema is {found}, expected {SCHEMA!r}", path="schema")
        record = HEADER_KEYS.check(header, "the header", "")
        columns = _columns(record, members)
        members.finish()
        check_columns(columns)
        if cluster is None:
            if "cluster" not in record:
                raise GraphError(
                    "the graph has no cluster, expected 'cluster' in the header, "
                    "or a cluster file given beside it (--cluster)"
                )
            cluster = cluster_beside(record["cluster"], source, bundles)
        rule = as_text(record.get("memory_rule", MemoryRule.STATIC), "memory_rule", "memory_rule")
        return Problem(
            _graph(record, columns, source),
            cluster,
            objective or Objective.TOCT,  # type: ignore[arg-type]
            rule,  # type: ignore[arg-type]  # checked by Problem
            stages=Stages.of(record.get("stages", "any")),
            pipeline=Pipelining.of(record["pipeline"]) if "pipeline" in record else None,
        )


@contextmanager
def _blamed(source: Source) -> Iterator[None]:
    """Add the file to errors raised inside; a binary file has no lines."""
    try:
        yield
    except InputError as error:
        if error.source is not None:
            raise
        raise error.located(source=source.name) from None


def _graph(record: Mapping[str, Any], columns: Columns, source: Source) -> Graph:
    optional: dict[str, Any] = {}
    for key in ("time_unit", "description"):
        if key in record:
            optional[key] = as_text(record[key], key, key)
    if "known" in record:
        optional["known"] = as_plain(
            as_mapping(record["known"], "known", "known"), "known", "known"
        )
    name = as_name(record["name"], "name", "name") if "name" in record else source.stem
    return Graph(name, ColumnarModels(columns), **optional)


def _columns(record: Mapping[str, Any], members: Members) -> Columns:
    models = [
        MODEL_KEYS.check(row, "a model", f"models[{j}]")
        for j, row in enumerate(as_list(record["models"], "models", "models"))
    ]
    if not models:
        raise GraphError("the graph has no models, expected at least one", path="models")
    sizes = [_count(row["ops"], f"models[{j}].ops") for j, row in enumerate(models)]
    n = sum(sizes)
    keys = _names(record, "time_keys")
    edges = members.whole("input_op", (None,))
    outputs, stated = _outputs(members, n), members.has("output")
    total = members.whole("output", (n,), 0)
    if outputs is not None and not stated and (np.diff(outputs.ptr) > 0).all():
        total = np.add.reduceat(outputs.size, outputs.ptr[:-1])
    return Columns(
        model_ids=tuple(as_name(m["id"], "id", f"models[{j}].id") for j, m in enumerate(models)),
        model_weight=_numbers(models, "weight", 1.0),
        release=_numbers(models, "release", 0.0),
        model_ptr=pointers(np.array(sizes, dtype=np.int64)),
        ids=_ids(members, sizes),
        time_keys=keys,
        time=members.real("time", (n, len(keys))),
        weights=members.whole("weights", (n,), 0),
        output=total,
        workspace=members.whole("workspace", (n,), 0),
        input_ptr=_pointers(members, "input_ptr", n, len(edges)),
        input_op=edges,
        input_bytes=members.whole("input_bytes", (len(edges),), WHOLE_OUTPUT),
        slots=members.whole("slots", (n,), 1),
        types=_names(record, "types") or ("",),
        type=members.whole("type", (n,), 0),
        groups=_names(record, "groups"),
        group=members.whole("group", (n,), NONE),
        pins=_pins(record),
        pin=members.whole("pin", (n,), NONE),
        attrs=_attrs(members, n),
        outputs=outputs,
        input_output=members.whole("input_output", (len(edges),))
        if members.has("input_output")
        else None,
        phase=members.whole("phase", (n,)) if members.has("phase") else None,
        split=_flags(members, "split", n),
    )


def _flags(members: Members, name: str, count: int) -> Bools | None:
    """Read a column of 0 and 1; None where there is none."""
    if not members.has(name):
        return None
    values = members.whole(name, (count,))
    wrong = (values < 0) | (values > 1)
    if wrong.any():
        i = int(np.argmax(wrong))
        raise FormatError(f"{name} of op number {i} is {values[i]}, expected 0 or 1", path=name)
    return np.asarray(values == 1)


def _outputs(members: Members, count: int) -> Outputs | None:
    """Output tensors of the ops; without columns for them, each op has one."""
    if not members.has("output_ptr"):
        return None
    size = members.whole("output_bytes", (None,))
    text = members.text("output_name")
    return Outputs(
        _pointers(members, "output_ptr", count, len(size)),
        size,
        Texts(text, _pointers(members, "output_name_ptr", len(size), len(text))),
    )


def _count(value: object, path: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise FormatError(
            f"ops is {units.describe(value)}, expected the number of the model's ops", path=path
        )
    return value


def _numbers(models: list[Mapping[str, Any]], key: str, default: float) -> Array:
    return np.array(
        [
            units.number(row.get(key, default), key, path=f"models[{j}].{key}")
            for j, row in enumerate(models)
        ]
    )


def _names(record: Mapping[str, Any], key: str) -> tuple[str, ...]:
    rows = as_list(record.get(key, []), key, key)
    names = tuple(as_text(row, key, f"{key}[{k}]") for k, row in enumerate(rows))
    if len(set(names)) < len(names):
        raise FormatError(f"{key} names something twice, expected distinct names", path=key)
    return names


def _pins(record: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    sets = []
    for p, row in enumerate(as_list(record.get("pins", []), "pins", "pins")):
        path = f"pins[{p}]"
        names = as_list(row, "pins", path)
        if not names:
            raise FormatError("pins is an empty list, expected at least one device", path=path)
        sets.append(tuple(as_name(name, "a device", path) for name in names))
    return tuple(sets)


def _ids(members: Members, sizes: list[int]) -> Texts:
    """Ids of the ops; without a column for them, ops are called by their number in the model."""
    if not members.has("op_id"):
        return Texts.join([str(i) for size in sizes for i in range(size)])
    text = members.text("op_id")
    return Texts(text, _pointers(members, "op_id_ptr", sum(sizes), len(text)))


def _pointers(members: Members, name: str, count: int, end: int) -> Array:
    ptr = members.whole(name, (count + 1,))
    if ptr[0] != 0 or ptr[-1] != end or (np.diff(ptr) < 0).any():
        raise FormatError(
            f"column {name!r} goes from {ptr[0]} to {ptr[-1]}, "
            f"expected numbers that rise from 0 to {end}"
        )
    return ptr


def _attrs(members: Members, count: int) -> dict[int, Any]:
    if not members.has("attrs"):
        return {}
    text = members.text("attrs")
    require_few_values(text)
    try:
        rows = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"column 'attrs' is not JSON: {error}") from None
    rows = as_list(rows, "attrs", "attrs")
    ops = members.whole("attrs_op", (len(rows),)).tolist()
    if any(not 0 <= i < count for i in ops) or len(set(ops)) < len(ops):
        raise FormatError(f"column 'attrs_op' is not {len(rows)} different numbers below {count}")
    return {
        i: as_plain(as_mapping(row, "attrs", f"attrs[{k}]"), "attrs", f"attrs[{k}]")
        for k, (i, row) in enumerate(zip(ops, rows, strict=True))
    }


def write_problem(problem: Problem, target: str | os.PathLike[str]) -> None:
    """Write a problem; what has its default value throughout is left out.

    Raises
    ------
    FormatError
        If the target cannot be written, or a name is not text that UTF-8 can hold.
    """
    write_members(_header_of(problem), _arrays_of(problem.graph.columns), target)


def _header_of(problem: Problem) -> dict[str, Any]:
    columns = problem.graph.columns
    sizes = np.diff(columns.model_ptr).tolist()
    models = [
        {"id": name, "weight": weight, "release": release, "ops": size}
        for name, weight, release, size in zip(
            columns.model_ids,
            columns.model_weight.tolist(),
            columns.release.tolist(),
            sizes,
            strict=True,
        )
    ]
    return {"schema": SCHEMA, **head_of(problem)} | {
        "models": models,
        "time_keys": list(columns.time_keys),
        "types": list(columns.types),
        "groups": list(columns.groups),
        "pins": [list(pins) for pins in columns.pins],
    }


def _arrays_of(columns: Columns) -> dict[str, Array | str]:
    arrays: dict[str, Array | str] = {
        "op_id": columns.ids.text,
        "op_id_ptr": columns.ids.ptr,
        "time": columns.time,
        "input_ptr": columns.input_ptr,
        "input_op": columns.input_op,
    }
    outputs = columns.outputs
    if outputs is not None:
        arrays |= {
            "output_ptr": outputs.ptr,
            "output_bytes": outputs.size,
            "output_name": outputs.name.text,
            "output_name_ptr": outputs.name.ptr,
        }
    if columns.input_output is not None and (columns.input_output != ALL_OUTPUTS).any():
        arrays["input_output"] = columns.input_output
    for name, default in (
        ("weights", 0),
        ("output", 0),
        ("workspace", 0),
        ("input_bytes", WHOLE_OUTPUT),
        ("slots", 1),
        ("type", 0),
        ("group", NONE),
        ("pin", NONE),
    ):
        values = getattr(columns, name)
        if (values != default).any():
            arrays[name] = values
    if columns.phase is not None and (columns.phase != FORWARD).any():
        arrays["phase"] = columns.phase
    if columns.split is not None and columns.split.any():
        arrays["split"] = columns.split.astype(np.int64)
    if columns.attrs:
        rows = [plain(row) for row in columns.attrs.values()]
        arrays["attrs_op"] = np.array(list(columns.attrs), dtype=np.int64)
        arrays["attrs"] = json.dumps(rows, ensure_ascii=False, allow_nan=False)
    return arrays
