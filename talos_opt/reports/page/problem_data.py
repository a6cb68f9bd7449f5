"""What a report tells of the problem itself: its models, its links, and its speedups."""

from __future__ import annotations

import math

import numpy as np

from talos_opt.analysis.model_speedups import ModelSpeedups, model_speedups
from talos_opt.analysis.model_summary import summarise_model
from talos_opt.core.columns import NONE
from talos_opt.core.problem import MemoryRule, Problem
from talos_opt.reports.page.data import Json, significant

#: Rules for links that are listed at most.
ROUTES = 40


def problem_numbers(problem: Problem) -> Json:
    """Return models, links, memory and sizes of a problem."""
    arrays, columns, cluster = problem.arrays, problem.graph.columns, problem.cluster
    kinds = {kind: cluster.index[cluster.members(kind)[0].id] for kind in cluster.kinds}
    k = len(columns.model_ids)
    edges = np.bincount(arrays.model[arrays.edge_src], minlength=k)
    by_model = {
        "weights": np.bincount(arrays.model, weights=arrays.weights, minlength=k),
        "outputs": np.bincount(arrays.model, weights=arrays.output, minlength=k),
    }
    spent = [
        significant(np.bincount(arrays.model, weights=arrays.time[:, d], minlength=k))
        for d in kinds.values()
    ]
    models = []
    for j, name in enumerate(columns.model_ids):
        first, last = columns.model_ptr[j : j + 2].tolist()
        named = {columns.types[t] for t in np.unique(columns.type[first:last]).tolist()}
        models.append(
            {
                "id": name,
                "ops": last - first,
                "edges": int(edges[j]),
                "types": len(named - {""}),
                "weight": float(arrays.model_weight[j]),
                "release": float(arrays.release[j]),
                "weights": int(by_model["weights"][j]),
                "outputs": int(by_model["outputs"][j]),
                "times": [times[j] for times in spent],
            }
        )
    routes = _routes(problem)
    return {
        "description": problem.graph.description,
        "ops": arrays.op_count,
        "edges": len(arrays.edge_src),
        "memory_rule": _RULES[problem.memory_rule],
        "links": _links(problem),
        "weights": int(arrays.weights.sum()),
        "outputs": int(arrays.output.sum()),
        "colocated": int((columns.group != NONE).sum()),
        "pinned": int((columns.pin != NONE).sum()),
        "kinds": list(kinds),
        "models": models,
        "routes": routes[:ROUTES],
        "routes_left": max(0, len(routes) - ROUTES),
    }


_RULES = {
    MemoryRule.STATIC: "static: all weights and outputs together",
    MemoryRule.PEAK: "peak: what is alive at the same time",
    MemoryRule.PIPELINE: "pipeline: what a step of micro-batches holds",
}


def _links(problem: Problem) -> str:
    links, contention = problem.cluster.links, problem.cluster.contention
    if links is None:
        return "none: tensors move in no time between all devices"
    if not links:
        return "none: no tensor can move"
    one = "one tensor at a time on a link" if contention == "serial" else "any number of tensors"
    return f"{len(links)} rule{'' if len(links) == 1 else 's'}, {one} (contention {contention})"


def _routes(problem: Problem) -> list[Json]:
    return [
        {
            "from": link.a,
            "to": link.b if link.one_way else f"{link.b}, both ways",
            "via": link.via,
            "latency": link.latency,
            "bandwidth": link.bandwidth if math.isfinite(link.bandwidth) else None,
        }
        for link in problem.cluster.links or ()
    ]


def speedup_curves(problem: Problem) -> tuple[list[Json], str]:
    """Return the sorted speedups of each model, or why there are none."""
    if len(problem.cluster.kinds) < 2:
        (kind,) = problem.cluster.kinds
        return [], f"All devices are of kind {kind}: there is no speedup between kinds."
    entries = [_curve(j, entry) for j, entry in enumerate(model_speedups(problem))]
    shown = [entry for entry in entries if entry["speedup"]]
    return shown, "" if shown else "No op has times on both the reference and another kind."


def _curve(model: int, entry: ModelSpeedups) -> Json:
    usable = np.flatnonzero(np.nan_to_num(entry.speedup) > 0)  # 0 has no place on a log axis
    order = usable[np.argsort(entry.speedup[usable], kind="stable")]
    return {
        "model": model,
        "reference": entry.reference,
        "other": entry.other,
        "op": entry.ops[order].tolist(),
        "speedup": significant(entry.speedup[order], 5),
        "average": summarise_model(entry).speedup or 0.0,
    }
