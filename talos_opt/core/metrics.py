"""What a schedule is worth: every objective, and the quantities reported beside them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from talos_opt.core import occupancy, rounding
from talos_opt.core.given import require_schedule
from talos_opt.core.pipelining.step import step_memory, step_time
from talos_opt.core.problem import Floats, MemoryRule, Objective, Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.shares import held_bytes, peak_memory, share_of


@dataclass(frozen=True)
class Metrics:
    """Metrics of one schedule; times in the graph's unit, sizes in bytes.

    Parameters
    ----------
    toct : float
        Weighted sum of completion times (Talos, Eq. 1).
    makespan : float
        Latest completion time.
    bottleneck : float
        Largest load of a device (or serial link) in steady state: the time per sample.
    step : float or None
        Time of a step of the pipeline; None where the problem asks for none.
    memory : float
        Largest share of a device's usable bytes that it needs under the problem's memory rule;
        bytes if no device has a limit.
    weighted_speedup : float or None
        sum_j w_j R_j / sum_j w_j C_j; None where a model has no time on the reference device,
        or nothing takes time.
    model_speedup : dict of str to float or None
        R_j / C_j, with C_j counted from the model's release.
    completion : dict of str to float
        C_j of every model.
    idle_time : dict of str to float
        For each device, the slot time left idle before its last activity ends, per slot.
    load : dict of str to float
        For each device, its load in steady state (see `bottleneck`).
    peak_memory : dict of str to int
        Largest number of bytes alive at once, by liveness, whichever rule the problem has.
    static_memory : dict of str to int
        Bytes under the static rule.
    transferred_bytes : int
        Sum over all hops.
    step_memory : dict of str to int or None
        Bytes that each device needs in a step; None where the problem asks for none.
    """

    toct: float
    makespan: float
    bottleneck: float
    step: float | None
    memory: float
    weighted_speedup: float | None
    model_speedup: dict[str, float | None]
    completion: dict[str, float]
    idle_time: dict[str, float]
    load: dict[str, float]
    peak_memory: dict[str, int]
    static_memory: dict[str, int]
    transferred_bytes: int
    step_memory: dict[str, int] | None = None

    def held(self, rule: MemoryRule) -> dict[str, int]:
        """Return the bytes of each device that a rule counts."""
        if rule is MemoryRule.STATIC:
            return self.static_memory
        if rule is MemoryRule.PEAK or self.step_memory is None:
            return self.peak_memory
        return self.step_memory

    def value(self, objective: Objective) -> float:
        """Return the objective's value.

        Raises
        ------
        KeyError
            If it is ``step``, and the problem asks for no pipeline.
        """
        return self.values[objective]

    @property
    def values(self) -> dict[Objective, float]:
        """The values of all objectives that the problem has one of."""
        found = {objective: getattr(self, objective.value) for objective in Objective}
        return {objective: float(value) for objective, value in found.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics in plain types, those of steps only where some are asked for."""
        found = asdict(self)
        if self.step is None:
            del found["step"], found["step_memory"]
        return found

    @property
    def total_idle(self) -> float:
        """Idle time over all devices: the first tie-breaker between equal values."""
        return sum(self.idle_time.values())


def measure(problem: Problem, schedule: Schedule) -> Metrics:
    """Compute all metrics of a feasible schedule.

    Parameters
    ----------
    problem : Problem
    schedule : Schedule
        Whether it is feasible is not looked at.

    Returns
    -------
    Metrics

    Raises
    ------
    InputError
        If it is of another problem.
    """
    require_schedule(problem, schedule)
    arrays, ids = problem.arrays, problem.device_ids
    names = problem.graph.model_ids
    finished = completion_times(problem, schedule)
    alone = problem.reference_times
    peak = peak_memory(problem, schedule)
    static = occupancy.static_memory(problem, schedule.device)
    held, in_step = peak, None
    if problem.memory_rule is MemoryRule.STATIC:
        held = static
    if problem.is_pipelined:
        needed = step_memory(problem, schedule.device)
        in_step = dict(zip(ids, needed.tolist(), strict=True))
        held = needed if problem.memory_rule is MemoryRule.PIPELINE else held
    loads = device_loads(problem, schedule)
    toct = float(arrays.model_weight @ finished)
    spent = finished - arrays.release
    return Metrics(
        toct=toct,
        makespan=float(finished.max()),
        bottleneck=max(float(loads.max()), _channel_load(problem, schedule)),
        step=step_time(problem, schedule.device) if problem.is_pipelined else None,
        memory=share_of(arrays, held.tolist()),
        weighted_speedup=_ratio(float(_dot(arrays.model_weight, alone)), toct),
        model_speedup={
            name: _ratio(float(alone[j]), float(spent[j])) for j, name in enumerate(names)
        },
        completion=dict(zip(names, finished.tolist(), strict=True)),
        idle_time=dict(zip(ids, idle_times(problem, schedule).tolist(), strict=True)),
        load=dict(zip(ids, loads.tolist(), strict=True)),
        peak_memory=dict(zip(ids, peak.tolist(), strict=True)),
        static_memory=dict(zip(ids, static.tolist(), strict=True)),
        transferred_bytes=int(schedule.transfers.bytes.sum()),
        step_memory=in_step,
    )


