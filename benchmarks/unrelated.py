"""Classical scheduling on unrelated machines: what do solvers find and prove?

Random instances of four kinds, makespan: flexible job shops (jobs are chains, each op runs on a
few machines, with times of their own), job shops, independent jobs on unrelated machines, and
random task graphs with transfers in the manner of Topcuoglu, Hariri and Wu (2002). `ratio` is to
the best value of the row.

    python -m benchmarks.unrelated [--solvers heft,fast,cpsat,auto] [--time-limit 10]
                                   [--only TEXT] [--json FILE]
"""

from __future__ import annotations

import random
from collections.abc import Callable

from benchmarks.report import Cell, Column, make_parser, progress, publish, solve
from talos_opt import Cluster, Device, Graph, Input, Link, Model, Op, Problem

SOLVERS = ("heft", "fast", "cpsat", "auto")


def flexible_job_shop(
    jobs: int, machines: int, ops: tuple[int, int], choice: int, seed: int
) -> Problem:
    """Return jobs of some ops in a row; each may run on up to `choice` machines."""
    draw = random.Random(f"{jobs},{machines},{ops},{choice},{seed}")
    models = []
    for j in range(jobs):
        chain = []
        for k in range(draw.randint(*ops)):
            able = draw.sample(range(machines), draw.randint(1, choice))
            time = {f"m{m}": float(draw.randint(1, 99)) for m in able}
            chain.append(Op(f"o{k}", time, inputs=(Input(f"o{k - 1}"),) if k else ()))
        models.append(Model(f"j{j}", tuple(chain)))
    graph = Graph(f"shop{jobs}x{machines}", tuple(models), "s")
    return Problem(graph, Cluster(_machines(machines)), "makespan")


def unrelated_jobs(jobs: int, machines: int, seed: int) -> Problem:
    """Return independent jobs, each with a time of its own on every machine."""
    draw = random.Random(f"{jobs},{machines},{seed}")
    ops = tuple(
        Op(f"o{k}", {f"m{m}": float(draw.randint(10, 100)) for m in range(machines)})
        for k in range(jobs)
    )
    graph = Graph(f"jobs{jobs}x{machines}", (Model("m", ops),), "s")
    return Problem(graph, Cluster(_machines(machines)), "makespan")


def task_graph(tasks: int, machines: int, width: int, ccr: float, seed: int) -> Problem:
    """Return a layered graph; transfers take `ccr` times as long as ops, on average."""
    draw = random.Random(f"{tasks},{machines},{width},{ccr},{seed}")
    ops: list[Op] = []
    before: list[str] = []
    while len(ops) < tasks:
        layer = []
        for _ in range(min(tasks - len(ops), draw.randint(1, width))):
            base = draw.uniform(10, 100)
            read = [draw.choice(before) for _ in range(draw.randint(1, 4))] if before else []
            far = [draw.choice(ops).id] if before and draw.random() < 0.3 else []
            size = int(1000 * ccr * draw.uniform(10, 100))
            ops.append(
                Op(
                    f"o{len(ops)}",
                    {f"m{m}": base * draw.uniform(0.5, 1.5) for m in range(machines)},
                    inputs=tuple(Input(name, size) for name in dict.fromkeys([*read, *far])),
                )
            )
            layer.append(ops[-1].id)
        before = layer
    links = tuple(
        Link(f"m{a}", f"m{b}", bandwidth=1000.0) for a in range(machines) for b in range(a)
    )
    graph = Graph(f"tasks{tasks}x{machines}", (Model("m", tuple(ops)),), "s")
    return Problem(graph, Cluster(_machines(machines), links), "makespan")


def _machines(count: int) -> tuple[Device, ...]:
    return tuple(Device(f"m{m}", f"m{m}") for m in range(count))


INSTANCES: dict[str, Callable[[], Problem]] = {
    "flexible shop 10x6": lambda: flexible_job_shop(10, 6, (5, 7), 3, 1),
    "flexible shop 15x8": lambda: flexible_job_shop(15, 8, (8, 12), 4, 2),
    "flexible shop 20x10": lambda: flexible_job_shop(20, 10, (10, 14), 5, 3),
    "flexible shop 30x15": lambda: flexible_job_shop(30, 15, (10, 15), 5, 4),
    "shop 10x10": lambda: flexible_job_shop(10, 10, (10, 10), 1, 5),
    "jobs 50x10": lambda: unrelated_jobs(50, 10, 1),
    "jobs 200x20": lambda: unrelated_jobs(200, 20, 2),
    "tasks 50x3": lambda: task_graph(50, 3, 5, 1.0, 4),
    "tasks 100x4": lambda: task_graph(100, 4, 8, 1.0, 1),
    "tasks 300x8": lambda: task_graph(300, 8, 20, 0.5, 2),
    "tasks 500x6": lambda: task_graph(500, 6, 12, 2.0, 3),
}


def main() -> None:
    """Run the solvers on every instance and print one row for each."""
    parser = make_parser(__doc__)
    parser.add_argument("--solvers", default=",".join(SOLVERS), help="names, comma between them")
    parser.add_argument("--time-limit", type=float, default=10.0, metavar="SECONDS")
    parser.add_argument("--only", default="", help="run instances whose name has this text")
    args = parser.parse_args()
    names = args.solvers.split(",")
    rows = []
    for title, make in INSTANCES.items():
        if args.only in title:
            progress(title)
            rows.append(measure(title, make(), names, args.time_limit))
    columns = [Column("instance"), Column("ops"), *(Column(f"{name} ratio", 3) for name in names)]
    columns += [Column("best", 1), Column("bound", 1), Column("gap %")]
    settings = {"solvers": names, "time_limit": args.time_limit}
    publish("unrelated", columns, rows, settings=settings, target=args.target)


def measure(title: str, problem: Problem, solvers: list[str], limit: float) -> dict[str, Cell]:
    """Run all solvers on an instance; return its row."""
    found = {name: solve(problem, name, time_limit=limit) for name in solvers}
    values = {name: result.value for name, result in found.items() if result.value is not None}
    best = min(values.values())
    bound = max(result.lower_bound for result in found.values())
    return {
        "instance": title,
        "ops": problem.graph.op_count,
        **{f"{name} ratio": value / best for name, value in values.items()},
        "best": best,
        "bound": bound,
        "gap %": 100.0 * (1.0 - bound / best),
    }


if __name__ == "__main__":
    main()
