"""A heuristic of your own beside the solvers of talos_opt, on public instances.

    python examples/own_heuristic.py                       # published networks in models/
    python examples/own_heuristic.py rand0000.stg          # or files of any format that is read
    python examples/own_heuristic.py --plot ratios.png

The heuristic is linear clustering (Kim and Browne, "A general approach to mapping of parallel
computations upon multiprocessor architectures", 1988): the ops of the longest path become one
cluster, as do those of the longest path through what is left, and so on. Clusters go to the device
that would be done with all its work first, the largest cluster first.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import talos_opt
from talos_opt.plugins import (
    MemoryDeadlockError,
    NoRouteError,
    Run,
    Solver,
    Status,
    Verdict,
    simulate,
)
from talos_opt.testing import check_solver

MODELS = Path(__file__).parents[1] / "models"
NETWORKS = ("fig1", "alexnet", "squeezenet", "googlenet", "pair_alexnet_squeezenet")


class LinearClustering(Solver):
    """Paths become clusters, and clusters go to devices by load."""

    name = "clustering"
    summary = "linear clustering, the largest cluster first"

    def solve(self, problem: talos_opt.Problem, run: Run) -> Verdict:
        """Place clusters, order ops by their longest way to the end, and offer the schedule."""
        clusters, urgency = linear_clusters(problem.arrays)
        device = place(problem.arrays, clusters)
        try:
            run.consider(simulate(problem, device, -urgency), self.name)
        except (NoRouteError, MemoryDeadlockError) as error:
            return Verdict(Status.UNKNOWN, f"clusters cannot be placed by load: {error!r}")
        if run.best is None:
            return Verdict(Status.UNKNOWN, "clusters placed by load do not fit the devices' memory")
        return Verdict(Status.FEASIBLE)


def linear_clusters(arrays):
    """Return the clusters, as lists of ops, and each op's longest way to the end."""
    time = np.where(np.isfinite(arrays.time), arrays.time, np.nan)
    length = np.nan_to_num(np.nanmean(time, axis=1))
    direct = (arrays.via == -1) & ~np.eye(arrays.device_count, dtype=bool)
    if direct.any():
        latency, per_byte = arrays.latency[direct].mean(), arrays.per_byte[direct].mean()
    else:
        latency = per_byte = 0.0
    travel = latency + arrays.edge_bytes * per_byte

    free, urgency, clusters = np.ones(arrays.op_count, dtype=bool), None, []
    while free.any():
        way, following = longest_ways(arrays, length, travel, free)
        urgency = way.copy() if urgency is None else urgency
        op = int(np.where(free, way, -1.0).argmax())
        cluster = []
        while op >= 0:
            cluster.append(op)
            op = following[op]
        free[cluster] = False
        clusters.append(cluster)
    return clusters, urgency


def longest_ways(arrays, length, travel, free):
    """Return for each free op the longest way to the end through free ops, and the op after it."""
    way, following = np.zeros(arrays.op_count), np.full(arrays.op_count, -1)
    for op in arrays.order[::-1].tolist():
        if not free[op]:
            continue
        for edge in range(arrays.out_ptr[op], arrays.out_ptr[op + 1]):
            reader = arrays.edge_dst[edge]
            if free[reader] and travel[edge] + way[reader] > way[op]:
                way[op], following[op] = travel[edge] + way[reader], reader
        way[op] += length[op]
    return way, following


def place(arrays, clusters):
    """Return the device of each op: clusters by work, each to the device that ends first."""
    time = np.zeros(arrays.allowed.shape)
    np.add.at(time, arrays.group, arrays.time)  # ops of a colocation group share a device
    load, held = np.zeros(arrays.device_count), np.zeros(arrays.device_count)
    chosen = np.full(arrays.group_count, -1)

    def put(groups) -> None:
        need = arrays.group_held[groups].sum()
        ends = np.where(held + need <= arrays.capacity, load + time[groups].sum(axis=0), np.inf)
        best = int(ends.argmin())
        if np.isinf(ends[best]) and len(groups) > 1:  # no device takes all of it: one by one
            for group in groups:
                put([group])
            return
        if np.isinf(ends[best]):  # no room: the checker will say so
            best = int(arrays.allowed[groups[0]].argmax())
        chosen[groups] = best
        load[best] += time[groups, best].sum()
        held[best] += need

    work = [np.nanmin(arrays.time[cluster], axis=1).sum() for cluster in clusters]
    for k in np.argsort(work)[::-1]:
        groups = [g for g in dict.fromkeys(arrays.group[clusters[k]].tolist()) if chosen[g] < 0]
        if groups:
            put(groups)
    return chosen[arrays.group]


def print_table(comparison: talos_opt.Comparison) -> dict[str, list[float]]:
    """Print a line for each graph; return each solver's ratios to the best value."""
    ratios: dict[str, list[float]] = {}
    lines: dict[str, list[str]] = {}
    for row in comparison.rows:
        ratio = comparison.ratio(row)
        ratios.setdefault(row.solver, []).append(float("nan") if ratio is None else ratio)
        lines.setdefault(row.graph, []).append("-" if ratio is None else f"{ratio:.4f}")
    width = max(map(len, [*lines, "geometric mean"]))
    print("value / best".ljust(width), *(solver.rjust(10) for solver in ratios))
    for graph, cells in lines.items():
        print(graph.ljust(width), *(cell.rjust(10) for cell in cells))
    means = [np.exp(np.nanmean(np.log(values))) for values in ratios.values()]
    print("geometric mean".ljust(width), *(f"{mean:.4f}".rjust(10) for mean in means))
    return ratios


def draw(ratios: dict[str, list[float]], graphs: list[str], target: str) -> None:
    """Draw a row for each graph, with a dot for each solver."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(figsize=(8, 1.2 + 0.45 * len(graphs)), layout="constrained")
    for k, (solver, values) in enumerate(ratios.items()):
        rows = np.arange(len(graphs)) + 0.12 * (k - (len(ratios) - 1) / 2)  # none hides another
        axes.plot(values, rows, "osD^vPX"[k % 7], markersize=6, label=solver)
    axes.set_yticks(range(len(graphs)), graphs)
    axes.set_xlabel("value / best value found")
    axes.set_xlim(left=0.9)
    axes.grid(axis="x", alpha=0.3)
    axes.invert_yaxis()
    axes.figure.legend(loc="outside upper center", ncols=len(ratios), frameon=False)
    axes.figure.savefig(target, dpi=150)
    print(f"written to {target}")


def main() -> None:
    """Check the heuristic, compare it, and draw the outcome."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graphs", nargs="*", help="graph files; default: networks in models/")
    parser.add_argument("--time-limit", type=float, default=2, help="seconds of each solve")
    parser.add_argument("--plot", help="picture to write")
    args = parser.parse_args()

    found = check_solver(LinearClustering(), problems=40)
    print(f"40 random problems: {found.statuses}, {found.excess:.0%} above the optimum on average")

    files = args.graphs or [MODELS / f"{name}.yaml" for name in NETWORKS]
    solvers = ["single", "sequential", "heft", LinearClustering(), "auto"]
    comparison = talos_opt.compare(
        [talos_opt.read(file, objective="makespan") for file in files],
        solvers,
        time_limit=args.time_limit,
    )
    ratios = print_table(comparison)
    if args.plot:
        draw(ratios, list(dict.fromkeys(row.graph for row in comparison.rows)), args.plot)


if __name__ == "__main__":
    main()
