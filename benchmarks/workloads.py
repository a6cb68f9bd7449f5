"""Public NeurIPS 2020 workloads: what is found and proven, against what was published or seen?

"Efficient Algorithms for Device Placement of DNN Graph Operators" published layer and operator
graphs of deep networks for two questions: latency (here: makespan) and throughput (bottleneck).
DATA_DIR has them in folders of these names. Values are in ms.

    python -m benchmarks.workloads DATA_DIR [--solvers auto,fast,heft] [--time-limit 10]
                                   [--only TEXT] [--json FILE]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import talos_opt
from benchmarks.report import Cell, Column, make_parser, progress, publish, solve
from talos_opt import Problem, Result

#: Objective of each folder.
OBJECTIVES = {"latency": "makespan", "throughput": "bottleneck"}
SOLVERS = ("auto",)


class Reference(NamedTuple):
    """What others reach on a workload.

    Parameters
    ----------
    seen : float
        Best value known before this solver: of a plain annealing, or proven by CP-SAT.
    peer : float or None
        Throughput: optimum over contiguous splits, by the dynamic programme of the paper.
        Latency: the best of HEFT and of filling devices in order, in this model.
    """

    seen: float
    peer: float | None


REFERENCES = {
    ("latency", "LayerGraphs-bert24_inference"): Reference(100.218, 100.2),
    ("latency", "LayerGraphs-gnmt_inference"): Reference(219.056, 231.3),
    ("latency", "LayerGraphs-resnet50_inference"): Reference(1027.9, 1242.5),
    ("latency", "OperatorGraphs-bert_l-3_inference"): Reference(399.737, 402.9),
    ("latency", "OperatorGraphs-bert_l-6_inference"): Reference(429.6, 477.6),
    ("throughput", "LayerGraphs-bert24_inference"): Reference(17.715, 17.79),
    ("throughput", "LayerGraphs-bert24_training"): Reference(39.790, 41.75),
    ("throughput", "LayerGraphs-gnmt_training"): Reference(88.464, 107.0),
    ("throughput", "LayerGraphs-resnet50_inference"): Reference(33.527, 33.77),
    ("throughput", "OperatorGraphs-bert_l-3_inference"): Reference(21.908, 27.92),
    ("throughput", "OperatorGraphs-bert_l-3_training"): Reference(54.207, 65.30),
    ("throughput", "OperatorGraphs-bert_l-6_inference"): Reference(28.385, 29.58),
    ("throughput", "OperatorGraphs-resnet50_inference"): Reference(124.349, 124.35),
}

COLUMNS = [
    Column("question"),
    Column("workload"),
    Column("ops"),
    Column("peer"),
    Column("seen", 3),
    Column("solver"),
    Column("value", 3),
    Column("to seen %"),
    Column("bound", 3),
    Column("gap %"),
    Column("first s"),
    Column("seconds", 1),
]


def main() -> None:
    """Run the solvers on every workload and print one row for each."""
    parser = make_parser(__doc__)
    parser.add_argument("folder", type=Path, metavar="DATA_DIR")
    parser.add_argument("--solvers", default=",".join(SOLVERS), help="names, comma between them")
    parser.add_argument("--time-limit", type=float, default=10.0, metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="run workloads whose path has this text")
    args = parser.parse_args()
    names = args.solvers.split(",")
    files = [path for path in _files(args.folder) if args.only in str(path)]
    if not files:
        parser.error(f"{args.folder} has no folder latency or throughput with matching JSON files")
    rows = []
    for path in files:
        problem = talos_opt.read(path, objective=OBJECTIVES[path.parent.name])
        for name in names:
            progress(f"{path.parent.name} {path.stem} {name}")
            rows.append(measure(path, problem, name, args))
    settings = {"solvers": names, "time_limit": args.time_limit, "seed": args.seed}
    publish("workloads", COLUMNS, rows, settings=settings, target=args.target)


def _files(folder: Path) -> Iterator[Path]:
    for question in OBJECTIVES:
        yield from sorted((folder / question).glob("*.json"))


def measure(path: Path, problem: Problem, solver: str, args: argparse.Namespace) -> dict[str, Cell]:
    """Solve one workload; return its row."""
    result = solve(problem, solver, time_limit=args.time_limit, seed=args.seed)
    if result.schedule is not None and (wrong := talos_opt.check(problem, result.schedule)):
        raise SystemExit(f"{path.stem}: {solver}: {wrong[0]}")
    known = REFERENCES.get((path.parent.name, path.stem))
    return {
        "question": path.parent.name,
        "workload": path.stem,
        "ops": problem.graph.op_count,
        "peer": known and known.peer,
        "seen": known and known.seen,
        "solver": solver,
        "value": result.value,
        "to seen %": _percent(result.value, known and known.seen),
        "bound": result.lower_bound,
        "gap %": None if result.gap is None else 100.0 * result.gap,
        "first s": _first(result),
        "seconds": result.runtime_s,
        "status": result.status.value,
    }


def _percent(value: float | None, seen: float | None) -> float | None:
    """By how many percent a value lies above the best one seen."""
    return None if value is None or seen is None else 100.0 * (value / seen - 1.0)


def _first(result: Result) -> float | None:
    """Seconds until the first schedule."""
    return next((event.time_s for event in result.history if event.value is not None), None)


if __name__ == "__main__":
    main()
