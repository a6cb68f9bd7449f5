"""The analysis of a graph as plain data: what ``talos-opt analyze --json`` prints."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from talos_opt.analysis.affinity import Affinity
from talos_opt.analysis.model_choice import ModelChoice
from talos_opt.analysis.model_speedups import ModelSpeedups
from talos_opt.analysis.model_summary import ModelSummary, summarise_model
from talos_opt.analysis.packing import PackingRow
from talos_opt.core.origins import origin_of
from talos_opt.core.problem import Problem
from talos_opt.formats.emit import Layout

#: How the document is spread over lines: an op, a pair and a setting each.
LAYOUT: Layout = {
    "models": [{"distributions": {}, "costliest": [], "ops": []}],
    "pairs": [],
    "packing": [],
    "alike": [],
}


def analysis_document(
    problem: Problem,
    models: Sequence[ModelSpeedups],
    pairs: Sequence[Affinity],
    packing: Sequence[PackingRow],
    columns: Sequence[int],
    choice: ModelChoice | None = None,
) -> dict[str, Any]:
    """Return an analysis as plain data; times in the graph's unit.

    What is undefined is None; affinities without common op types are the text ``inf``.

    Parameters
    ----------
    problem : Problem
    models : sequence of ModelSpeedups
        At least one.
    pairs : sequence of Affinity
        Of these models.
    packing : sequence of PackingRow
        Of all models of the problem.
    columns : sequence of int
        Which of the problem's models `models` are.
    choice : ModelChoice, optional
        Where not all pairs of the models were compared: adds ``pairs_left_out`` and ``alike``.
    """
    document: dict[str, Any] = {
        "graph": problem.graph.name,
        "time_unit": problem.graph.time_unit,
        "reference": models[0].reference,
        "other": models[0].other,
        "models": [
            _model(model, _origins(problem, j)) for model, j in zip(models, columns, strict=True)
        ],
        "pairs": [_pair(pair) for pair in pairs],
        "packing": [
            {
                "sv": [row.sv_low, row.sv_high],
                "tv": row.tv,
                "left": {
                    model.model: row.left[j] for model, j in zip(models, columns, strict=True)
                },
            }
            for row in packing
        ],
    }
    if choice is not None and len(choice.chosen) < len(models):
        document["pairs_left_out"] = choice.left_out
        document["alike"] = [[models[j].model for j in members] for members in choice.alike]
    return document


def _origins(problem: Problem, j: int) -> list[dict[str, str]]:
    """Where the ops of a model come from, as far as the graph says."""
    columns = problem.graph.columns
    first, last = columns.model_ptr[j : j + 2].tolist()
    return [origin_of(columns, i).known() for i in range(first, last)]


def _model(model: ModelSpeedups, origins: Sequence[dict[str, str]]) -> dict[str, Any]:
    summary = summarise_model(model)
    rows = [row | origin for row, origin in zip(_ops(model), origins, strict=True)]
    return {
        "model": model.model,
        "op_count": summary.ops,
        "op_types": summary.op_types,
        "timed": summary.timed,
        "reference_total": summary.reference_total,
        "other_total": summary.other_total,
        "speedup": summary.speedup,
        "slower_ops": summary.slower_ops,
        "slower_reference": summary.slower_reference,
        "slower_other": summary.slower_other,
        "distributions": _distributions(summary),
        "costliest": [rows[i] for i in summary.costliest],
        "ops": rows,
    }


def _ops(model: ModelSpeedups) -> Iterator[dict[str, Any]]:
    for name, kind, here, there, speedup in zip(
        model.names,
        model.types,
        model.reference_time.tolist(),
        model.other_time.tolist(),
        model.speedup.tolist(),
        strict=True,
    ):
        yield {
            "op": name,
            "type": kind,
            "reference": _known(here),
            "other": _known(there),
            "speedup": _known(speedup),
        }


def _distributions(summary: ModelSummary) -> dict[str, dict[str, float]]:
    """By what is distributed, then by the share of ops below, written as a number."""

    def named(values: Mapping[float, float]) -> dict[str, float]:
        return {f"{share:g}": value for share, value in values.items()}

    return {
        "speedup": named(summary.speedups),
        "reference": named(summary.reference_times),
        "other": named(summary.other_times),
    }


def _pair(pair: Affinity) -> dict[str, Any]:
    return {
        "models": [pair.first, pair.second],
        "common": list(pair.common),
        "overlap": pair.overlap,
        "difference": _known(pair.difference),
        "affinity": "inf" if math.isinf(pair.affinity) else pair.affinity,
        "distance": _known(pair.distance),
        "talos_difference": _known(pair.talos_difference),
        "talos_affinity": "inf" if not pair.common else _known(pair.talos_affinity),
    }


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
