"""Does every solver keep its limit, and hear a cancel, on graphs of thousands of small models?

Serving mixes look like this. For each shape and solver: the seconds that a call with a time limit
took (`!` marks more than the 1 s + 5 % that are allowed beyond it), what the schedule is worth and
in multiples of the proven bound, and how many seconds a second call, with a longer limit, went on
after it had been cancelled (`!`: more than 1 s; `-`: it had ended by itself before). Models are
chains on one CPU and three GPUs; 1000x3l has links, 500x10m memory limits and links.

    python -m benchmarks.many_models [--shapes 2000x10,1000x3l] [--solvers a,b] [--limit 5]
                                     [--cancel-after 2] [--objective toct] [--json FILE]
"""

from __future__ import annotations

import contextlib
import random
import threading
import time

import talos_opt
from benchmarks.report import Cell, Column, make_parser, progress, publish
from talos_opt import (
    Cluster,
    Device,
    Graph,
    Input,
    Link,
    Memory,
    Model,
    Op,
    Problem,
    UnsupportedError,
)

_MIB = 2**20
#: The call that is cancelled would go on for so many seconds.
_LONG = 60.0
_COLUMNS = [
    Column("graph"),
    Column("solver"),
    Column("limit", 1),
    Column("seconds"),
    Column("value", 0),
    Column("of bound", 3),
    Column("heard after"),
    Column("status"),
]


def main() -> None:
    """Run every solver on every shape, and print a row for each."""
    parser = make_parser(__doc__)
    every = ",".join(info.name for info in talos_opt.list_solvers())
    parser.add_argument("--shapes", default="2000x10,2000x10l,1000x3l,500x10m,20000x1")
    parser.add_argument("--solvers", default=every, help="default: all")
    parser.add_argument("--objective", default="toct")
    parser.add_argument("--limit", type=float, default=5.0, help="seconds")
    parser.add_argument("--cancel-after", type=float, default=2.0, help="seconds")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    solvers = args.solvers.split(",")
    _warm(solvers, args.objective)
    rows = []
    for shape in args.shapes.split(","):
        problem = make_problem(shape, args.seed).with_objective(args.objective)
        for name in solvers:
            progress(f"{shape} {name}")
            rows.append(measure(problem, name, args.limit, args.cancel_after))
    publish(
        "many_models",
        _COLUMNS,
        rows,
        settings={key: value for key, value in vars(args).items() if key != "target"},
        target=args.target,
    )


def make_problem(shape: str, seed: int = 0) -> Problem:
    """Return a graph of MODELSxOPS, with links behind an `l`, with memory limits behind an `m`."""
    rest = shape.rstrip("lm")
    models, ops = map(int, rest.split("x"))
    draw = random.Random(f"{shape} {seed}")
    limited = shape.endswith("m")
    room = int(1.3 * models * ops * 10 * _MIB / 3) if limited else None
    devices = [Device("cpu0", "cpu"), *(Device(f"gpu{k}", "gpu", room) for k in range(3))]
    links = [Link("cpu", "gpu", 0.05, 10e9), Link("gpu", "gpu", 0.02, 30e9)]
    graph = Graph(
        shape,
        tuple(_model(f"m{j}", ops, draw) for j in range(models)),
        time_unit="ms",
    )
    return Problem(graph, Cluster(tuple(devices), links if shape != rest else None))


def _model(name: str, ops: int, draw: random.Random) -> Model:
    chain = tuple(
        Op(
            f"o{i}",
            {"cpu": draw.uniform(1.0, 20.0), "gpu": draw.uniform(0.1, 3.0)},
            Memory(draw.randrange(18 * _MIB), draw.randrange(_MIB)),
            (Input(f"o{i - 1}"),) if i else (),
        )
        for i in range(ops)
    )
    return Model(name, chain, draw.choice((1.0, 2.0, 3.0)))


def measure(problem: Problem, solver: str, limit: float, cancel_after: float) -> dict[str, Cell]:
    """Solve a problem twice, once until the limit and once until it is cancelled."""
    row: dict[str, Cell] = {"graph": problem.graph.name, "solver": solver, "limit": limit}
    began = time.perf_counter()
    try:
        result = talos_opt.solve(problem, solver, time_limit=limit, explain=False)
    except UnsupportedError:
        return row | {"status": "not covered"}
    except talos_opt.TalosError as error:
        return row | {"seconds": time.perf_counter() - began, "status": str(error)}
    spent = time.perf_counter() - began
    heard = _cancel(problem, solver, cancel_after)
    bound = result.lower_bound
    return row | {
        "seconds": f"{spent:.2f}{'!' if spent > 1.0 + 1.05 * limit else ''}",
        "value": result.value,
        "of bound": None if result.value is None or bound <= 0 else result.value / bound,
        "heard after": None if heard is None else f"{heard:.2f}{'!' if heard > 1.0 else ''}",
        "status": result.status.value,
    }


def _cancel(problem: Problem, solver: str, after: float) -> float | None:
    """Return the seconds from a cancel to the end of the call; None if it had ended before."""
    cancel, moment = threading.Event(), [0.0]

    def fire() -> None:
        moment[0] = time.perf_counter()
        cancel.set()

    timer = threading.Timer(after, fire)
    timer.start()
    talos_opt.solve(problem, solver, time_limit=_LONG, cancel=cancel, explain=False)
    ended = time.perf_counter()
    timer.cancel()
    return ended - moment[0] if moment[0] else None


def _warm(solvers: list[str], objective: str) -> None:
    """Load libraries and kernels, and compile those that are not on disk yet."""
    problem = make_problem("40x3l").with_objective(objective)
    for name in solvers:
        with contextlib.suppress(UnsupportedError):
            talos_opt.solve(problem, name, time_limit=1.0, explain=False)


if __name__ == "__main__":
    main()
