"""What if another card: times of a profiled graph on devices of the catalogue, without the model.

A graph that was profiled holds what each op does: its FLOPs, the bytes that it moves, and how long
it took where it was measured. That is all that an estimate needs (`roofline`). A graph from a trace
may lack FLOPs; then the bytes decide, and `remarks` says for how many ops.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from talos_opt.core import units
from talos_opt.core.arrays import times_on
from talos_opt.core.cluster import Cluster, Device, Hop, Link
from talos_opt.core.errors import InputError
from talos_opt.core.graph import Op
from talos_opt.core.problem import Bools, Problem
from talos_opt.frameworks.common.catalogue import PREFIX, links, lookup
from talos_opt.frameworks.common.datasheets import Datasheet
from talos_opt.frameworks.common.op_classes import NOTHING, VIEW, class_of
from talos_opt.frameworks.common.profile import DeviceProfile, OpProfile, Profile, Timing
from talos_opt.frameworks.common.roofline import TENSOR_CLASSES, with_estimates
from talos_opt.frameworks.common.targets import Target, parse_targets

_FORM = "a100, 2xl4 or NAME=a100"
_SPEC = re.compile(r"(?P<name>[^=]+=)?(?P<count>[1-9]\d*x)?(?P<what>(?!\d*x$|0+x)[^=]+)")


def what_if(
    problem: Problem,
    *,
    add: Sequence[str] = (),
    replace: Mapping[str, str] | None = None,
    dtype: str | None = None,
    measured: Mapping[str, str] | None = None,
) -> Problem:
    """Return a problem with devices of the catalogue beside its own, or in the place of some.

    Parameters
    ----------
    problem : Problem
        Whose ops have ``flops`` and ``moved_bytes`` among their attrs, as profiles and traces
        write them. Where bytes are missing, those of inputs, weights and output count.
    add : sequence of str
        Names of the catalogue: ``a100``, ``2xl4``, ``NAME=a100``. Where the graph has devices of
        the same kind, ops run on a new one if they run on any of those.
    replace : mapping of str to str, optional
        Names of the catalogue by id of the device whose place they take; it keeps its id, so that
        pins hold, and what was measured on it still mends the estimates. Ops that could not run
        there cannot run on the new one.
    dtype : str, optional
        What the model computes with; default: what most of its weights are, as `recorded_dtype`
        finds it.
    measured : mapping of str to str, optional
        Names of the catalogue by id of a device that ops were measured on.

    Raises
    ------
    InputError
        If a device is unknown, or its id taken, or the data type unknown; or if no op says what
        it does.
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
    for name in added:
        _require_free(cluster, name, sheets[name])
    # A device whose place is taken is still there while estimates are made, under another name.
    aliases = {name: f"{name} (before)" for name in swapped}
    known = {aliases.get(name, name): lookup(sheet) for name, sheet in (measured or {}).items()}
    profile = _read_back(problem, aliases)
    if not any(op.flops or op.moved_bytes for op in profile.ops):
        raise InputError(
            f"no op of {problem.graph.name} says what it does, expected flops or moved_bytes among "
            "the attrs, as profiles and traces have them, or sizes of tensors"
        )
    found = with_estimates(
        profile,
        {name: sheet.name for name, sheet in sheets.items()},
        dtype=recorded_dtype(problem) if dtype is None else dtype,
        measured=known,
    )
    per_second = units.PER_SECOND[problem.graph.time_unit]
    able = _able(problem, sheets, swapped)
    timed = enumerate(found.ops)

    def mended(op: Op) -> Op:
        i, estimates = next(timed)
        return _mended(op, estimates, [name for name in sheets if able[name][i]], per_second)

    models = tuple(
        dataclasses.replace(model, ops=tuple(mended(op) for op in model.ops))
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


def _require_free(cluster: Cluster, name: str, sheet: Datasheet) -> None:
    """Refuse a new device whose id, or whose kind, is the id of one of the graph's."""
    if name in cluster.index:
        raise InputError(f"device {name!r} is there already, expected another id")
    if sheet.kind in cluster.index:
        raise InputError(
            f"a device of the graph is called {sheet.kind!r}, as its kind is, so there can be no "
            f"second one: put {sheet.name} in its place, or give it another name when profiling, "
            f"as in {sheet.kind}0={sheet.kind}"
        )


def recorded_dtype(problem: Problem) -> str:
    """Return the floating-point type that most of the weights are, as ops say by their ``dtype``.

    Where nothing has weights, that of most outputs; ``fp32`` where ops do not say.
    """
    sizes: dict[str, list[int]] = {}
    output = problem.arrays.output
    for i, op in enumerate(op for model in problem.graph.models for op in model.ops):
        stated = op.attrs.get("dtype")
        every = [stated] if isinstance(stated, str) else _texts(stated)
        for dtype in [name for name in every if "float" in name][:1]:
            found = sizes.setdefault(dtype, [0, 0])
            found[0] += op.memory.weights
            found[1] += int(output[i])
    return max(sizes, key=lambda dtype: sizes[dtype], default="fp32")


def without_flops(problem: Problem) -> int:
    """Return the number of ops that are mostly arithmetic, and do not say how much of it."""
    return sum(
        op.attrs.get("flops") is None and class_of(op.type) in TENSOR_CLASSES
        for model in problem.graph.models
        for op in model.ops
    )


def remarks(problem: Problem) -> list[str]:
    """Say for how many ops of a problem an estimate has little to go by, or nothing at all."""
    lacking, time = without_flops(problem), problem.arrays.time
    busy = np.where(np.isfinite(time), time, 0.0).max(axis=1) > 0
    silent = sum(
        took and not (op.flops or op.moved_bytes) and class_of(op.type) not in (NOTHING, VIEW)
        for op, took in zip(_read_back(problem, {}).ops, busy.tolist(), strict=True)
    )
    notes = []
    if lacking:
        notes.append(f"note: {lacking} ops of arithmetic have no FLOPs: their bytes alone count")
    if silent:
        notes.append(
            f"note: {silent} ops have neither FLOPs nor bytes: they take no time on the new devices"
        )
    return notes


def _ids(problem: Problem) -> str:
    return ", ".join(problem.device_ids)


def _targets(specs: Iterable[str]) -> tuple[Target, ...]:
    """Read names of the catalogue, each as ``NAME=2xl4``, name and number left out or not."""
    given = []
    for spec in specs:
        match = _SPEC.fullmatch(spec)
        if match is None:
            raise InputError(f"device {spec!r} is not of the form {_FORM}")
        # The form in which profiles name what is only estimated.
        what = match["what"].removeprefix(PREFIX)
        given.append(f"{match['name'] or ''}{match['count'] or ''}{PREFIX}{what}")

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
        stated = _amount(op.attrs.get("moved_bytes"))
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
                moved_bytes=int(moved[i] if stated is None else stated),
                weights=op.memory.weights,
                output=int(arrays.output[i]),
                launches=int(_amount(op.attrs.get("launches")) or 1),
            )
        )
    return Profile(
        name=problem.graph.name,
        framework="",
        mode="",
        ops=tuple(ops),
        devices=tuple(DeviceProfile(aliases.get(d.id, d.id), d.kind, d.memory) for d in devices),
    )


