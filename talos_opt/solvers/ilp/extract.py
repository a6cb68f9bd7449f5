"""Between solutions of the formulation and schedules: exact times out, a start in.

Times of a MILP solution carry the solver's tolerances, so they are not used: the placement and
the orders are, and the times follow from them as longest paths in exact durations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from talos_opt.core import rounding
from talos_opt.core.metrics import completion_times
from talos_opt.core.problem import NO_ROUTE, Ints, Problem
from talos_opt.core.schedule import Schedule, TransferRow, Transfers
from talos_opt.core.transfers import plan_transfers
from talos_opt.solvers.ilp.builder import Variable
from talos_opt.solvers.ilp.placement import PlacementFormulation
from talos_opt.solvers.ilp.sequencing import SequencingFormulation
from talos_opt.solvers.ilp.timing import OP, Key
from talos_opt.solvers.shared.stages import device_order
from talos_opt.solvers.shared.symmetry import canonical

#: Value of a variable in a solution.
Values = Callable[[Variable], float]


def read_placement(formulation: PlacementFormulation, values: Values) -> Ints:
    """Return the device of every op (n,)."""
    arrays = formulation.arrays
    home = [
        max(homes, key=lambda d: values(formulation.on[group, d]))
        for group, homes in enumerate(formulation.homes)
    ]
    return np.asarray(np.array(home, dtype=np.int64)[arrays.group])


def read_schedule(
    formulation: SequencingFormulation, values: Values, device: Ints
) -> Schedule | None:
    """Return the schedule that a solution's placement and orders stand for.

    None if the orders contradict each other, which tolerances may allow around activities that
    are shorter than them.
    """
    problem = formulation.problem
    chosen = [pair for pair, column in formulation.order.items() if values(column) > 0.5]
    return schedule_orders(problem, device, [*chosen, *formulation.known_orders()])


def schedule_orders(
    problem: Problem, device: Ints, orders: Iterable[tuple[Key, Key]]
) -> Schedule | None:
    """Give every activity its earliest time under a placement and an order on each device.

    Parameters
    ----------
    problem : Problem
    device : (n,) int
        Device of every op.
    orders : iterable of (Key, Key)
        The first of a pair ends before the second starts, if they share a device. Pairs that
        name a hop which the placement does not need are passed over.

    Returns
    -------
    Schedule or None
        None if the orders contain a cycle.

    Raises
    ------
    NoRouteError
        If a tensor cannot reach its reader.
    """
    arrays = problem.arrays
    plan = plan_transfers(problem, device)
    length: dict[Key, float] = {}
    held: dict[Key, set[int]] = {}
    arcs: dict[Key, list[Key]] = {}
    for i, d in enumerate(device.tolist()):
        length[i, OP], held[i, OP] = float(arrays.time[i, d]), {d}
    maker = arrays.tensor_op.tolist()
    for r, hops in enumerate(plan):
        for target, hop in hops.items():
            length[r, target] = hop.duration
            ends = (hop.source, target)
            held[r, target] = {d for d in ends if not arrays.copy_engine[d]}
            origin = (r, hop.source) if hop.source in hops else (maker[r], OP)
            arcs.setdefault(origin, []).append((r, target))
    for r, j in zip(arrays.edge_tensor.tolist(), arrays.edge_dst.tolist(), strict=True):
        i = maker[r]
        arcs.setdefault((i, OP), []).append((j, OP))
        stage = int(arrays.via[device[i], device[j]]) if device[i] != device[j] else NO_ROUTE
        for target in (int(device[j]), stage):  # a hop of nothing in no time is not listed
            if target in plan[r]:
                arcs.setdefault((r, target), []).append((j, OP))
    for a, b in orders:
        if a in length and b in length and length[a] > 0 and length[b] > 0 and held[a] & held[b]:
            arcs.setdefault(a, []).append(b)
    release = arrays.release[arrays.model].tolist()
    earliest = {(i, where): release[i] if where == OP else release[maker[i]] for i, where in length}
    start = _longest_paths(length, arcs, earliest)
    if start is None:
        return None
    begin = np.array([start[i, OP] for i in range(arrays.op_count)])
    rows = [
        TransferRow(maker[r], hop.source, t, start[r, t], start[r, t] + hop.duration, hop.bytes, r)
        for r, hops in enumerate(plan)
        for t, hop in hops.items()
    ]
    times = arrays.time[np.arange(arrays.op_count), device]
    return Schedule(device.copy(), begin, begin + times, Transfers.from_rows(rows))


def _longest_paths(
    length: dict[Key, float], arcs: dict[Key, list[Key]], earliest: dict[Key, float]
) -> dict[Key, float] | None:
    """Earliest start of every activity; None if the arcs contain a cycle."""
    start = dict(earliest)
    missing = dict.fromkeys(length, 0)
    for heads in arcs.values():
        for key in heads:
            missing[key] += 1
    ready = [key for key, count in missing.items() if count == 0]
    for key in ready:  # grows while it is walked
        for after in arcs.get(key, ()):
            start[after] = max(start[after], start[key] + length[key])
            missing[after] -= 1
            if missing[after] == 0:
                ready.append(after)
    return start if len(ready) == len(length) else None


def start_values(formulation: PlacementFormulation, schedule: Schedule) -> dict[Variable, float]:
    """Return the values of all integer variables in a schedule, as a start for a backend."""
    arrays = formulation.arrays
    home = np.zeros(arrays.group_count, dtype=np.int64)
    home[arrays.group] = schedule.device
    # Devices that can be swapped are labelled as the formulation wants them.
    label = np.arange(arrays.device_count)
    relabelled = canonical(formulation.classes, home)
    label[: len(relabelled)] = relabelled
    values: dict[Variable, float] = {
        column: float(label[home[g]] == d) for (g, d), column in formulation.on.items()
    }
    values |= _stage_values(formulation, schedule, label)
    if not isinstance(formulation, SequencingFormulation):
        return values
    spans = _spans(schedule, label)
    for (a, b), column in formulation.order.items():
        values[column] = 0.0
        if a in spans and b in spans:
            first, second = spans[a], spans[b]
            early = min(rounding.ULPS * math.ulp(first.end), rounding.SHARE * first.length)
            lasting = min(first.end - first.start, second.end - second.start) > 0
            ends_before = lasting and first.end - early <= second.start
            values[column] = float(ends_before and bool(first.devices & second.devices))
    done = completion_times(formulation.problem, schedule)
    for (j, k), column in formulation.later.items():
        values[column] = float(done[k] > done[j])
    return values


def _stage_values(
    formulation: PlacementFormulation, schedule: Schedule, label: Ints
) -> dict[Variable, float]:
    """Return which device stands before which in the order of each model."""
    place: dict[int, Ints] = {}
    values: dict[Variable, float] = {}
    for (model, a, b), column in formulation.before.items():
        if model not in place:
            order = label[device_order(formulation.problem, schedule.device, model)]
            place[model] = np.argsort(order)
        values[column] = float(place[model][a] < place[model][b])
    return values


class _Span(NamedTuple):
    """When an activity runs, and the devices that it touches."""

    start: float
    end: float
    devices: set[int]

    @property
    def length(self) -> float:
        return self.end - self.start


def _spans(schedule: Schedule, label: Ints) -> dict[Key, _Span]:
    columns = (schedule.start.tolist(), schedule.end.tolist(), label[schedule.device].tolist())
    spans: dict[Key, _Span] = {
        (i, OP): _Span(start, end, {d})
        for i, (start, end, d) in enumerate(zip(*columns, strict=True))
    }
    for row in schedule.transfers.rows():
        ends = {int(label[row.source]), int(label[row.target])}
        spans[row.tensor, int(label[row.target])] = _Span(row.start, row.end, ends)
    return spans
