"""Where a module is, as text for a person."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from talos_opt.core.units import format_bytes
from talos_opt.reports.digits import moment
from talos_opt.reports.texts.tables import quantity, settled, table, visible

if TYPE_CHECKING:
    from talos_opt.analysis.module_stay import ModuleStay, Moved

#: Ops that are listed: those that take longest. The JSON holds all.
SHOWN = 8


def tell(found: ModuleStay) -> str:
    """Return what ``explain`` prints of a module."""
    parts = [_head(found), _devices(found), _parts(found), _moved(found), _ops(found)]
    return "\n\n".join(part for part in parts if part)


def _at(found: ModuleStay, time: float) -> str:
    span = found.schedule.makespan - float(found.problem.arrays.release.min())
    return moment(settled(time, span), found.problem.graph.time_unit, span)


def _long(found: ModuleStay, length: float) -> str:
    return quantity(settled(length, found.schedule.makespan), found.problem.graph.time_unit)


def _head(found: ModuleStay) -> str:
    count, devices = len(found.ops), " and ".join(item.device for item in found.devices)
    several = f" in {len(found.modules)} modules" if len(found.modules) > 1 else ""
    return visible(
        f"{found.name}: {count} op{'s' * (count != 1)}{several} on {devices}, from "
        f"{_at(found, found.start)} to {_at(found, found.end)}, for "
        f"{_long(found, found.end - found.start)}"
    )


def _devices(found: ModuleStay) -> str:
    rows = [
        (item.device, str(item.ops), _long(found, item.time), format_bytes(item.weights),
         _at(found, item.start), _at(found, item.end))
        for item in found.devices
    ]  # fmt: skip
    return table(("device", "ops", "time", "weights", "from", "to"), rows)


def _parts(found: ModuleStay) -> str:
    if len(found.parts) < 2:
        return ""
    rows = [
        (item.module or "single ops of others", item.device, str(item.ops),
         _long(found, item.time), format_bytes(item.weights))
        for item in found.parts
    ]  # fmt: skip
    return table(("part", "device", "ops", "time", "weights"), rows, left=(0, 1))


def _moved(found: ModuleStay) -> str:
    def told(what: str, moved: Moved) -> str:
        if not moved.transfers:
            return f"{what}: nothing"
        s = "s" * (moved.transfers != 1)
        return (
            f"{what}: {format_bytes(moved.bytes)} in {moved.transfers} transfer{s}, "
            f"{_long(found, moved.time)}"
        )

    objective = found.problem.objective
    what = objective.value if objective.is_timed else "makespan"
    slack = float(found.slack.min())
    length = (found.schedule.end - found.schedule.start)[found.ops]
    tight = int(np.argmax(np.where(found.slack == slack, length, -1.0)))
    name = visible(found.problem.names[found.ops[tight]])
    if math.isinf(slack):
        late = f"slack: it holds up nothing that {what} depends on"
    elif not settled(slack, found.schedule.makespan):
        late = f"slack: none; any delay of {name} adds to {what}"
    else:
        late = f"slack: all of it may start {_long(found, slack)} later at the same {what}"
    lines = [
        told("moved to it", found.received), told("moved from it", found.sent),
        told("moved within it", found.within), late,
    ]  # fmt: skip
    return "\n".join(lines)


def _ops(found: ModuleStay) -> str:
    schedule, columns = found.schedule, found.problem.graph.columns
    length = (schedule.end - schedule.start)[found.ops]
    order = np.argsort(-length, kind="stable")[:SHOWN].tolist()
    rows = []
    for k in order:
        i = int(found.ops[k])
        slack = float(found.slack[k])
        rows.append(
            (found.problem.names[i], columns.types[columns.type[i]],
             found.problem.device_ids[schedule.device[i]], _at(found, float(schedule.start[i])),
             _long(found, float(length[k])), "any" if math.isinf(slack) else _long(found, slack))
        )  # fmt: skip
    shown = table(("longest op", "type", "device", "from", "time", "slack"), rows, left=(0, 1, 2))
    rest = len(found.ops) - len(order)
    return shown + (f"\nand {rest} more ops" if rest else "")
