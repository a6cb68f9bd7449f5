"""How do reading, solving, checking and writing grow with the graph, up to a million ops?

For random graphs of each kind (see graphs.py): seconds to read the columnar file, of solver time
until the first feasible schedule, to check it, to compute its metrics, to write it as columns and
as JSON; from the file to the written schedule; the most memory that was held; and what the first
schedule, and the one at the time limit, are worth in multiples of the proven bound. Each graph
runs in a process of its own, kernels compiled before.

    python -m benchmarks.scale [--sizes 10000,100000,1000000] [--kinds layered,chained]
                               [--objectives toct] [--limit 10] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import talos_opt
from benchmarks.report import Cell, Column, make_parser, progress, publish, solve
from talos_opt import Progress
from tests.graphs import KINDS

_GIB = 2**30
_SECONDS = ("read s", "first s", "check s", "metrics s", "write s", "json s", "file to file s")
_COLUMNS = [
    Column("graph"),
    Column("objective"),
    Column("ops"),
    Column("edges"),
    *(Column(name) for name in _SECONDS),
    Column("peak GiB"),
    Column("first/bound", 3),
    Column("last/bound", 3),
]


def main() -> None:
    """Make the graphs, run each in a process of its own, and print a row for each."""
    parser = make_parser(__doc__)
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--objectives", default="toct")
    parser.add_argument("--solver", default="large")
    parser.add_argument("--limit", type=float, default=10.0, help="seconds for improving")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--one", metavar="FILE", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(Path(args.one), args)))
        return
    rows: list[dict[str, Cell]] = []
    with tempfile.TemporaryDirectory() as folder:
        for kind in args.kinds.split(","):
            for size in map(int, args.sizes.split(",")):
                path = Path(folder) / f"{kind}{size}.npz"
                talos_opt.write_problem(KINDS[kind](size), path)
                for objective in args.objectives.split(","):
                    progress(f"{kind} {size} {objective}")
                    rows.append(_in_a_process(path, objective, args))
                path.unlink()
    publish(
        "scale",
        _COLUMNS,
        rows,
        settings={"limit": args.limit, "solver": args.solver, "workers": args.workers},
        target=args.target,
    )


def _in_a_process(path: Path, objective: str, args: argparse.Namespace) -> dict[str, Cell]:
    command = [sys.executable, "-m", "benchmarks.scale", "--one", str(path)]
    command += ["--objectives", objective, "--solver", args.solver]
    command += ["--limit", str(args.limit), "--workers", str(args.workers)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    row: dict[str, Cell] = json.loads(done.stdout)
    return row


def measure(path: Path, args: argparse.Namespace) -> dict[str, Cell]:
    """Read, solve, check and write one graph; return its row."""
    _compile(args)
    row: dict[str, Cell] = {}
    problem = _timed(row, "read s", lambda: talos_opt.read(path, objective=args.objectives))
    found: list[Progress] = []
    result = solve(
        problem,
        args.solver,
        time_limit=args.limit,
        workers=args.workers,
        on_progress=lambda item: found.append(item) if item.value is not None else None,
    )
    schedule = result.schedule
    if schedule is None:
        raise SystemExit(f"{path.stem}: {result.reason}")
    violations = _timed(row, "check s", lambda: talos_opt.check(problem, schedule))
    if violations:
        raise SystemExit(f"{path.stem}: {violations[0]}")
    _timed(row, "metrics s", lambda: result.metrics)
    for suffix, name in ((".npz", "write s"), (".json", "json s")):
        target = path.with_name(f"schedule{suffix}")
        _timed(row, name, lambda target=target: talos_opt.write_schedule(result, target))
        target.unlink()
    row["first s"] = found[0].time_s
    names = ("read s", "first s", "metrics s", "write s")
    row["file to file s"] = sum(float(row[name] or 0) for name in names)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    bound = result.lower_bound
    return {
        "graph": problem.graph.name,
        "objective": problem.objective.value,
        "ops": problem.graph.op_count,
        "edges": len(problem.arrays.edge_src),
        **row,
        "peak GiB": peak / _GIB,
        "first/bound": None if found[0].value is None or bound <= 0 else found[0].value / bound,
        "last/bound": None if result.value is None or bound <= 0 else result.value / bound,
        "passes of the limit s": max(0.0, result.runtime_s - args.limit),
    }


def _timed(row: dict[str, Cell], name: str, call: Any) -> Any:
    began = time.perf_counter()
    result = call()
    row[name] = time.perf_counter() - began
    return result


def _compile(args: argparse.Namespace) -> None:
    """Solve a graph that is just large enough for every kernel that a larger one needs."""
    problem = KINDS["layered"](21_000).with_objective(args.objectives)
    solve(problem, args.solver, time_limit=0.5, workers=1)


if __name__ == "__main__":
    main()
