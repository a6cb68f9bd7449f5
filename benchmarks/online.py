"""The ten published pairs, one model after the other: what does not knowing the future cost?

The second model of each pair arrives when a share of the first one's work is done, alone on its
fastest device. Policies decide at that moment; beside them is the optimum of whoever knows both
from the start.

    python -m benchmarks.online DATA_DIR [--share S] [--time-limit S] [--json FILE]
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from benchmarks.report import Column, Row, make_parser, progress, publish
from talos_opt import Problem
from talos_opt.online.compared import Online, compare_policies
from talos_opt.online.policies import POLICIES, Setting
from talos_opt.online.trace import Trace, make_trace
from tests.talos_data import Pair, load_pairs

#: Share of the first model's time alone after which the second arrives.
SHARE = 0.5


def main() -> None:
    """Let each pair arrive, and print one row for each and their means."""
    parser = make_parser(__doc__)
    parser.add_argument("folder", type=Path, metavar="DATA_DIR", help="folder of the two files")
    parser.add_argument("--share", type=float, default=SHARE, metavar="SHARE")
    parser.add_argument("--time-limit", type=float, default=10.0, metavar="SECONDS")
    args = parser.parse_args()
    try:
        pairs = load_pairs(args.folder)
    except FileNotFoundError as error:
        parser.error(str(error))
    rows = []
    for pair in pairs:
        progress(pair.name)
        found = compare_policies(
            arrive(pair, args.share), setting=Setting(time_limit=args.time_limit)
        )
        assert found is not None, "nobody cancels"
        rows.append(measure(pair, found))
    publish(
        "online",
        columns(),
        [*rows, mean(rows)],
        settings={"share": args.share, "time_limit": args.time_limit},
        target=args.target,
    )


def arrive(pair: Pair, share: float) -> Trace:
    """Return a pair whose second model arrives while the first one runs."""
    problem = pair.problem
    arrays = problem.arrays
    alone = arrays.time[arrays.model == 0].sum(axis=0)
    first, second = problem.graph.models
    late = dataclasses.replace(second, release=share * float(alone.min()))
    graph = dataclasses.replace(problem.graph, models=(first, late))
    return make_trace(Problem(graph, problem.cluster), pair.name)


def columns() -> list[Column]:
    """Return what the table shows."""
    shown = [Column("pair"), Column("ops"), Column("all known ms", 2), Column("gap %", 3)]
    return [*shown, *(Column(f"{name} +%", 2) for name in POLICIES), Column("resolve s", 2)]


def measure(pair: Pair, found: Online) -> Row:
    """Return by how many percent each policy is above the clairvoyant value."""
    best = found.clairvoyant
    assert best.value is not None
    row: dict[str, str | int | float | None] = {
        "pair": pair.name,
        "ops": pair.problem.graph.op_count,
        "all known ms": best.value / 1000,
        "gap %": 100 * (best.gap or 0.0),
    }
    for lived in found.lived:
        row[f"{lived.policy} +%"] = 100 * (found.ratio(lived) - 1)
        row[f"{lived.policy} s"] = lived.runtime_s
    return row


def mean(rows: list[Row]) -> Row:
    """Return the mean of all numbers."""
    names = ["gap %", *(f"{name} +%" for name in POLICIES), "resolve s"]
    means = {name: float(np.mean([float(row[name] or 0.0) for row in rows])) for name in names}
    return {"pair": "mean", "ops": None, "all known ms": None, **means}


if __name__ == "__main__":
    main()
