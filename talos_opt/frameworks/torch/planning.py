"""Planning where the blocks of a model go: memory and time of a device map, and the best one.

The time of a step is that of blocks one after the other, as accelerate runs them: on the GPU that
a block is mapped to, and on the main device, after its weights have been copied there, where it is
offloaded to ``cpu`` or ``disk``. The same problem serves to find a map and to evaluate one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from talos_opt.core.cluster import Cluster, Device, Link
from talos_opt.core.errors import InputError
from talos_opt.core.graph import Graph, Input, Memory, Model, Op
from talos_opt.core.metrics import measure
from talos_opt.core.problem import Objective, Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import simulate
from talos_opt.frameworks.common.roofline import Call
from talos_opt.frameworks.torch.blocks import Block, find_blocks
from talos_opt.frameworks.torch.caching import KVCache, cache_bytes
from talos_opt.frameworks.torch.dtypes import dtype_of
from talos_opt.frameworks.torch.machines import CPU, DISK, Machine, Target, device_id
from talos_opt.frameworks.torch.metering import Activity, Step, meter

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = [
    "Evaluation",
    "KVCache",
    "Plan",
    "evaluate_device_map",
    "evaluate_targets",
    "make_plan",
    "occupancy",
    "schedule_of",
    "targets_of",
]

_US = 1e6


@dataclass(frozen=True)
class Evaluation:
    """What a device map is worth.

    Parameters
    ----------
    step_s : float
        Predicted seconds of a step.
    memory : mapping
        Bytes that fill each device: weights, KV cache, room for the largest offloaded block on
        the main device, and the largest peak of activations.
    over : mapping
        Bytes by which limits are exceeded; empty: it fits.
    main : int or str
        Device that runs what is offloaded.
    moved_bytes : int
        Bytes of activations that move between devices in a step.
    streamed_bytes : int
        Bytes of offloaded weights that are copied in a step.
    """

    step_s: float
    memory: Mapping[Target, int]
    over: Mapping[Target, int]
    main: Target
    moved_bytes: int
    streamed_bytes: int

    @property
    def fits(self) -> bool:
        """Whether no limit is exceeded."""
        return not self.over


@dataclass(frozen=True)
class Plan:
    """A model's blocks, what they do, and the machine to place them on.

    Parameters
    ----------
    name : str
    blocks : tuple of Block
        In the order of their execution.
    activities : tuple of Activity
    edges : mapping of (int, int) to int
        Bytes that flow between blocks, forward in their order.
    machine : Machine
    cache : tuple of int
        Bytes of the KV cache of each block.
    activations : bool
        Whether peaks of activations count as memory.
    dtype : str
        What the model computes with.
    """

    name: str
    blocks: tuple[Block, ...]
    activities: tuple[Activity, ...]
    edges: Mapping[tuple[int, int], int]
    machine: Machine
    cache: tuple[int, ...]
    activations: bool = True
    dtype: str = "float32"

    def offloads(self, target: Target, main: Target) -> bool:
        """Whether a block mapped to `target` runs elsewhere than where its weights are."""
        return target == DISK or (target == CPU and main != CPU)

    def peak(self, block: int) -> int:
        """Bytes of activations while a block runs, as far as they count."""
        return self.activities[block].peak_bytes if self.activations else 0

    @cached_property
    def _computing(self) -> dict[Target, list[float]]:
        """Seconds that each block takes on each processor."""
        return {
            p.target: [
                sum(p.seconds(op, self.dtype) for op in activity.ops) + p.reading_s(cache)
                for activity, cache in zip(self.activities, self.cache, strict=True)
            ]
            for p in self.machine.processors
        }

    def seconds(self, block: int, target: Target, main: Target) -> float:
        """Time of a block mapped to a device: compute, after its weights have come if need be."""
        if not self.offloads(target, main):
            return self._computing[target][block]
        machine, size = self.machine, self.blocks[block].parameter_bytes
        copying = 0.0
        if target == DISK:
            copying += machine.latency_s + size / machine.disk_bandwidth
        if main != CPU:
            copying += machine.latency_s + size / machine.host_bandwidth
        return copying + self._computing[main][block]

    def problem(
        self,
        main: Target | None = None,
        *,
        targets: Sequence[Target] | None = None,
        reserve: Mapping[Target, int] | None = None,
        largest: int | None = None,
        limited: bool = True,
    ) -> Problem:
        """Return the placement of the blocks as a problem, in microseconds.

        Parameters
        ----------
        main : int or str, optional
            Device that runs offloaded blocks; default: the first GPU.
        targets : sequence, optional
            Devices that blocks may be mapped to; default: all of the machine.
        reserve : mapping of int or str to int, optional
            Bytes to keep free for offloaded blocks that pass through a device.
        largest : int, optional
            Blocks with more bytes of parameters are not offloaded.
        limited : bool
            False: devices have no memory limits.

        Raises
        ------
        GraphError
            If a block fits no device.
        """
        main = self.machine.main(self.machine.targets) if main is None else main
        targets = self.machine.targets if targets is None else targets
        ops = tuple(self._op(i, main, targets, largest) for i in range(len(self.blocks)))
        devices = tuple(self._device(t, (reserve or {}).get(t, 0), limited) for t in targets)
        graph = Graph(
            self.name,
            (Model(self.name.replace("/", "-") or "model", ops),),
            "us",
            description=f"blocks of {self.name}; times estimated; offloaded blocks run on {main}",
        )
        cluster = Cluster(devices, self._links(main, targets))
        return Problem(graph, cluster, Objective.MAKESPAN)

    def _op(self, i: int, main: Target, targets: Sequence[Target], largest: int | None) -> Op:
        block = self.blocks[i]
        too_large = largest is not None and block.parameter_bytes > largest
        inputs = {p: size for (p, reader), size in self.edges.items() if reader == i}
        if i > 0:  # blocks run one after the other, whatever they read
            inputs.setdefault(i - 1, 0)
        return Op(
            id=block.name or "(root)",
            time={
                device_id(t): self.seconds(i, t, main) * _US
                for t in targets
                if not (too_large and self.offloads(t, main))
            },
            memory=Memory(block.owned_bytes + self.cache[i], 0, self.peak(i)),
            inputs=tuple(
                Input(self.blocks[p].name or "(root)", size) for p, size in sorted(inputs.items())
            ),
            type="block",
            colocate=block.group,
            attrs={"module": block.name, "also": list(block.also), "estimated": True},
        )

    def _device(self, target: Target, reserve: int, limited: bool) -> Device:
        memory = self.machine.limit(target) if limited else None
        if memory is not None:
            memory = max(0, memory - reserve)
        kind = "gpu" if isinstance(target, int) else str(target)
        return Device(device_id(target), kind, memory)

    def _links(self, main: Target, targets: Sequence[Target]) -> tuple[Link, ...]:
        """Links by where blocks run: what is offloaded is next to the main device."""
        machine, links = self.machine, []
        for k, a in enumerate(targets):
            for b in targets[k + 1 :]:
                ends = {main if self.offloads(t, main) else t for t in (a, b)}
                if len(ends) == 1:
                    links.append(Link(device_id(a), device_id(b)))
                    continue
                rate = machine.host_bandwidth if CPU in ends else machine.peer_bandwidth
                links.append(Link(device_id(a), device_id(b), machine.latency_s * _US, rate))
        return tuple(links)


def make_plan(
    module: nn.Module,
    machine: Machine,
    inputs: Sequence[Any] | Mapping[str, Any] | None = None,
    *,
    tokens: int = 1,
    no_split: Iterable[str] | None = None,
    dtype: torch.dtype | None = None,
    cache: KVCache | None = None,
    activations: bool = True,
    name: str | None = None,
) -> Plan:
    """Prepare the placement of a module's blocks on a machine.

    Parameters
    ----------
    module : nn.Module
        On any device; on ``meta`` it needs no memory.
    machine : Machine
    inputs : sequence or mapping, optional
        Arguments of a step. Without them, or where the module does not run on fake tensors, a
        block takes 2 FLOPs per parameter and token, and blocks form a chain.
    tokens : int
        Tokens of a step, where there are no inputs.
    no_split : iterable of str, optional
        Class names that must not be split; default: the model's own.
    dtype : torch.dtype, optional
        Type that the weights will be loaded as; default: their own.
    cache : KVCache, optional
        Counted in the memory of the blocks that fill it, and read in every step.
    activations : bool
        Whether peaks of activations count as memory.
    name : str, optional
        Default: the module's class.

    Raises
    ------
    InputError
        If there is nothing to place, or the module returns no cache.
    """
    blocks = find_blocks(module, no_split, dtype)
    # First: it takes a moment, and may tell that there is nothing to keep.
    if cache is None:
        kept: tuple[int, ...] = (0,) * len(blocks)
    else:
        kept = cache_bytes(module, blocks, cache, inputs, dtype)
    if inputs is None:
        step = _guess(module, blocks, tokens, dtype)
    else:
        step = meter(module, blocks, inputs, dtype)
    place = {block: k for k, block in enumerate(step.order)}
    ordered = tuple(blocks[i] for i in step.order)
    return Plan(
        type(module).__name__ if name is None else name,
        ordered,
        tuple(step.activities[i] for i in step.order),
        # A block that is called again reads what later ones made: that cannot be in a DAG.
        {(place[a], place[b]): s for (a, b), s in step.edges.items() if place[a] < place[b]},
        machine,
        tuple(kept[i] for i in step.order),
        activations,
        dtype_of(module) if dtype is None else str(dtype).removeprefix("torch."),
    )


def _guess(
    module: nn.Module, blocks: Sequence[Block], tokens: int, dtype: torch.dtype | None
) -> Step:
    """Return a step of a chain of lookups and matrix products over so many tokens."""
    import torch

    width = (dtype or getattr(torch, dtype_of(module))).itemsize
    hidden = getattr(getattr(module, "config", None), "hidden_size", 0) or 0
    size = tokens * hidden * width
    modules = dict(module.named_modules(remove_duplicate=False))

    def work(block: Block) -> Call:
        if isinstance(modules.get(block.name), torch.nn.Embedding):  # looked up, not multiplied
            return Call("aten.embedding", 0.0, 2 * size, size)
        flops = 2.0 * block.parameter_bytes / width * tokens
        return Call("aten.linear", flops, block.tensor_bytes + 2 * size, size)

    activities = tuple(Activity([work(block)], 2 * size) for block in blocks)
    edges = {(i, i + 1): size for i in range(len(blocks) - 1)}
    return Step(tuple(range(len(blocks))), activities, edges)


def evaluate_device_map(
    plan: Plan, device_map: Mapping[str, Target], main: Target | None = None
) -> Evaluation:
    """Return time and memory of a device map, whoever made it.

    Parameters
    ----------
    plan : Plan
    device_map : mapping of str to int or str
        Device of every prefix; the longest that fits a block counts.
    main : int or str, optional
        ``main_device`` of accelerate's dispatch; default: what accelerate takes, the first GPU
        in use, or the CPU.

    Raises
    ------
    InputError
        If the map leaves out a block, splits one, or names a device that the machine lacks.
    """
    return evaluate_targets(plan, targets_of(plan, device_map), main)


def evaluate_targets(plan: Plan, where: Sequence[Target], main: Target | None = None) -> Evaluation:
    """Return time and memory for a device of every block; see `evaluate_device_map`."""
    main = plan.machine.main(where) if main is None else main
    problem, schedule = schedule_of(plan, where, main)
    metrics = measure(problem, schedule)
    memory = occupancy(plan, where, main)
    limits = {t: plan.machine.limit(t) for t in memory}
    over = {t: m - limits[t] for t, m in memory.items() if limits[t] is not None and m > limits[t]}  # type: ignore[operator]
    streamed = sum(
        block.parameter_bytes
        for block, target in zip(plan.blocks, where, strict=True)
        if plan.offloads(target, main)
    )
    return Evaluation(
        metrics.makespan / _US, memory, over, main, metrics.transferred_bytes, streamed
    )


def schedule_of(plan: Plan, where: Sequence[Target], main: Target) -> tuple[Problem, Schedule]:
    """Return the schedule in which blocks run in their order, and its problem without limits."""
    problem = plan.problem(main, limited=False)
    position = {name: d for d, name in enumerate(problem.device_ids)}
    device = np.array([position[device_id(target)] for target in where], dtype=np.int64)
    return problem, simulate(problem, device, np.arange(len(where)))


def occupancy(plan: Plan, where: Sequence[Target], main: Target | None = None) -> dict[Target, int]:
    """Return the bytes that fill each device at most.

    Without a main device all is counted where it is mapped to, as problems do. With one,
    offloaded parameters stay on ``cpu`` or ``disk``; buffers and KV caches of offloaded blocks are
    on the main device, which also needs room for the largest of these blocks. What comes from the
    disk passes through the host's memory.
    """
    held = dict.fromkeys(plan.machine.targets, 0)
    staged = dict.fromkeys(plan.machine.targets, 0)
    working = dict.fromkeys(plan.machine.targets, 0)
    for i, (block, target) in enumerate(zip(plan.blocks, where, strict=True)):
        runs = target
        held[target] += block.owned_bytes
        if main is not None and plan.offloads(target, main):
            runs = main
            held[main] += block.buffer_bytes
            for stop in {main, CPU} if target == DISK else {main}:
                staged[stop] = max(staged[stop], block.parameter_bytes)
        held[runs] += plan.cache[i]
        working[runs] = max(working[runs], plan.peak(i))
    return {t: held[t] + staged[t] + working[t] for t in held}


def targets_of(plan: Plan, device_map: Mapping[str, Target]) -> list[Target]:
    """Return the device that a map gives each block; see `evaluate_device_map`."""
    return [_target(plan, block, device_map) for block in plan.blocks]


def _target(plan: Plan, block: Block, device_map: Mapping[str, Target]) -> Target:
    def covers(prefix: str, name: str) -> bool:
        return prefix in ("", name) or name.startswith(f"{prefix}.")

    above = [prefix for prefix in device_map if covers(prefix, block.name)]
    within = {device_map[p] for p in device_map if p != block.name and covers(block.name, p)}
    found: set[Target] = {device_map[max(above, key=len)]} if above else set()
    found |= within if block.name else set()
    if not found:
        raise InputError(f"the device map gives no device for {block.name!r}")
    if len(found) > 1:
        raise InputError(f"the device map splits {block.name!r} over {sorted(map(str, found))}")
    (target,) = found
    if target not in (*plan.machine.targets, DISK):
        raise InputError(f"{block.name!r} is mapped to {target!r}, which the machine does not have")
    return target
