"""An analysis in tables, for a person to read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from talos_opt.reports.texts.tables import number, percent, quantity, table, visible

#: Headings of the distributions, by the share of ops below.
SHARES = {
    "0": "min",
    "0.05": "5 %",
    "0.25": "25 %",
    "0.5": "median",
    "0.75": "75 %",
    "0.95": "95 %",
    "1": "max",
}

#: Headings of the measures of how alike two models are.
MEASURES = {
    "affinity": "affinity",
    "distance": "distance",
    "talos_difference": "Talos dis",
    "talos_affinity": "Talos Affi",
}

#: Of more models than this, so many are shown in detail.
DETAILED = 40


def describe(document: Mapping[str, Any], top: int) -> str:
    """Return the text that ``analyze`` prints.

    Parameters
    ----------
    document : mapping
        See `talos_opt.reports.analysis_document`.
    top : int
        Ops of each model to list.
    """
    return "\n".join(_lines(document, top))


def _lines(document: Mapping[str, Any], top: int) -> Iterator[str]:
    models, here, there = document["models"], document["reference"], document["other"]
    count = sum(model["op_count"] for model in models)
    yield f"{visible(document['graph'])}: {_many(len(models), 'model')}, {_many(count, 'op')}"
    yield f"speedup = time on {visible(here)} / time on {visible(there)}"
    yield f"\n{_summary(document)}"
    shown = _longest(models)
    if len(shown) < len(models):
        yield (
            f"\nin detail: the {len(shown)} of {len(models)} models that take longest on {here} "
            "(--models picks others, --json has all)"
        )
    yield f"\ndistributions\n{_distributions(shown, document)}"
    for model in shown:
        yield f"\n{_costliest(model, document, top)}"
    if document["pairs"]:
        yield f"\nmodels compared: 0 is alike\n{_pairs(document['pairs'])}"
    if "pairs_left_out" in document:
        yield f"\n{_left_out(document)}"
    if document["packing"]:
        yield f"\nops left after packing by sv and tv\n{_packing(document)}"


def _summary(document: Mapping[str, Any]) -> str:
    here, there, unit = document["reference"], document["other"], document["time_unit"]
    columns = (
        "model", "ops", "op types", "on both", here, there, "speedup",
        "ops below 1", f"of {here} time", f"of {there} time",
    )  # fmt: skip
    rows = [
        (
            model["model"],
            str(model["op_count"]),
            str(model["op_types"]),
            str(model["timed"]),
            quantity(model["reference_total"], unit),
            quantity(model["other_total"], unit),
            _ratio(model["speedup"]),
            percent(model["slower_ops"]),
            percent(model["slower_reference"]),
            percent(model["slower_other"]),
        )
        for model in document["models"]
    ]
    return table(columns, rows)


def _distributions(models: Sequence[Mapping[str, Any]], document: Mapping[str, Any]) -> str:
    unit = document["time_unit"]
    names = {
        "speedup": "speedup",
        "reference": f"{document['reference']} ({unit})",
        "other": f"{document['other']} ({unit})",
    }
    rows = []
    for model in models:
        for what, values in model["distributions"].items():
            lead = model["model"] if what == "speedup" else ""
            cells = [f"{values[key]:.4g}" if key in values else "-" for key in SHARES]
            rows.append((lead, names[what], *cells))
    return table(("model", "", *SHARES.values()), rows, left=(0, 1))


def _longest(models: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return the models to show in detail, in their order: all unless there are many."""
    if len(models) <= DETAILED:
        return models
    by_time = sorted(range(len(models)), key=lambda j: -models[j]["reference_total"])
    return [models[j] for j in sorted(by_time[:DETAILED])]


def _left_out(document: Mapping[str, Any]) -> str:
    """Say which pairs of models were not compared."""
    alike = document["alike"]
    lines = []
    if alike:
        copies = sum(map(len, alike)) - len(alike)
        lines.append(
            f"{_many(copies, 'model')} left out above: same op types and speedups as another"
        )
        lines += [
            f"  {members[0]}: {_many(len(members), 'model')} alike" for members in alike[:DETAILED]
        ]
        if len(alike) > DETAILED:
            lines.append(f"  and {len(alike) - DETAILED} other groups (--json has all)")
    if document["pairs_left_out"]:
        lines.append(
            f"{_many(document['pairs_left_out'], 'pair')} of other models not compared: "
            f"the models above take longest on {document['reference']} (--pairs N raises the limit)"
        )
    return "\n".join(lines)


def _costliest(model: Mapping[str, Any], document: Mapping[str, Any], top: int) -> str:
    unit, whole = document["time_unit"], model["reference_total"]
    # The document lists the first ten; more are sorted in the same way.
    ranked = sorted(model["ops"], key=_cost, reverse=True)[:top]
    rows = [
        (
            op["op"],
            op["type"] if op["type"] != op["op"] else "",
            quantity(op["reference"], unit),
            quantity(op["other"], unit),
            _ratio(op["speedup"]),
            percent(_share(op, whole)),
            ", ".join(op[key] for key in ("module", "line") if key in op),
        )
        for op in ranked
    ]
    columns = ("op", "type", document["reference"], document["other"], "speedup", "share", "of")
    kept = len(columns) if any(row[-1] for row in rows) else len(columns) - 1
    title = f"{visible(model['model'])}: the {_many(len(rows), 'op')} that cost most"
    lines = table(columns[:kept], [row[:kept] for row in rows], left=(0, 1, 6))
    return f"{title}\n{lines}"


def _cost(op: Mapping[str, Any]) -> float:
    for value in (op["reference"], op["other"]):
        if value is not None:
            return float(value)
    return -1.0


def _share(op: Mapping[str, Any], whole: float) -> float | None:
    """Share of the model's reference time, of which only ops with both times are part."""
    if op["reference"] is None or op["other"] is None or whole <= 0:
        return None
    return float(op["reference"]) / whole


def _pairs(pairs: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            *pair["models"],
            str(len(pair["common"])),
            percent(pair["overlap"]),
            *(_measure(pair[key]) for key in MEASURES),
        )
        for pair in pairs
    ]
    columns = ("model", "and model", "common op types", "overlap", *MEASURES.values())
    return table(columns, rows, left=(0, 1))


def _measure(value: float | str | None) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.3f}"


def _packing(document: Mapping[str, Any]) -> str:
    unit = document["time_unit"]
    headings = [
        f"{number(row['sv'][0])}-{number(row['sv'][1])}, {quantity(row['tv'], unit)}"
        for row in document["packing"]
    ]
    rows = [
        (
            model["model"],
            str(model["op_count"]),
            *(str(row["left"][model["model"]]) for row in document["packing"]),
        )
        for model in document["models"]
    ]
    return table(("model", "ops", *headings), rows)


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
