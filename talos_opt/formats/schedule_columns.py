"""talos-schedule-columns/1: a schedule as named arrays in an ``.npz`` file.

Ops are in the order of their graph; a checksum of their names tells whether it is the same one.
The array ``header`` holds the JSON of talos-schedule/1, less ``ops`` and ``transfers``.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from talos_opt.core import units
from talos_opt.core.columns import Texts
from talos_opt.core.errors import FormatError, InputError, ScheduleError
from talos_opt.core.graph import SEPARATOR
from talos_opt.core.limits import require_moved
from talos_opt.core.plain import as_list, as_name
from talos_opt.core.problem import Floats, Ints, Problem
from talos_opt.core.result import Result
from talos_opt.core.schedule import Schedule, Transfers
from talos_opt.formats.npz import Array, Members, write_members
from talos_opt.formats.schedule_document import COLUMNS, NamedSchedule
from talos_opt.formats.source import Source

COLUMNS_SUFFIX = ".npz"


def write_columns(
    result: Result, document: Mapping[str, Any], target: str | os.PathLike[str]
) -> None:
    """Write a result.

    Parameters
    ----------
    result : Result
    document : mapping
        The talos-schedule/1 document without its rows.
    target : str or path

    Raises
    ------
    FormatError
        If the target cannot be written.
    """
    header = dict(document) | {
        "schema": COLUMNS,
        "devices": list(result.problem.device_ids),
        "op_names": _names_of(result.problem),
    }
    columns: dict[str, Array | str] = {}
    schedule = result.schedule
    if schedule is not None:
        moves = schedule.transfers
        columns = {
            "device": schedule.device.astype(np.int32),
            "start": schedule.start,
            "end": schedule.end,
            "transfer_op": moves.op,
            "transfer_from": moves.source.astype(np.int32),
            "transfer_to": moves.target.astype(np.int32),
            "transfer_start": moves.start,
            "transfer_end": moves.end,
            "transfer_bytes": moves.bytes,
        }
        if result.problem.arrays.several_outputs:
            columns["transfer_tensor"] = moves.tensor
    write_members(header, columns, target)


def read_header(source: Source) -> dict[str, Any]:
    """Return what a file says about its schedule: a talos-schedule/1 document without rows."""
    with _blamed(source):
        return dict(_header(Members(source)))


def read_columns(source: Source, problem: Problem) -> Schedule:
    """Read a schedule.

    Raises
    ------
    FormatError
        If the file is broken.
    ScheduleError
        If it holds no schedule, or one of another graph or cluster.
    """
    with _blamed(source):
        members = Members(source)
        header = _header(members)
        _check_belongs(header, problem)
        order = _device_order(header, problem)
        return _schedule(members, header, problem.arrays.op_count, order)


def read_named_columns(source: Source, ops: Sequence[str]) -> NamedSchedule:
    """Read a schedule of one model, whose ops have these ids in this order.

    Raises
    ------
    FormatError
        If the file is broken.
    ScheduleError
        If it holds no schedule, or one of other ops or several models.
    """
    with _blamed(source):
        members = Members(source)
        header = _header(members)
        devices = device_names(header)
        found = _schedule(members, header, None, np.arange(len(devices)))
        model = _only_model(header)
        ids = Texts.join(ops)
        ptr = np.array([0, len(ops)], dtype=np.int64)
        if header.get("op_names") != _checksum((model,), ids, ptr):
            raise ScheduleError(
                f"the schedule is of {len(found.device)} ops of model {model!r}, expected the "
                f"{len(ops)} ops of this model in their order",
                path="op_names",
            )
        return NamedSchedule(
            graph=header.get("graph"),
            time_unit=header.get("time_unit"),
            devices=devices,
            models=(model,),
            names=tuple(f"{model}{SEPARATOR}{op}" for op in ops),
            model=np.zeros(len(ops), dtype=np.int64),
            device=found.device,
            start=found.start,
            end=found.end,
            moves=tuple(found.transfers.rows()),
        )


def _schedule(
    members: Members, header: Mapping[str, Any], count: int | None, order: Ints
) -> Schedule:
    """Return the columns of so many ops (None: of as many as there are)."""
    if not members.has("device"):
        status = units.describe(header.get("status"))
        raise ScheduleError(f"the file holds no schedule: status is {status}")
    device = _devices(members, "device", count, order)
    start, end = _times(members, "start", len(device)), _times(members, "end", len(device))
    op = members.whole("transfer_op", (None,))
    tensor = op
    if members.has("transfer_tensor"):
        tensor = members.whole("transfer_tensor", (len(op),))
    schedule = Schedule(
        device=device,
        start=start,
        end=end,
        transfers=Transfers(
            op=op,
            source=_devices(members, "transfer_from", len(op), order),
            target=_devices(members, "transfer_to", len(op), order),
            start=_times(members, "transfer_start", len(op)),
            end=_times(members, "transfer_end", len(op)),
            bytes=_sizes(members, len(op)),
            tensor=tensor,
        ),
    )
    members.finish()
    return schedule


@contextmanager
def _blamed(source: Source) -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise error.located(source=source.name) from None


def _header(members: Members) -> Mapping[str, Any]:
    header = members.header()
    if header.get("schema") != COLUMNS:
        raise FormatError(
            f"schema is {units.describe(header.get('schema'))}, expected {COLUMNS!r}", path="schema"
        )
    return header


def _names_of(problem: Problem) -> int:
    columns = problem.graph.columns
    return _checksum(columns.model_ids, columns.ids, columns.model_ptr)


def _checksum(models: Sequence[str], ids: Texts, model_ptr: Ints) -> int:
    """Checksum of the names of all ops, in order."""
    value = zlib.crc32("\0".join((*models, ids.text)).encode(errors="replace"))
    for ptr in (model_ptr, ids.ptr):
        value = zlib.crc32(ptr.data, value)
    return value


def _only_model(header: Mapping[str, Any]) -> str:
    """Return the only model of a schedule: its metrics name all."""
    metrics = header.get("metrics")
    stated = metrics.get("completion") if isinstance(metrics, Mapping) else None
    models = list(stated) if isinstance(stated, Mapping) else []
    if len(models) != 1:
        raise ScheduleError(f"a schedule of {len(models)} models, expected one", path="metrics")
    return str(models[0])


def _check_belongs(header: Mapping[str, Any], problem: Problem) -> None:
    unit, expected = header.get("time_unit"), problem.graph.time_unit
    if unit != expected:
        raise ScheduleError(
            f"time_unit is {units.describe(unit)}, expected that of the graph, {expected!r}",
            path="time_unit",
        )
    if header.get("op_names") != _names_of(problem):
        named = units.describe(header.get("graph"))
        raise ScheduleError(
            f"the schedule (of graph {named}) is of other ops than those of "
            f"graph {problem.graph.name!r}, expected the same ops in the same order",
            path="op_names",
        )


def device_names(header: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the devices that a file names."""
    names = as_list(header.get("devices"), "devices", "devices")
    return tuple(as_name(name, "a device", f"devices[{k}]") for k, name in enumerate(names))