def objective_value(problem: Problem, schedule: Schedule) -> float:
    """Return the value of the problem's own objective alone, with the price of what moves."""
    value = _value_alone(problem, schedule)
    return value if problem.frozen is None else value + problem.frozen.cost(schedule.device)


def _value_alone(problem: Problem, schedule: Schedule) -> float:
    if problem.objective is Objective.BOTTLENECK:
        loads = device_loads(problem, schedule)
        return max(float(loads.max()), _channel_load(problem, schedule))
    if problem.objective is Objective.MEMORY:
        return share_of(problem.arrays, held_bytes(problem, schedule).tolist())
    if problem.objective is Objective.STEP:
        return step_time(problem, schedule.device)
    finished = completion_times(problem, schedule)
    if problem.objective is Objective.MAKESPAN:
        return float(finished.max())
    return float(problem.arrays.model_weight @ finished)


def forced_value(problem: Problem) -> float:
    """Return what releases alone force of the objective: its value if nothing took any time.

    Gaps are taken of what lies above it, so that they do not depend on where time zero is.
    """
    arrays = problem.arrays
    if not problem.objective.is_timed:
        return 0.0
    if problem.objective is Objective.MAKESPAN:
        return float(arrays.release.max())
    return float(arrays.model_weight @ arrays.release)


def completion_times(problem: Problem, schedule: Schedule) -> Floats:
    """C_j: latest end of an op of each model (k,)."""
    finished = np.zeros(len(problem.arrays.release))
    np.maximum.at(finished, problem.arrays.model, schedule.end)
    return finished


def device_loads(problem: Problem, schedule: Schedule) -> Floats:
    """Load of each device in steady state (m,).

    Op times times the slots they hold, divided over the device's slots; plus the transfers in
    and out where the device has no copy engine.
    """
    arrays, moves = problem.arrays, schedule.transfers
    work = _op_lengths(problem, schedule) * arrays.demand
    busy = np.bincount(schedule.device, weights=work, minlength=arrays.device_count)
    load = busy / arrays.slots
    length = _transfer_lengths(problem, schedule)
    for side in (moves.source, moves.target):
        carried = np.bincount(side, weights=length, minlength=arrays.device_count)
        load = load + np.where(arrays.copy_engine, 0.0, carried)
    return np.asarray(load, dtype=np.float64)


def idle_times(problem: Problem, schedule: Schedule) -> Floats:
    """Time that each device idles before its last activity ends, per slot (m,).

    What follows the last activity is not idle time: the device is free for other work. (Talos'
    Fig. 8 counts so: its milliseconds are the gaps, not the hundreds of milliseconds by which
    one device finishes before the other.)
    """
    arrays = problem.arrays
    held = occupancy.compute_intervals(problem, schedule)
    last = np.zeros(arrays.device_count)
    np.maximum.at(last, held.resource, held.end)
    work = (held.end - held.start) * held.amount
    busy = np.bincount(held.resource, weights=work, minlength=arrays.device_count)
    return np.maximum(0.0, last - busy / arrays.slots)


def channel_loads(problem: Problem, schedule: Schedule) -> Floats:
    """Load of each channel of a serial link: the times of its transfers; empty if there is none."""
    moves = schedule.transfers
    channel = problem.arrays.channel[moves.source, moves.target]
    carried = channel >= 0
    length = _transfer_lengths(problem, schedule)[carried]
    return np.asarray(np.bincount(channel[carried], weights=length), dtype=np.float64)


def _channel_load(problem: Problem, schedule: Schedule) -> float:
    return float(channel_loads(problem, schedule).max(initial=0.0))


def _op_lengths(problem: Problem, schedule: Schedule) -> Floats:
    """How long each op runs (n,)."""
    time = problem.arrays.time[np.arange(len(schedule.device)), schedule.device]
    return _lengths(schedule.start, schedule.end, time)


def _transfer_lengths(problem: Problem, schedule: Schedule) -> Floats:
    """How long each hop takes (t,)."""
    arrays, moves = problem.arrays, schedule.transfers
    way = moves.source, moves.target
    return _lengths(
        moves.start, moves.end, arrays.latency[way] + moves.bytes * arrays.per_byte[way]
    )


def _lengths(start: Floats, end: Floats, time: Floats) -> Floats:
    """Lengths of activities: the time each should take, unless it takes another.

    Late moments have few digits left for what lies between them, and loads know no moments.
    """
    length = end - start
    return np.asarray(np.where(np.abs(length - time) <= rounding.slack(end), time, length))


def _dot(weights: Floats, times: Floats) -> float:
    """Weighted sum in which a weight of 0 silences an infinite time."""
    return float(np.where(weights > 0, weights * np.where(weights > 0, times, 0), 0).sum())


def _ratio(above: float, below: float) -> float | None:
    return above / below if np.isfinite(above) and below > 0 else None
