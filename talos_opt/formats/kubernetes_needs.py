"""What a process that runs one model of a schedule needs, device by device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from talos_opt.core.metrics import device_loads
from talos_opt.core.occupancy import compute_intervals
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.shares import held_bytes


@dataclass(frozen=True)
class DeviceNeed:
    """What a model needs of a device that it uses.

    Parameters
    ----------
    id, kind : str
    slots : int
        Most slots that it holds at once.
    bytes : int
        Under the problem's memory rule, as if it were the only model.
    load : Fraction
        Its share of what all models load the device with, from 0 to 1.
    """

    id: str
    kind: str
    slots: int
    bytes: int
    load: Fraction

    @property
    def is_cpu(self) -> bool:
        """Whether ops there run on the processor; all other devices are GPUs to Kubernetes."""
        return self.kind == "cpu"


@dataclass(frozen=True)
class ModelNeed:
    """One model, alone: its problem and schedule, and what it needs of each device it uses."""

    model: str
    problem: Problem
    schedule: Schedule
    devices: tuple[DeviceNeed, ...]

    @property
    def gpus(self) -> tuple[DeviceNeed, ...]:
        """Devices that are GPUs to Kubernetes."""
        return tuple(device for device in self.devices if not device.is_cpu)

    @property
    def cores(self) -> int:
        """Slots on processors; at least 1, since a process that runs ops on GPUs needs one."""
        return max(1, sum(device.slots for device in self.devices if device.is_cpu))

    @property
    def host_bytes(self) -> int:
        """Bytes on processors."""
        return sum(device.bytes for device in self.devices if device.is_cpu)


def model_needs(problem: Problem, schedule: Schedule) -> Iterator[ModelNeed]:
    """Yield what each model needs, in the order of the graph."""
    together = device_loads(problem, schedule).tolist()
    using = np.zeros(problem.arrays.device_count, dtype=np.int64)
    alone = [_alone(problem, schedule, j) for j in range(len(problem.graph.model_ids))]
    for _, own in alone:
        using[np.unique(own.device)] += 1
    for (sub, own), model in zip(alone, problem.graph.model_ids, strict=True):
        loads, sizes = device_loads(sub, own).tolist(), held_bytes(sub, own).tolist()
        running = compute_intervals(sub, own).trimmed()
        devices = []
        for d in np.unique(own.device).tolist():
            device = problem.cluster.devices[d]
            share = Fraction(1, int(using[d]))
            if together[d] > 0:
                share = min(Fraction(1), Fraction(loads[d]) / Fraction(together[d]))
            slots = int(running.peak(d)[0])
            devices.append(DeviceNeed(device.id, device.kind, slots, int(sizes[d]), share))
        yield ModelNeed(model, sub, own, tuple(devices))


def _alone(problem: Problem, schedule: Schedule, j: int) -> tuple[Problem, Schedule]:
    """Return the problem and the schedule of one model; times stay those that it has in all."""
    graph, arrays = problem.graph, problem.arrays
    if len(graph.model_ids) == 1:
        return problem, schedule
    first, last = graph.columns.model_ptr[j : j + 2].tolist()
    tensor = int(arrays.tensor_ptr[first])
    moves = schedule.transfers
    own = (moves.op >= first) & (moves.op < last)
    transfers = replace(
        moves,
        **{
            name: getattr(moves, name)[own]
            for name in ("source", "target", "start", "end", "bytes")
        },
        op=moves.op[own] - first,
        tensor=moves.tensor[own] - tensor,
    )
    part = slice(first, last)
    alone = Schedule(schedule.device[part], schedule.start[part], schedule.end[part], transfers)
    return replace(problem, graph=replace(graph, models=(graph.models[j],))), alone


def hundredths(shares: list[Fraction]) -> list[int]:
    """Round shares of one device down to hundredths, at least 1 each and at most 100 in all.

    More than a hundred models on one device get 1 each, whatever that adds up to.
    """
    found = [max(1, int(100 * share)) for share in shares]
    while sum(found) > max(100, len(found)):
        found[found.index(max(found))] -= 1
    return found
