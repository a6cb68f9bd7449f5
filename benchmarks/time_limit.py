"""Does every solver keep the time limit on graphs of 200 to 2,000 ops?

The table shows the seconds that each call took; `!` marks those that passed the limit by more than
the 1 s + 5 % that are allowed. Graphs are random, in layers (see layered.py).

    python -m benchmarks.time_limit [--sizes 200,2000] [--solvers a,b] [--objectives toct,makespan]
                                    [--limits 1,5] [--json FILE]
"""

from __future__ import annotations

import time

import talos_opt
from benchmarks.layered import layered_problem
from benchmarks.report import Cell, Column, make_parser, progress, publish, solve
from talos_opt import Problem, UnsupportedError


def main() -> None:
    """Time all solvers and print one row for each graph, objective and limit."""
    parser = make_parser(__doc__)
    every = ",".join(info.name for info in talos_opt.list_solvers())
    parser.add_argument("--sizes", default="200,500,1000,2000")
    parser.add_argument("--solvers", default=every, help="default: all")
    parser.add_argument("--objectives", default="toct,makespan,bottleneck")
    parser.add_argument("--limits", default="2", help="seconds")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    solvers = args.solvers.split(",")
    rows = []
    for objective in args.objectives.split(","):
        for size in map(int, args.sizes.split(",")):
            problem = layered_problem(size, args.seed).with_objective(objective)
            for limit in map(float, args.limits.split(",")):
                progress(f"{objective} {size} ops {limit:g} s")
                rows.append(time_calls(problem, solvers, limit, args.seed))
    publish(
        "time_limit",
        [Column("objective"), Column("ops"), Column("limit", 1), *map(Column, solvers)],
        rows,
        settings={"sizes": args.sizes, "limits": args.limits, "seed": args.seed},
        target=args.target,
    )


def time_calls(problem: Problem, solvers: list[str], limit: float, seed: int) -> dict[str, Cell]:
    """Solve a problem by every solver.

    Returns
    -------
    mapping
        For each solver what the table shows; under ``NAME s``, ``NAME status`` and ``NAME gap %``
        the numbers.
    """
    row: dict[str, Cell] = {
        "objective": problem.objective.value,
        "ops": problem.graph.op_count,
        "limit": limit,
    }
    for name in solvers:
        begin = time.perf_counter()
        try:
            result = solve(problem, name, time_limit=limit, seed=seed)
        except UnsupportedError as error:
            row |= {name: "refused", f"{name} why": str(error)}
            continue
        spent = time.perf_counter() - begin
        kept = spent <= limit * 1.05 + 1.0
        row |= {
            name: f"{spent:.2f}{'' if kept else '!'}",
            f"{name} s": spent,
            f"{name} status": result.status.value,
            f"{name} gap %": None if result.gap is None else 100.0 * result.gap,
        }
    return row


if __name__ == "__main__":
    main()