def _able(
    problem: Problem, sheets: Mapping[str, Datasheet], swapped: Iterable[str]
) -> dict[str, Bools]:
    """Return which ops run on each new device (n,): those that run on what it is like.

    That is the device whose place it takes, or all of its kind. Where no op runs on these, or
    there are none, nothing is known, and all do.
    """
    columns, devices = problem.graph.columns, problem.cluster.devices
    runs = {d.id: np.isfinite(times_on(columns, d.id, d.kind)) for d in devices}
    found = {}
    for name, sheet in sheets.items():
        alike = [name] if name in swapped else [d.id for d in devices if d.kind == sheet.kind]
        some = np.zeros(columns.op_count, dtype=np.bool_)
        for device in alike:
            some |= runs[device]
        found[name] = some if some.any() else ~some
    return found


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else []


def _amount(value: object) -> float | None:
    """Return a fact of an op as a number; None where it is none."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < np.inf:
        return float(value)
    return None


def _mended(op: Op, found: OpProfile, names: Sequence[str], per_second: float) -> Op:
    """Return an op with its times on new devices, those that it runs on."""
    if not names:
        return op
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
            # Slots and the share of memory are how it is used, not what it is.
            device = dataclasses.replace(device, memory=sheet.memory)
        devices.append(device)
    gained = [name for name in sheets if name not in cluster.index]
    devices += [Device(name, sheets[name].kind, sheets[name].memory) for name in gained]
    if cluster.links is None:
        return dataclasses.replace(cluster, devices=tuple(devices))
    host = next((device.id for device in devices if device.kind == "cpu"), None)
    # Links of the host are those of what is plugged into it.
    gone = set(swapped) - {host}
    kept = [link for link in cluster.links if not {link.a, link.b} & gone]
    made = [
        Link(link.a, link.b, link.latency_s * per_second, link.bandwidth)
        for link in links(sheets, host)
    ]
    joined = dataclasses.replace(cluster, devices=tuple(devices), links=(*kept, *made))
    rest: list[Link] = []
    for name, sheet in sheets.items():
        for other in joined.index:
            if any({link.a, link.b} == {name, other} for link in rest):
                continue
            found = list(_missing(cluster, joined, host, (name, other), sheet, per_second))
            if len(found) == 2 and found[0].via == found[1].via:
                found = [dataclasses.replace(found[0], one_way=False)]
            rest += found
    return dataclasses.replace(joined, links=(*kept, *made, *rest))


def _missing(
    before: Cluster,
    after: Cluster,
    host: str | None,
    pair: tuple[str, str],
    sheet: Datasheet,
    per_second: float,
) -> Iterator[Link]:
    """Yield links for the directions of a pair that lack a way: through the host, if it has both.

    Where there was no way before, or the host reaches only one of the two, there is none.
    """
    old = before.index.keys()
    for a, b in (pair, pair[::-1]):
        if a == b or after.routes[a, b] is not None:
            continue
        known = {a, b} <= old
        if known and before.routes[a, b] is None:
            continue
        hops = () if host in (None, a, b) else ((a, host), (host, b))
        if hops and all(isinstance(after.routes[hop], Hop) for hop in hops):
            yield Link(a, b, via=host, one_way=True)
        elif known or host in (None, a, b):
            # Its memory is assumed to be no faster than the new link.
            latency = 2 * sheet.host_latency_s * per_second
            yield Link(a, b, latency, sheet.host_bandwidth, one_way=True)
