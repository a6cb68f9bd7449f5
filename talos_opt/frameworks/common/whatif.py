"""What if another card: times of a profiled graph on devices of the catalogue, without the model.

A graph that was profiled holds what each op does: its FLOPs, the bytes that it moves, and how long
it took where it was measured. That is all that an estimate needs (`roofline`). A graph from a trace
may lack FLOPs; then the bytes decide, and `without_flops` says for how many ops.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from talos_opt.core import units
from talos_opt.core.arrays import times_on
from talos_opt.core.cluster import Cluster, Device, Link
from talos_opt.core.errors import InputError
from talos_opt.core.graph import Op
from talos_opt.core.problem import Problem
from talos_opt.frameworks.common.catalogue import PREFIX, links, lookup
from talos_opt.frameworks.common.datasheets import Datasheet
from talos_opt.frameworks.common.op_classes import class_of
from talos_opt.frameworks.common.profile import DeviceProfile, OpProfile, Profile, Timing
from talos_opt.frameworks.common.roofline import with_estimates
from talos_opt.frameworks.common.targets import Target, parse_targets

_FORM = "a100, 2xl4 or NAME=a100"
#: Work that is bound by arithmetic as a rule, so that bytes alone say too little.
_ARITHMETIC = frozenset(("matmul", "batch_matmul", "conv", "conv_grad"))


def what_if(
    problem: Problem,
    *,
    add: Sequence[str] = (),
    replace: Mapping[str, str] | None = None,
    dtype: str = "fp32",
    measured: Mapping[str, str] | None = None,
) -> Problem:
    """Return a problem with devices of the catalogue beside its own, or in the place of some.

    Parameters
    ----------
    problem : Problem
        Whose ops have ``flops`` and ``moved_bytes`` among their attrs, as profiles and traces
        write them. Where bytes are missing, those of inputs, weights and output count.
    add : sequence of str
        Names of the catalogue: ``a100``, ``2xl4``, ``NAME=a100``.
    replace : mapping of str to str, optional
        Names of the catalogue by id of the device whose place they take; it keeps its id, so that
        pins hold, and what was measured on it still mends the estimates.
    dtype : str
        What the model computes with.
    measured : mapping of str to str, optional
        Names of the catalogue by id of a device that ops were measured on.

    Raises
    ------
    InputError
        If a device is unknown, or its id taken, or the data type unknown.
    """
    cluster, swapped = problem.cluster, dict(replace or {})
    for name in [*swapped, *(measured or {})]:
        if name not in cluster.index:
            raise InputError(
                f"{name!r} is not a device of the graph, expected one of {_ids(problem)}"
            )
    added = {target.id: str(target.sheet) for target in _targets(add)}
    sheets = {name: lookup(sheet) for name, sheet in {**swapped, **added}.items()}
    for name in swapped:
        kind, sheet = cluster.devices[cluster.index[name]].kind, sheets[name]
        if (kind == "cpu") != (sheet.kind == "cpu"):
            raise InputError(
                f"{name} is a {kind} and {sheet.title} is a {sheet.kind}: add it, and pin ops, or "
                "leave the other one out of the graph"
            )
    # A device whose place is taken is still there while estimates are made, under another name.
    aliases = {name: f"{name} (before)" for name in swapped}
    known = {aliases.get(name, name): sheet for name, sheet in (measured or {}).items()}
    profile = _read_back(problem, aliases)
    found = with_estimates(
        profile, {name: sheet.name for name, sheet in sheets.items()}, dtype=dtype, measured=known
    )
    per_second = units.PER_SECOND[problem.graph.time_unit]
    timed = iter(found.ops)
    models = tuple(
        dataclasses.replace(
            model,
            ops=tuple(_mended(op, next(timed), tuple(sheets), per_second) for op in model.ops),
        )
        for model in problem.graph.models
    )
    said = [found.facts[f"estimate {name}"] for name in sheets]
    text = "; ".join(
        [problem.graph.description] * bool(problem.graph.description)
        + [f"{name}: {fact}" for name, fact in zip(sheets, said, strict=True)]
    )
    graph = dataclasses.replace(problem.graph, models=models, description=text)
    return dataclasses.replace(
        problem, graph=graph, cluster=_cluster(problem, sheets, swapped, per_second)
    )


def without_flops(problem: Problem) -> int:
    """Return the number of ops that are mostly arithmetic, and do not say how much of it."""
    return sum(
        op.attrs.get("flops") is None and class_of(op.type) in _ARITHMETIC
        for model in problem.graph.models
        for op in model.ops
    )


def _ids(problem: Problem) -> str:
    return ", ".join(problem.device_ids)


def _targets(specs: Iterable[str]) -> tuple[Target, ...]:
    """Read names of the catalogue, each as ``NAME=2xl4``, name and number left out or not."""
    given = []
    for spec in specs:
        name, equals, rest = spec.rpartition("=")
        count, times, what = rest.rpartition("x")
        several = times and count.isdigit()
        given.append(f"{name}{equals}{count + times if several else ''}{PREFIX}"
                     f"{what if several else rest}")  # fmt: skip

    def missing(what: str) -> Target:
        raise InputError(f"device {what!r} is not of the form {_FORM}")

    return parse_targets(given, missing, _FORM) if given else ()


def _read_back(problem: Problem, aliases: Mapping[str, str]) -> Profile:
    """Return the graph as the profile that it may have been written from."""
    columns, arrays = problem.graph.columns, problem.arrays
    per_second = units.PER_SECOND[problem.graph.time_unit]
    devices = problem.cluster.devices
    times = {d.id: times_on(columns, d.id, d.kind) for d in devices}
    read = np.bincount(arrays.edge_dst, arrays.edge_bytes, minlength=arrays.op_count)
    moved = read + arrays.weights + arrays.output
    ops = []
    every = (op for model in problem.graph.models for op in model.ops)
    for i, op in enumerate(every):
        guessed = set(_texts(op.attrs.get("estimated")))
        timings = {}
        for device in devices:
            time = float(times[device.id][i]) / per_second
            if np.isfinite(time):
                repeats = int(not guessed & {device.id, device.kind})
                timings[aliases.get(device.id, device.id)] = Timing(time, time, repeats=repeats)
        ops.append(
            OpProfile(
                id=problem.names[i],
                type=op.type,
                timings=timings,
                flops=_amount(op.attrs.get("flops")),
                moved_bytes=int(_amount(op.attrs.get("moved_bytes")) or moved[i]),
                weights=op.memory.weights,
                output=op.memory.output,
            )
        )
    return Profile(
        name=problem.graph.name,
        framework="",
        mode="",
        ops=tuple(ops),
        devices=tuple(DeviceProfile(aliases.get(d.id, d.id), d.kind, d.memory) for d in devices),
    )


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else []


def _amount(value: object) -> float | None:
    """Return a fact of an op as a number; None where it is none."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < np.inf:
        return float(value)
    return None


