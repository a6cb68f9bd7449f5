"""What does a plan gain that was made for op times that vary, and what does it cost without noise?

Random layered graphs on a CPU and two GPUs. Gains are over fresh samples, which neither the search
nor the choice has seen; `worst` is the largest loss against the nominal plan.

    python -m benchmarks.robust [--problems 20] [--noise 0.3] [--samples 20] [--limit 6]
                                [--risk mean] [--objective NAME,NAME] [--json FILE]
"""

from __future__ import annotations

from typing import Any

import talos_opt
from benchmarks.layered import layered_problem
from benchmarks.report import Column, make_parser, progress, publish, refuse_notes

#: Ops of the smallest problem, and how many more the next one has.
_SMALLEST, _STEP = 20, 4

COLUMNS = (
    Column("objective"),
    Column("ops"),
    Column("status"),
    Column("value", 3),
    Column("under_noise", 3),
    Column("loss_%", 2),
    Column("robust", 3),
    Column("cost_%", 2),
    Column("gain_%", 2),
    Column("plus_minus_%", 2),
    Column("seconds", 1),
)


def main() -> None:
    """Solve all problems and print a row for each, then the means."""
    parser = make_parser(__doc__)
    parser.add_argument("--problems", type=int, default=20)
    parser.add_argument("--noise", type=float, default=0.3, help="of op times and of transfers")
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--limit", type=float, default=6.0, help="seconds for both plans")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--risk", default="mean")
    parser.add_argument("--objective", default="toct,makespan,bottleneck")
    args = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for objective in args.objective.split(","):
        own: list[dict[str, Any]] = []
        for number in range(args.problems):
            progress(f"{objective}, problem {number + 1} of {args.problems}")
            own.append(solve_one(args, objective, number))
        rows += [*own, means(objective, own)]
    settings = {name: value for name, value in vars(args).items() if name != "target"}
    publish("robust", COLUMNS, rows, settings=settings, target=args.target)


def solve_one(args: Any, objective: str, number: int) -> dict[str, Any]:
    """Return the row of one problem."""
    problem = layered_problem(_SMALLEST + _STEP * number, number)
    result = talos_opt.solve_robust(
        problem,
        objective=objective,
        samples=args.samples,
        noise=args.noise,
        transfer_noise=args.noise,
        risk=args.risk,
        time_limit=args.limit,
        workers=args.workers,
        seed=number,
    )
    refuse_notes(result)
    found = result.robust
    assert found is not None
    return {
        "objective": objective,
        "ops": problem.arrays.op_count,
        "status": "proven" if found.nominal.value <= found.lower_bound * (1 + 1e-6) else "",
        "value": found.nominal.value,
        "under_noise": found.nominal.risk,
        "loss_%": 100 * found.loss,
        "robust": found.chosen.risk,
        "cost_%": 100 * found.cost,
        "gain_%": 100 * found.gain,
        "plus_minus_%": 100 * found.error / found.nominal.risk,
        "seconds": result.runtime_s,
    }


def means(objective: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the row of means, whose status says what the worst gain was."""
    keys = ("loss_%", "cost_%", "gain_%", "seconds")
    mean = {key: sum(row[key] for row in rows) / len(rows) for key in keys}
    worst = min(row["gain_%"] for row in rows)
    return {"objective": objective, "ops": "mean", "status": f"worst {worst:.2f} %", **mean}


if __name__ == "__main__":
    main()
