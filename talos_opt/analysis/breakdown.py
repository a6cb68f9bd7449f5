"""Where the time of a schedule goes: all of it, device by device and along the critical path."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from talos_opt.analysis.causes import Causes, critical_path, find_causes
from talos_opt.analysis.completions import Completion, completions
from talos_opt.analysis.device_time import DeviceTime, Wait, device_times
from talos_opt.analysis.gaps import Gaps, Part, find_gaps
from talos_opt.analysis.heaviest import Moved, Peak, TypeTime, most_moved, peaks, type_times
from talos_opt.analysis.path_parts import PathParts, path_parts
from talos_opt.analysis.slack import Slacks, find_slacks
from talos_opt.core.metrics import channel_loads, device_loads
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule

SCHEMA = "talos-breakdown/1"


@dataclass(frozen=True)
class Breakdown:
    """Where the time of a feasible schedule goes; each part is computed when it is asked for.

    Parameters
    ----------
    problem : Problem
    schedule : Schedule
        One that `talos_opt.core.feasibility.check` has passed.
    causes : Causes
    """

    problem: Problem
    schedule: Schedule
    causes: Causes

    @property
    def span(self) -> float:
        """From the earliest release to the makespan: what the parts of each device add up to."""
        return self.schedule.makespan - float(self.problem.arrays.release.min())

    @cached_property
    def gaps(self) -> Gaps:
        """When slots are free, and what for."""
        return find_gaps(self.problem, self.schedule, self.causes)

    @cached_property
    def devices(self) -> tuple[DeviceTime, ...]:
        """The span of each device, in parts."""
        return device_times(self.problem, self.schedule, self.gaps)

    @cached_property
    def path(self) -> PathParts:
        """The critical path, summed."""
        steps = critical_path(self.problem, self.schedule, self.causes)
        return path_parts(self.problem, self.schedule, self.causes, steps)

    @cached_property
    def slacks(self) -> Slacks:
        """How much later each op may start before the objective grows."""
        return find_slacks(self.problem, self.schedule)

    @cached_property
    def models(self) -> tuple[Completion, ...]:
        """When each model is done."""
        return completions(self.problem, self.schedule, self.slacks)

    @cached_property
    def peaks(self) -> tuple[Peak, ...]:
        """What holds the memory of each device at its peak."""
        return peaks(self.problem, self.schedule)

    @cached_property
    def moved(self) -> tuple[Moved, ...]:
        """Tensors of which most bytes were sent."""
        return most_moved(self.problem, self.schedule)

    @cached_property
    def types(self) -> tuple[TypeTime, ...]:
        """Op types that ran longest."""
        return type_times(self.problem, self.schedule)

    @cached_property
    def busiest(self) -> str:
        """The device with the largest load, or the serial link ``A -> B`` that has a larger one."""
        ids = self.problem.device_ids
        loads = device_loads(self.problem, self.schedule)
        d = int(np.argmax(loads))
        links = channel_loads(self.problem, self.schedule)
        if not len(links) or links.max() <= loads[d]:
            return ids[d]
        channel = self.problem.arrays.channel
        source, target = np.argwhere(channel == int(np.argmax(links)))[0].tolist()
        return f"{ids[source]} -> {ids[target]}"

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain Python values."""
        return _Plain(self).document()


def break_down(problem: Problem, schedule: Schedule, causes: Causes | None = None) -> Breakdown:
    """Find out where the time of a feasible schedule goes.

    Parameters
    ----------
    problem : Problem
    schedule : Schedule
    causes : Causes, optional
        What `find_causes` returned, if it is known.
    """
    known = find_causes(problem, schedule) if causes is None else causes
    return Breakdown(problem, schedule, known)


class _Plain:
    """Names for numbers."""

    def __init__(self, found: Breakdown) -> None:
        self.found, self.problem = found, found.problem
        self.names, self.ids = found.problem.names, found.problem.device_ids
        self.moves = found.schedule.transfers

    def document(self) -> dict[str, Any]:
        found, problem = self.found, self.problem
        return {
            "schema": SCHEMA,
            "graph": problem.graph.name,
            "time_unit": problem.graph.time_unit,
            "makespan": found.schedule.makespan,
            "span": found.span,
            "bottleneck": found.busiest,
            "devices": [self.device(item) for item in found.devices],
            "critical_path": self.path(found.path),
            "models": [self.model(item) for item in found.models],
            "memory": [self.peak(item) for item in found.peaks],
            "moved": [
                {
                    **self.tensor(item.op, item.tensor),
                    "hops": item.hops,
                    "bytes": item.bytes,
                    "time": item.time,
                }
                for item in found.moved
            ],
            "op_types": [
                {"type": item.type, "ops": item.ops, "time": item.time} for item in found.types
            ],
        }

    def device(self, item: DeviceTime) -> dict[str, Any]:
        whole = self.found.span
        return {
            "id": self.ids[item.device],
            "utilisation": item.busy / whole if whole > 0 else 0.0,
            **{part.name.lower(): item.parts[part] for part in Part},
            "waits": [self.wait(wait) for wait in item.waits],
        }

    def wait(self, wait: Wait) -> dict[str, Any]:
        """Return a wait by name; the transfer as its source and target."""
        return {
            "part": wait.part.name.lower(),
            "time": wait.time,
            "op": self.names[wait.op],
            **self.link(wait.transfer),
        }

    def link(self, row: int) -> dict[str, str]:
        if row < 0:
            return {}
        source, target = int(self.moves.source[row]), int(self.moves.target[row])
        return {"from": self.ids[source], "to": self.ids[target]}

    def tensor(self, op: int, tensor: int) -> dict[str, str]:
        name = self.problem.output_name(tensor)
        return {"op": self.names[op], **({"output": name} if name else {})}

    def path(self, path: PathParts) -> dict[str, Any]:
        ids = self.ids
        return {
            "end": path.end,
            "compute": path.compute,
            "transfer": path.transfer,
            "release": path.release,
            "gap": path.gap,
            "queue": path.queue,
            "by_device": {ids[d]: time for d, time in path.by_device.items()},
            "by_link": [
                {"from": ids[a], "to": ids[b], "time": time}
                for (a, b), time in path.by_link.items()
            ],
            "by_type": path.by_type,
            "steps": [
                {
                    "op": self.names[item.op],
                    **self.link(item.transfer),
                    "gap": item.gap,
                    "time": item.length,
                    "cause": item.cause.name.lower(),
                }
                for item in path.stretches
            ],
        }

    def model(self, item: Completion) -> dict[str, Any]:
        return {
            "id": self.problem.graph.model_ids[item.model],
            "completion": item.completion,
            "release": item.release,
            "weight": item.weight,
            "share": item.share,
            "slack": item.slack if math.isfinite(item.slack) else None,
            "lower_bound": item.bound,
        }

    def peak(self, item: Peak) -> dict[str, Any]:
        return {
            "device": self.ids[item.device],
            "bytes": item.bytes,
            "time": item.time,
            "weights": item.weights,
            "holds": [
                {
                    "what": held.what,
                    "op": self.names[held.op],
                    **({"output": held.output} if held.output else {}),
                    "bytes": held.bytes,
                }
                for held in item.holdings
            ],
        }
