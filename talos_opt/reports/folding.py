"""Devices of a kind as one: what a chart of many devices shows of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from talos_opt.core.memory_curves import MemoryCurve
from talos_opt.core.problem import Ints
from talos_opt.reports.layout import Lane
from talos_opt.reports.view import View

#: With more devices than this, kinds are folded that have at least so many of them.
FOLD_ABOVE, LEAST_FOLDED = 16, 4


@dataclass(frozen=True)
class Group:
    """Lanes that are folded into one.

    Parameters
    ----------
    lane : int
        The one lane, in the view that is folded.
    lanes : (k,) int
        Those that it stands for, in the view that was given.
    whole : int
        Slots of the devices; of links their lanes, and at least one for each device.
    """

    lane: int
    lanes: Ints
    whole: int


@dataclass(frozen=True)
class Folded:
    """A view whose kinds of many devices have one lane each.

    Parameters
    ----------
    view : View
        Ops and transfers of folded lanes are on the lane that stands for them.
    source : View
        The view that was given.
    groups : tuple of Group
    """

    view: View
    source: View
    groups: tuple[Group, ...]


def folded_kinds(kinds: Sequence[str]) -> dict[str, int]:
    """Return the kinds that are folded, and how many devices each has."""
    if len(kinds) <= FOLD_ABOVE:
        return {}
    numbers = {kind: list(kinds).count(kind) for kind in dict.fromkeys(kinds)}
    return {kind: number for kind, number in numbers.items() if number >= LEAST_FOLDED}


def fold(view: View) -> Folded:
    """Fold the devices of a view by kind, where they are many, with their links and memory."""
    numbers = folded_kinds(view.kinds)
    if not numbers:
        return Folded(view, view, ())
    kind_of = dict(zip(view.devices, view.kinds, strict=True))
    place: dict[tuple[str, bool], int] = {}
    lanes: list[Lane] = []
    to = np.zeros(len(view.lanes), dtype=np.int64)
    for k, lane in enumerate(view.lanes):
        kind = kind_of[lane.device]
        if kind not in numbers:
            to[k] = len(lanes)
            lanes.append(lane)
            continue
        if (kind, lane.link) not in place:
            place[kind, lane.link] = len(lanes)
            name = f"{kind} \N{MULTIPLICATION SIGN} {numbers[kind]}"
            label = f"{name} \N{RIGHTWARDS ARROW} any" if lane.link else name
            lanes.append(Lane(label, name, None, link=lane.link))
        to[k] = place[kind, lane.link]
    groups = tuple(
        _group(view, lane, np.flatnonzero(to == lane), numbers[kind])
        for (kind, _), lane in place.items()
    )
    one = np.isin(to[view.op_lane], list(place.values())) & (view.op_lane >= 0)
    return Folded(
        replace(
            view,
            lanes=tuple(lanes),
            op_lane=np.where(view.op_lane >= 0, to[view.op_lane], -1),
            op_lanes=np.where(one, 1, view.op_lanes),
            transfer_lane=to[view.transfer_lane],
            more_lane=to[view.more_lane],
            hold_lane=to[view.hold_lane],
            memory=_memory(view, numbers),
        ),
        view,
        groups,
    )


def _group(view: View, lane: int, lanes: Ints, devices: int) -> Group:
    if view.lanes[int(lanes[0])].link:
        return Group(lane, lanes, max(devices, len(lanes)))
    names = [view.lanes[k].device for k in lanes.tolist()]
    slots = dict(zip(view.devices, view.slots.tolist(), strict=True))
    # A device with many slots has lanes for those in use alone.
    return Group(lane, lanes, sum(max(slots[name], names.count(name)) for name in set(names)))


def _memory(view: View, numbers: dict[str, int]) -> tuple[MemoryCurve, ...]:
    """Return one curve for each folded kind: the most that any of its devices holds."""
    kind_of = dict(zip(view.devices, view.kinds, strict=True))
    found: dict[str, list[MemoryCurve]] = {}
    for curve in view.memory:
        kind = kind_of[curve.device]
        found.setdefault(kind if kind in numbers else f"device {curve.device}", []).append(curve)
    return tuple(
        most_held(curves, f"{kind} \N{MULTIPLICATION SIGN} {numbers[kind]}")
        if kind in numbers
        else curves[0]
        for kind, curves in found.items()
    )


def most_held(curves: Sequence[MemoryCurve], name: str) -> MemoryCurve:
    """Return the most that any of several devices holds at each time, as a curve of that name.

    The limit is the smallest of theirs, and None if one has none.
    """
    times = np.unique(np.concatenate([curve.times for curve in curves]))
    held = np.zeros(len(times), dtype=np.int64)
    for curve in curves:
        at = np.searchsorted(curve.times, times, side="right") - 1
        np.maximum(held, np.where(at >= 0, curve.bytes[at], 0), out=held)
    limits = [curve.limit for curve in curves]
    statics = [curve.static for curve in curves if curve.static is not None]
    return MemoryCurve(
        name,
        None if None in limits else min(limit for limit in limits if limit is not None),
        times,
        held,
        max(statics, default=None),
    )
