"""Ways to make a feasible schedule almost feasible, and problems that ask for less."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from talos_opt.core.problem import ANY_STAGES, Problem
from talos_opt.core.schedule import Schedule, TransferRow, Transfers

STEPS = (-2.0, -1.0, -0.5, -0.25, 0.25, 0.5, 1.0, 4.0)


def relax(problem: Problem, rng: random.Random) -> Problem:
    """Return the problem without some of its limits: its schedules may break the others."""
    cluster, devices = problem.cluster, list(problem.cluster.devices)
    if rng.random() < 0.5:
        devices = [replace(device, memory=None) for device in devices]
    if rng.random() < 0.5:
        devices = [replace(device, copy_engine=True) for device in devices]
    if rng.random() < 0.3:
        devices = [replace(device, slots=9) for device in devices]
    contention = "none" if rng.random() < 0.5 else cluster.contention
    graph = problem.graph
    if rng.random() < 0.2:
        graph = replace(graph, models=tuple(replace(m, release=0.0) for m in graph.models))
    cluster = replace(cluster, devices=tuple(devices), contention=contention)
    stages = problem.stages if rng.random() < 0.5 else ANY_STAGES
    return replace(problem, graph=graph, cluster=cluster, stages=stages)


def mutate(schedule: Schedule, problem: Problem, rng: random.Random) -> Schedule:
    """Change one thing at random."""
    return rng.choice(_MUTATIONS)(schedule, problem, rng)


def _move_op(schedule: Schedule, problem: Problem, rng: random.Random) -> Schedule:
    i, step = rng.randrange(len(schedule.start)), rng.choice(STEPS)
    start, end = schedule.start.copy(), schedule.end.copy()
    start[i] += step
    end[i] += step
    return replace(schedule, start=start, end=end)


def _align_op(schedule: Schedule, problem: Problem, rng: random.Random) -> Schedule:
    """Move an op to where something else ends."""
    i = rng.randrange(len(schedule.start))
    moments = [0.0, *schedule.end.tolist(), *schedule.transfers.end.tolist()]
    start, end = schedule.start.copy(), schedule.end.copy()
    start[i] = rng.choice(moments)
    end[i] = start[i] + schedule.end[i] - schedule.start[i]
    return replace(schedule, start=start, end=end)


def _stretch_op(schedule: Schedule, problem: Problem, rng: random.Random) -> Schedule:
    end = schedule.end.copy()
    end[rng.randrange(len(end))] += rng.choice(STEPS)
    return replace(schedule, end=end)


def _swap_device(schedule: Schedule, problem: Problem, rng: random.Random) -> Schedule:
    device = schedule.device.copy()
    device[rng.randrange(len(device))] = rng.randrange(len(problem.device_ids))
    return replace(schedule, device=device)


def _delay_all(schedule: Schedule, problem: Problem, rng: random.Random) -> Schedule:
    """Still feasible."""
    step = abs(rng.choice(STEPS))
    rows = [
        row._replace(start=row.start + step, end=row.end + step)
        for row in schedule.transfers.rows()
    ]
    return replace(
        schedule,
        start=schedule.start + step,
        end=schedule.end + step,
        transfers=Transfers.from_rows(rows),
    )


def _change_transfer(change: Callable[[TransferRow, Problem, random.Random], list[TransferRow]]):
    def mutation(schedule: Schedule, problem: Problem, rng: random.Random) -> Schedule:
        rows = list(schedule.transfers.rows())
        if not rows:
            return _move_op(schedule, problem, rng)
        k = rng.randrange(len(rows))
        rows[k : k + 1] = change(rows[k], problem, rng)
        return replace(schedule, transfers=Transfers.from_rows(rows))

    return mutation


def _shifted(row: TransferRow, problem: Problem, rng: random.Random) -> list[TransferRow]:
    step = rng.choice(STEPS)
    return [row._replace(start=row.start + step, end=row.end + step)]


def _dropped(row: TransferRow, problem: Problem, rng: random.Random) -> list[TransferRow]:
    return []


def _doubled(row: TransferRow, problem: Problem, rng: random.Random) -> list[TransferRow]:
    return [row, *_shifted(row, problem, rng)]


def _resized(row: TransferRow, problem: Problem, rng: random.Random) -> list[TransferRow]:
    return [row._replace(bytes=max(0, row.bytes + rng.choice((-1, 1))))]


def _longer(row: TransferRow, problem: Problem, rng: random.Random) -> list[TransferRow]:
    return [row._replace(end=row.end + 0.5)]


def _redirected(row: TransferRow, problem: Problem, rng: random.Random) -> list[TransferRow]:
    others = [d for d in range(len(problem.device_ids)) if d != row.source]
    return [row._replace(target=rng.choice(others))]


_MUTATIONS = (
    _move_op,
    _move_op,
    _align_op,
    _align_op,
    _stretch_op,
    _swap_device,
    _delay_all,
    *(
        _change_transfer(change)
        for change in (_shifted, _shifted, _dropped, _doubled, _resized, _longer, _redirected)
    ),
)
