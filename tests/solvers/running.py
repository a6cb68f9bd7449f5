"""Running one solver, and what several of its tests ask of a problem."""

from __future__ import annotations

import functools
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from talos_opt.core.cluster import Cluster, Device, Link
from talos_opt.core.graph import Graph, Input, Memory, Model, Op
from talos_opt.core.problem import MemoryRule, Objective, Problem
from talos_opt.core.schedule import Schedule
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.base import Verdict
from talos_opt.solvers.engine.run import Run

_ROOT = Path(__file__).parents[2]


def run_solver(
    name: str,
    problem: Problem,
    *,
    time_limit: float = 60.0,
    seed: int = 0,
    workers: int = 2,
    warm: Schedule | None = None,
    **options: object,
) -> tuple[Run, Verdict]:
    """Run one solver alone, without the root bounds that `solve` starts from."""
    solver = registry.create(name, options)
    run = Run(problem, time_limit=time_limit, seed=seed, workers=workers)
    if warm is not None:
        run.offer(warm, "warm")
    return run, solver.solve(problem, run)


def devices_of(run: Run) -> dict[str, str]:
    """Device of each op by its bare name."""
    assert run.best is not None
    return {item.op: item.device for item in run.best.named_ops(run.problem)}


def starts_of(run: Run) -> dict[str, float]:
    """Start of each op by its bare name."""
    assert run.best is not None
    return {item.op: item.start for item in run.best.named_ops(run.problem)}


def in_own_process(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test in a process of its own.

    A signal that comes too late, or a crash inside a library, then fails this test and tells
    where; in the test runner's process it would take the runner with it.
    """

    @functools.wraps(test)
    def run(*args: object, **kwargs: object) -> None:
        code = (
            f"import {test.__module__} as tests; "
            f"tests.{test.__name__}.__wrapped__(*{args!r}, **{kwargs!r})"
        )
        command = [sys.executable, "-X", "faulthandler", "-c", code]
        done = subprocess.run(
            command, cwd=_ROOT, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"exit code {done.returncode}\n{done.stderr[-4000:]}"

    return run


def press_ctrl_c(after_s: float) -> None:
    """Send this process what Ctrl-C in a terminal sends, after some time."""
    main = threading.main_thread().ident
    assert main is not None
    threading.Timer(after_s, signal.pthread_kill, [main, signal.SIGINT]).start()


def layered(
    count: int,
    seed: int = 0,
    *,
    models: int = 2,
    width: int = 20,
    objective: str = "toct",
    rule: str = "static",
    contention: str = "none",
    copy_engine: bool = True,
) -> Problem:
    """Return a random layered graph on a CPU and three GPUs that hold 40 % of it each.

    Times are irrational for all that an integer grid can tell, and no solver proves it optimal.
    """
    draw = random.Random(seed)
    built = []
    for m in range(models):
        ops: list[Op] = []
        for i in range(count // models):
            first, last = max(0, (i // width - 2) * width), i // width * width
            read = {draw.randrange(first, last) for _ in range(draw.randint(1, 3))} if last else ()
            ops.append(
                Op(
                    f"op{i}",
                    {"cpu": draw.uniform(5, 60), "gpu": draw.uniform(1, 20)},
                    Memory(
                        draw.randrange(10**6), draw.randint(1, 60) * 1000, draw.randrange(10**5)
                    ),
                    tuple(Input(f"op{k}") for k in sorted(read)),
                )
            )
        built.append(Model(f"m{m}", tuple(ops)))
    held = sum(op.memory.weights + op.memory.output for model in built for op in model.ops)
    limit = int(0.4 * held) + 10**5
    devices = [Device("cpu0", "cpu", copy_engine=copy_engine)]
    devices += [Device(f"gpu{d}", "gpu", limit, copy_engine=copy_engine) for d in range(3)]
    links = (Link("cpu", "gpu", 0.01, 1.2e7), Link("gpu", "gpu", 0.01, 2.5e7))
    return Problem(
        Graph("layered", tuple(built), "ms"),
        Cluster(tuple(devices), links, contention=contention),
        Objective(objective),
        MemoryRule(rule),
    )
