"""``talos-opt sweep show``: the results of a study as tables, files and pictures."""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from talos_opt.cli import exits
from talos_opt.cli.output import emit, emit_json, emit_written
from talos_opt.reports.texts.tables import number, percent, quantity, table

if TYPE_CHECKING:
    from talos_opt.studies.store import Store
    from talos_opt.studies.tables import Table


def show(args: argparse.Namespace) -> int:
    """Print what is in a database, write what is asked for, and return the exit code."""
    from talos_opt.cli import files
    from talos_opt.studies.store import Store
    from talos_opt.studies.tables import group, read_table

    if args.plot is not None:
        from talos_opt.reports import style

        files.require_writable(args.plot, style.SUFFIXES, packed=False)
        style.require_matplotlib()
    if args.csv is not None and args.csv != "-":
        files.require_writable(args.csv, ())
    with Store(args.study) as store:
        found = read_table(store)
        if args.case is not None or args.output is not None:
            return _write_schedule(args, store, found)
    rows = group(found, args.by) if args.by else _flat(found)
    if args.plot is not None:
        _draw(args, found)
    if args.csv is not None:
        _write_csv(rows, args.csv)
    if args.json:
        emit_json(json.dumps(_document(found, rows, args.by), indent=1))
    elif args.csv != "-":
        emit(_grouped_table(found, rows, args.by) if args.by else _table(found))
        for title, lines in _fronts(found):
            emit(f"\n{title}\n{lines}")
        for row in found.rows:
            if row["reason"]:
                emit(f"case {row['case']}: {row['status']}: {row['reason']}")
    return exits.SOLVED


def _write_schedule(args: argparse.Namespace, store: Store, found: Table) -> int:
    from talos_opt.cli import files
    from talos_opt.core.errors import InputError
    from talos_opt.formats import write_schedule
    from talos_opt.studies.store import unpack

    if args.case is None or args.output is None:
        raise InputError("--case N and -o FILE write the schedule of a case: expected both")
    files.require_target(args, files.SUFFIXES)
    if args.case > len(found.rows):
        raise InputError(f"there is no case {args.case}, expected 1 to {len(found.rows)}")
    row = store.rows()[args.case - 1]
    result = store.result(row["fingerprint"])
    if result is None or result["schedule"] is None:
        status = row["status"] or "pending"
        raise InputError(f"case {args.case} has no schedule: it is {status}", source=args.study)
    document = unpack(result["schedule"])
    write_schedule(document, args.output)
    emit_written(args, {"ops": len(document["ops"]), "transfers": len(document["transfers"])})
    return exits.SOLVED


def _flat(found: Table) -> list[dict[str, Any]]:
    """Return the rows with a column for each parameter."""
    return [
        {name: value for name, value in row.items() if name not in ("parameters", "metrics")}
        | {name: row["parameters"].get(name) for name in found.parameters}
        for row in found.rows
    ]


def _document(
    found: Table, rows: Sequence[Mapping[str, Any]], by: Sequence[str] | None
) -> dict[str, Any]:
    from talos_opt.studies.tables import fronts

    shown = [dict(row) for row in (rows if by else found.rows)]
    return {
        "schema": "talos-study-table/1",
        "study": found.study,
        "cases": len(found.rows),
        "pending": sum(row["status"] == "pending" for row in found.rows),
        "rows": shown,
        "fronts": [
            {
                "graph": graph, "objective": objective, "time_unit": unit, "parameters": same,
                "points": [
                    {
                        "case": point.case, "price": point.price, "value": point.value,
                        "lower_bound": point.bound, "label": point.label,
                    }
                    for point in front
                ],
            }
            for (graph, objective, unit, same), (_, front) in fronts(found).items()
        ],
    }  # fmt: skip


