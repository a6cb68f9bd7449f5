"""Does CP-SAT prove what is true? Random small formulations against an exhaustive search.

    python -m benchmarks.formulations --count 1000 --seed 0 [--solver cpsat --solver relax]

Up to four ops on up to three devices, with the features that bend the formulation: releases,
slots, colocation, links, contention, memory under either rule. Times are of one kind a problem:
whole numbers, decimals, thirds and roots, ratios over six decades, a "forbidden" 1e9. The truth
comes from tests/reference/brute.py, which shares no code with the solvers. Counted are optima
that are not, bounds above the optimum, infeasibility that is none (and schedules where there are
none), and errors; problems that are left unproven are counted too, but are no fault.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter

from tests.trust.formulations import judge, make_problem, optimum


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0, help="of the first problem")
    parser.add_argument("--solver", action="append", help="default: cpsat")
    parser.add_argument("--seconds", type=float, default=10.0, help="a solve")
    parser.add_argument("--show", action="store_true", help="print the seed of each find")
    args = parser.parse_args()
    counts: Counter[tuple[str, str]] = Counter()
    began = time.monotonic()
    for seed in range(args.seed, args.seed + args.count):
        problem = make_problem(seed)
        truth = optimum(problem)
        counts["problems", "infeasible" if truth is None else "feasible"] += 1
        for solver in args.solver or ["cpsat"]:
            for fault in judge(problem, truth, solver, args.seconds):
                counts[solver, fault.split(":")[0]] += 1
                if args.show:
                    print(json.dumps([seed, problem.objective.value, solver, fault]), flush=True)
    print(f"seeds {args.seed}..{args.seed + args.count - 1}: {time.monotonic() - began:.0f} s")
    for (who, what), count in sorted(counts.items()):
        print(f"{who:10} {what:30} {count}")
    faults = ("wrong", "error", "schedule of", "brute force")
    sys.exit(any(what.startswith(faults) for _, what in counts))


if __name__ == "__main__":
    main()
