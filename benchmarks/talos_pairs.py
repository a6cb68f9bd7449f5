"""Ten published pairs of models: how far do Talos, its baselines and `auto` reduce TOCT?

Reductions are in percent against running the first model on the GPU and the second on the CPU.

    python -m benchmarks.talos_pairs DATA_DIR [--solvers a,b] [--time-limit S] [--json FILE]
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.report import Column, Row, make_parser, progress, publish, solve
from tests.talos_data import Pair, load_pairs

SOLVERS = ("aswm", "tsam", "talos", "single", "auto")
#: Solvers whose value and proof are set against the known optimum in columns of their own.
EXACT = ("auto", "dp", "cpsat", "ilp")


def main() -> None:
    """Run the solvers on every pair and print one row for each."""
    parser = make_parser(__doc__)
    parser.add_argument("folder", type=Path, metavar="DATA_DIR", help="folder of the two files")
    parser.add_argument("--solvers", default=",".join(SOLVERS), help="names, comma between them")
    parser.add_argument("--time-limit", type=float, default=20.0, metavar="SECONDS")
    args = parser.parse_args()
    names = args.solvers.split(",")
    try:
        pairs = load_pairs(args.folder)
    except FileNotFoundError as error:
        parser.error(str(error))
    rows = []
    for pair in pairs:
        progress(pair.name)
        rows.append(measure_pair(pair, names, args.time_limit))
    publish(
        "talos_pairs",
        columns(names),
        rows,
        settings={"solvers": names, "time_limit": args.time_limit},
        target=args.target,
    )


def columns(solvers: list[str]) -> list[Column]:
    """Return what the table shows for these solvers."""
    shown = [Column("pair"), Column("ops"), *(Column(name, 3) for name in solvers)]
    shown.append(Column("optimum", 3))
    for name in solvers:
        if name in EXACT:
            shown += [Column(f"{name} off %", 4), Column(f"{name} bound %", 4), Column(f"{name} s")]
    return shown


def measure_pair(pair: Pair, solvers: list[str], time_limit: float) -> Row:
    """Run all solvers on a pair.

    Returns
    -------
    mapping
        For each solver its reduction; for an exact one also by how much it lies above the known
        optimum, its bound in percent of the optimum, and the seconds that it took. The
        recomputed values of the paper's baselines go along into the JSON file.
    """
    best = float(pair.reference["opt_toct"])
    row: dict[str, str | int | float | None] = {
        "pair": pair.name,
        "ops": pair.problem.graph.op_count,
        "optimum": pair.reduction(best),
        "aswm recomputed": pair.reference["aswm_pct"],
        "tsam recomputed": pair.reference["tsam_pct_nodouble"],
    }
    for name in solvers:
        result = solve(pair.problem, name, time_limit=time_limit)
        if result.value is None:
            row[name] = None
            continue
        row[name] = pair.reduction(result.value)
        row[f"{name} status"] = result.status.value
        row[f"{name} off %"] = max(0.0, 100.0 * (result.value / best - 1.0))
        row[f"{name} bound %"] = 100.0 * result.lower_bound / best
        row[f"{name} s"] = result.runtime_s
    return row


if __name__ == "__main__":
    main()
