"""What a page draws, as columns of plain values that JSON holds in few bytes.

The keys are those that the page's scripts read; what they mean stands in `plan.js`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from talos_opt.analysis.causes import Causes
from talos_opt.core.columns import NONE
from talos_opt.core.graph import SEPARATOR
from talos_opt.core.problem import Floats, Problem
from talos_opt.reports.colouring import ranked_types
from talos_opt.reports.view import View

#: Significant digits of times: finer than the tolerance between equal times (model.md).
DIGITS = 12

Json = dict[str, Any]


def schedule_data(
    view: View,
    label: str,
    facts: Mapping[str, Any],
    devices: list[Json],
    causes: Causes | None = None,
    history: list[Json] | None = None,
) -> Json:
    """Return one schedule of a page."""
    return {
        "label": label,
        "facts": dict(facts),
        "horizon": view.horizon,
        "lanes": _lanes(view),
        "devices": devices,
        "op": {
            "device": view.op_device.tolist(),
            "lane": view.op_lane.tolist(),
            "lanes": view.op_lanes.tolist(),
            "start": times(view.op_start, view.horizon),
            "end": times(view.op_end, view.horizon),
        },
        "transfer": {
            "op": view.transfer_op.tolist(),
            "lane": view.transfer_lane.tolist(),
            "source": view.transfer_source.tolist(),
            "target": view.transfer_target.tolist(),
            "start": times(view.transfer_start, view.horizon),
            "end": times(view.transfer_end, view.horizon),
            "bytes": view.transfer_bytes.tolist(),
        },
        "more": {
            "op": view.more_op.tolist(),
            "lane": view.more_lane.tolist(),
            "lanes": view.more_lanes.tolist(),
        },
        "hold": {"transfer": view.hold_transfer.tolist(), "lane": view.hold_lane.tolist()},
        "memory": [
            {
                "device": view.devices.index(curve.device),
                "limit": curve.limit,
                "static": curve.static,
                "times": times(curve.times, view.horizon),
                "bytes": curve.bytes.tolist(),
            }
            for curve in view.memory
        ],
        "critical": {
            "op": view.critical_ops.tolist(),
            "transfer": view.critical_transfers.tolist(),
        },
        "why": None
        if causes is None
        else {name: column.tolist() for name, column in vars(causes).items()},
        "slack": None if view.breakdown is None else significant(view.breakdown.slacks.op, 5),
        "history": history or [],
    }


def op_names(view: View) -> Json:
    """Return name, model, type and origin of every op; the names without their models."""
    types = ranked_types(view.op_types)
    place = {name: k for k, name in enumerate(types)}
    origins = sorted(set(view.op_origins))
    at = {origin: k for k, origin in enumerate(origins)}
    return {
        "name": [name.split(SEPARATOR, 1)[-1] for name in view.op_names],
        "model": view.op_model.tolist(),
        "types": types,
        "type": [place[name] for name in view.op_types],
    } | (
        {"origins": origins, "origin": [at[origin] for origin in view.op_origins]}
        if origins
        else {}
    )


def op_details(problem: Problem) -> Json:
    """Return what the graph knows of its ops: times, memory, inputs, pins and colocation."""
    arrays, columns = problem.arrays, problem.graph.columns
    # Devices of a kind mostly have the same times: each such column is held once.
    distinct: dict[bytes, int] = {}
    column = [distinct.setdefault(arrays.time[:, d].tobytes(), len(distinct)) for d in range(
        arrays.device_count
    )]  # fmt: skip
    held = [arrays.time[:, column.index(k)] for k in range(len(distinct))]
    inputs, ptr = [], [0]
    for first, last in pairwise(arrays.in_ptr.tolist()):
        # Two edges between the same ops are one line to a reader.
        inputs += np.unique(arrays.edge_src[arrays.in_edge[first:last]]).tolist()
        ptr.append(len(inputs))
    details: Json = {
        "weights": arrays.weights.tolist(),
        "output": arrays.output.tolist(),
        "workspace": arrays.workspace.tolist(),
        "time": [significant(values) for values in held],
        "time_column": column,
        "input": inputs,
        "input_ptr": ptr,
    }
    if (columns.group != NONE).any():
        details |= {"groups": columns.groups, "group": columns.group.tolist()}
    if (columns.pin != NONE).any():
        details |= {"pins": columns.pins, "pin": columns.pin.tolist()}
    return details


def times(values: Floats, horizon: float) -> list[float]:
    """Return moments rounded to `DIGITS` of the horizon, so that equal ones stay equal."""
    decimals = DIGITS - math.ceil(math.log10(horizon)) if horizon > 0 else DIGITS
    return _short(np.round(values, decimals))


def significant(values: npt.ArrayLike, digits: int = 7) -> list[Any]:
    """Return numbers with so many significant digits; None where they are not finite."""
    return [number(value, digits) for value in np.asarray(values, dtype=np.float64).tolist()]


def number(value: float, digits: int = DIGITS) -> float | int | None:
    """Return a number with a number of significant digits; None where it is not finite."""
    if not math.isfinite(value):
        return None
    short = float(f"{value:.{digits}g}")
    return int(short) if short.is_integer() and abs(short) < 2**53 else short


def _short(values: Floats) -> list[Any]:
    """Return numbers, whole ones without ``.0``."""
    return [
        int(value) if value.is_integer() and abs(value) < 2**53 else value
        for value in values.tolist()
    ]


def _lanes(view: View) -> list[Json]:
    index = {name: d for d, name in enumerate(view.devices)}
    return [
        {
            "label": lane.label,
            "device": -1 if lane.link else index[lane.device],
            "source": index[lane.device],
            "slot": lane.slot,
            "link": lane.link,
        }
        for lane in view.lanes
    ]
