"""Problems and schedules in a line or two, for tests that look at one rule at a time.

The time unit is the second throughout, so a bandwidth is in bytes per unit of time.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from talos_opt.core.cluster import Cluster, Device, Link
from talos_opt.core.graph import Graph, Input, Memory, Model, Op
from talos_opt.core.problem import MemoryRule, Objective, Problem
from talos_opt.core.schedule import Schedule, TransferRow, Transfers

#: Kinds that a bare number as an op's time stands for.
KINDS = ("cpu", "gpu")


def op(
    name: str,
    time: float | Mapping[str, float] = 1,
    inputs: str = "",
    *,
    weights: int = 0,
    output: int = 0,
    workspace: int = 0,
    colocate: str | None = None,
    devices: str | None = None,
    slots: int = 1,
    phase: str = "forward",
    split: bool = False,
    module: str = "",
    type: str = "",
) -> Op:
    """Write an op: ``op("c", {"cpu": 2}, "a b:16", output=4)`` reads a, and 16 bytes of b.

    A bare number is the time on a cpu and on a gpu alike; `devices` is a list of pins in one text.
    """
    read = [item.partition(":") for item in inputs.split()]
    return Op(
        id=name,
        time=time if isinstance(time, Mapping) else dict.fromkeys(KINDS, float(time)),
        memory=Memory(weights, output, workspace),
        inputs=tuple(Input(name, int(size) if size else None) for name, _, size in read),
        colocate=colocate,
        devices=None if devices is None else tuple(devices.split()),
        slots=slots,
        phase=phase,
        split=split,
        type=type,
        attrs={"module": module} if module else {},
    )


def device(
    name: str,
    memory: int | None = None,
    *,
    slots: int = 1,
    copy_engine: bool = True,
    fraction: float = 1.0,
) -> Device:
    """Write a device; its kind is its name without the digits at the end."""
    kind = name.rstrip("0123456789")
    return Device(name, kind, memory, fraction, slots, copy_engine)


def link(
    ends: str,
    latency: float = 0.0,
    bandwidth: float = math.inf,
    *,
    via: str | None = None,
    duplex: str = "full",
) -> Link:
    """Write a link: ``"cpu gpu"`` for both directions, ``"gpu0 > gpu1"`` for one."""
    a, *arrow, b = ends.split()
    return Link(a, b, latency, bandwidth, via, bool(arrow), duplex)


def problem(
    models: Sequence[Op] | Mapping[str, Sequence[Op]],
    devices: str | Iterable[Device] = "cpu0 gpu0",
    links: Sequence[Link] | None = None,
    *,
    rule: str = "static",
    objective: str = "toct",
    contention: str = "none",
    reference: str = "",
    weight: Mapping[str, float] | None = None,
    release: Mapping[str, float] | None = None,
) -> Problem:
    """Write a problem: a list of ops is one model ``m``; devices may be their names in one text."""
    weight, release = weight or {}, release or {}
    named = models if isinstance(models, Mapping) else {"m": models}
    if isinstance(devices, str):
        devices = [device(name) for name in devices.split()]
    graph = Graph(
        "test",
        tuple(
            Model(name, tuple(ops), weight.get(name, 1.0), release.get(name, 0.0))
            for name, ops in named.items()
        ),
        time_unit="s",
    )
    rules = None if links is None else tuple(links)
    cluster = Cluster(tuple(devices), rules, reference, contention)
    return Problem(graph, cluster, Objective(objective), MemoryRule(rule))


def schedule(
    problem: Problem,
    ops: Mapping[str, tuple[str, float]],
    transfers: Iterable[tuple[str, str, str, float, float, int]] = (),
) -> Schedule:
    """Write a schedule: device and start of each op by name; it ends when its time there is over.

    A transfer is (op, from, to, start, end, bytes).
    """
    known = {problem.find_op(name): where for name, where in ops.items()}
    where = [problem.device_ids.index(known[i][0]) for i in range(len(known))]
    start = [float(known[i][1]) for i in range(len(known))]
    devices = problem.cluster.devices
    length = [
        item.time.get(devices[d].id, item.time.get(devices[d].kind, 0.0))
        for item, d in zip(problem.ops, where, strict=True)
    ]
    rows = [
        TransferRow(
            problem.find_op(name),
            problem.device_ids.index(source),
            problem.device_ids.index(target),
            float(begin),
            float(end),
            size,
            int(problem.arrays.tensor_ptr[problem.find_op(name)]),
        )
        for name, source, target, begin, end, size in transfers
    ]
    return Schedule(
        device=np.array(where, dtype=np.int64),
        start=np.array(start),
        end=np.array(start) + np.array(length),
        transfers=Transfers.from_rows(rows),
    )


def fig1(objective: str = "toct") -> Problem:
    """Fig. 1 of Talos (ASAP 2021): two models on one CPU and one GPU, with free tensors."""
    return problem(
        {
            "m1": [
                op("op1", {"cpu": 5, "gpu": 1}),
                op("op2", {"cpu": 1, "gpu": 3}, "op1"),
                op("op3", {"cpu": 3, "gpu": 2}, "op2"),
            ],
            "m2": [
                op("op4", {"cpu": 1.5, "gpu": 1.5}),
                op("op5", {"cpu": 3, "gpu": 1}),
                op("op6", {"cpu": 2, "gpu": 4}, "op4 op5"),
            ],
        },
        objective=objective,
    )
