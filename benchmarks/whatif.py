"""What would help: is a change worth what a short search predicts?

For each change that `talos-opt whatif GRAPH SCHEDULE` lists, the changed graph is solved afresh for
longer, and the gain is compared with the predicted one, both as shares of what the value before is
above what releases force. A predicted value is that of a schedule that was found and checked: where
the full solve is worse, the prediction holds all the same. So what a prediction misses counts.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import talos_opt
from talos_opt.core.metrics import forced_value
from talos_opt.reports.digits import duration
from talos_opt.studies.single_changes import SECONDS, Help, what_would_help

MODELS = Path(__file__).resolve().parents[1] / "models"
GRAPHS = ("memory_bound_training", "mix_serving")

#: What a prediction may miss, as such a share.
ALLOWED = 0.02


def main() -> int:
    """Print a row for each change; return 1 if a prediction misses more than `ALLOWED`."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("graphs", nargs="*", default=GRAPHS, metavar="GRAPH")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each short search")
    parser.add_argument("--full", type=float, default=60.0, help="seconds of each full solve")
    args = parser.parse_args()
    worst = 0.0
    for name in args.graphs:
        problem = talos_opt.read(MODELS / f"{name}.yaml")
        start = talos_opt.solve(problem, time_limit=args.full).schedule
        assert start is not None, "the graphs of models/ have schedules"
        found = what_would_help(problem, start, time_limit=args.seconds)
        unit = problem.graph.time_unit
        print(f"{name}: {duration(found.given, unit)} given, {args.seconds:g} s for each change, "
              f"{args.full:g} s afresh")  # fmt: skip
        worst = max([worst, *_compare(found, args.full, unit)])
    print(f"largest gain that was missed: {worst:.2%}, allowed {ALLOWED:.0%}")
    return 1 if worst > ALLOWED else 0


def _compare(found: Help, seconds: float, unit: str) -> list[float]:
    missed = []
    for item in found.helped:
        full = talos_opt.solve(item.change.problem, time_limit=seconds).value
        assert full is not None, "what has a schedule from the start has one"
        assert item.gain_share is not None, "it starts from a schedule"
        gain = (item.before - full) / (item.before - forced_value(item.change.problem))
        missed.append(max(0.0, gain - item.gain_share))
        print(
            f"  {item.change.label:42} predicted {item.gain_share:7.2%}, "
            f"full {gain:7.2%} ({duration(full, unit)}), difference {item.gain_share - gain:+.2%}",
            flush=True,
        )
    return missed


if __name__ == "__main__":
    sys.exit(main())
