"""What does polishing over ties change on the graphs of models/, and what does it cost?

For each graph and objective: value, idle time, KiB moved and transfers of what `auto` finds,
before `->` after polishing without a clock, and the seconds until no move helped any more. Then
devices and transfers of what is consolidated for a share of the value.

    python -m benchmarks.ties [--graphs a,b] [--objectives toct,makespan] [--time-limit 10]
                              [--worth 0.5%] [--json FILE]
"""

from __future__ import annotations

import time
from pathlib import Path

import talos_opt
from benchmarks.report import Cell, Column, make_parser, progress, publish
from talos_opt import Problem
from talos_opt.core.units import share
from talos_opt.solvers.engine import compilation, registry
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.polish import consolidate, polish, ties
from talos_opt.solvers.polish.trials import Figures, judge

MODELS = Path(__file__).resolve().parents[1] / "models"


def main() -> None:
    """Solve, polish and consolidate, and print one row for each graph and objective."""
    parser = make_parser(__doc__)
    names = ",".join(sorted(path.stem for path in MODELS.glob("*.yaml")))
    parser.add_argument("--graphs", default=names, help="default: all of models/")
    parser.add_argument("--objectives", default="toct,makespan")
    parser.add_argument("--time-limit", type=float, default=10.0, help="seconds of auto")
    parser.add_argument("--worth", default="0.5%")
    args = parser.parse_args()
    ties.MOST_S = 600.0
    compilation.use("inserting")
    rows = []
    for name in args.graphs.split(","):
        for objective in args.objectives.split(","):
            progress(f"{name} {objective}")
            problem = talos_opt.read(MODELS / f"{name}.yaml", objective=objective)
            rows.append(polish_graph(problem, args.time_limit, share(args.worth, "worth")))
    shown = ("idle", "KiB", "hops", "gain %", "s", "devices, hops by worth")
    publish(
        "ties",
        [Column("graph"), Column("objective"), *map(Column, shown)],
        rows,
        settings={"time_limit": args.time_limit, "worth": args.worth},
        target=args.target,
    )


def polish_graph(problem: Problem, seconds: float, worth: float) -> dict[str, Cell]:
    """Let `auto` solve a problem, then polish and consolidate its answer."""
    run = Run(problem, time_limit=seconds)
    registry.create("auto").solve(problem, run)
    assert run.best is not None
    first, began = judge(problem, run.best), time.perf_counter()
    after = Run(problem, time_limit=2 * ties.MOST_S)
    after.offer(run.best, run.best_solver)
    polish(problem, after)
    assert after.best is not None
    spent, last = time.perf_counter() - began, judge(problem, after.best)
    consolidate(problem, after, worth)
    few = judge(problem, after.best)
    gain = 1.0 - last.standing.value / first.standing.value
    return {
        "graph": problem.graph.name,
        "objective": problem.objective.value,
        "idle": _change(first.standing.idle, last.standing.idle),
        "KiB": _change(first.standing.bytes / 1024, last.standing.bytes / 1024),
        "hops": _change(first.transfers, last.transfers),
        "gain %": f"{100 * gain:.2f}",
        "s": f"{spent:.2f}",
        "devices, hops by worth": f"{_spread(last)} -> {_spread(few)}",
    }


def _change(before: float, after: float) -> str:
    return f"{before:.0f}" if abs(before - after) < 0.5 else f"{before:.0f} -> {after:.0f}"


def _spread(figures: Figures) -> str:
    return f"{figures.devices}, {figures.transfers}"


if __name__ == "__main__":
    main()
