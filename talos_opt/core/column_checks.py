"""Whether columns form a graph: the rules for models made of objects and for columns alike.

Lengths and types of the columns are the reader's to check; here they are taken as right.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from talos_opt.core import units
from talos_opt.core.columns import (
    ALL_OUTPUTS,
    NONE,
    PHASES,
    SEPARATOR,
    WHOLE_OUTPUT,
    Columns,
    Floats,
    Ints,
)
from talos_opt.core.errors import GraphError

#: Edges that inputs which read several outputs may stand for: some gigabytes.
_MOST_EDGES = 20_000_000


def check_columns(columns: Columns) -> None:
    """Refuse columns that contradict themselves.

    Raises
    ------
    GraphError
        On bad or duplicate ids, numbers that are negative, not finite or too large, unknown or
        duplicate inputs, or a cycle; names the op and its place.
    """
    _check_models(columns)
    _check_times(columns)
    for part in ("weights", "output", "workspace"):
        _check_bytes(columns, getattr(columns, part), part)
    _first(
        columns,
        (columns.slots < 1) | (columns.slots > units.MOST_SLOTS),
        lambda i: (
            f"slots of op {columns.ids[i]!r} is {columns.slots[i]}, "
            f"expected a number from 1 to {units.MOST_SLOTS}"
        ),
        "slots",
    )
    for what, codes, count in (
        ("type", columns.type, len(columns.types)),
        ("colocate", columns.group, len(columns.groups)),
        ("devices", columns.pin, len(columns.pins)),
        ("phase", columns.phase, len(PHASES)),
    ):
        if codes is None:
            continue
        least = 0 if what in ("type", "phase") else NONE
        _check_codes(columns, codes, least, count, what)
    home, producer = columns.model[columns.reader], columns.input_op
    first, last = columns.model_ptr[home], columns.model_ptr[home + 1]
    outside = (producer < first) | (producer >= last)
    if outside.any():
        e = int(np.argmax(outside))
        raise GraphError(
            f"op {columns.ids[int(columns.reader[e])]!r} reads op number {producer[e]}, expected "
            f"one of its model {columns.model_ids[int(home[e])]!r} ({first[e]} to {last[e] - 1})",
            path=_input_path(columns, e),
        )
    _check_outputs(columns)
    size = columns.input_bytes
    wrong = (size < WHOLE_OUTPUT) | (size > units.MAX_BYTES)
    if wrong.any():
        e = int(np.argmax(wrong))
        raise GraphError(
            f"bytes of an input of op {columns.ids[int(columns.reader[e])]!r} is {size[e]}, "
            f"expected a whole number of bytes, at most {units.MAX_BYTES}, or {WHOLE_OUTPUT}: the "
            "producer's output",
            path=_input_path(columns, e),
        )
    check_structure(columns)


def check_structure(columns: Columns) -> None:
    """Refuse models without ops, ids that are bad or used twice, duplicate inputs and cycles.

    This is what objects do not know of their own; their numbers and names are in order.

    Raises
    ------
    GraphError
    """
    sizes = columns.model_ptr[1:] - columns.model_ptr[:-1]
    if (sizes < 1).any():
        j = int(np.argmax(sizes < 1))
        raise GraphError(
            f"model {columns.model_ids[j]!r} has no ops, expected at least one",
            path=f"models[{j}].ops",
        )
    for j, name in enumerate(columns.model_ids):
        if SEPARATOR in name or not name:
            raise GraphError(
                f"model id {name!r} must be non-empty and hold no '/'", path=f"models[{j}].id"
            )
    _check_ids(columns)
    _check_inputs(columns)
    _check_acyclic(columns)


def _first(
    columns: Columns, broken: npt.NDArray[np.bool_], message: Callable[[int], str], part: str
) -> None:
    """Complain about the first op of which something is broken."""
    if broken.any():
        i = int(np.argmax(broken))
        raise GraphError(message(i), path=columns.op_path(i, part))


def _check_models(columns: Columns) -> None:
    seen: set[str] = set()
    for j, (name, weight, release) in enumerate(
        zip(columns.model_ids, columns.model_weight.tolist(), columns.release.tolist(), strict=True)
    ):
        if name in seen:
            raise GraphError(
                f"model id {name!r} is used twice, expected unique ids", path=f"models[{j}].id"
            )
        seen.add(name)
        units.magnitude(weight, "weight", path=f"models[{j}].weight")
        units.magnitude(release, "release", path=f"models[{j}].release")


def _check_ids(columns: Columns) -> None:
    for j, (first, last) in enumerate(pairwise(columns.model_ptr.tolist())):
        ids = columns.ids.slice(first, last)
        if len(set(ids)) == len(ids) and all(ids):
            continue
        seen: dict[str, int] = {}
        for k, name in enumerate(ids):
            path = f"models[{j}].ops[{k}].id"
            if not name:
                raise GraphError("the id of an op is empty, expected a name", path=path)
            if name in seen:
                raise GraphError(
                    f"op id {name!r} is used twice in model {columns.model_ids[j]!r} "
                    f"(first as ops[{seen[name]}]), expected unique ids",
                    path=path,
                )
            seen[name] = k


def _check_times(columns: Columns) -> None:
    for q, key in enumerate(columns.time_keys):
        _check_time(columns, columns.time[:, q], key)


def _check_time(columns: Columns, time: Floats, key: str) -> None:
    _first(
        columns,
        ~((time >= 0) & (time < np.inf) | np.isnan(time)),
        lambda i: (
            f"time of op {columns.ids[i]!r} is {time[i]}, "
            "expected a finite number of at least 0, or nan where it has none"
        ),
        f"time.{key}",
    )
    _first(
        columns,
        (time > 0) & ((time < units.SMALLEST) | (time > units.LARGEST)),
        lambda i: (
            f"time of op {columns.ids[i]!r} is {time[i]}, expected 0 or a number from "
            f"{units.SMALLEST:g} to {units.LARGEST:g}: sums must stay finite"
        ),
        f"time.{key}",
    )


def _check_bytes(columns: Columns, sizes: Ints, part: str) -> None:
    _first(
        columns,
        (sizes < 0) | (sizes > units.MAX_BYTES),
        lambda i: (
            f"{part} of op {columns.ids[i]!r} is {sizes[i]}, "
            f"expected a whole number of bytes, at most {units.MAX_BYTES}"
        ),
        f"memory.{part}",
    )


def _check_outputs(columns: Columns) -> None:
    """Outputs are named, of bytes that can be, and inputs read one that there is."""
    outputs, read = columns.outputs, columns.input_output
    counts = np.ones(columns.op_count, dtype=np.int64)
    if outputs is not None:
        counts = np.diff(outputs.ptr)
        owner = np.repeat(np.arange(columns.op_count), counts)
        _first(columns, counts < 1, lambda i: f"op {columns.ids[i]!r} has no output", "outputs")
        wrong = (outputs.size < 0) | (outputs.size > units.MAX_BYTES)
        total = np.bincount(owner, weights=outputs.size, minlength=columns.op_count)
        broken = np.bincount(owner, weights=wrong, minlength=columns.op_count) > 0
        _first(
            columns,
            broken | (total != columns.output),
            lambda i: (
                f"outputs of op {columns.ids[i]!r} are {outputs.size[owner == i].tolist()}, "
                f"expected bytes that add up to its output, {columns.output[i]}"
            ),
            "outputs",
        )
        for i in np.flatnonzero(counts > 1).tolist():
            names = outputs.name.slice(*outputs.ptr[i : i + 2].tolist())
            if len(set(names)) < len(names) or not all(names):
                raise GraphError(
                    f"outputs of op {columns.ids[i]!r} are called {names}, "
                    "expected different names",
                    path=columns.op_path(i, "outputs"),
                )
    if read is None:
        return
    wrong = (read < ALL_OUTPUTS) | (read >= counts[columns.input_op])
    vague = (read == ALL_OUTPUTS) & (columns.input_bytes > 0) & (counts[columns.input_op] > 1)
    if (wrong | vague).any():
        e = int(np.argmax(wrong | vague))
        raise GraphError(
            f"an input of op {columns.ids[int(columns.reader[e])]!r} reads output number {read[e]} "
            f"of op {columns.ids[int(columns.input_op[e])]!r}, expected one from 0 to "
            f"{counts[columns.input_op[e]] - 1}, or {ALL_OUTPUTS} without bytes of its own: all",
            path=_input_path(columns, e),
        )


def _check_codes(columns: Columns, codes: Ints, least: int, count: int, part: str) -> None:
    _first(
        columns,
        (codes < least) | (codes >= count),
        lambda i: (
            f"{part} of op {columns.ids[i]!r} is number {codes[i]}, "
            f"expected one from {least} to {count - 1}"
        ),
        part,
    )


def _check_inputs(columns: Columns) -> None:
    _check_edges(columns)
    producer, reader = columns.input_op, columns.reader
    topology = columns.topology
    source, target = topology.edge_src, topology.edge_dst
    tensor = topology.edge_tensor
    twice = (tensor[1:] == tensor[:-1]) & (target[1:] == target[:-1])
    if twice.any():
        k = int(np.argmax(twice))
        i, read = int(target[k]), int(source[k])
        places = np.flatnonzero((reader == i) & (producer == read))
        name = columns.outputs.name[int(tensor[k])] if columns.outputs is not None else ""
        which = f" (output {name!r})" if name else ""
        raise GraphError(
            f"op {columns.ids[i]!r} lists input {columns.ids[read]!r} twice{which}",
            path=_input_path(columns, int(places[1])),
        )


def _check_edges(columns: Columns) -> None:
    """Inputs that read all outputs of an op do not become more edges than memory holds."""
    if columns.outputs is None:
        return
    _, counts = columns.reads(columns.outputs)
    total = int(counts.sum())
    if total > _MOST_EDGES:
        e = int(np.argmax(counts))
        raise GraphError(
            f"inputs that read all outputs of their op stand for {total} edges, expected at most "
            f"{_MOST_EDGES}: name the outputs that are read",
            path=_input_path(columns, e),
        )


def _input_path(columns: Columns, e: int) -> str:
    i = int(columns.reader[e])
    return columns.op_path(i, f"inputs[{e - int(columns.input_ptr[i])}]")


def _check_acyclic(columns: Columns) -> None:
    """What Kahn's algorithm leaves over contains a cycle, which is walked backwards and named."""
    topology = columns.topology
    if len(topology.order) == columns.op_count:
        return
    here = int(np.argmax(topology.missing > 0))
    trail: list[int] = []
    position: dict[int, int] = {}
    while here not in position:
        position[here] = len(trail)
        trail.append(here)
        inputs = columns.input_op[columns.input_ptr[here] : columns.input_ptr[here + 1]]
        here = int(inputs[topology.missing[inputs] > 0][0])
    cycle = trail[position[here] :][::-1]
    shown = [columns.ids[i] for i in [*cycle, cycle[0]]]
    if len(shown) > 12:
        shown = [*shown[:6], f"... {len(shown) - 12} more ...", *shown[-6:]]
    raise GraphError(
        f"model {columns.model_ids[columns.model_of(here)]!r} has a cycle: "
        f"{' -> '.join(shown)}, expected a DAG",
        path=columns.op_path(cycle[0], "inputs"),
    )
