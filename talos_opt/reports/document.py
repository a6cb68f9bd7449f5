"""A talos-schedule/1 document as columns, for pictures of schedules whose graph is not at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from talos_opt.core import units
from talos_opt.core.errors import InputError, ScheduleError
from talos_opt.core.graph import SEPARATOR
from talos_opt.core.problem import Floats, Ints
from talos_opt.core.records import as_list, as_name
from talos_opt.core.schedule import TransferRow, Transfers
from talos_opt.formats.schedule import OP_KEYS, TRANSFER_KEYS
from talos_opt.formats.schedule_columns import SCHEMA as COLUMNS


@dataclass(frozen=True)
class Rows:
    """The ops and transfers of a document; its devices and models in order of appearance.

    Parameters
    ----------
    devices, models, names : tuple of str
        Devices that the metrics name come first; names are ``MODEL/OP`` of the n ops.
    model, device : (n,) int
    start, end : (n,) float
    transfers : Transfers
    """

    devices: tuple[str, ...]
    models: tuple[str, ...]
    names: tuple[str, ...]
    model: Ints
    device: Ints
    start: Floats
    end: Floats
    transfers: Transfers


def rows_of(document: Mapping[str, Any]) -> Rows:
    """Read the rows of a document.

    Raises
    ------
    ScheduleError
        If it holds no schedule or a broken one, or names its ops by number (columns).
    """
    if document.get("schema") == COLUMNS:
        raise ScheduleError(
            "columns do not name ops, expected a graph too (on the command line: GRAPH SCHEDULE)"
        )
    try:
        return _Reader(document).read()
    except ScheduleError:
        raise
    except InputError as error:  # a value of the wrong type or sign
        raise ScheduleError(error.message, path=error.path) from None


class _Reader:
    """Names to numbers, in order of appearance."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.devices: dict[str, int] = {name: d for d, name in enumerate(_stated(document))}
        self.models: dict[str, int] = {}
        self.ops: dict[str, int] = {}

    def read(self) -> Rows:
        rows = as_list(self.document.get("ops", ()), "ops", "ops")
        if not rows:
            status = units.describe(self.document.get("status"))
            raise ScheduleError(
                f"the file holds no schedule: ops is empty, status is {status}", path="ops"
            )
        ops = [self._op(row, f"ops[{k}]") for k, row in enumerate(rows)]
        given = as_list(self.document.get("transfers", ()), "transfers", "transfers")
        moves = [self._transfer(row, f"transfers[{k}]") for k, row in enumerate(given)]
        model, device, start, end = zip(*ops, strict=True)
        return Rows(
            tuple(self.devices),
            tuple(self.models),
            tuple(self.ops),
            np.array(model, dtype=np.int64),
            np.array(device, dtype=np.int64),
            np.array(start),
            np.array(end),
            Transfers.from_rows(moves),
        )

    def _op(self, row: object, path: str) -> tuple[int, int, float, float]:
        record = OP_KEYS.check(row, "an op", path)
        model = as_name(record["model"], "model", f"{path}.model")
        name = f"{model}{SEPARATOR}{as_name(record['op'], 'op', f'{path}.op')}"
        if name in self.ops:
            raise ScheduleError(f"op {name} is placed twice, expected every op once", path=path)
        self.ops[name] = len(self.ops)
        device = self.devices.setdefault(
            as_name(record["device"], "device", f"{path}.device"), len(self.devices)
        )
        start, end = _times(record, path)
        return self.models.setdefault(model, len(self.models)), device, start, end

    def _transfer(self, row: object, path: str) -> TransferRow:
        record = TRANSFER_KEYS.check(row, "a transfer", path)
        name = SEPARATOR.join(as_name(record[key], key, f"{path}.{key}") for key in ("model", "op"))
        if name not in self.ops:
            raise ScheduleError(f"the schedule has no op {name}, which it transfers", path=path)
        ends = [
            self.devices.setdefault(as_name(record[key], key, f"{path}.{key}"), len(self.devices))
            for key in ("from", "to")
        ]
        size = units.size(record["bytes"], "bytes", path=f"{path}.bytes")
        return TransferRow(self.ops[name], ends[0], ends[1], *_times(record, path), size)


def _times(record: Mapping[str, Any], path: str) -> tuple[float, float]:
    start = units.magnitude(record["start"], "start", path=f"{path}.start")
    end = units.magnitude(record["end"], "end", path=f"{path}.end")
    if end < start:
        raise ScheduleError(f"ends at {end:g}, before its start at {start:g}", path=path)
    return start, end


def _stated(document: Mapping[str, Any]) -> list[str]:
    """Devices that the metrics name, in order: also those on which nothing runs."""
    metrics = document.get("metrics")
    named = metrics.get("idle_time") if isinstance(metrics, Mapping) else None
    return [str(name) for name in named] if isinstance(named, Mapping) else []
