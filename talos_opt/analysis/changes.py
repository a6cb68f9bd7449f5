"""Single changes of a problem that may help most: what a schedule waits for says which.

Each is a problem of its own; what it is worth only a solve can tell (`studies/single_changes.py`).
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from talos_opt.analysis.breakdown import Breakdown
from talos_opt.analysis.causes import critical_path
from talos_opt.analysis.gaps import Part
from talos_opt.analysis.path_parts import PathParts, path_parts
from talos_opt.core.cluster import Cluster, Link
from talos_opt.core.columns import Columns
from talos_opt.core.errors import GraphError
from talos_opt.core.graph import ColumnarModels, Graph
from talos_opt.core.problem import UNLIMITED, Bools, Objective, Problem
from talos_opt.core.shares import held_bytes
from talos_opt.core.units import format_bytes

#: Changes of each kind, and how much more memory or weight is tried.
EACH, MORE_MEMORY, MORE_WEIGHT = 2, 0.25, 2.0

#: Models whose critical paths are looked at, those with the largest shares of toct.
PATHS = 32

#: A device this full lacks memory; one that is busy for less than this needs no company.
FULL, BUSY = 0.9, 0.05


@dataclass(frozen=True)
class Change:
    """A problem that differs from another in one thing.

    Parameters
    ----------
    kind : {'link', 'memory', 'device', 'ops', 'weight'}
    label : str
        What is changed.
    why : str
        What the schedule says for it.
    problem : Problem
        With the change; devices keep their numbers, and a new one comes last.
    """

    kind: str
    label: str
    why: str
    problem: Problem


def single_changes(found: Breakdown) -> tuple[Change, ...]:
    """Return the changes that the breakdown of a schedule suggests, at most `EACH` of a kind."""
    ways = (_links, _memory, _devices, _ops, _weights)
    return tuple(change for way in ways for change in way(found))


def _shown(share: float, what: str) -> str:
    return f"{100 * share:.3g} % of {what}"


def _is_paced(found: Breakdown) -> bool:
    """Whether critical paths decide about the objective, not loads."""
    return found.problem.objective in (Objective.TOCT, Objective.MAKESPAN)


@dataclass(frozen=True)
class _Account:
    """What each transfer and op adds to the objective, about, and what that is a share of."""

    transfers: tuple[tuple[int, int, float], ...]  # source, target, time
    ops: tuple[tuple[int, float], ...]
    whole: float
    what: str


def _account(found: Breakdown) -> _Account:
    """Account for the objective by critical paths: under toct of each model, by its weight."""
    problem, schedule, moves = found.problem, found.schedule, found.schedule.transfers
    if not _is_paced(found):
        sent = zip(moves.source.tolist(), moves.target.tolist(),
                   (moves.end - moves.start).tolist(), strict=True)  # fmt: skip
        length = schedule.end - schedule.start
        lasting = tuple(enumerate(length.tolist()))
        return _Account(tuple(sent), lasting, found.span, "the makespan, all devices added")
    paths, what = [(1.0, found.path)], "the critical path"
    if problem.objective is Objective.TOCT:
        what = "the models' critical paths"
        heavy = sorted(found.models, key=lambda item: -item.share)[:PATHS]
        paths = [(item.weight, _path_of(found, item.model)) for item in heavy if item.share > 0]
    transfers: list[tuple[int, int, float]] = []
    ops: list[tuple[int, float]] = []
    for weight, path in paths:
        transfers += [(a, b, weight * time) for (a, b), time in path.by_link.items()]
        steps = (item for item in path.stretches if item.transfer < 0)
        ops += [(item.op, weight * item.length) for item in steps]
    whole = sum(weight * path.end for weight, path in paths)
    return _Account(tuple(transfers), tuple(ops), whole, what)


def _path_of(found: Breakdown, model: int) -> PathParts:
    """Return the critical path to the op of a model that ends last."""
    problem, schedule, causes = found.problem, found.schedule, found.causes
    own = problem.arrays.model == model
    last = int(np.argmax(np.where(own, schedule.end, -np.inf)))
    steps = critical_path(problem, schedule, causes, to=last)
    return path_parts(problem, schedule, causes, steps)


# ---- links -----------------------------------------------------------------------------------


def _links(found: Breakdown) -> Iterator[Change]:
    """The rules for links that take most of the critical paths, or of all transfers."""
    problem, account = found.problem, _account(found)
    ids, rules = problem.device_ids, problem.cluster.links or ()
    time: dict[int, float] = defaultdict(float)
    for a, b, spent in account.transfers:
        rule = problem.cluster.rule_of(ids[a], ids[b])
        if rule is not None:
            time[rule] += spent
    for rule in _largest(time, account.whole):
        link = rules[rule]
        faster = dataclasses.replace(link, latency=link.latency / 2, bandwidth=link.bandwidth * 2)
        links = (*rules[:rule], faster, *rules[rule + 1 :])
        name = f"{link.a} {'->' if link.one_way else '<->'} {link.b}"
        yield from _made(
            "link",
            f"link {name} twice as fast",
            _shown(time[rule] / account.whole, account.what),
            problem,
            cluster=dataclasses.replace(problem.cluster, links=links),
        )


def _largest(time: dict[int, float], whole: float) -> list[int]:
    """Return the keys of the `EACH` largest times, of which none is next to nothing."""
    kept = [key for key, spent in time.items() if spent > 1e-3 * whole]
    return sorted(kept, key=lambda key: -time[key])[:EACH]


# ---- devices ---------------------------------------------------------------------------------


def _memory(found: Breakdown) -> Iterator[Change]:
    """More memory where it is waited for, or nearly full."""
    problem, arrays = found.problem, found.problem.arrays
    held = held_bytes(problem, found.schedule)
    limited = (arrays.capacity < UNLIMITED) & (arrays.capacity > 0)
    share = np.where(limited, held / np.maximum(arrays.capacity, 1), 0.0)
    waited = np.array([item.parts[Part.MEMORY] for item in found.devices])
    tight = limited & ((share >= FULL) | (waited > 1e-3 * found.span))
    order = [d for d in np.lexsort((-share, -waited)).tolist() if tight[d]]
    for d in order[:EACH]:
        device = problem.cluster.devices[d]
        assert device.memory is not None, "of limited devices only"
        more = int(device.memory * MORE_MEMORY)
        larger = dataclasses.replace(device, memory=device.memory + more)
        yield from _made(
            "memory",
            f"memory of {device.id} + {format_bytes(more)}",
            f"{100 * share[d]:.4g} % full",
            problem,
            cluster=_with_device(problem.cluster, d, larger),
        )


def _with_device(cluster: Cluster, d: int, device: object) -> Cluster:
    devices = (*cluster.devices[:d], device, *cluster.devices[d + 1 :])
    return dataclasses.replace(cluster, devices=devices)  # type: ignore[arg-type]


def _devices(found: Breakdown) -> Iterator[Change]:
    """One more of the kinds that are busiest."""
    problem = found.problem
    cluster, whole = problem.cluster, found.span
    busy: dict[str, float] = defaultdict(float)
    for device, item in zip(cluster.devices, found.devices, strict=True):
        busy[device.kind] = max(busy[device.kind], item.busy / whole if whole > 0 else 0.0)
    kinds = sorted((kind for kind in busy if busy[kind] >= BUSY), key=lambda kind: -busy[kind])
    for kind in kinds[:EACH]:
        first = cluster.members(kind)[0]
        names = (f"{kind}{k}" for k in range(len(cluster.devices) + 1))
        name = next(name for name in names if name not in cluster.index)
        links = cluster.links
        if links is not None:
            links = (*links, *(_renamed(link, first.id, name) for link in links
                               if first.id in (link.a, link.b)))  # fmt: skip
        devices = (*cluster.devices, dataclasses.replace(first, id=name))
        columns = problem.graph.columns
        if first.id in columns.time_keys:
            own = columns.time[:, columns.time_keys.index(first.id)]
            columns = dataclasses.replace(
                columns,
                time_keys=(*columns.time_keys, name),
                time=np.column_stack([columns.time, own]),
            )
        devices = (*cluster.devices, dataclasses.replace(first, id=name))
        try:
            larger = dataclasses.replace(cluster, devices=devices, links=links)
        except GraphError:  # a device that is called as its kind can have no company
            continue
        yield from _made(
            "device",
            f"one more {kind}",
            f"busy for {_shown(busy[kind], 'the makespan')}",
            problem,
            cluster=larger,
            graph=_graph(problem, columns),
        )


def _renamed(link: Link, old: str, new: str) -> Link:
    ends = [new if end == old else end for end in (link.a, link.b)]
    return dataclasses.replace(link, a=ends[0], b=ends[1])


# ---- ops and models --------------------------------------------------------------------------


def _ops(found: Breakdown) -> Iterator[Change]:
    """Op types, or without types ops, that take most of the critical paths, or of all time."""
    problem, account = found.problem, _account(found)
    columns = problem.graph.columns
    time: dict[int, float] = defaultdict(float)
    typed = any(columns.types)
    for i, spent in account.ops:
        time[int(columns.type[i]) if typed else i] += spent
    for key in _largest(time, account.whole):
        if typed and not columns.types[key]:
            continue
        which: Bools = columns.type == key if typed else np.arange(len(columns.type)) == key
        name = f"all {columns.types[key]} ops" if typed else f"op {problem.names[key]}"
        faster = np.where(which[:, None], columns.time / 2, columns.time)
        yield from _made(
            "ops",
            f"{name} twice as fast",
            _shown(time[key] / account.whole, account.what),
            problem,
            graph=_graph(problem, dataclasses.replace(columns, time=faster)),
        )


def _weights(found: Breakdown) -> Iterator[Change]:
    """A higher priority for the model that has the largest share of toct."""
    problem = found.problem
    if problem.objective is not Objective.TOCT or len(problem.graph.model_ids) < 2:
        return
    most = max(found.models, key=lambda item: item.share)
    if most.share <= 0:
        return
    columns = problem.graph.columns
    weight = columns.model_weight.copy()
    weight[most.model] *= MORE_WEIGHT
    yield from _made(
        "weight",
        f"weight of {problem.graph.model_ids[most.model]} x {MORE_WEIGHT:g}",
        _shown(most.share, "toct"),
        problem,
        graph=_graph(problem, dataclasses.replace(columns, model_weight=weight)),
    )


def _graph(problem: Problem, columns: Columns) -> Graph:
    """Return the graph with other columns; what is known of the old one does not hold for it."""
    graph = problem.graph
    if columns is graph.columns:
        return graph
    return Graph(
        graph.name, ColumnarModels(columns), graph.time_unit, description=graph.description
    )


def _made(
    kind: str,
    label: str,
    why: str,
    problem: Problem,
    *,
    cluster: Cluster | None = None,
    graph: Graph | None = None,
) -> Iterator[Change]:
    """Yield the change, unless sums of the changed problem no longer fit into numbers."""
    try:
        changed = dataclasses.replace(
            problem,
            cluster=problem.cluster if cluster is None else cluster,
            graph=problem.graph if graph is None else graph,
        )
    except GraphError:
        return
    yield Change(kind, label, why, changed)
