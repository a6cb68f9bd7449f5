"""From a problem and a set of bundles to the problem in which each bundle is a device.

The derived problem is an ordinary one: every bundle is a device of a kind of its own, whose times
follow from those of one member (docs/bundles.md). Only the memory of ops depends on the device
there (`talos_opt.core.division`); solvers get problems without that (`core.bundle_memory`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from talos_opt.core.all_reduce import Reductions
from talos_opt.core.arrays import NO_ROUTE, Floats, times_on
from talos_opt.core.bundles import Bundle, BundleMode, read_chosen
from talos_opt.core.cluster import NO_BUNDLES, Cluster, Device, Hop, Link
from talos_opt.core.columns import UPDATE, Columns
from talos_opt.core.division import Division
from talos_opt.core.equal_devices import Twins
from talos_opt.core.errors import GraphError
from talos_opt.core.graph import ColumnarModels, Graph
from talos_opt.core.problem import Problem


@dataclass(frozen=True)
class Bundling:
    """Where a derived problem comes from.

    Parameters
    ----------
    base : Problem
        With every device on its own.
    bundles : tuple of Bundle
    """

    base: Problem
    bundles: tuple[Bundle, ...]

    @cached_property
    def by_device(self) -> Mapping[str, Bundle]:
        """Bundle by the id of the device that it is."""
        return {bundle.id: bundle for bundle in self.bundles}

    def division(self, columns: Columns, cluster: Cluster) -> Division:
        """Return how the devices of the derived cluster divide the memory of ops."""
        weights = np.ones(len(cluster.devices), dtype=np.int64)
        tensors = weights.copy()
        for d, device in enumerate(cluster.devices):
            bundle = self.by_device.get(device.id)
            if bundle is not None:
                own = weights if bundle.mode is BundleMode.TENSOR else tensors
                own[d] = bundle.size
        split = columns.split
        return Division(
            np.zeros(columns.op_count, dtype=bool) if split is None else split, weights, tensors
        )


def bundled(problem: Problem, bundles: Iterable[Bundle | Mapping[str, Any]]) -> Problem:
    """Return a problem in which given devices act as one.

    Parameters
    ----------
    problem : Problem
        The user's; one that was derived already is derived from its base again.
    bundles : iterable of Bundle or mapping
        Mappings have ``members``, a list of device ids, and ``mode``, data or tensor.

    Returns
    -------
    Problem
        Without bundles: the same problem, of which nothing may be bundled any more.

    Raises
    ------
    GraphError
        If a member is unknown, in two bundles, or not equal to the others of its bundle; if an op
        is too large for every device and bundle; or if members need a link and have none.
    """
    return Derivation(problem.source).derive(read_chosen(tuple(bundles)))


#: A device that is alone, or the first member of a bundle and that bundle.
Part = tuple[Device, Bundle | None]


class Derivation:
    """Derives problems from one; what they have in common is worked out once.

    Parameters
    ----------
    base : Problem
        With every device on its own.
    """

    def __init__(self, base: Problem) -> None:
        self.base = base
        self.twins = Twins(base.cluster, base.arrays, base.names)
        self._checked: set[tuple[int, int]] = set()

    @cached_property
    def plain(self) -> Problem:
        """The problem of which nothing may be bundled; a GraphError if an op fits nowhere."""
        return replace(self.base, cluster=replace(self.base.cluster, bundles=NO_BUNDLES))

    @cached_property
    def _reductions(self) -> Reductions:
        return Reductions(self.base.graph)

    def derive(self, bundles: tuple[Bundle, ...]) -> Problem:
        """Return the problem with these bundles; see `bundled`."""
        if not bundles:
            return self.plain
        for k, bundle in enumerate(bundles):
            self._require_equal(bundle, f"bundles[{k}]")
        _require_once(bundles)
        names = {bundle.members[0]: bundle for bundle in bundles}
        inside = {name for bundle in bundles for name in bundle.members[1:]}
        kept = [device for device in self.base.cluster.devices if device.id not in inside]
        parts = [(device, names.get(device.id)) for device in kept]
        kinds = self._kinds(bundles)
        devices = tuple(
            device if bundle is None else replace(device, id=bundle.id, kind=kinds[bundle])
            for device, bundle in parts
        )
        return replace(
            self.base,
            graph=self._graph(parts, kinds),
            cluster=self._cluster(parts, devices),
            bundling=Bundling(self.base, bundles),
        )

    def menu(self, parts: Sequence[Part]) -> Problem:
        """Return a problem with all that devices may be part of, without links and limits.

        Parameters
        ----------
        parts : sequence of (Device, Bundle or None)
            A device that is alone, or the first member of a bundle; members may come again.
        """
        kinds = self._kinds(tuple(bundle for _, bundle in parts if bundle is not None))
        devices = []
        for device, bundle in parts:
            free = replace(device, memory=None, memory_fraction=1.0)
            if bundle is not None:
                free = replace(free, id=f"{bundle.id} {kinds[bundle]}", kind=kinds[bundle])
            devices.append(free)
        return replace(self.base, graph=self._graph(parts, kinds), cluster=Cluster(tuple(devices)))

    # ---- what bundles are made of ----------------------------------------------------------

    def _require_equal(self, bundle: Bundle, path: str) -> None:
        index = self.base.cluster.index
        for k, name in enumerate(bundle.members):
            if name not in index:
                raise GraphError(
                    f"{name!r} is not a device, expected one of {', '.join(index)}",
                    path=f"{path}.members[{k}]",
                )
        if bundle.size < 2:
            raise GraphError(
                f"a bundle has {bundle.size} member(s), expected two or more",
                path=f"{path}.members",
            )
        first = index[bundle.members[0]]
        for name in bundle.members[1:]:
            pair = (first, index[name])
            if pair in self._checked:
                continue
            told = self.twins.difference(*pair)
            if told:
                raise GraphError(
                    f"{bundle.members[0]} and {name} are not equal, expected equal devices in a "
                    f"bundle: {told}",
                    path=f"{path}.members",
                )
            self._checked.add(pair)

    def _kinds(self, bundles: tuple[Bundle, ...]) -> dict[Bundle, str]:
        """Name the kind of each bundle: ``gpu.data2``, with a mark where times in a kind differ."""
        cluster = self.base.cluster
        taken = {*cluster.index, *cluster.kinds}
        found: dict[Bundle, str] = {}
        leaders: dict[str, int] = {}
        for bundle in bundles:
            first = cluster.index[bundle.members[0]]
            name = f"{cluster.devices[first].kind}.{bundle.mode.value}{bundle.size}"
            while name in taken or self._apart(leaders.setdefault(name, first), first):
                name += "'"
            found[bundle] = name
        return found

    def _apart(self, a: int, b: int) -> bool:
        """Whether ops take other times on two devices, which then are of different kinds."""
        time = self.base.arrays.time
        return a != b and bool((time[:, a] != time[:, b]).any())

    # ---- the cluster -----------------------------------------------------------------------

    def _cluster(self, parts: Sequence[Part], devices: tuple[Device, ...]) -> Cluster:
        base = self.base.cluster
        kinds = {device.kind for device in devices}
        reference = base.reference if base.reference in kinds else devices[0].kind
        links = None if base.links is None else tuple(self._links(parts, devices))
        return Cluster(devices, links, reference, base.contention)

    def _links(self, parts: Sequence[Part], devices: tuple[Device, ...]) -> Iterable[Link]:
        """Links between all devices: those of first members, as many side by side as both have."""
        routes = self.base.cluster.routes
        whole = {device.id for device, bundle in parts if bundle is None}
        for (a, first), source in zip(parts, devices, strict=True):
            for (b, second), target in zip(parts, devices, strict=True):
                route = None if a.id == b.id else routes[a.id, b.id]
                if isinstance(route, Hop):
                    side = min(_streams(first), _streams(second))
                    half = "half" if len(route.channel) == 3 else "full"
                    yield Link(
                        source.id, target.id, route.latency, route.bandwidth * side,
                        one_way=True, duplex=half,
                    )  # fmt: skip
                elif route is not None:
                    if route not in whole:
                        raise GraphError(
                            f"{route} passes on what {a.id} sends to {b.id}, "
                            "so it cannot be in a bundle",
                            path="bundles",
                        )
                    yield Link(source.id, target.id, via=route, one_way=True)

    # ---- the graph -------------------------------------------------------------------------

    def _graph(self, parts: Sequence[Part], kinds: Mapping[Bundle, str]) -> Graph:
        graph = base = self.base.graph
        data = any(bundle.mode is BundleMode.DATA for bundle in kinds)
        if data and self._reductions.needed:
            graph = self._reductions.graph
        columns = graph.columns
        times = {}
        for bundle, kind in kinds.items():
            if kind not in times:
                times[kind] = self._times(columns, bundle)
        given = replace(
            columns,
            time_keys=(*columns.time_keys, *times),
            time=np.column_stack([columns.time, *times.values()]),
            pins=tuple(self._pins(columns, parts, kinds)),
        )
        vars(given)["topology"] = columns.topology  # the edges are the same
        return replace(base, models=ColumnarModels(given))

    def _times(self, columns: Columns, bundle: Bundle) -> Floats:
        """Times of ops on a bundle (n,), nan where they cannot run."""
        first = self.base.cluster.devices[self.base.cluster.index[bundle.members[0]]]
        alone = times_on(columns, first.id, first.kind)
        latency, per_byte = self._member_link(bundle, columns)
        size = bundle.size
        share = 2 * (size - 1) / size
        if bundle.mode is BundleMode.TENSOR:
            if columns.split is None:
                return np.where(np.isfinite(alone), alone, np.nan)
            reduced = 2 * (size - 1) * latency + share * per_byte * columns.output
            time = np.where(columns.split, alone / size, alone)
            time = time + np.where(self._reductions.region_ends(columns), reduced, 0.0)
        else:
            rule = self.base.cluster.bundles.rule(first.kind)
            speedup = float(size) if rule is None else rule.speedup(size)
            late = np.zeros(len(alone), dtype=bool)
            if columns.phase is not None:
                late = columns.phase == UPDATE
            time = np.where(late, alone, alone / speedup)
            if self._reductions.needed:
                time = time + share * per_byte * self._reductions.reduced_bytes
        return np.asarray(np.where(np.isfinite(time), time, np.nan))

    def _member_link(self, bundle: Bundle, columns: Columns) -> tuple[float, float]:
        """Latency and time per byte of the way from one member to another."""
        arrays, index = self.base.arrays, self.base.cluster.index
        a, b = (index[name] for name in bundle.members[:2])
        path = arrays.path(a, b)
        if path is not None:
            hops = [(float(arrays.latency[hop]), float(arrays.per_byte[hop])) for hop in path]
            return sum(hop[0] for hop in hops), sum(hop[1] for hop in hops)
        assert arrays.via[a, b] == NO_ROUTE
        training = bundle.mode is BundleMode.DATA and self._reductions.needed
        if training or (bundle.mode is BundleMode.TENSOR and columns.split is not None):
            raise GraphError(
                f"the members of {bundle.id} have to add up "
                f"{'gradients' if training else 'outputs'}, and there is no route from "
                f"{bundle.members[0]} to {bundle.members[1]}",
                path="bundles",
            )
        return 0.0, 0.0

    def _pins(
        self, columns: Columns, parts: Sequence[Part], kinds: Mapping[Bundle, str]
    ) -> Iterable[tuple[str, ...]]:
        """Let ops that are pinned to a member run on its bundle, and forget what is gone."""
        names: dict[str, dict[str, None]] = {}  # what a device was called -> what it is called now
        for device, bundle in parts:
            for old in (device.id, device.kind):
                new = old if bundle is None else kinds[bundle]
                names.setdefault(old, {})[new] = None
        known = {*self.base.cluster.index, *self.base.cluster.kinds}
        for pinned in columns.pins:
            now = dict.fromkeys(
                new for old in pinned for new in names.get(old, {} if old in known else {old: None})
            )
            yield tuple(now)


def _streams(bundle: Bundle | None) -> int:
    """Return how many members send or receive parts of a tensor side by side."""
    return bundle.size if bundle is not None and bundle.mode is BundleMode.DATA else 1


def _require_once(bundles: tuple[Bundle, ...]) -> None:
    seen: dict[str, int] = {}
    for k, bundle in enumerate(bundles):
        for name in bundle.members:
            if name in seen:
                raise GraphError(
                    f"{name} is in bundles[{seen[name]}] and bundles[{k}], expected it once",
                    path=f"bundles[{k}].members",
                )
            seen[name] = k