def _device_order(header: Mapping[str, Any], problem: Problem) -> Ints:
    """Position in the cluster of each device that the file names."""
    names, index = device_names(header), problem.cluster.index
    for k, name in enumerate(names):
        if name not in index:
            raise ScheduleError(
                f"the cluster has no device {name!r}, expected one of {', '.join(list(index)[:8])}",
                path=f"devices[{k}]",
            )
    return np.array([index[name] for name in names], dtype=np.int64)


def _times(members: Members, column: str, count: int) -> Floats:
    time = members.real(column, (count,))
    # Not-a-numbers and negative times are for whoever looks at the schedule to judge.
    wrong = np.isfinite(time) & (np.abs(time) > units.LARGEST)
    if wrong.any():
        i = int(np.argmax(wrong))
        raise ScheduleError(
            f"column {column!r} holds {time[i]} at {i}, expected at most {units.LARGEST:g}"
        )
    return time


def _sizes(members: Members, count: int) -> Ints:
    size = members.whole("transfer_bytes", (count,))
    wrong = (size < 0) | (size > units.MAX_BYTES)
    if wrong.any():
        i = int(np.argmax(wrong))
        raise ScheduleError(
            f"column 'transfer_bytes' holds {size[i]} at {i}, expected a whole number of at most "
            f"{units.MAX_BYTES}"
        )
    require_moved(size, "transfer_bytes")
    return size


def _devices(members: Members, column: str, count: int | None, order: Ints) -> Ints:
    device = members.whole(column, (count,))
    wrong = (device < 0) | (device >= len(order))
    if wrong.any():
        i = int(np.argmax(wrong))
        raise ScheduleError(
            f"column {column!r} holds {device[i]} at {i}, expected a number below {len(order)}"
        )
    return np.asarray(order[device])
