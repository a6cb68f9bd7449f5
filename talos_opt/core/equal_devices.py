"""Which devices are equal: exchanging two of them changes neither times, limits nor links."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from talos_opt.core.arrays import Arrays, Ints
from talos_opt.core.cluster import Cluster, Device, Hop


@dataclass(frozen=True)
class Twins:
    """Compares the devices of a cluster.

    Parameters
    ----------
    cluster : Cluster
    arrays : Arrays
        Of a graph on that cluster.
    names : sequence of str
        ``MODEL/OP`` of every op, for messages.
    """

    cluster: Cluster
    arrays: Arrays
    names: tuple[str, ...]

    def difference(self, a: int, b: int) -> str:
        """Return what differs between two devices, empty if they are equal."""
        first, second = self.cluster.devices[a], self.cluster.devices[b]
        return self._parts(first, second) or self._times(a, b) or self._links(a, b)

    def classes(self, kind: str) -> list[list[int]]:
        """Return the devices of a kind in classes of equal ones, each in the cluster's order."""
        found: list[list[int]] = []
        for d, device in enumerate(self.cluster.devices):
            if device.kind != kind:
                continue
            known = next((row for row in found if not self.difference(row[0], d)), None)
            if known is None:
                found.append([d])
            else:
                known.append(d)
        return found

    def _parts(self, first: Device, second: Device) -> str:
        for what, x, y in (
            ("kind", first.kind, second.kind),
            ("memory", first.usable_memory, second.usable_memory),
            ("slots", first.slots, second.slots),
            ("copy_engine", first.copy_engine, second.copy_engine),
        ):
            if x != y:
                return f"{what} is {_said(x)} on {first.id} and {_said(y)} on {second.id}"
        return ""

    def _times(self, a: int, b: int) -> str:
        x, y = self.arrays.time[:, a], self.arrays.time[:, b]
        other = np.flatnonzero(x != y)
        if not len(other):
            return ""
        i, ids = int(other[0]), self.cluster.devices
        return (
            f"op {self.names[i]} takes {_length(x[i])} on {ids[a].id} and {_length(y[i])} on "
            f"{ids[b].id}"
        )

    def _links(self, a: int, b: int) -> str:
        """Compare the links with those that would be there if the two changed places."""
        swapped = np.arange(len(self.cluster.devices))
        swapped[[a, b]] = b, a
        via = self.arrays.via
        told = np.where(via >= 0, swapped[via], via)[np.ix_(swapped, swapped)] != via
        for table in (self.arrays.latency, self.arrays.per_byte, self._halves):
            told |= table[np.ix_(swapped, swapped)] != table
        differs = np.argwhere(told)
        if not len(differs):
            return ""
        ends = next((row for row in differs.tolist() if a in row), differs.tolist()[0])
        x, y = (self.cluster.devices[d].id for d in ends)
        u, v = (self.cluster.devices[int(swapped[d])].id for d in ends)
        return f"the link {x} - {y} is not like {u} - {v}"

    @cached_property
    def _halves(self) -> Ints:
        """Which hops share their link with the other direction (m, m)."""
        found = np.zeros_like(self.arrays.via)
        for (x, y), route in self.cluster.routes.items():
            if isinstance(route, Hop) and len(route.channel) == 3:
                found[self.cluster.index[x], self.cluster.index[y]] = 1
        return found


def _said(value: object) -> str:
    return "without limit" if value is None else str(value).lower()


def _length(time: float) -> str:
    return f"{time:g}" if np.isfinite(time) else "does not run"
