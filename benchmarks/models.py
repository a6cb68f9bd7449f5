"""Every graph of models/ by every solver: which finds the best value, what is proven, how long?

python -m benchmarks.models [--graphs a,b] [--solvers a,b] [--objective NAME]
                            [--time-limit S] [--json FILE]
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import talos_opt
from benchmarks.report import (
    NOTHING,
    Column,
    format_table,
    make_parser,
    progress,
    publish,
    refuse_notes,
)
from talos_opt import Comparison
from talos_opt.core.result import Row

MODELS = Path(__file__).resolve().parents[1] / "models"

COLUMNS = [
    Column("graph"),
    Column("solver"),
    Column("status"),
    Column("value", 3),
    Column("ratio", 4),
    Column("gap %"),
    Column("s"),
]


def main() -> None:
    """Compare the solvers and print all rows, then the ratios as a matrix."""
    parser = make_parser(__doc__)
    every = ",".join(info.name for info in talos_opt.list_solvers())
    parser.add_argument("--graphs", default="", help="names of files in models/; default: all")
    parser.add_argument("--solvers", default=every, help="default: all")
    parser.add_argument("--objective", default="toct")
    parser.add_argument("--time-limit", type=float, default=10.0, metavar="SECONDS")
    args = parser.parse_args()
    solvers = args.solvers.split(",")
    files = find_graphs(args.graphs)
    problems = [talos_opt.read(file, objective=args.objective) for file in files]
    comparison = talos_opt.compare(
        problems,
        solvers,
        time_limit=args.time_limit,
        on_row=lambda row: progress(f"{row.graph} {row.solver}"),
    )
    publish(
        "models",
        COLUMNS,
        [describe(comparison, row) for row in comparison.rows],
        settings={"objective": args.objective, "time_limit": args.time_limit},
        target=args.target,
    )
    print()
    print(ratio_matrix(comparison, solvers))


def find_graphs(names: str) -> list[Path]:
    """Return the graph files of these names, or all."""
    if names:
        return [MODELS / f"{name}.yaml" for name in names.split(",")]
    return sorted(MODELS.glob("*.yaml"))


def describe(comparison: Comparison, row: Row) -> dict[str, str | float | None]:
    """Return one row of the long table."""
    if row.result is None:
        return {"graph": row.graph, "solver": row.solver, "status": "refused", "why": row.error}
    result = row.result
    refuse_notes(result)
    return {
        "graph": row.graph,
        "solver": row.solver,
        "status": result.status.value,
        "value": result.value,
        "ratio": comparison.ratio(row),
        "gap %": None if result.gap is None else 100.0 * result.gap,
        "s": result.runtime_s,
        "lower_bound": result.lower_bound,
        "why": result.reason,
    }


def ratio_matrix(comparison: Comparison, solvers: Sequence[str]) -> str:
    """Return the ratios to the best value, a graph a line; `*` marks what was proven optimal.

    The last columns are the best value, its unit, and the gap between it and the best bound.
    """
    table: dict[str, dict[str, str | float | None]] = {}
    bounds: dict[str, float] = {}
    for row in comparison.rows:
        line = table.setdefault(row.graph, {"graph": row.graph})
        ratio = comparison.ratio(row)
        line[row.solver] = NOTHING
        if row.result is None or ratio is None:
            continue
        proven = "*" if row.result.status is talos_opt.Status.OPTIMAL else ""
        line[row.solver] = f"{ratio:.3f}{proven}"
        bounds[row.graph] = max(row.result.lower_bound, bounds.get(row.graph, 0.0))
        line["unit"] = row.result.problem.graph.time_unit
    for graph, best in comparison.best.items():
        table[graph]["best"] = best
        table[graph]["gap %"] = max(0.0, 100.0 * (1.0 - bounds[graph] / best)) if best else 0.0
    columns = [
        Column("graph"),
        *(Column(name, 3) for name in solvers),
        Column("best", 1),
        Column("unit"),
        Column("gap %"),
    ]
    return format_table(columns, list(table.values()))


if __name__ == "__main__":
    main()
