"""Placements and orders that the local search starts from."""

from __future__ import annotations

import numpy as np

from talos_opt.core.feasibility import check
from talos_opt.core.metrics import objective_value
from talos_opt.core.problem import Ints, Objective, Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import MemoryDeadlockError
from talos_opt.core.transfers import NoRouteError
from talos_opt.solvers.bounds import group_work, load_shares
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.fast.contiguous import contiguous_split
from talos_opt.solvers.shared.constructive import realise
from talos_opt.solvers.shared.splits.search import SplitSearch
from talos_opt.solvers.shared.starting import Start, incumbent, order_by_start, run_rules
from talos_opt.solvers.shared.whole_models import MANY_MODELS, first_schedule

#: Constructive rules that give the first placements.
RULES = ("single", "sequential", "heft", "etf")

#: From this number of ops on a rule may not take more than a share of the time that is left.
MANY_OPS, MOST_SHARE = 5_000, 0.2
#: Up to this number of ops contiguous splits are looked for where nobody asks for them; the order
#: ideals for each block, and the share of the time that this may take.
_SPLIT_UP_TO_OPS, _IDEALS, _SPLIT_SHARE = 700, 8, 0.2


def try_rules(problem: Problem, run: Run, name: str, rules: tuple[str, ...]) -> list[Start]:
    """Return the incumbent and what simple rules make, without a compiled kernel."""
    found = incumbent(run)
    if len(problem.arrays.release) >= MANY_MODELS:
        whole = first_schedule(problem)
        if whole is not None:
            run.offer(whole, name)
            found.append((objective_value(problem, whole), whole))
    share = 1.0 if problem.arrays.op_count < MANY_OPS else MOST_SHARE
    return found + run_rules(problem, run, rules, share)


def find_starts(
    problem: Problem, run: Run, name: str, found: list[Start]
) -> list[tuple[Ints, Ints]]:
    """Return placements to start from, the best first, feasible if any is known.

    At least one, unless there is a rule for stages and none is known that keeps it.

    Parameters
    ----------
    problem : Problem
    run : Run
    name : str
        Who to offer as.
    found : list of Start
        From `try_rules`.
    """
    bottleneck = problem.objective is Objective.BOTTLENECK
    split = contiguous_split(problem) if bottleneck else None
    splits = [] if split is None else [split]
    if wants_splits(problem):
        splits += _split_by_ideals(problem, run)
    for split in splits:
        schedule = _realised(problem, split)
        if schedule is not None:
            run.offer(schedule, name)
            found.append((objective_value(problem, schedule), schedule))
    found.sort(key=lambda item: item[0])
    if not found and problem.stages:
        hint = run.hint
        if hint is None or not problem.keeps_stages(hint.device):
            return []
        return [(hint.device, _order_of(problem, hint))]
    if not found and run.hint is not None:  # too much for the memory, but not by far
        return [(run.hint.device, _order_of(problem, run.hint)), _fastest_devices(problem)]
    if not found:
        return [_fastest_devices(problem)]
    return [(schedule.device, _order_of(problem, schedule)) for _, schedule in found]


def wants_splits(problem: Problem) -> bool:
    """Whether a contiguous split is worth looking for: always where stages have to be kept."""
    few = problem.arrays.op_count <= _SPLIT_UP_TO_OPS
    return bool(problem.stages) or (few and problem.objective is Objective.BOTTLENECK)


def _split_by_ideals(problem: Problem, run: Run) -> list[Ints]:
    """Return a contiguous split, which keeps any rule for stages, if one is found."""
    part = run.limited(_SPLIT_SHARE * run.remaining)
    search = SplitSearch(problem, load_shares(group_work(problem.arrays))[1])
    most = _IDEALS * search.blocks.count
    found = search.run(most, lambda: part.spent, narrow=True)
    return [] if found.device is None else [found.device]


def _realised(problem: Problem, device: Ints) -> Schedule | None:
    """Return a schedule of a placement, None if it has none."""
    if not problem.keeps_stages(device):
        return None
    try:
        schedule = realise(problem, device, problem.arrays.order.tolist())
    except (MemoryDeadlockError, NoRouteError):
        return None
    return None if check(problem, schedule) else schedule


def _order_of(problem: Problem, schedule: Schedule) -> Ints:
    """Ops in the order of a schedule, which under the bottleneck says nothing."""
    if problem.objective is Objective.BOTTLENECK:
        return problem.arrays.order.copy()
    return order_by_start(problem, schedule)


def _fastest_devices(problem: Problem) -> tuple[Ints, Ints]:
    """Every group where it takes least time, whatever the memory: a start to be repaired."""
    arrays = problem.arrays
    work = np.zeros(arrays.allowed.shape)
    np.add.at(work, arrays.group, np.where(np.isfinite(arrays.time), arrays.time, 0.0))
    home = np.where(arrays.allowed, work, np.inf).argmin(axis=1)
    return home[arrays.group].astype(np.int64), arrays.order.copy()