def _mended(op: Op, found: OpProfile, names: Sequence[str], per_second: float) -> Op:
    """Return an op with its times on new devices."""
    time, attrs = dict(op.time), dict(op.attrs)
    for name in names:
        time[name] = found.timings[name].time_s * per_second
    raw, spread = attrs.get("raw_us"), attrs.get("spread")
    if isinstance(raw, Mapping):
        attrs["raw_us"] = {**raw, **{name: found.timings[name].raw_s * 1e6 for name in names}}
    if isinstance(spread, Mapping):
        attrs["spread"] = {name: value for name, value in spread.items() if name not in names}
    attrs["estimated"] = sorted({*_texts(attrs.get("estimated")), *names})
    return dataclasses.replace(op, time=time, attrs=attrs)


def _cluster(
    problem: Problem, sheets: Mapping[str, Datasheet], swapped: Iterable[str], per_second: float
) -> Cluster:
    """Return the cluster with new devices, and their links through the host's memory."""
    cluster = problem.cluster
    devices = []
    for device in cluster.devices:
        sheet = sheets.get(device.id)
        if sheet is not None:
            changes: dict[str, Any] = {"memory": sheet.memory, "slots": 1}
            device = dataclasses.replace(device, **changes)
        devices.append(device)
    gained = [name for name in sheets if name not in cluster.index]
    devices += [Device(name, sheets[name].kind, sheets[name].memory) for name in gained]
    if cluster.links is None:
        return dataclasses.replace(cluster, devices=tuple(devices))
    gone = set(swapped)
    kept = [link for link in cluster.links if not {link.a, link.b} & gone]
    host = next((device.id for device in devices if device.kind == "cpu"), None)
    made = [
        Link(link.a, link.b, link.latency_s * per_second, link.bandwidth)
        for link in links(sheets, host)
    ]
    joined = dataclasses.replace(cluster, devices=tuple(devices), links=(*kept, *made))
    rest: list[Link] = []
    for name, sheet in sheets.items():
        for other in joined.devices:
            if other.id == name or joined.routes[name, other.id] is not None:
                continue
            if any({link.a, link.b} == {name, other.id} for link in rest):
                continue
            if host is not None and other.id != host:
                rest.append(Link(name, other.id, via=host))
            else:  # no host is known: its memory is assumed to be no faster than the new link
                latency = 2 * sheet.host_latency_s * per_second
                rest.append(Link(name, other.id, latency, sheet.host_bandwidth))
    return dataclasses.replace(joined, links=(*kept, *made, *rest))
