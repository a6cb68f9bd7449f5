"""Where ops run: devices, the links between them, and the routes that follow from the links."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

from talos_opt.core import units
from talos_opt.core.bundles import Bundles
from talos_opt.core.errors import GraphError
from talos_opt.core.plain import as_flag, as_objects, as_text, as_word

#: Nothing may be bundled.
NO_BUNDLES = Bundles()


@dataclass(frozen=True, slots=True)
class Device:
    """A device that runs ops.

    Parameters
    ----------
    id : str
    kind : str
        cpu, gpu, ...; op times are usually given per kind.
    memory : int, optional
        Capacity in bytes; None: unlimited.
    memory_fraction : float
        Usable share of the memory (Talos' epsilon), in (0, 1].
    slots : int
        Units that run ops side by side (Talos Fig. 6: resource units).
    copy_engine : bool
        True: transfers overlap with compute. False: a transfer in or out holds one slot.
    """

    id: str
    kind: str
    memory: int | None = None
    memory_fraction: float = 1.0
    slots: int = 1
    copy_engine: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", as_word(self.id, "device id", "id"))
        kind = as_word(self.kind, f"kind of device {self.id!r}", "kind")
        object.__setattr__(self, "kind", kind)
        copy_engine = as_flag(self.copy_engine, "copy_engine", "copy_engine")
        object.__setattr__(self, "copy_engine", copy_engine)
        fraction = units.magnitude(self.memory_fraction, "memory_fraction", path="memory_fraction")
        if not 0 < fraction <= 1:
            raise GraphError(
                f"memory_fraction is {self.memory_fraction!r}, expected above 0 and at most 1",
                path="memory_fraction",
            )
        object.__setattr__(self, "memory_fraction", fraction)
        slots = units.positive_int(self.slots, "slots", path="slots")
        object.__setattr__(self, "slots", slots)
        if self.memory is not None:
            memory = units.size(self.memory, "memory", path="memory", capacity=True)
            object.__setattr__(self, "memory", memory)

    @property
    def usable_memory(self) -> int | None:
        """Bytes that ops may fill, or None where the memory is unlimited.

        Of the fraction that was written: 0.29 of 100 bytes are 29, though the float is below.
        """
        if self.memory is None:
            return None
        return math.floor(self.memory * Fraction(units.as_decimal(self.memory_fraction)))

    def to_dict(self) -> dict[str, Any]:
        """Return the device as a mapping of talos-graph/1, less what has its default value."""
        record: dict[str, Any] = {"id": self.id, "kind": self.kind}
        if self.memory is not None:
            record["memory"] = self.memory
        if self.memory_fraction != 1:
            record["memory_fraction"] = self.memory_fraction
        if self.slots != 1:
            record["slots"] = self.slots
        if not self.copy_engine:
            record["copy_engine"] = False
        return record


@dataclass(frozen=True, slots=True)
class Link:
    """A rule for moving tensors between two devices or kinds.

    Parameters
    ----------
    a, b : str
        Device ids or kinds. A tensor moves from `a` to `b`, and back unless `one_way`.
    latency : float
        In the graph's time unit.
    bandwidth : float
        Bytes per second; infinite: only the latency counts.
    via : str, optional
        Id of a device through which tensors are routed, in two hops; the hops have their own
        links, so latency and bandwidth are not used.
    one_way : bool
    duplex : {'full', 'half'}
        Under contention ``serial``, whether the two directions share the link.
    """

    a: str
    b: str
    latency: float = 0.0
    bandwidth: float = math.inf
    via: str | None = None
    one_way: bool = False
    duplex: str = "full"

    def __post_init__(self) -> None:
        parsed: dict[str, object] = {
            "a": as_word(self.a, "an end", "a"),
            "b": as_word(self.b, "an end", "b"),
            "latency": units.magnitude(self.latency, "latency", path="latency"),
            "one_way": as_flag(self.one_way, "one_way", "one_way"),
            "duplex": as_text(self.duplex, "duplex", "duplex"),
        }
        if self.via is not None:
            parsed["via"] = as_word(self.via, "via", "via")
        if not (isinstance(self.bandwidth, float) and self.bandwidth == math.inf):
            parsed["bandwidth"] = units.bandwidth(self.bandwidth, "bandwidth", path="bandwidth")
        for name, value in parsed.items():
            object.__setattr__(self, name, value)
        if self.duplex not in ("full", "half"):
            raise GraphError(
                f"duplex is {units.describe(self.duplex)}, expected full or half", path="duplex"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the link as a mapping of talos-graph/1, less what has its default value."""
        record: dict[str, Any] = (
            {"from": self.a, "to": self.b} if self.one_way else {"between": [self.a, self.b]}
        )
        if self.via is not None:
            return record | {"via": self.via}
        if self.latency:
            record["latency"] = self.latency
        if self.bandwidth != math.inf:
            record["bandwidth"] = self.bandwidth
        if self.duplex != "full":
            record["duplex"] = self.duplex
        return record


@dataclass(frozen=True, slots=True)
class Hop:
    """A direct way from one device to another.

    Parameters
    ----------
    latency : float
    bandwidth : float
        Bytes per second.
    channel : tuple of str
        What a tensor occupies under contention ``serial``: the ordered pair of devices; where
        the link is half duplex, the sorted pair and the word ``half``, so that it is shared
        with the other direction only if that is half duplex too.
    """

    latency: float
    bandwidth: float
    channel: tuple[str, ...]


#: The route between two devices: a direct hop, the id of a staging device, or None (no route).
Route = Hop | str | None


@dataclass(frozen=True)
class Cluster:
    """Devices and links.

    Parameters
    ----------
    devices : tuple of Device
    links : tuple of Link, optional
        None: tensors move in no time between all devices. An empty tuple: no routes at all.
    reference : str, optional
        Device kind that speedups refer to; default: cpu if there is one, else the first
        device's kind.
    contention : {'none', 'serial'}
        ``serial``: a link carries one tensor at a time.
    bundles : Bundles, mapping or 'all'
        Which devices may act as one; default: none.

    Raises
    ------
    GraphError
        On duplicate or unknown ids, a `via` whose hops have no link of their own, or bundles of
        unknown kinds or of more devices than there are.
    """

    devices: tuple[Device, ...]
    links: tuple[Link, ...] | None = None
    reference: str = ""
    contention: str = "none"
    bundles: Bundles = NO_BUNDLES

    def __post_init__(self) -> None:
        object.__setattr__(self, "devices", as_objects(self.devices, Device, "devices"))
        if self.links is not None:
            object.__setattr__(self, "links", as_objects(self.links, Link, "links"))
        if not self.devices:
            raise GraphError("the cluster has no devices, expected at least one", path="devices")
        self._check_names()
        for key in ("reference", "contention"):
            object.__setattr__(self, key, as_text(getattr(self, key), key, key))
        if not self.reference:
            kinds = [device.kind for device in self.devices]
            object.__setattr__(self, "reference", "cpu" if "cpu" in kinds else kinds[0])
        elif self.reference not in self.kinds:
            raise GraphError(
                f"reference is {self.reference!r}, expected a device kind "
                f"({', '.join(self.kinds)})",
                path="reference",
            )
        if self.contention not in ("none", "serial"):
            raise GraphError(
                f"contention is {self.contention!r}, expected none or serial", path="contention"
            )
        rules = set()
        for k, link in enumerate(self.links or ()):
            self._check_link(k, link)
            rule = (link.a, link.b, link.one_way, link.via is None)
            if rule in rules:
                raise GraphError(f"the link {link.a} - {link.b} is given twice", path=f"links[{k}]")
            rules.add(rule)
        self._check_hops()
        counts = Counter(device.kind for device in self.devices)
        object.__setattr__(self, "bundles", Bundles.of(self.bundles).for_kinds(counts))

    def __repr__(self) -> str:
        kinds = {kind: sum(d.kind == kind for d in self.devices) for kind in self.kinds}
        devices = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
        links = "free" if self.links is None else len(self.links)
        return f"Cluster({devices}; links: {links}, contention {self.contention})"

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Position of each device id in `devices`."""
        return {device.id: i for i, device in enumerate(self.devices)}

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """Device kinds in order of first appearance."""
        return tuple(dict.fromkeys(device.kind for device in self.devices))

    def to_dict(self) -> dict[str, Any]:
        """Return the cluster as the mapping ``cluster`` of talos-graph/1, of plain values."""
        record: dict[str, Any] = {
            "reference": self.reference,
            "contention": self.contention,
            "devices": [device.to_dict() for device in self.devices],
        }
        if self.links is not None:
            record["links"] = [link.to_dict() for link in self.links]
        if self.bundles:
            record["bundles"] = self.bundles.to_plain()
        return record

    def members(self, name: str) -> tuple[Device, ...]:
        """Return the devices that an id or a kind stands for (empty: an unknown name)."""
        if name in self.index:
            return (self.devices[self.index[name]],)
        return tuple(device for device in self.devices if device.kind == name)

    @cached_property
    def routes(self) -> Mapping[tuple[str, str], Route]:
        """Route for every ordered pair of distinct devices.

        An explicit link wins over a `via`; then ids win over kinds, one direction over both,
        and the later rule over the earlier.
        """
        ids = [device.id for device in self.devices]
        if self.links is None:
            return {(a, b): Hop(0.0, math.inf, (a, b)) for a in ids for b in ids if a != b}
        best = self._chosen
        return {
            (a, b): best[a, b][1] if (a, b) in best else None for a in ids for b in ids if a != b
        }

    def rule_of(self, a: str, b: str) -> int | None:
        """Return the position in `links` of the rule that the route from a to b follows."""
        chosen = self._chosen.get((a, b))
        return None if chosen is None else chosen[0][-1]

    @cached_property
    def _chosen(self) -> dict[tuple[str, str], tuple[tuple[int, int, int, int], Route]]:
        """Rank and route of the rule that wins for each pair of devices."""
        best: dict[tuple[str, str], tuple[tuple[int, int, int, int], Route]] = {}
        for order, link in enumerate(self.links or ()):
            self._spread(link, order, best)
        return best

    def _spread(
        self,
        link: Link,
        order: int,
        best: dict[tuple[str, str], tuple[tuple[int, int, int, int], Route]],
    ) -> None:
        named = (link.a in self.index) + (link.b in self.index)
        rank = (link.via is None, named, link.one_way, order)
        directions = [(link.a, link.b)] if link.one_way else [(link.a, link.b), (link.b, link.a)]
        for source, target in directions:
            for a in self.members(source):
                for b in self.members(target):
                    if a.id == b.id or link.via in (a.id, b.id):
                        continue
                    if (a.id, b.id) not in best or rank >= best[a.id, b.id][0]:
                        best[a.id, b.id] = (rank, self._route(link, a.id, b.id))

    def _route(self, link: Link, a: str, b: str) -> Route:
        if link.via is not None:
            return link.via
        half = link.duplex == "half"
        channel = (min(a, b), max(a, b), "half") if half else (a, b)
        return Hop(link.latency, link.bandwidth, channel)

    def _check_names(self) -> None:
        seen: set[str] = set()
        kinds = Counter(device.kind for device in self.devices)
        for i, device in enumerate(self.devices):
            if device.id in seen:
                raise GraphError(
                    f"device id {device.id!r} is used twice, expected unique ids",
                    path=f"devices[{i}].id",
                )
            seen.add(device.id)
            if device.id in kinds and device.id != device.kind:
                raise GraphError(
                    f"{device.id!r} is both a device id and another device's kind, "
                    "expected different names",
                    path=f"devices[{i}].id",
                )
            if device.id == device.kind and kinds[device.kind] > 1:
                raise GraphError(
                    f"device id {device.id!r} is also the kind of {kinds[device.kind]} devices, "
                    "expected different names",
                    path=f"devices[{i}].id",
                )

    def _check_link(self, k: int, link: Link) -> None:
        path = f"links[{k}]"
        for name in (link.a, link.b):
            if not self.members(name):
                raise GraphError(
                    f"{name!r} is not a device, expected an id or kind of {self._names()}",
                    path=path,
                )
        if link.via is not None and link.via not in self.index:
            raise GraphError(
                f"via is {link.via!r}, expected a device id of {self._names()}",
                path=f"{path}.via",
            )

    def _check_hops(self) -> None:
        for (a, b), route in self.routes.items():
            if not isinstance(route, str):
                continue
            for pair in ((a, route), (route, b)):
                if not isinstance(self.routes[pair], Hop):
                    raise GraphError(
                        f"{a} -> {b} goes via {route}, but there is no direct link "
                        f"{pair[0]} -> {pair[1]}",
                        path=f"links[{self._via_rule(a, b)}].via",
                    )

    def _via_rule(self, a: str, b: str) -> int:
        """Position of the rule that routes a -> b, for the message."""
        rules: Sequence[Link] = self.links or ()
        for k in reversed(range(len(rules))):
            ends = [(rules[k].a, rules[k].b)]
            if not rules[k].one_way:
                ends.append((rules[k].b, rules[k].a))
            for x, y in ends:
                if rules[k].via is not None and self._holds(x, a) and self._holds(y, b):
                    return k
        raise AssertionError(f"no via rule for {a} -> {b}")

    def _holds(self, name: str, device: str) -> bool:
        return any(member.id == device for member in self.members(name))

    def _names(self) -> str:
        return ", ".join([device.id for device in self.devices] + list(self.kinds))