def _write_csv(rows: Sequence[Mapping[str, Any]], target: str) -> None:
    from talos_opt.formats.target import write_lines

    sheet = io.StringIO()
    writer = csv.DictWriter(sheet, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {
                name: json.dumps(value) if isinstance(value, (dict, list)) else value
                for name, value in row.items()
            }
        )
    write_lines(sheet.getvalue().rstrip("\n").split("\n"), target)


def _table(found: Table) -> str:
    from talos_opt.studies.tables import written

    names = found.dimensions
    prices = any(row["price"] is not None for row in found.rows)
    columns = ["case", *names, *(["price"] if prices else []), "status", "value", "bound", "gap",
               "time", "start"]  # fmt: skip
    lines = []
    for row in found.rows:
        unit = row["time_unit"] or ""
        lines.append(
            [
                str(row["case"]),
                *(written(found.value(row, name)) or "-" for name in names),
                *([_number(row["price"])] if prices else []),
                row["status"],
                quantity(row["value"], unit),
                quantity(row["lower_bound"], unit),
                percent(row["gap"]),
                _seconds(row["runtime_s"]),
                _origin(row),
            ]
        )
    left = [*range(1, 1 + len(names)), columns.index("status"), len(columns) - 1]
    return table(columns, lines, left=left)


def _origin(row: Mapping[str, Any]) -> str:
    """Say what a case began with."""
    if row["bound_from"] is not None and row["warm_start"] is None:
        return f"bound of {row['bound_from']}"
    if row["warm_start"] is None:
        return "-"
    return f"from {row['warm_start']}" + (", bound" if row["bound_from"] is not None else "")


def _grouped_table(found: Table, rows: Sequence[Mapping[str, Any]], by: Sequence[str]) -> str:
    from talos_opt.studies.tables import written

    units = {row["time_unit"] for row in found.rows if row["time_unit"]}
    unit = units.pop() if len(units) == 1 else ""
    prices = any(row["price"] is not None for row in rows)
    columns = [*by, "cases", "solved", "optimal", "failed", "pending",
               *(["price"] if prices else []), "best", "median", "bound", "solve time"]  # fmt: skip
    lines = [
        [
            *(written(row[name]) or "-" for name in by),
            *(str(row[name]) for name in ("cases", "solved", "optimal", "failed", "pending")),
            *([_number(row["price"])] if prices else []),
            *(quantity(row[name], unit) for name in ("best", "median", "lower_bound")),
            _seconds(row["runtime_s"]),
        ]
        for row in rows
    ]
    return table(columns, lines, left=range(len(by)))


def _fronts(found: Table) -> list[tuple[str, str]]:
    from talos_opt.studies.tables import entitled, fronts

    shown = []
    for (graph, objective, unit, same), (points, front) in fronts(found).items():
        lines = [
            [
                str(point.case), point.label or "-", _number(point.price),
                quantity(point.value, unit), quantity(point.bound, unit),
            ]
            for point in front
        ]  # fmt: skip
        count = f"{len(front)} of {len(points)} cases"
        title = f"{entitled(graph, same)}: front of price against {objective}, {count}"
        shown.append(
            (title, table(("case", "which", "price", objective, "bound"), lines, left=(1,)))
        )
    return shown


def _draw(args: argparse.Namespace, found: Table) -> None:
    from talos_opt.core.errors import InputError
    from talos_opt.reports import style
    from talos_opt.reports.study_plots import draw_study
    from talos_opt.studies.pictures import list_maps, list_scatters

    scatters, maps = list_scatters(found), list_maps(found, args.by or ())
    if not any(row["value"] is not None for row in found.rows):
        raise InputError("no case has a schedule yet, so there is nothing to draw")
    if not scatters and not maps:
        raise InputError("there is nothing to draw: the study has no prices, nor two parameters")
    style.save(draw_study(scatters, maps), args.plot)


def _number(value: float | None) -> str:
    return "-" if value is None else number(value)


def _seconds(value: float | None) -> str:
    return "-" if value is None else quantity(round(value, 3), "s")
