"""What profiling a model finds out, whatever the framework; `Profile.problem` is what is solved.

Seconds and bytes throughout; the problem is in microseconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from talos_opt.core.cluster import Cluster, Device, Link
from talos_opt.core.errors import InputError
from talos_opt.core.graph import Graph, Input, Memory, Model, Op
from talos_opt.core.problem import MemoryRule, Objective, Problem
from talos_opt.core.units import format_bytes
from talos_opt.frameworks.common.contention import Contention

TIME_UNIT = "us"
_PER_SECOND = 1e6


@dataclass(frozen=True, slots=True)
class Timing:
    """How long an op takes on a device.

    Parameters
    ----------
    raw_s : float
        Seconds as measured (median), or as estimated.
    time_s : float
        The same after calibration: what is solved with.
    spread : float
        Half the interquartile range over the median; 0 for estimates.
    repeats : int
        Measurements behind it; 0: an estimate.
    """

    raw_s: float
    time_s: float
    spread: float = 0.0
    repeats: int = 0

    @property
    def estimated(self) -> bool:
        """Whether nobody measured it."""
        return self.repeats == 0


class Read(NamedTuple):
    """What an op reads of another one: of its tensors the one of this name, so many bytes of it.

    Without a name it reads the only one; with no bytes it only waits.
    """

    op: str
    bytes: int
    output: str = ""


@dataclass(frozen=True, slots=True)
class OpProfile:
    """One op of a captured model.

    Parameters
    ----------
    id : str
        Unique in the model; the same whenever the model is captured again.
    type : str
        Operator type, as the framework names it.
    inputs : tuple of Read
    timings : mapping of str to Timing
        By device id; a device that is absent cannot run the op.
    flops : float, optional
        None: unknown.
    moved_bytes : int
        Bytes read and written by the op, weights included.
    weights, output : int
        Bytes. Output 0: a view, which lives in its base.
    outputs : mapping of str to int
        Bytes of each tensor that is read, by name, where there are several; `output` is their sum.
    unread : int
        Bytes of results that nothing reads: held while the op runs.
    workspace : int, optional
        None: unknown, counted as 0.
    workspace_estimated : bool
        Whether nobody measured it; see `workspaces`.
    colocate : str, optional
        Ops of one name share a device: tied weights, views and their base, in-place ops.
    module : str
        Path of the module that the op belongs to.
    line : str
        File and line of the user's code that it comes from, ``net.py:12``; empty: unknown.
    phase : {'forward', 'backward', 'update'}
        See `frameworks.common.phases`.
    launches : int
        Kernels that a device starts for it; more than one of a loop, and of what holds a graph.
    facts : mapping
        Shapes, types and the like, kept in the graph.
    """

    id: str
    type: str
    inputs: tuple[Read, ...] = ()
    timings: Mapping[str, Timing] = field(default_factory=dict)
    flops: float | None = None
    moved_bytes: int = 0
    weights: int = 0
    output: int = 0
    outputs: Mapping[str, int] = field(default_factory=dict)
    unread: int = 0
    workspace: int | None = None
    workspace_estimated: bool = False
    colocate: str | None = None
    module: str = ""
    line: str = ""
    phase: str = "forward"
    launches: int = 1
    facts: Mapping[str, Any] = field(default_factory=dict)

    def record(self) -> Op:
        """Return the op as a graph holds it; what is not for solvers goes into its attrs."""
        attrs: dict[str, Any] = dict(self.facts)
        if self.module:
            attrs["module"] = self.module
        if self.line:
            attrs["line"] = self.line
        if self.flops is not None:
            attrs["flops"] = self.flops
        if self.launches != 1:
            attrs["launches"] = self.launches
        if self.workspace is None:
            attrs["workspace"] = "unknown"
        elif self.workspace_estimated and self.workspace:
            attrs["workspace"] = "estimated"
        attrs["moved_bytes"] = self.moved_bytes
        attrs["raw_us"] = {d: t.raw_s * _PER_SECOND for d, t in self.timings.items()}
        attrs["spread"] = {d: t.spread for d, t in self.timings.items() if not t.estimated}
        estimated = sorted(d for d, t in self.timings.items() if t.estimated)
        if estimated:
            attrs["estimated"] = estimated
        return Op(
            id=self.id,
            phase=self.phase,
            time={d: t.time_s * _PER_SECOND for d, t in self.timings.items()},
            memory=Memory(self.weights, self.output, (self.workspace or 0) + self.unread),
            inputs=tuple(Input(op, size, output or None) for op, size, output in self.inputs),
            type=self.type,
            colocate=self.colocate,
            attrs=attrs,
            outputs=self.outputs,
        )


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """A device that ops were measured on, or estimated for.

    Parameters
    ----------
    id, kind : str
    memory : int, optional
        Bytes; None: no limit.
    memory_fraction : float
        Share of them that ops may fill.
    estimated : bool
        Whether it stands in the catalogue only.
    whole_s : float, optional
        Measured time of the whole plain model on it, undisturbed.
    step_s : float, optional
        The same of the model as `run` runs it, op by op; None: where that was not measured, ops
        sum to `whole_s`.
    factor : float
        What raw times of ops were multiplied by, so that their sum is the step.
    threads : int, optional
        Intra-op threads that the times hold for.
    launch_s : float
        What starting an op takes the host. On a GPU it is the least time of an op, and 0 where
        kernels are longer than that; on a CPU it is part of every op's time. See `calibration`.
    """

    id: str
    kind: str
    memory: int | None = None
    estimated: bool = False
    whole_s: float | None = None
    factor: float = 1.0
    threads: int | None = None
    launch_s: float = 0.0
    memory_fraction: float = 1.0
    step_s: float | None = None


@dataclass(frozen=True, slots=True)
class LinkProfile:
    """How tensors move between two devices, in both directions.

    Parameters
    ----------
    a, b : str
        Device ids.
    latency_s : float
    bandwidth : float
        Bytes per second.
    estimated : bool
    """

    a: str
    b: str
    latency_s: float
    bandwidth: float
    estimated: bool = False


@dataclass(frozen=True)
class Profile:
    """A profiled model.

    Parameters
    ----------
    name : str
        Of the model, and of the graph.
    framework : str
    mode : {'inference', 'training', 'traced'}
        ``traced``: whatever the traces that it was made from show.
    ops : tuple of OpProfile
        Producers before their readers.
    devices : tuple of DeviceProfile
    links : tuple of LinkProfile
        Where two devices have none, tensors go through the first device of kind cpu.
    facts : mapping
        What the model was profiled with: input shapes, versions and the like.
    notes : tuple of str
        What its user should know of how it was captured.
    contention : Contention, optional
        What devices do to each other; None: not measured. Op times are those of a device alone: see
        `contention.contended_schedule`.
    """

    name: str
    framework: str
    mode: str
    ops: tuple[OpProfile, ...]
    devices: tuple[DeviceProfile, ...]
    links: tuple[LinkProfile, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    contention: Contention | None = None

    def problem(
        self,
        objective: Objective | str = Objective.MAKESPAN,
        memory_rule: MemoryRule | str = MemoryRule.PEAK,
    ) -> Problem:
        """Return what is to be solved: one model on a cluster of the profiled devices.

        Parameters
        ----------
        objective : Objective or str
        memory_rule : MemoryRule or str
            ``peak`` counts what is alive at the same time: frameworks free a tensor after its last
            reader, in training too. ``static`` counts all outputs together.
        """
        model = Model(self.name, tuple(op.record() for op in self.ops))
        graph = Graph(self.name, (model,), TIME_UNIT, description=self._describe())
        return Problem(graph, self._cluster(), Objective(objective), MemoryRule(memory_rule))

    def with_room(self, fraction: float, reserve: int = 0) -> Profile:
        """Return the profile with less of each device's memory to fill.

        Runtimes, other processes and fragmentation need the rest.

        Parameters
        ----------
        fraction : float
            Above 0, at most 1.
        reserve : int
            Bytes that are left free of what that leaves.

        Raises
        ------
        InputError
            If nothing is left of some device.
        """
        return replace(self, devices=tuple(_with_room(d, fraction, reserve) for d in self.devices))

    def times_s(self, device: str) -> list[float]:
        """Calibrated times of the ops that a device can run, in seconds."""
        return [op.timings[device].time_s for op in self.ops if device in op.timings]

    def sum_of_ops_s(self, device: str) -> float:
        """Sum of the calibrated op times on a device, in seconds."""
        return sum(self.times_s(device))

    def _cluster(self) -> Cluster:
        devices = tuple(
            Device(d.id, d.kind, d.memory, memory_fraction=d.memory_fraction) for d in self.devices
        )
        links = [
            Link(link.a, link.b, link.latency_s * _PER_SECOND, link.bandwidth)
            for link in self.links
        ]
        known = {frozenset((link.a, link.b)) for link in self.links}
        host = next((d.id for d in self.devices if d.kind == "cpu"), None)
        for k, a in enumerate(self.devices):
            for b in self.devices[k + 1 :]:
                apart = frozenset((a.id, b.id)) not in known
                if apart and host is not None and host not in (a.id, b.id):
                    links.append(Link(a.id, b.id, via=host))
        return Cluster(devices, tuple(links))

    def _describe(self) -> str:
        parts = [f"{self.framework} {self.mode}"]
        parts += [f"{key}: {value}" for key, value in self.facts.items()]
        for device in self.devices:
            if device.estimated:
                parts.append(f"{device.id}: estimated from its datasheet")
            elif device.whole_s is not None:
                parts.append(
                    f"{device.id}: measured, whole model {device.whole_s * 1e3:.3f} ms, "
                    f"op times calibrated by {device.factor:.4f}"
                )
                if device.step_s is not None:
                    parts[-1] += f", run op by op {device.step_s * 1e3:.3f} ms"
                if device.launch_s:
                    least = "at least " if device.kind == "gpu" else ""
                    start = f"{device.launch_s * _PER_SECOND:.2f} us"
                    parts[-1] += f", {least}{start} to start one"
        if self.contention is not None:
            parts.append(self.contention.describe())
        return "; ".join(parts)


def _with_room(device: DeviceProfile, fraction: float, reserve: int) -> DeviceProfile:
    if device.memory is None:
        return device
    left = device.memory
    if reserve:  # taken from what may be filled, not from the whole
        left -= math.ceil(reserve / fraction)
    if left <= 0:
        raise InputError(
            f"{device.id} has {format_bytes(device.memory)}: nothing is left with a memory "
            f"fraction of {fraction:g} and {format_bytes(reserve)} in reserve"
        )
    return replace(device, memory=left, memory_fraction=fraction)
