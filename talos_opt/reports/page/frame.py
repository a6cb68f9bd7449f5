"""What every page holds, and the page with the chart alone."""

from __future__ import annotations

import numpy as np

from talos_opt.analysis.causes import Cause
from talos_opt.reports.colouring import TYPES, slack_edges
from talos_opt.reports.folding import FOLD_ABOVE, LEAST_FOLDED
from talos_opt.reports.page.breakdown_data import breakdown_data, part_keys
from talos_opt.reports.page.data import Json, number, op_names, schedule_data
from talos_opt.reports.style import DARK, LIGHT, PALETTE
from talos_opt.reports.view import View

#: What a schedule document says of itself.
FACTS = (
    "status", "solver", "objective", "value", "lower_bound", "gap", "runtime_s", "broken_rules",
)  # fmt: skip


def gantt_data(view: View) -> Json:
    """Return the data of a page with the Gantt chart alone."""
    facts = {name: view.facts.get(name) for name in FACTS}
    facts["bound_from"] = ""
    devices = [
        {
            "id": name,
            "kind": view.kinds[d],
            "idle": number(view.idle[d]),
            "slots": int(view.slots[d]),
        }
        for d, name in enumerate(view.devices)
    ]
    found = view.breakdown
    where = None if found is None else breakdown_data(found, whole=False)
    drawn = schedule_data(view, view.title, facts, devices) | {"where": where}
    return page_frame(view, [drawn]) | {
        "kind": "gantt",
        "title": view.title,
        "objective": facts["objective"],
        "ops": op_names(view),
    }


def page_frame(view: View, schedules: list[Json]) -> Json:
    """Return what every page holds."""
    ops, devices = len(view.op_names), len(view.devices)
    return {
        "unit": view.time_unit,
        "memory_unit": "",
        "subtitle": f"{_counted(ops, 'op')} of {_counted(len(view.models), 'model')} on "
        f"{_counted(devices, 'device')}",
        "palette": PALETTE,
        "sequential": {"light": LIGHT.sequential, "dark": DARK.sequential},
        "colour_by": {"types": TYPES, "slack_edges": _edges(schedules)},
        "folding": {"above": FOLD_ABOVE, "least": LEAST_FOLDED},
        "parts": part_keys(),
        "causes": [cause.name.lower() for cause in Cause],
        "models": [{"id": name} for name in view.models],
        "schedules": schedules,
    }


def _edges(schedules: list[Json]) -> list[float]:
    """Return edges between classes of slack that serve all schedules."""
    known = [item["slack"] for item in schedules if item["slack"] is not None]
    return list(slack_edges([np.array(slack, dtype=np.float64) for slack in known]))


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
