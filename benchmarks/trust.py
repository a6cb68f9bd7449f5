"""Is what is called optimal, feasible, infeasible or proven so? Against an exact brute force.

Random problems of a few ops, with every feature and awkward numbers (thirds, decimals, up to nine
decades, Unix times), go to every solver; an independent brute force in whole numbers and an
independent checker judge what comes back. The table counts, for each solver, what it said and what
was wrong. Each find becomes a graph file in the folder --finds, whose description has the command
that shows it. Local searches, `relax` and `ilp` get a share of the problems (tests/trust/cases.py).

    python -m benchmarks.trust [--count N] [--seed S] [--first I] [--jobs J] [--solvers a,b]
                               [--minutes M] [--finds DIR] [--json FILE]
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import talos_opt
from benchmarks.report import Column, make_parser, progress, publish
from talos_opt.testing.cases import (
    Outcome,
    draw_case,
    find_truth,
    solvers_of,
    try_solver,
)
from talos_opt.testing.judging import Find
from tests.trust.tally import STATUSES, Tally

#: Seconds beyond its limit after which a solver is taken to hang.
PATIENCE_S = 60.0
#: Limit of each solver's first run, whose kernels are compiled beside it.
WARM_S = 1.0


def main() -> int:
    """Try all problems; the exit status is 1 if anything was found."""
    parser = make_parser(__doc__)
    every = [info.name for info in talos_opt.list_solvers()]
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first problem")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--solvers", default=",".join(every), help="default: all")
    parser.add_argument("--minutes", type=float, default=0, help="stop after so many")
    parser.add_argument("--finds", type=Path, default=Path("build/finds"))
    args = parser.parse_args()
    numbers = range(args.first, args.first + args.count)
    tally = Tally(args.finds, args.seed, progress)
    deadline = time.monotonic() + 60 * args.minutes if args.minutes else float("inf")
    run_all(args.solvers.split(","), args.seed, numbers, args.jobs, deadline, tally)
    rows = tally.rows(args.solvers.split(","))
    columns = [
        Column("solver"),
        Column("problems"),
        *map(Column, STATUSES),
        *[Column(kind) for kind in tally.kinds()],
    ]
    publish(
        "trust",
        columns,
        rows,
        settings={
            "problems": tally.problems, "too hard for brute force": tally.hard,
            "seed": args.seed, "first": args.first, "count": args.count,
        },
        target=args.target,
    )  # fmt: skip
    print(
        f"{tally.problems} problems, {tally.hard} more were too hard for brute force, "
        f"{tally.answers} answers, {tally.finds} finds"
    )
    return 1 if tally.finds else 0


# ---- several processes ---------------------------------------------------------------------


@dataclass
class Worker:
    """A process that tries every so-many-th problem, and what it is at."""

    process: Any
    pipe: Connection
    numbers: range
    number: int = -1
    solver: str = ""
    since: float = field(default_factory=time.monotonic)


def run_all(
    solvers: list[str], seed: int, numbers: range, jobs: int, deadline: float, tally: Tally
) -> None:
    """Spread problems over processes. One that dies or hangs is a find, and another goes on."""
    workers = [start_worker(solvers, seed, numbers[k::jobs]) for k in range(jobs)]
    told = time.monotonic()
    while workers:
        wait([worker.pipe for worker in workers], timeout=1.0)
        if time.monotonic() > deadline:
            for worker in workers:
                worker.process.kill()
            break
        for k in reversed(range(len(workers))):
            if not listen(workers[k], tally):
                workers[k : k + 1] = replacements(workers[k], solvers, seed, tally)
        if time.monotonic() > told + 60:
            told = time.monotonic()
            progress(f"{tally.problems} problems, {tally.answers} answers, {tally.finds} finds")


def start_worker(solvers: list[str], seed: int, numbers: range) -> Worker:
    here, there = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("spawn").Process(
        target=work, args=(there, solvers, seed, numbers), daemon=True
    )
    process.start()
    there.close()
    return Worker(process, here, numbers)


def work(pipe: Connection, solvers: list[str], seed: int, numbers: range) -> None:
    """Try problems, and tell before each step what it will be."""
    first = draw_case(0, 0)
    for name in solvers:  # compile what needs compiling outside of all limits
        pipe.send(("begin", -1, name))
        try:
            talos_opt.solve(first.problem, name, time_limit=WARM_S, explain=False)
        except talos_opt.TalosError:
            continue
    for number in numbers:
        pipe.send(("begin", number, ""))
        case = draw_case(seed, number)
        truth = find_truth(case)
        outcomes = []
        for name in solvers_of(case, solvers) if truth is not None else ():
            pipe.send(("begin", number, name))
            assert truth is not None
            outcomes.append(try_solver(case, truth, name))
        pipe.send(("end", number, outcomes if truth is not None else None))
    pipe.send(("over", -1, None))


def listen(worker: Worker, tally: Tally) -> bool:
    """Take in what a worker says; whether it is still at work."""
    try:
        while worker.pipe.poll():
            word, number, more = worker.pipe.recv()
            worker.since = time.monotonic()
            if word == "over":
                worker.number, worker.solver = worker.numbers.stop, ""
                return False
            worker.number, worker.solver = number, more if word == "begin" else ""
            if word == "end" and more is None:
                tally.hard += 1
            elif word == "end":
                tally.problems += 1
                tally.add(number, more)
    except EOFError:
        return False
    return time.monotonic() < worker.since + PATIENCE_S


def replacements(worker: Worker, solvers: list[str], seed: int, tally: Tally) -> list[Worker]:
    """Return who goes on after a worker that is at its end, by itself or not."""
    worker.process.join(timeout=1.0)
    how = "hang" if worker.process.is_alive() else "crash"
    worker.process.kill()
    if worker.number >= worker.numbers.stop:
        return []
    what = f"exit code {worker.process.exitcode}" if how == "crash" else "no answer"
    if worker.number < 0:
        sys.exit(f"{worker.solver} ({how}, {what}) does not get through a first problem")
    tally.add(worker.number, [Outcome(worker.solver or "brute force", "raised", [Find(how, what)])])
    left = range(worker.number + worker.numbers.step, worker.numbers.stop, worker.numbers.step)
    return [start_worker(solvers, seed, left)] if left else []


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
