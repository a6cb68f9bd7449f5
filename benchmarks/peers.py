"""HEFT of another library against `heft`, `fast` and `auto`, on its own kind of instance.

Random layered graphs on related machines (a task costs work over speed, a tensor bytes over
bandwidth), which is what the peer can express: SAGA (`pip install anrg-saga`), whose HEFT fills
gaps as the paper does. Makespans of one schedule each, and seconds; `ratio` is to the best of the
row. Without the peer its columns stay empty.

    python -m benchmarks.peers [--sizes 100,300,1000,3000] [--devices 6] [--ccr 1.0]
                               [--limit 10] [--json FILE]
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import dataclass

from benchmarks.report import Cell, Column, make_parser, progress, publish, solve
from talos_opt import Cluster, Device, Graph, Input, Link, Memory, Model, Op, Problem

_BANDWIDTH = 1e9  # bytes a second
_COLUMNS = [
    Column("ops"),
    Column("edges"),
    Column("devices"),
    *(
        Column(f"{name} {what}", digits)
        for name in ("saga heft", "heft", "fast", "auto")
        for what, digits in (("ratio", 3), ("s", 2))
    ),
    Column("bound ratio", 3),
]


@dataclass(frozen=True)
class Instance:
    """A graph on related machines; times are in s.

    Parameters
    ----------
    work : tuple of float
        Seconds of each op at speed 1.
    size : tuple of int
        Bytes of each op's output.
    inputs : tuple of tuple of int
        Ops that each op reads, all before it.
    speed : tuple of float
        Of each device.
    """

    work: tuple[float, ...]
    size: tuple[int, ...]
    inputs: tuple[tuple[int, ...], ...]
    speed: tuple[float, ...]


def main() -> None:
    """Schedule one instance of each size by all methods and print a row for each."""
    parser = make_parser(__doc__)
    parser.add_argument("--sizes", default="100,300,1000,3000")
    parser.add_argument("--devices", type=int, default=6)
    parser.add_argument("--ccr", type=float, default=1.0, help="mean transfer over mean op time")
    parser.add_argument("--limit", type=float, default=10.0, help="seconds for auto")
    args = parser.parse_args()
    rows = []
    for ops in map(int, args.sizes.split(",")):
        progress(f"{ops} ops")
        rows.append(measure(make_instance(ops, args.devices, args.ccr), args))
    settings = {"devices": args.devices, "ccr": args.ccr, "limit": args.limit}
    publish("peers", _COLUMNS, rows, settings=settings, target=args.target)


def make_instance(ops: int, devices: int, ccr: float) -> Instance:
    """Draw an instance: layers of up to 20 ops that read one to four ops of earlier layers."""
    draw = random.Random(f"{ops},{devices},{ccr}")
    inputs: list[tuple[int, ...]] = []
    before: list[int] = []
    while len(inputs) < ops:
        layer = range(len(inputs), min(ops, len(inputs) + draw.randint(1, 20)))
        for _ in layer:
            near = [draw.choice(before) for _ in range(draw.randint(1, 3))] if before else []
            far = [draw.randrange(layer.start)] if before and draw.random() < 0.3 else []
            inputs.append(tuple(dict.fromkeys([*near, *far])))
        before = list(layer)
    return Instance(
        work=tuple(draw.uniform(0.01, 0.1) for _ in range(ops)),
        size=tuple(int(ccr * _BANDWIDTH * draw.uniform(0.01, 0.1)) for _ in range(ops)),
        inputs=tuple(inputs),
        speed=tuple(draw.uniform(0.5, 2.0) for _ in range(devices)),
    )


def measure(instance: Instance, args: argparse.Namespace) -> dict[str, Cell]:
    """Run every method on an instance; return its row."""
    problem = as_problem(instance)
    row: dict[str, Cell] = {
        "ops": len(instance.work),
        "edges": sum(map(len, instance.inputs)),
        "devices": len(instance.speed),
    }
    makespan: dict[str, float] = {}
    began = time.perf_counter()
    peer = saga_heft(instance)
    if peer is not None:
        makespan["saga heft"], row["saga heft s"] = peer, time.perf_counter() - began
    bound = 0.0
    for name, limit in (("heft", args.limit), ("fast", 1.0), ("auto", args.limit)):
        result = solve(problem, name, time_limit=limit)
        if result.value is not None:
            makespan[name], row[f"{name} s"] = result.value, result.runtime_s
        bound = max(bound, result.lower_bound)
    best = min(makespan.values())
    row |= {f"{name} ratio": value / best for name, value in makespan.items()}
    return row | {"bound ratio": bound / best, "best": best}


def as_problem(instance: Instance) -> Problem:
    """Return the instance as this package takes it."""
    ids = [f"d{d}" for d in range(len(instance.speed))]
    ops = tuple(
        Op(
            f"o{i}",
            {name: work / speed for name, speed in zip(ids, instance.speed, strict=True)},
            memory=Memory(output=instance.size[i]),
            inputs=tuple(Input(f"o{p}") for p in instance.inputs[i]),
        )
        for i, work in enumerate(instance.work)
    )
    links = tuple(Link(a, b, bandwidth=_BANDWIDTH) for k, a in enumerate(ids) for b in ids[k + 1 :])
    cluster = Cluster(tuple(Device(name, name) for name in ids), links)
    return Problem(Graph("related", (Model("m", ops),), "s"), cluster, "makespan")


def saga_heft(instance: Instance) -> float | None:
    """Return the makespan of SAGA's HEFT, None where the library is not installed."""
    try:
        from saga import Network, TaskGraph
        from saga.schedulers.heft import HeftScheduler
    except ImportError:
        return None
    ids = [f"d{d}" for d in range(len(instance.speed))]
    network = Network.create(
        list(zip(ids, instance.speed, strict=True)),
        [(a, b, _BANDWIDTH) for k, a in enumerate(ids) for b in ids[k + 1 :]],
    )
    graph = TaskGraph.create(
        [(f"o{i}", work) for i, work in enumerate(instance.work)],
        [
            (f"o{p}", f"o{i}", float(instance.size[p]))
            for i, read in enumerate(instance.inputs)
            for p in read
        ],
    )
    return float(HeftScheduler().schedule(network, graph).makespan)


if __name__ == "__main__":
    main()
