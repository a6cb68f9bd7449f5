"""Changes of a problem after which all that can be said of it is known to follow."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

from talos_opt.core.cluster import Cluster, Link
from talos_opt.core.graph import Graph, Model, Op
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule, TransferRow, Transfers
from talos_opt.testing.awkward import has_enough_digits
from talos_opt.testing.reference.flat import PER_SECOND

#: By how much all releases are put off: a little, a lot, Unix time in s, ms and us.
SHIFTS = (1e3, 1e9, 1_764_153_000.0, 1_764_153_000_000.0, 1_764_153_000_000_000.0)
POWERS = (-60, -20, -1, 10, 30)
FACTORS = (1e-6, 1e-3, 1 / 3, 1e3, 1e9)


@dataclass(frozen=True)
class Change:
    """A change of problems.

    Parameters
    ----------
    name : str
    problem : callable
        Problem to problem.
    optimum : callable
        The optimum that then follows, from the problem and its optimum.
    exact : bool
        Whether floats follow without rounding, where the problem's times are dyadic.
    order : bool
        Whether ops, devices and models stay as they were, in their order, so that what is
        deterministic decides the same.
    """

    name: str
    problem: Callable[[Problem], Problem]
    optimum: Callable[[Problem, Fraction], Fraction] = lambda problem, value: value
    exact: bool = True
    order: bool = True

    def __str__(self) -> str:
        return self.name


def forced_by(problem: Problem, release: float) -> Fraction:
    """The part of a value that a release of all models forces."""
    if problem.objective in ("bottleneck", "memory"):
        return Fraction(0)
    models = problem.graph.models
    weights = [Fraction(model.weight) for model in models] if problem.objective == "toct" else [1]
    return sum(weights, Fraction(0)) * Fraction(release)


# ---- times ---------------------------------------------------------------------------------


def shifted(problem: Problem, by: float) -> Problem:
    """All releases later."""
    models = problem.graph.models
    return _with_models(problem, [replace(m, release=m.release + by) for m in models])


def scaled(problem: Problem, factor: float) -> Problem:
    """All times longer."""
    return _with_times(problem, factor, 1 / factor)


def in_unit(problem: Problem, unit: str) -> Problem:
    """The same in another unit; bandwidths are per second whatever the unit."""
    factor = PER_SECOND[unit] / PER_SECOND[problem.graph.time_unit]
    changed = _with_times(problem, factor, 1.0)
    return replace(changed, graph=replace(changed.graph, time_unit=unit))


def room_for_digits(problem: Problem, by: float) -> int:
    """The power of two by which times must grow to show beside such a release."""
    power = 0
    while by and not has_enough_digits(shifted(scaled(problem, 2.0**power), by)):
        power += 4
    return power


def put_off(problem: Problem, by: float) -> Problem:
    """All releases later, and times so long that they still show."""
    return shifted(scaled(problem, 2.0 ** room_for_digits(problem, by)), by)


def _with_times(problem: Problem, factor: float, bandwidth: float) -> Problem:
    def longer(op: Op) -> Op:
        return replace(op, time={key: time * factor for key, time in op.time.items()})

    def slower(link: Link) -> Link:
        if link.via is not None:
            return link
        return replace(link, latency=link.latency * factor, bandwidth=link.bandwidth * bandwidth)

    models = [
        replace(m, ops=tuple(map(longer, m.ops)), release=m.release * factor)
        for m in problem.graph.models
    ]
    links = problem.cluster.links
    cluster = replace(problem.cluster, links=links and tuple(map(slower, links)))
    return replace(_with_models(problem, models), cluster=cluster)


# ---- order and names -----------------------------------------------------------------------


def permuted(problem: Problem, what: str, seed: int = 0) -> Problem:
    """Ops within their models, models, or devices in another order."""
    rng = random.Random(seed)

    def mix(items: tuple[object, ...]) -> tuple[object, ...]:
        return tuple(rng.sample(items, len(items)))

    if what == "devices":
        devices = mix(problem.cluster.devices)
        return replace(problem, cluster=replace(problem.cluster, devices=devices))
    models = problem.graph.models
    if what == "models":
        return _with_models(problem, mix(tuple(models)))
    return _with_models(
        problem,
        [
            replace(m, ops=tuple(replace(op, inputs=mix(op.inputs)) for op in mix(m.ops)))
            for m in models
        ],
    )


def renamed(problem: Problem) -> Problem:
    """Other ids for ops, models, groups and devices, in another alphabetical order."""

    def new(name: str) -> str:
        return f"{name[::-1]}-{'zyxwvutsrq'[sum(map(ord, name)) % 10]}"

    device_ids = {device.id: new(device.id) for device in problem.cluster.devices}

    def op(given: Op) -> Op:
        return replace(
            given,
            id=new(given.id),
            time={device_ids.get(key, key): time for key, time in given.time.items()},
            inputs=tuple(replace(edge, op=new(edge.op)) for edge in given.inputs),
            colocate=given.colocate and new(given.colocate),
            devices=given.devices and tuple(device_ids.get(d, d) for d in given.devices),
        )

    def link(given: Link) -> Link:
        return replace(
            given,
            a=device_ids.get(given.a, given.a),
            b=device_ids.get(given.b, given.b),
            via=given.via and device_ids[given.via],
        )

    models = [replace(m, id=new(m.id), ops=tuple(map(op, m.ops))) for m in problem.graph.models]
    cluster = problem.cluster
    devices = tuple(replace(d, id=device_ids[d.id]) for d in cluster.devices)
    links = cluster.links and tuple(map(link, cluster.links))
    graph = Graph("renamed", tuple(models), problem.graph.time_unit)
    cluster = Cluster(devices, links, cluster.reference, cluster.contention)
    return replace(problem, graph=graph, cluster=cluster)


# ---- more of it ----------------------------------------------------------------------------


def with_isolated_op(problem: Problem, time: float = 1.0) -> Problem:
    """One more op, in a model of no weight, on a device that nothing else can use."""
    spare = replace(problem.cluster.devices[0], id="spare0", kind="spare", memory=None, slots=1)
    cluster = replace(problem.cluster, devices=(*problem.cluster.devices, spare))
    alone = Model("alone", (Op("op", {"spare": time}),), weight=0.0)
    models = (*problem.graph.models, alone)
    return replace(problem, cluster=cluster, graph=replace(problem.graph, models=models))


def isolated_optimum(problem: Problem, value: Fraction, time: float = 1.0) -> Fraction:
    """The optimum with an isolated op."""
    return value if problem.objective == "toct" else max(value, Fraction(time))


def with_twin(problem: Problem, d: int = 0) -> Problem:
    """One more device of a kind, as the one that is there."""
    twin = replace(problem.cluster.devices[d], id="twin")
    devices = (*problem.cluster.devices, twin)
    return replace(problem, cluster=replace(problem.cluster, devices=devices))


def _with_models(problem: Problem, models: object) -> Problem:
    return replace(problem, graph=replace(problem.graph, models=tuple(models)))  # type: ignore[call-overload]


# ---- all of them ---------------------------------------------------------------------------


def _shift(by: float) -> Change:
    def optimum(problem: Problem, value: Fraction) -> Fraction:
        return value * 2 ** room_for_digits(problem, by) + forced_by(problem, by)

    return Change(f"releases {by:.10g} later", lambda p: put_off(p, by), optimum, exact=False)


def _scale(factor: float, name: str, *, exact: bool) -> Change:
    return Change(
        f"times {name} as long",
        lambda problem: scaled(problem, factor),
        lambda problem, value: value * Fraction(factor),
        exact=exact,
    )


def _unit(unit: str) -> Change:
    def optimum(problem: Problem, value: Fraction) -> Fraction:
        return value * Fraction(PER_SECOND[unit]) / Fraction(PER_SECOND[problem.graph.time_unit])

    return Change(f"in {unit}", lambda problem: in_unit(problem, unit), optimum, exact=False)


CHANGES = (
    *map(_shift, SHIFTS),
    *(_scale(2.0**power, f"2^{power}", exact=True) for power in POWERS),
    *(_scale(factor, f"{factor:.3g}", exact=False) for factor in FACTORS),
    *map(_unit, PER_SECOND),
    *(
        Change(f"other order of {what}", lambda p, what=what: permuted(p, what), order=False)
        for what in ("ops", "models", "devices")
    ),
    Change("other ids", renamed),
    Change("one isolated op more", with_isolated_op, isolated_optimum, order=False),
)


def moved(schedule: Schedule, factor: float, by: float) -> Schedule:
    """The same schedule where all times are longer and then later."""
    rows = [
        TransferRow(
            row.op, row.source, row.target, row.start * factor + by, row.end * factor + by,
            row.bytes, row.tensor,
        )
        for row in schedule.transfers.rows()
    ]  # fmt: skip
    return replace(
        schedule,
        start=schedule.start * factor + by,
        end=schedule.end * factor + by,
        transfers=Transfers.from_rows(rows),
    )
