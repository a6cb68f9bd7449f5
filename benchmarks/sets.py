"""Public instance sets: how near to the best values known, and what is proven?

DIR holds ``known.json``: for each set a list of ``{name, file, objective, best | lower, upper}``.
A row for each instance tells the value in multiples of the best one known, the bound, the value
in multiples of the bound, and the seconds; then a row for each set, with geometric means, and
those that are better than the best one known, whose schedules have passed the checker. With
``--plain`` the solver `cpsat` alone (one formulation, no warm start) runs as well, with the same
limit and cores; so does PyJobShop where it is installed and can say the problem (shops).

    python -m benchmarks.sets DIR [--sets a,b] [--only TEXT] [--time-limit 10] [--plain]
                              [--json FILE]
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import talos_opt
from benchmarks import pyjobshop_model
from benchmarks.report import (
    Column,
    Row,
    format_table,
    make_parser,
    progress,
    publish,
    refuse_notes,
)
from talos_opt.core.machine import available_cores

COLUMNS = [
    Column("set"),
    Column("instance"),
    Column("ops"),
    Column("devices"),
    Column("status"),
    Column("value", 6),
    Column("of best", 4),
    Column("bound", 6),
    Column("of bound", 4),
    Column("found by"),
    Column("seconds", 1),
    Column("cpsat of best", 4),
    Column("pyjobshop of best", 4),
]
MEANS = [
    Column("set"),
    Column("instances"),
    Column("solved"),
    Column("proven"),
    Column("infeasible"),
    Column("of best", 4),
    Column("worst of best", 4),
    Column("of bound", 4),
    Column("cpsat of best", 4),
    Column("pyjobshop of best", 4),
]
RECORDS = [
    Column("set"),
    Column("instance"),
    Column("known", 6),
    Column("value", 6),
    Column("bound", 6),
    Column("of best", 4),
    Column("found by"),
]


def main() -> None:
    """Solve all instances, and print a row for each and for each set."""
    parser = make_parser(__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--sets", help="default: all in known.json")
    parser.add_argument("--only", default="", help="instances whose names contain this")
    parser.add_argument("--time-limit", type=float, default=10.0, help="seconds (default: 10)")
    parser.add_argument("--solver", default="auto")
    parser.add_argument("--plain", action="store_true", help="run plain CP-SAT beside")
    args = parser.parse_args()
    known = json.loads((args.folder / "known.json").read_text(encoding="utf-8"))
    chosen = list(known) if args.sets is None else args.sets.split(",")
    rows: list[Row] = []
    for name in chosen:
        for instance in known[name]:
            if args.only in instance["name"]:
                rows.append({"set": name, **solve_one(args, instance)})
                progress(f"{name} {instance['name']}: {rows[-1]['of best'] or rows[-1]['status']}")
    settings = {"solver": args.solver, "time limit": args.time_limit, "workers": "all cores"}
    publish("sets", COLUMNS, rows, settings=settings, target=args.target)
    print()
    print(format_table(MEANS, list(means(rows))))
    better = [row for row in rows if row["of best"] is not None and row["of best"] < 1 - 1e-6]
    if better:
        print("\nbetter than the best value known (docs/records.md):")
        print(format_table(RECORDS, better))


def solve_one(args: Any, instance: Mapping[str, Any]) -> Row:
    """Solve one instance; a value above one that is known to be optimal by bound is an error."""
    objective = instance.get("objective", "makespan")
    problem = talos_opt.read(args.folder / instance["file"], objective=objective)
    best = instance.get("best", instance.get("upper"))
    found = talos_opt.solve(problem, args.solver, time_limit=args.time_limit, explain=False)
    refuse_notes(found)
    lower = instance.get("lower", best if instance.get("proven") else None)
    if found.value is not None and lower is not None and found.value < lower * (1 - 1e-6):
        progress(f"{instance['name']}: {found.value} is below the known bound {lower}")
    if best is not None and found.lower_bound > best * (1 + 1e-6):
        raise RuntimeError(f"{instance['name']}: bound {found.lower_bound} above {best}, known")
    row: dict[str, Any] = {
        "instance": instance["name"],
        "ops": problem.arrays.op_count,
        "devices": problem.arrays.device_count,
        "status": str(found.status),
        "value": found.value,
        "known": best,
        "of best": ratio(found.value, best),
        "bound": found.lower_bound,
        "of bound": ratio(found.value, found.lower_bound),
        "found by": finder(found),
        "seconds": found.runtime_s,
    }
    if args.plain:
        plain = talos_opt.solve(problem, "cpsat", time_limit=args.time_limit, explain=False)
        row["cpsat of best"] = ratio(plain.value, best)
        if pyjobshop_model.covers(problem):
            value = pyjobshop_model.solve(problem, args.time_limit, available_cores())
            row["pyjobshop of best"] = ratio(value, best)
    return row


def finder(found: talos_opt.Result) -> str | None:
    """Return which solver found the value."""
    return next((e.solver for e in found.history if e.value == found.value), None)


def ratio(value: float | None, other: float | None) -> float | None:
    """Return a quotient where there is one."""
    return value / other if value is not None and other else None


def means(rows: Sequence[Row]) -> Iterator[Row]:
    """Yield a row for each set: counts and geometric means."""
    for name in dict.fromkeys(row["set"] for row in rows):
        own = [row for row in rows if row["set"] == name]
        states = [row["status"] for row in own]
        best = [float(row["of best"]) for row in own if row["of best"] is not None]
        yield {
            "set": name,
            "instances": len(own),
            "solved": sum(row["value"] is not None for row in own),
            "proven": states.count("optimal"),
            "infeasible": states.count("infeasible"),
            "of best": mean(best),
            "worst of best": max(best, default=None),
            "of bound": mean([float(r["of bound"]) for r in own if r["of bound"] is not None]),
            **{
                peer: mean([float(r[peer]) for r in own if r.get(peer) is not None])
                for peer in ("cpsat of best", "pyjobshop of best")
            },
        }


def mean(values: Sequence[float]) -> float | None:
    """Return the geometric mean; None of none."""
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


if __name__ == "__main__":
    main()
