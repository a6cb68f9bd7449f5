"""How long until the command line answers, and what do imports cost?

Each command runs in a process of its own, in turn, so that noise hits all alike; the median of
all runs counts. `over python` is the time less that of the bare interpreter.

    python -m benchmarks.startup [--runs N] [--imports numpy,pydantic] [--json FILE]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from benchmarks.report import Column, Row, make_parser, publish

FIG1 = Path(__file__).resolve().parents[1] / "models" / "fig1.yaml"
#: What the package loads or decided not to load.
IMPORTS = "numpy,yaml,networkx,numba,pulp,ortools.sat.python.cp_model,pydantic,typer,click,rich"

_BARE = "python -c pass"
COLUMNS = [
    Column("command"),
    Column("median s", 3),
    Column("fastest s", 3),
    Column("over python", 3),
]


def main() -> None:
    """Time all commands and print one row for each."""
    parser = make_parser(__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--imports", default=IMPORTS, help="modules; those missing are left out")
    args = parser.parse_args()
    timed = time_all(commands(args.imports.split(",")), args.runs)
    bare = statistics.median(timed[_BARE])
    rows: list[Row] = [
        {
            "command": name,
            "median s": statistics.median(times),
            "fastest s": min(times),
            "over python": statistics.median(times) - bare,
        }
        for name, times in timed.items()
    ]
    publish("startup", COLUMNS, rows, settings={"runs": args.runs}, target=args.target)


def commands(modules: list[str]) -> dict[str, list[str]]:
    """Return what is timed: a name and the arguments of the interpreter."""
    found = {
        _BARE: ["-c", "pass"],
        "talos-opt --help": ["-m", "talos_opt", "--help"],
        "talos-opt solve fig1.yaml": ["-m", "talos_opt", "solve", str(FIG1)],
        "talos-opt solve fig1.yaml --solver heft": [
            "-m", "talos_opt", "solve", str(FIG1), "--solver", "heft",
        ],
        "import talos_opt": ["-c", "import talos_opt"],
    }  # fmt: skip
    for module in modules:
        if find_spec(module.partition(".")[0]) is not None:
            found[f"import {module}"] = ["-c", f"import {module}"]
    return found


def time_all(commands: dict[str, list[str]], runs: int) -> dict[str, list[float]]:
    """Run every command so many times, in turn; the first round warms caches and is dropped."""
    times: dict[str, list[float]] = {name: [] for name in commands}
    for round_ in range(runs + 1):
        for name, arguments in commands.items():
            begin = time.perf_counter()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
            if round_:
                times[name].append(time.perf_counter() - begin)
    return times


if __name__ == "__main__":
    main()
