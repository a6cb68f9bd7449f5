"""What a schedule becomes if one op, with what is colocated with it, moves to another device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from talos_opt.core.arrays import times_on
from talos_opt.core.columns import NONE
from talos_opt.core.metrics import objective_value
from talos_opt.core.occupancy import resident_weights, static_memory
from talos_opt.core.problem import Floats, Ints, MemoryRule, Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import MemoryDeadlockError, simulate
from talos_opt.core.transfers import NoRouteError
from talos_opt.core.units import format_bytes


class MoveError(Exception):
    """A move leads to no schedule; the message says why."""


@dataclass(frozen=True)
class Move:
    """The objective if an op sat on another device.

    Parameters
    ----------
    device : int
    value : float or None
        Of the problem's objective, in the graph's time unit; None where the op cannot move.
    reason : str
        Why not; empty if it can.
    """

    device: int
    value: float | None
    reason: str = ""


def moved(problem: Problem, schedule: Schedule, op: int, device: int) -> Schedule:
    """Move an op and its colocation group, and simulate the placement in the order of the starts.

    All other ops stay on their devices. Ready ops are taken in the order in which they started in
    the schedule (of those that started together, first that which ended first), and each starts
    as early as it fits (`simulate`).

    Parameters
    ----------
    problem : Problem
    schedule : Schedule
        A feasible one.
    op, device : int

    Raises
    ------
    MoveError
        If the op or one of its group cannot run there, a tensor has no route, or memory is short.
    """
    where = schedule.device.copy()
    group = companions(problem, op)
    where[group] = device
    reason = _cannot_run(problem, group, device) or _short(problem, where)
    if not reason and not problem.keeps_stages(where):
        reason = f"stages would no longer be {problem.stages}"
    if reason:
        raise MoveError(reason)
    return _simulated(problem, schedule, where)


def resimulated(problem: Problem, schedule: Schedule) -> Schedule:
    """Simulate a schedule's own placement as `moved` does: what moves are to be compared with.

    Raises
    ------
    MoveError
        If the memory left under the ``peak`` rule fits no ready op in this order.
    """
    return _simulated(problem, schedule, schedule.device)


def try_move(problem: Problem, schedule: Schedule, op: int, device: int) -> Move:
    """Return the objective after a move (see `moved`), or why there is none."""
    try:
        return Move(device, objective_value(problem, moved(problem, schedule, op, device)))
    except MoveError as error:
        return Move(device, None, str(error))


def companions(problem: Problem, op: int) -> Ints:
    """Return the ops of an op's colocation group, itself among them."""
    group = problem.arrays.group
    return np.flatnonzero(group == group[op])


def _simulated(problem: Problem, schedule: Schedule, where: Ints) -> Schedule:
    ids = problem.device_ids
    try:
        order = order_of_starts(problem, schedule.start, schedule.end)
        return simulate(problem, where, order)
    except NoRouteError as error:
        raise MoveError(
            f"the output of {problem.names[error.producer]} has no route from "
            f"{ids[error.source]} to {ids[error.target]}"
        ) from None
    except MemoryDeadlockError as error:
        raise MoveError(
            f"in this order {problem.names[error.op]} finds no room in the memory of "
            f"{ids[error.device]} at any time"
        ) from None


def order_of_starts(problem: Problem, start: Floats, end: Floats) -> Ints:
    """Return the position of each op by start, then end, then topological order (n,)."""
    count = problem.arrays.op_count
    position = np.empty(count, dtype=np.int64)
    position[np.lexsort((problem.arrays.rank, end, start))] = np.arange(count)
    return position


def _cannot_run(problem: Problem, group: Ints, device: int) -> str:
    """Say why an op of a group cannot run on a device; empty if all can."""
    blocked = group[~np.isfinite(problem.arrays.time[group, device])]
    if not len(blocked):
        return ""
    op = int(blocked[0])
    columns, chosen = problem.graph.columns, problem.cluster.devices[device]
    name = problem.names[op]
    if not np.isfinite(times_on(columns, chosen.id, chosen.kind)[op]):
        return f"{name} has no time there"
    if columns.pin[op] != NONE:
        pins = columns.pins[columns.pin[op]]
        if not {chosen.id, chosen.kind} & set(pins):
            return f"{name} is pinned to {', '.join(pins)}"
    if columns.slots[op] > chosen.slots:
        return f"{name} holds {columns.slots[op]} slots, the device has {chosen.slots}"
    arrays = problem.arrays
    here = np.full(arrays.op_count, device)
    need = int(arrays.weights_at(here)[op] + arrays.outputs_at(here)[op])
    need += int(arrays.bytes_at(arrays.workspace, here)[op])
    over = need - int(arrays.capacity[device])
    return f"{name} alone is larger than the memory there by {_amount(over)}"


def _short(problem: Problem, where: Ints) -> str:
    """Say which device a placement overfills, whatever its order, and by how much."""
    static = problem.memory_rule is MemoryRule.STATIC
    held = static_memory(problem, where) if static else resident_weights(problem, where)
    over = held - problem.arrays.capacity
    worst = int(np.argmax(over))
    if over[worst] <= 0:
        return ""
    what = "" if static else " for the weights alone"
    name = problem.device_ids[worst]
    return f"the memory of {name} is short by {_amount(int(over[worst]))}{what}"


def _amount(count: int) -> str:
    return f"{count} bytes ({format_bytes(count)})"
