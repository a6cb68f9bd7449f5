"""The best device map for a plan: a problem for each way to offload, for the caller's solver.

A problem cannot say that what is offloaded takes room on the main device as well. So that room is
reserved beforehand, for blocks up to some size; what turns out to be missing is reserved next time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from talos_opt.core.errors import GraphError, InputError
from talos_opt.core.feasibility import check
from talos_opt.core.module_paths import merge
from talos_opt.core.problem import Ints, Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import simulate
from talos_opt.frameworks.torch.filling import contiguous_fills
from talos_opt.frameworks.torch.machines import CPU, Target
from talos_opt.frameworks.torch.planning import (
    Evaluation,
    Plan,
    evaluate_targets,
    occupancy,
    targets_of,
)

#: Takes a problem and a feasible schedule to start from, if there is one; returns the best found.
Solve = Callable[[Problem, Schedule | None], Schedule | None]

#: Sizes of offloaded blocks that are tried as the largest, and rounds of reserving more.
_SIZES = 4
_ROUNDS = 4


@dataclass(frozen=True)
class Placed:
    """A device map that fits.

    Parameters
    ----------
    device_map : dict of str to int or str
        For accelerate's dispatch.
    main : int or str
        Its ``main_device``; accelerate takes the same by itself, unless it is ``cpu`` and GPUs
        are in use.
    evaluation : Evaluation
    targets : tuple of int or str
        Device of each block of the plan.
    """

    device_map: dict[str, Target]
    main: Target
    evaluation: Evaluation
    targets: tuple[Target, ...]


def place(
    plan: Plan,
    solve: Solve | None = None,
    *,
    candidates: Iterable[Mapping[str, Target]] = (),
    mains: Sequence[Target] | None = None,
) -> Placed:
    """Return the device map of the least step time that fits.

    Parameters
    ----------
    plan : Plan
    solve : callable, optional
        For example ``lambda p, start: talos_opt.solve(p, warm_start=start).schedule``. None: the
        best contiguous map, in which every device holds one run of neighbouring blocks.
    candidates : iterable of mapping
        Device maps that the answer must not be worse than, where they fit and are run by one of
        `mains`.
    mains : sequence of int or str, optional
        Main devices to consider; default: what accelerate takes. With ``cpu``, blocks there run
        there, which ``dispatch_model(model, device_map, main_device="cpu")`` does.

    Raises
    ------
    InputError
        If no map fits.
    """
    told = mains is not None
    starts: list[list[Target]] = [
        [CPU] * len(plan.blocks),
        *(targets_of(plan, item) for item in candidates),
    ]
    best: Placed | None = None
    for main in mains if mains is not None else (plan.machine.main(plan.machine.targets),):
        for where in _search(plan, solve, main, starts):
            # Whatever the problem assumed: what counts is what accelerate will do with the map.
            found = evaluate_targets(plan, where, main if told else None)
            if found.fits and (best is None or found.step_s < best.evaluation.step_s):
                best = Placed(device_map_of_targets(plan, where), found.main, found, tuple(where))
    if best is None:
        total = sum(block.owned_bytes for block in plan.blocks) + sum(plan.cache)
        largest = max(plan.blocks, key=lambda block: block.owned_bytes)
        raise InputError(
            f"no device map of {plan.name} fits: its blocks hold {total} bytes, the largest, "
            f"{largest.name!r}, {largest.owned_bytes}, beside activations"
        )
    return best


def device_map_of_targets(plan: Plan, where: Sequence[Target]) -> dict[str, Target]:
    """Return the device map that gives each block of a plan its device.

    Modules without tensors follow the block before them.
    """
    entries: dict[str, Target] = {}
    for block, target in zip(plan.blocks, where, strict=True):
        entries.update(dict.fromkeys((block.name, *block.also), target))
    return merge(entries)


def _search(
    plan: Plan, solve: Solve | None, main: Target, starts: Sequence[Sequence[Target]]
) -> Iterator[Sequence[Target]]:
    """Yield devices of the blocks that are worth a look."""
    yield from starts
    machine = plan.machine
    if machine.gpus:
        where = _answer(plan, solve, plan.problem, starts, main, machine.gpus)
        if where is not None:
            yield where
            if main != CPU:  # copying weights in every step is slower than having them there
                return
    if main == CPU and not machine.disk:
        where = _answer(plan, solve, plan.problem, starts, main, machine.targets)
        if where is not None:
            yield where
        return
    sizes = sorted({block.parameter_bytes for block in plan.blocks}, reverse=True)
    for largest in sizes[:_SIZES]:
        yield from _reserving(plan, solve, main, starts, largest)


def _reserving(
    plan: Plan,
    solve: Solve | None,
    main: Target,
    starts: Sequence[Sequence[Target]],
    largest: int,
) -> Iterator[Sequence[Target]]:
    """Yield an answer with room for what is offloaded, after as many rounds as that needs."""
    reserve: dict[Target, int] = {main: largest}
    for _ in range(_ROUNDS):
        build = partial(plan.problem, reserve=reserve, largest=largest)
        where = _answer(plan, solve, build, starts, main, plan.machine.targets)
        if where is None:
            return
        yield where
        found = evaluate_targets(plan, where, main)
        if found.fits:
            return
        # What the problem did not see is at least what must be kept free for such an answer.
        seen = occupancy(plan, where)
        for target in found.over:
            unseen = found.memory[target] - seen[target]
            reserve[target] = max(reserve.get(target, 0), unseen)


def _answer(
    plan: Plan,
    solve: Solve | None,
    build: Callable[..., Problem],
    starts: Sequence[Sequence[Target]],
    main: Target,
    targets: Sequence[Target],
) -> Sequence[Target] | None:
    """Solve one problem; None: nothing was found."""
    try:
        problem = build(main, targets=targets)
    except GraphError:  # some block has no device
        return None
    position = {target: d for d, target in enumerate(targets)}
    last = [position[target] for target in targets if plan.offloads(target, main)]
    tries: list[Ints] = list(contiguous_fills(problem, last))
    if solve is not None:
        tries += [
            np.array([position[t] for t in where]) for where in starts if {*where} <= {*targets}
        ]
    start = _best(problem, tries)
    schedule = start if solve is None else solve(problem, start)
    return None if schedule is None else [targets[d] for d in schedule.device.tolist()]


def _best(problem: Problem, tries: Sequence[Ints]) -> Schedule | None:
    """Return the best feasible schedule in which the ops run in their order."""
    best: Schedule | None = None
    order = np.arange(problem.arrays.op_count)
    for device in tries:
        if not np.isfinite(problem.arrays.time[order, device]).all():
            continue
        schedule = simulate(problem, device, order)
        better = best is None or schedule.makespan < best.makespan
        if better and not check(problem, schedule):
            best = schedule
    return best
