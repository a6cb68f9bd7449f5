"""Schedules as tables of pandas, and as graphs of networkx."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from talos_opt.core.errors import DependencyError, InputError
from talos_opt.core.extras import how_to_install
from talos_opt.core.origins import origin_of
from talos_opt.core.problem import Problem

if TYPE_CHECKING:
    import networkx as nx
    import pandas as pd

    from talos_opt.core.schedule import Schedule

#: What the rows of a table can be.
ROWS = ("ops", "transfers")


def to_frame(problem: Problem, schedule: Schedule, rows: str = "ops") -> pd.DataFrame:
    """Return a schedule as a `pandas.DataFrame`; see `Schedule.to_frame`."""
    if rows not in ROWS:
        raise InputError(f"rows is {rows!r}, expected {' or '.join(ROWS)}")
    try:
        import pandas as pd
    except ImportError as error:
        raise DependencyError(
            f"tables need pandas, which cannot be imported ({error}): {how_to_install('frames')}"
        ) from None
    columns = _ops(problem, schedule) if rows == "ops" else _transfers(problem, schedule)
    frame = pd.DataFrame(columns)
    frame.attrs = {"graph": problem.graph.name, "time_unit": problem.graph.time_unit}
    return frame


def _ops(problem: Problem, schedule: Schedule) -> dict[str, Any]:
    columns = problem.graph.columns
    types, ids = np.array(columns.types, dtype=object), np.array(problem.device_ids, dtype=object)
    models = np.array(columns.model_ids, dtype=object)
    return {
        "model": models[columns.model],
        "op": columns.ids.slice(0, columns.op_count),
        "type": types[columns.type],
        "module": [origin_of(columns, i).module for i in range(columns.op_count)],
        "device": ids[schedule.device],
        "start": schedule.start,
        "end": schedule.end,
    }


def _transfers(problem: Problem, schedule: Schedule) -> dict[str, Any]:
    columns, moves = problem.graph.columns, schedule.transfers
    ids = np.array(problem.device_ids, dtype=object)
    return {
        "model": [columns.model_ids[j] for j in columns.model[moves.op].tolist()],
        "op": [columns.ids[i] for i in moves.op.tolist()],
        "output": [problem.output_name(tensor) for tensor in moves.tensor.tolist()],
        "from": ids[moves.source],
        "to": ids[moves.target],
        "start": moves.start,
        "end": moves.end,
        "bytes": moves.bytes,
    }


def to_networkx(problem: Problem, schedule: Schedule) -> nx.DiGraph[Any]:
    """Return the graph of a schedule; see `Schedule.to_networkx`."""
    found = problem.graph.to_networkx()
    ids = problem.device_ids
    placed = (schedule.device.tolist(), schedule.start.tolist(), schedule.end.tolist())
    for name, device, start, end in zip(problem.names, *placed, strict=True):
        found.nodes[name].update(device=ids[device], start=start, end=end)
    return found
