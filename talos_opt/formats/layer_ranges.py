"""Ranges of layers for each node of a cluster, as JSON: what exo and its like call shards."""

from __future__ import annotations

import os
from itertools import groupby
from typing import Any

from talos_opt.core.errors import InputError
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.formats.target import write_json


def layer_ranges(problem: Problem, schedule: Schedule) -> dict[str, Any]:
    """Return which layers each device runs, first and last included, in the order of the layers.

    Raises
    ------
    InputError
        If ops do not say their layer, a layer is split, or a device's layers are not consecutive.
    """
    ids = problem.device_ids
    homes: dict[int, tuple[str, str]] = {}
    for op, d in zip(problem.ops, schedule.device.tolist(), strict=True):
        layer = op.attrs.get("layer")
        if not isinstance(layer, int):
            continue
        first, home = homes.setdefault(layer, (op.id, ids[d]))
        if home != ids[d]:
            raise InputError(
                f"layer {layer} is split: op {first!r} is on {home}, op {op.id!r} on {ids[d]}; "
                "solve with --granularity module and --no-split for the layers"
            )
    if not homes:
        raise InputError(
            f"no op of graph {problem.graph.name!r} says which layer it is of (attrs: {{layer: 0}})"
        )
    before = homes[min(homes)]
    for layer in range(max(homes) + 1):  # nothing is left of some layers of pruned models
        before = homes.setdefault(layer, before)
    runs = [(d, list(group)) for d, group in groupby(sorted(homes), key=lambda k: homes[k][1])]
    seen = [d for d, _ in runs]
    again = next((d for k, d in enumerate(seen) if d in seen[:k]), None)
    if again is not None:
        raise InputError(f"the layers on {again} are not consecutive; solve with --stages acyclic")
    return {
        "model": problem.graph.name,
        "layers": max(homes) + 1,
        "shards": [
            {"device": d, "start_layer": layers[0], "end_layer": layers[-1]} for d, layers in runs
        ],
    }


def write_layer_ranges(ranges: dict[str, Any], target: str | os.PathLike[str]) -> None:
    """Write ranges as JSON; ``-``: to standard output."""
    write_json(ranges, target)
