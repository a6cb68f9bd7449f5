"""All that a Gantt chart shows, as columns; the picture and the page both draw it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from talos_opt.analysis.breakdown import Breakdown, break_down
from talos_opt.analysis.causes import Causes
from talos_opt.core import rounding
from talos_opt.core.errors import ScheduleError
from talos_opt.core.feasibility import check
from talos_opt.core.memory_curves import MemoryCurve, memory_curves
from talos_opt.core.metrics import idle_times, objective_value
from talos_opt.core.origins import origin_of
from talos_opt.core.problem import Floats, Ints, Problem
from talos_opt.core.schedule import Schedule, Transfers
from talos_opt.formats.schedule_document import named_schedule
from talos_opt.reports.layout import Bars, Lane, Layout, lay_out

__all__ = ["Lane", "MemoryCurve", "View", "view_of", "view_of_document"]

#: What is taken over from a document, and of which types.
FACTS: dict[str, tuple[type, ...]] = {
    "status": (str,),
    "solver": (str,),
    "objective": (str,),
    "value": (int, float),
    "lower_bound": (int, float),
    "gap": (int, float),
    "runtime_s": (int, float),
}

#: Those of them that are true of one objective only.
_OF_OBJECTIVE = ("status", "objective", "value", "lower_bound", "gap")


def _none() -> Ints:
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class View:
    """A schedule, laid out: n ops and t transfers on m devices, drawn on lanes.

    Times are in `time_unit`. Without the graph there are no memory curves, no critical path and
    no op types, and a device has as many lanes as ops on it overlap.

    Parameters
    ----------
    title : str
        Name of the graph.
    time_unit : str
        Empty: not known.
    horizon : float
        Latest end of an op or transfer.
    models : tuple of str
    lanes : tuple of Lane
        From top to bottom: devices in the cluster's order, then links.
    op_names, op_types : tuple of str
        ``MODEL/OP``, and the op's type, of the n ops.
    op_origins : tuple of str
        Module and line of code of every op; empty: the graph says it of none.
    op_model, op_device : (n,) int
    op_lane, op_lanes : (n,) int
        First lane of an op, and how many neighbouring lanes it fills: a slot each.
    op_start, op_end : (n,) float
    devices : tuple of str
    idle : (m,) float
        Idle time, as `metrics.idle_times` has it; nan if unknown.
    slots : (m,) int
        0: unknown. A device with many slots has lanes only for those in use.
    transfer_op, transfer_lane, transfer_bytes : (t,) int
        Transfers that find no free lane of their link share one.
    transfer_source, transfer_target : (t,) int
        Devices.
    transfer_start, transfer_end : (t,) float
    memory : tuple of MemoryCurve
        One for each device.
    critical_ops, critical_transfers : int arrays
        Ops and rows of transfers on the critical path, by time.
    more_op, more_lane, more_lanes : int arrays
        Further lanes of ops whose slots are not neighbours: op, first lane, how many.
    hold_transfer, hold_lane : int arrays
        Transfers that hold a slot of a device without copy engine, and its lane.
    breakdown : Breakdown or None
        Where the time goes; None without the graph, or if the schedule breaks rules.
    kinds : tuple of str
        Kind of each of the m devices; without the graph, its id without the number at its end.
    facts : mapping
        ``status``, ``solver``, ``objective``, ``value``, ``lower_bound``, ``gap``, ``runtime_s``
        as in the document, any of which may be missing; ``broken_rules``, how many violations
        `feasibility.check` found, where there are some; ``ops`` and ``transfers``, how many the
        schedule has, where the view is a part of it.
    """

    title: str
    time_unit: str
    horizon: float
    models: tuple[str, ...]
    lanes: tuple[Lane, ...]
    op_names: tuple[str, ...]
    op_types: tuple[str, ...]
    op_model: Ints
    op_lane: Ints
    op_lanes: Ints
    op_device: Ints
    op_start: Floats
    op_end: Floats
    devices: tuple[str, ...]
    idle: Floats
    slots: Ints
    transfer_op: Ints
    transfer_lane: Ints
    transfer_start: Floats
    transfer_end: Floats
    transfer_bytes: Ints
    transfer_source: Ints
    transfer_target: Ints
    op_origins: tuple[str, ...] = ()
    memory: tuple[MemoryCurve, ...] = ()
    critical_ops: Ints = field(default_factory=_none)
    critical_transfers: Ints = field(default_factory=_none)
    more_op: Ints = field(default_factory=_none)
    more_lane: Ints = field(default_factory=_none)
    more_lanes: Ints = field(default_factory=_none)
    hold_transfer: Ints = field(default_factory=_none)
    hold_lane: Ints = field(default_factory=_none)
    facts: Mapping[str, Any] = field(default_factory=dict)
    breakdown: Breakdown | None = None
    kinds: tuple[str, ...] = ()


def view_of(
    problem: Problem,
    schedule: Schedule,
    document: Mapping[str, Any] | None = None,
    causes: Causes | None = None,
) -> View:
    """Return what a chart of a schedule shows.

    Parameters
    ----------
    problem : Problem
    schedule : Schedule
        Of the problem's ops. One that breaks rules is shown as it is, without critical path.
    document : mapping, optional
        talos-schedule/1, for what a schedule does not say about itself: status, bound, solver.
    causes : Causes, optional
        Of the schedule, where they are known already.

    Raises
    ------
    ScheduleError
        If a time is not finite, or a transfer is of no op.
    """
    _require_sound(schedule, problem.graph.op_count)
    arrays, columns = problem.arrays, problem.graph.columns
    broken = check(problem, schedule)
    facts = _facts(document or {}, problem.objective.value)
    facts.setdefault("value", objective_value(problem, schedule))
    if broken:
        facts["broken_rules"] = len(broken)
    tolerance = rounding.noise(schedule.start, schedule.end)
    bars = Bars(
        devices=problem.device_ids,
        slots=arrays.slots,
        copy_engine=arrays.copy_engine,
        device=schedule.device,
        start=schedule.start,
        end=schedule.end,
        demand=arrays.demand,
        transfers=schedule.transfers,
    )
    layout = lay_out(bars, tolerance)
    return View(
        title=problem.graph.name,
        time_unit=problem.graph.time_unit,
        models=columns.model_ids,
        op_names=problem.names,
        op_types=tuple(columns.types[k] for k in columns.type.tolist()),
        op_model=columns.model,
        op_origins=_origins(problem),
        idle=idle_times(problem, schedule),
        memory=memory_curves(problem, schedule, tolerance),
        kinds=tuple(device.kind for device in problem.cluster.devices),
        facts=facts,
        **({} if broken else _critical(problem, schedule, causes)),
        **_columns(bars, layout),
    )


def view_of_document(document: Mapping[str, Any]) -> View:
    """Return what a chart can show of a talos-schedule/1 document whose graph is not at hand.

    Raises
    ------
    ScheduleError
        If it holds no schedule, a broken one, or the header of columns.
    """
    rows = named_schedule(document)
    moves = Transfers.from_rows(rows.moves)
    for what, start, end in (("ops", rows.start, rows.end), ("transfers", moves.start, moves.end)):
        if (end < start).any():
            k = int(np.argmax(end < start))
            raise ScheduleError(
                f"one of the {what} ends at {end[k]:g}, before its start at {start[k]:g}",
                path=f"ops[{k}]" if what == "ops" else what,
            )
    bars = Bars(
        devices=rows.devices,
        slots=np.zeros(len(rows.devices), dtype=np.int64),
        copy_engine=np.ones(len(rows.devices), dtype=bool),
        device=rows.device,
        start=rows.start,
        end=rows.end,
        demand=np.ones(len(rows.names), dtype=np.int64),
        transfers=moves,
    )
    layout = lay_out(bars, rounding.noise(bars.start, bars.end))
    return View(
        title=str(document.get("graph", "")),
        time_unit=rows.time_unit or "",
        models=rows.models,
        op_names=rows.names,
        op_types=("",) * len(rows.names),
        op_model=rows.model,
        idle=_stated_idle(document, rows.devices),
        kinds=tuple(name.rstrip("0123456789") or name for name in rows.devices),
        facts=_facts(document),
        **_columns(bars, layout),
    )


def _origins(problem: Problem) -> tuple[str, ...]:
    columns = problem.graph.columns
    found = tuple(str(origin_of(columns, i)) for i in range(problem.graph.op_count))
    return found if any(found) else ()


def _require_sound(schedule: Schedule, count: int) -> None:
    """Refuse what columns can hold and no chart can show."""
    moves = schedule.transfers
    for what, start, end in (
        ("op", schedule.start, schedule.end),
        ("transfer", moves.start, moves.end),
    ):
        finite = np.isfinite(start) & np.isfinite(end)
        if not finite.all():
            k = int(np.argmin(finite))
            raise ScheduleError(
                f"{what} {k} runs from {start[k]} to {end[k]}, expected finite times"
            )
    known = (moves.op >= 0) & (moves.op < count)
    if not known.all():
        k = int(np.argmin(known))
        raise ScheduleError(f"transfer {k} is of op {moves.op[k]}, expected one below {count}")


def _critical(problem: Problem, schedule: Schedule, causes: Causes | None) -> dict[str, Any]:
    """Fields of a view that follow from what waited for what."""
    found = break_down(problem, schedule, causes)
    path = found.path.stretches
    ops = [item.op for item in path if item.transfer < 0]
    moves = [item.transfer for item in path if item.transfer >= 0]
    return {
        "breakdown": found,
        "critical_ops": np.array(ops, dtype=np.int64),
        "critical_transfers": np.array(moves, dtype=np.int64),
    }


def _columns(bars: Bars, layout: Layout) -> dict[str, Any]:
    """Fields of a view that the layout decides."""
    moves: Transfers = bars.transfers
    return {
        "horizon": _horizon(bars),
        "lanes": tuple(layout.lanes),
        "op_lane": layout.op_lane,
        "op_lanes": layout.op_lanes,
        "op_device": bars.device,
        "op_start": bars.start,
        "op_end": bars.end,
        "devices": bars.devices,
        "slots": bars.slots,
        "transfer_op": moves.op,
        "transfer_lane": layout.transfer_lane,
        "transfer_start": moves.start,
        "transfer_end": moves.end,
        "transfer_bytes": moves.bytes,
        "transfer_source": moves.source,
        "transfer_target": moves.target,
        "more_op": np.array(layout.more_op, dtype=np.int64),
        "more_lane": np.array(layout.more_lane, dtype=np.int64),
        "more_lanes": np.array(layout.more_lanes, dtype=np.int64),
        "hold_transfer": np.array(layout.hold_transfer, dtype=np.int64),
        "hold_lane": np.array(layout.hold_lane, dtype=np.int64),
    }


def _horizon(bars: Bars) -> float:
    return float(max(bars.end.max(initial=0.0), bars.transfers.end.max(initial=0.0)))


def _facts(document: Mapping[str, Any], objective: str | None = None) -> dict[str, Any]:
    """Take over what a document says about itself, as far as it makes sense.

    Parameters
    ----------
    document : mapping
    objective : str, optional
        What the document says of another objective is left out.
    """
    facts = {
        key: document[key]
        for key, kinds in FACTS.items()
        if isinstance(document.get(key), kinds) and not isinstance(document[key], bool)
    }
    if objective is None:
        return facts
    if facts.get("objective", objective) != objective:
        facts = {key: value for key, value in facts.items() if key not in _OF_OBJECTIVE}
    return facts | {"objective": objective}


def _stated_idle(document: Mapping[str, Any], devices: tuple[str, ...]) -> Floats:
    metrics = document.get("metrics")
    stated = metrics.get("idle_time") if isinstance(metrics, Mapping) else None
    given = stated if isinstance(stated, Mapping) else {}
    values = [given.get(name) for name in devices]
    return np.array([v if isinstance(v, (int, float)) else np.nan for v in values], dtype=float)
