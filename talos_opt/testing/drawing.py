"""Random problems, with every feature of the model on unless it is switched off.

Times are dyadic, bandwidths a power of two in bytes per time unit: sums are exact, so that values
of different solvers can be compared without tolerances.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from talos_opt.core.cluster import Cluster, Device, Link
from talos_opt.core.columns import PHASES
from talos_opt.core.errors import GraphError
from talos_opt.core.graph import Graph, Input, Memory, Model, Op
from talos_opt.core.pipelining.settings import Pipelining
from talos_opt.core.problem import MemoryRule, Objective, Problem, Stages

T = TypeVar("T")
Pick = Callable[[Sequence[T]], T]

PER_SECOND = {"us": 1e6, "ms": 1e3, "s": 1.0}
OBJECTIVES = ("toct", "makespan", "bottleneck")
#: With the one that knows neither times nor loads: what draws it says so.
ALL_OBJECTIVES = (*OBJECTIVES, "memory")


@dataclass(frozen=True)
class Features:
    """What a random problem may contain.

    Parameters
    ----------
    objectives : tuple of str
        Drawn from.
    max_devices, max_models, max_inputs : int
        At most 3 devices; inputs are per op.
    memory : bool
        Devices may have a limit.
    peak : bool
        The memory rule may be ``peak``.
    tight : bool
        Limits may be so tight that nothing, or only few placements, are feasible.
    links : bool
        False: tensors move in no time between all devices.
    via, missing_routes, serial, no_copy_engine, slots, pins, colocation, absent_kinds : bool
    demands : bool
        Ops may hold several slots, where there are any.
    edge_bytes, releases, weights, zero_times, device_times, outputs : bool
        `device_times`: times keyed by a device id beside the kind. `outputs`: ops may have several
        named outputs.
    stages : bool
        Stages may have to be acyclic or ordered, and some ops be of a backward pass.
    pipelines : bool
        Steps of micro-batches are what counts, or what they hold; ops as with `stages`.
    traffic : bool, optional
        True: all problems have many tensors on slow links; None: every other one.
    """

    objectives: tuple[str, ...] = OBJECTIVES
    max_devices: int = 3
    max_models: int = 2
    max_inputs: int = 3
    memory: bool = True
    peak: bool = True
    tight: bool = True
    links: bool = True
    via: bool = True
    missing_routes: bool = True
    serial: bool = True
    no_copy_engine: bool = True
    slots: bool = True
    demands: bool = True
    pins: bool = True
    colocation: bool = True
    absent_kinds: bool = True
    edge_bytes: bool = True
    releases: bool = True
    weights: bool = True
    zero_times: bool = True
    device_times: bool = True
    outputs: bool = True
    stages: bool = False
    pipelines: bool = False
    traffic: bool | None = None


@dataclass(frozen=True)
class Mood:
    """Values that one random problem draws from; repeated ones come up more often.

    `two_halves`: pins put the first half of a model on one device and the rest on another.
    """

    times: tuple[float, ...] = (1.0, 2.0, 0.5, 3.0, 1.5, 5.0)
    outputs: tuple[int, ...] = (2, 0, 1, 4)
    bandwidths: tuple[float, ...] = (2.0, 1.0, 4.0, math.inf)
    engines: tuple[bool, ...] = (True, True, False)
    contention: tuple[str, ...] = ("none", "serial")
    pinned: tuple[bool, ...] = (False, False, False, True)
    two_halves: bool = False
    inputs: tuple[int, ...] = (0, 1, 2, 3)
    models: tuple[int, ...] = (1, 2, 3, 4)


PLAIN = Mood()
#: Many tensors travel on slow links: else contention and copy engines would rarely matter.
TRAFFIC = Mood(
    times=(1.0, 0.5, 1.5),
    outputs=(2, 4, 1),
    bandwidths=(1.0, 2.0, 0.5),
    engines=(False, True),
    contention=("serial", "serial", "none"),
    pinned=(True, True, False),
    two_halves=True,
    inputs=(1, 2, 3),
    models=(1, 1, 2),
)


def draw_problem(rng: random.Random, count: int, **features: Any) -> Problem | None:
    """Draw a problem; None where an op fits into no device's memory.

    Parameters
    ----------
    rng : random.Random
        Whole values follow from its state.
    count : int
        Ops.
    **features
        Fields of `Features`.
    """
    try:
        return put_together(rng.choice, count, Features(**features))
    except GraphError:
        return None


# ---- how a problem is put together ---------------------------------------------------------


def put_together(pick: Pick[Any], count: int, on: Features) -> Problem:
    """Return a problem of so many ops; `pick` chooses from each list of possibilities."""
    unit = pick(sorted(PER_SECOND))
    traffic = pick((False, True)) if on.traffic is None else on.traffic
    mood = TRAFFIC if traffic and on.links else PLAIN
    kinds = _kinds(pick, on)
    slots = [pick((1, 1, 2)) if on.slots else 1 for _ in kinds]
    devices = [Device(f"{kind}{kinds[:d].count(kind)}", kind) for d, kind in enumerate(kinds)]
    devices = [replace(device, slots=s) for device, s in zip(devices, slots, strict=True)]
    if on.no_copy_engine:
        devices = [replace(device, copy_engine=pick(mood.engines)) for device in devices]
    models = _models(pick, count, on, devices, mood)
    if on.memory and pick((True, True, False)):
        devices = _limits(pick, on, devices, models)
    cluster = Cluster(
        tuple(devices),
        _links(pick, on, devices, mood, PER_SECOND[unit]) if on.links else None,
        pick(kinds),
        pick(mood.contention) if on.serial else "none",
    )
    graph = Graph("random", tuple(models), unit)
    rule = pick((MemoryRule.STATIC, MemoryRule.PEAK)) if on.peak else MemoryRule.STATIC
    problem = Problem(graph, cluster, Objective(pick(on.objectives)), rule)
    if on.pipelines:
        return _pipelined(pick, problem)
    if not on.stages:
        return problem
    return problem.with_stages(
        Stages(pick(("acyclic", "acyclic", "ordered", "any")), pick((False, False, False, True)))
    )


def _pipelined(pick: Pick[Any], problem: Problem) -> Problem:
    """Ask for steps, or for the memory of steps."""
    step = pick((True, True, False))
    return replace(
        problem,
        objective=Objective.STEP if step else Objective.BOTTLENECK,
        memory_rule=MemoryRule(pick(("static", "pipeline")) if step else "pipeline"),
        stages=Stages(pick(("acyclic", "ordered")), pick((False, False, False, True))),
        pipeline=Pipelining(pick((1, 2, 3, 5)), pick(("gpipe", "1f1b"))),
    )


def _kinds(pick: Pick[Any], on: Features) -> tuple[str, ...]:
    pairs = [("cpu", "gpu"), ("gpu", "gpu"), ("gpu", "cpu")]
    triples = [("cpu", "gpu", "gpu"), ("gpu", "npu", "cpu"), ("cpu", "gpu", "gpu")]
    choices = [*pairs, *triples, ("cpu",)]
    chosen: tuple[str, ...] = pick([kinds for kinds in choices if len(kinds) <= on.max_devices])
    return chosen


def _models(
    pick: Pick[Any],
    count: int,
    on: Features,
    devices: Sequence[Device],
    mood: Mood,
) -> list[Model]:
    models = []
    left = count
    total = min(on.max_models, count, pick(mood.models))
    for j in range(total):
        later = total - 1 - j  # models that need an op each
        size = pick(range(1, left - later + 1)) if later else left
        ops: list[Op] = []
        for _ in range(size):
            ops.append(_op(pick, ops, size, on, devices, mood))
        models.append(
            Model(
                f"m{j}",
                tuple(_mixed(pick, ops)),
                pick((1.0, 1.0, 2.0, 0.5, 3.0, 0.0)) if on.weights else 1.0,
                pick((0.0, 0.0, 0.0, 0.5, 2.0)) if on.releases else 0.0,
            )
        )
        left -= size
    return models


def _mixed(pick: Pick[Any], ops: list[Op]) -> list[Op]:
    """Files need not list ops in topological order."""
    ops = list(ops)
    if len(ops) > 1 and pick((False, True)):
        ops.append(ops.pop(pick(range(len(ops) - 1))))
    return ops


def _op(
    pick: Pick[Any],
    before: Sequence[Op],
    size: int,
    on: Features,
    devices: Sequence[Device],
    mood: Mood,
) -> Op:
    position = len(before)
    kinds = list(dict.fromkeys(device.kind for device in devices))
    times = (*mood.times, *((0.0,) if on.zero_times else ()))
    time = {kind: pick(times) for kind in kinds}
    if on.absent_kinds and len(kinds) > 1 and pick((False, False, True)):
        del time[pick(kinds)]
    if on.device_times and pick((False,) * 4 + (True,)):
        time[pick(devices).id] = pick(times)
    runs = [device for device in devices if device.id in time or device.kind in time]
    pins = None
    if on.pins and pick(mood.pinned):
        chosen = runs[0 if 2 * position < size else -1] if mood.two_halves else pick(runs)
        pins = (pick((chosen.id, chosen.kind)),)
        runs = [device for device in runs if {device.id, device.kind} & set(pins)]
    most = max(device.slots for device in runs)
    outputs = {}
    if on.outputs and pick((False,) * 3 + (True,)):
        outputs = {name: pick(mood.outputs) for name in pick(("y", "yz", "zy", "xyz"))}
    single = 0 if outputs else pick(mood.outputs)
    memory = Memory(pick((0, 1, 2, 3)), single, pick((0, 0, 1, 2)))
    return Op(
        id=f"op{position}",
        time=time,
        memory=memory,
        inputs=_inputs(pick, before, on, mood),
        colocate=pick((None,) * 7 + ("g",)) if on.colocation else None,
        devices=pins,
        slots=pick((1, 1, most)) if on.slots and on.demands else 1,
        outputs=outputs,
        phase=pick((PHASES[0],) * 6 + PHASES[1:]) if (on.stages or on.pipelines) else PHASES[0],
    )


def _inputs(pick: Pick[Any], before: Sequence[Op], on: Features, mood: Mood) -> tuple[Input, ...]:
    position = len(before)
    count = min(position, on.max_inputs, pick(mood.inputs))
    found: dict[str, list[Input]] = {}
    for _ in range(count):
        source = before[pick(range(max(0, position - 8), position))]
        size = pick((None, None, 0, 1, 3)) if on.edge_bytes else None
        read: list[str | None] = [None]
        if source.outputs:  # all of them, or one, or two
            names = list(source.outputs)
            read = pick(([None], names[:1], names[-1:], names[:2]))
            if read == [None] and size and len(names) > 1:
                size = None
        found[source.id] = [Input(source.id, size, name) for name in read]
    return tuple(edge for edges in found.values() for edge in edges)


def _limits(
    pick: Pick[Any], on: Features, devices: Sequence[Device], models: Sequence[Model]
) -> list[Device]:
    """Limits between the largest op and all ops together, so that hardly any op fits nowhere."""
    parts = [op.memory for model in models for op in model.ops]
    needs = [memory.weights + memory.output + memory.workspace for memory in parts]
    low, high = max(needs), sum(needs)
    if not on.tight:
        # Room for everything on one device, copies of all outputs included.
        low = high + sum(memory.output for memory in parts)
        high = 2 * low
    limited: list[Device] = []
    for device in devices:
        share = pick((None, 0.5, 0.25, 0.125, 0.75))
        memory = None if share is None else low + math.ceil(share * max(0, high - low))
        if on.tight and memory is not None and limited and pick((False,) * 9 + (True,)):
            memory = max(1, low // 2)
        half = memory is not None and pick((False, False, True))
        limited.append(
            replace(
                device,
                memory=None if memory is None else memory * (2 if half else 1),
                memory_fraction=0.5 if half else 1.0,
            )
        )
    return limited


def _links(
    pick: Pick[Any], on: Features, devices: Sequence[Device], mood: Mood, rate: float
) -> tuple[Link, ...] | None:
    """Links between kinds, then exceptions between ids; None for free tensors."""
    shapes = ("kinds",) * 5 + ("free",) + ("ids",) * 2
    shape = pick(shapes if on.missing_routes else shapes[:-2])
    if shape == "free" or (shape == "ids" and len(devices) == 1):
        return None

    def link(a: str, b: str, *, one_way: bool = False) -> Link:
        latency = pick((0.0, 0.5, 0.0))
        bandwidth = pick(mood.bandwidths) * rate
        return Link(a, b, latency, bandwidth, None, one_way, pick(("full", "half")))

    kinds = list(dict.fromkeys(device.kind for device in devices))
    ids = [device.id for device in devices]
    if shape == "ids":  # one-way links between devices, each of which may be missing
        return tuple(
            link(a, b, one_way=True)
            for a in ids
            for b in ids
            if a != b and pick((True, True, True, False))
        )
    links = [link(a, b) for i, a in enumerate(kinds) for b in kinds[i + 1 :]]
    if len(links) == 3 and pick((False, True)):
        lost = links.pop()
        if on.via:
            links.append(Link(lost.a, lost.b, via=ids[0]))
        elif not on.missing_routes:
            links.append(lost)
    twins = {kind for kind in kinds if sum(device.kind == kind for device in devices) > 1}
    for kind in sorted(twins):
        between = ["direct", "none"] if on.missing_routes else ["direct"]
        if on.via and len(kinds) > 1:
            between = ["via", *between]
        way = pick(between)
        if way == "direct":
            links.append(link(kind, kind))
        elif way == "via":
            links.append(Link(kind, kind, via=ids[0]))
    if len(ids) > 1 and pick((False, False, True)):
        links.append(link(ids[0], ids[1], one_way=True))
    return tuple(links)
