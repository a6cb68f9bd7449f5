"""The comparison of the Talos paper (ASAP 2021) on pairs of models: TOCT, idle time, moved ops.

Every pair of the seven networks of models/ on one CPU and one GPU, and where a folder with the
published measurements is given, the ten pairs of the paper. The base is the paper's: one model
alone on the GPU and the other one alone on the CPU (the one that takes longer on the CPU gets the
GPU; published pairs name theirs). `optimum` is what is proven, or the bound where nothing is.

    python -m benchmarks.paper_study [DATA_DIR] [--figures DIR] [--time-limit S] [--json FILE]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np

import talos_opt
from benchmarks.report import Column, Row, make_parser, progress, publish, solve
from talos_opt import Graph, Problem, Schedule
from talos_opt.core.metrics import measure
from talos_opt.core.simulator import simulate
from tests.talos_data import load_pairs

MODELS = ("alexnet", "bert_base", "googlenet", "inception_v3", "resnet50", "squeezenet", "vgg19")
FOLDER = Path(__file__).parents[1] / "models"
#: What is compared: the paper's baselines, its own method, and this package's default.
SOLVERS = ("aswm", "tsam", "talos", "auto")
LABELS = {"aswm": "ASWM", "tsam": "TSAM", "talos": "Talos", "auto": "auto (ours)"}
COLUMNS = [
    Column("set"),
    Column("pair"),
    Column("ops"),
    *(Column(f"{name} %", 2) for name in SOLVERS),
    Column("optimum %", 2),
    Column("gap %", 2),
    *(Column(f"{name} idle", 2) for name in SOLVERS),
    *(Column(f"{name} moved") for name in SOLVERS),
]


def zoo_pairs() -> list[Problem]:
    """Return all pairs of the networks, the one with more work first."""
    alone = {name: talos_opt.read(FOLDER / f"{name}.yaml") for name in MODELS}
    pairs = []
    for first, second in combinations(MODELS, 2):
        order = sorted((first, second), key=lambda name: -float(alone[name].reference_times[0]))
        models = tuple(alone[name].graph.models[0] for name in order)
        graph = Graph("+".join(order), models, time_unit=alone[first].graph.time_unit)
        pairs.append(replace(alone[first], graph=graph))
    return pairs


def split(problem: Problem) -> Schedule:
    """Return the first model alone on the GPU, the second alone on the CPU."""
    kinds = [device.kind for device in problem.cluster.devices]
    homes = np.array([kinds.index("gpu"), kinds.index("cpu")])
    device = homes[problem.arrays.model]
    return simulate(problem, device, np.arange(problem.arrays.op_count))


def study(kind: str, problem: Problem, time_limit: float) -> Row:
    """Run all solvers on a pair; times in ms."""
    base = split(problem)
    whole = measure(problem, base).toct
    scale = 1e-3 if problem.graph.time_unit == "us" else 1.0
    row: dict[str, str | int | float | None] = {
        "set": kind,
        "pair": problem.graph.name,
        "ops": problem.graph.op_count,
        "split ms": whole * scale,
    }
    for name in SOLVERS:
        result = solve(problem, name, time_limit=time_limit)
        metrics, schedule = result.metrics, result.schedule
        if metrics is None or schedule is None:
            continue
        row[f"{name} %"] = 100.0 * (1.0 - metrics.toct / whole)
        row[f"{name} idle"] = metrics.total_idle * scale
        row[f"{name} moved"] = int((schedule.device != base.device).sum())
        if name == "auto":
            row["optimum %"] = 100.0 * (1.0 - result.lower_bound / whole)
            row["gap %"] = 100.0 * (result.gap or 0.0)
    return row


def draw(rows: Sequence[Row], folder: Path) -> None:
    """Draw reductions, idle times and moved ops of each set."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind in dict.fromkeys(str(row["set"]) for row in rows):
        chosen = [row for row in rows if row["set"] == kind]
        draw_bars(chosen, "%", "TOCT reduced by (%)", folder / f"paper-study-{kind}-toct.png")
        draw_bars(chosen, "idle", "idle time (ms)", folder / f"paper-study-{kind}-idle.png")
        draw_bars(chosen, "moved", "ops reassigned", folder / f"paper-study-{kind}-moved.png")


def draw_bars(rows: Sequence[Row], key: str, label: str, target: Path) -> None:
    """Draw a group of bars for each pair, one bar for each solver."""
    from talos_opt.reports import style

    drawing = style.figure(max(7.0, 0.62 * len(rows) + 2.2), 4.0)
    axes = drawing.add_subplot()
    places, width = np.arange(len(rows)), 0.8 / len(SOLVERS)
    for k, name in enumerate(SOLVERS):
        values = [float(row.get(f"{name} {key}") or 0.0) for row in rows]
        axes.bar(
            places + (k - 1.5) * width, values, width, color=style.colour(k), label=LABELS[name]
        )
    if key == "%":
        best = [float(row.get("optimum %") or 0.0) for row in rows]
        axes.hlines(
            best, places - 0.46, places + 0.46, colors=style.INK, linewidth=1.2,
            label="optimum, or what no schedule can exceed",
        )  # fmt: skip
    axes.set_xticks(places, [str(row["pair"]) for row in rows], rotation=40, ha="right")
    axes.set_xlim(-0.6, len(rows) - 0.4)
    axes.set_ylabel(label)
    style.tidy(axes)
    drawing.legend(loc="outside upper center", ncols=5, frameon=False, fontsize=style.TICK)
    style.save(drawing, target)


def main() -> None:
    """Run all solvers on all pairs, print the table and draw the figures."""
    parser = make_parser(__doc__)
    parser.add_argument("folder", type=Path, nargs="?", metavar="DATA_DIR")
    parser.add_argument("--figures", type=Path, metavar="DIR", help="folder to draw into")
    parser.add_argument("--time-limit", type=float, default=10.0, metavar="SECONDS")
    args = parser.parse_args()
    pairs = [("zoo", problem) for problem in zoo_pairs()]
    if args.folder is not None:
        try:
            pairs += [("published", pair.problem) for pair in load_pairs(args.folder)]
        except FileNotFoundError as error:
            parser.error(str(error))
    rows = []
    for kind, problem in pairs:
        progress(f"{kind}: {problem.graph.name}")
        rows.append(study(kind, problem, args.time_limit))
    settings = {"solvers": SOLVERS, "time_limit": args.time_limit}
    publish("paper_study", COLUMNS, rows, settings=settings, target=args.target)
    if args.figures is not None:
        draw(rows, args.figures)


if __name__ == "__main__":
    main()
