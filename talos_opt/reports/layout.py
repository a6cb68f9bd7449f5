"""Where bars go: a lane for each slot of each device, and lanes for links."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from talos_opt.core.problem import Bools, Floats, Ints
from talos_opt.core.schedule import Transfers
from talos_opt.formats.lanes import Lanes, assign_lanes

#: Slots of a device that have a lane although nothing ever runs there.
EMPTY_SLOTS = 8

#: Links that have lanes of their own; of more links, all that leave a device share theirs.
LINKS = 24

#: Lanes of a link at most, and of all links together, about.
LINK_LANES, ALL_LINK_LANES = 4, 36


@dataclass(frozen=True)
class Lane:
    """A row of the chart.

    Parameters
    ----------
    label : str
        ``gpu0``, ``cpu0 slot 2``, ``cpu0 → gpu0``; lanes of one link have the same.
    device : str
        Device of the slot; of a link, the one that it leaves.
    slot : int or None
        Number of the slot; None: a link.
    link : bool
    """

    label: str
    device: str
    slot: int | None
    link: bool


@dataclass(frozen=True)
class Bars:
    """What is to be laid out: n ops and the transfers of a schedule on m devices.

    Parameters
    ----------
    devices : tuple of str
    slots : (m,) int
        0: unknown.
    copy_engine : (m,) bool
    device, start, end, demand : (n,) arrays
        Device, times and slots of every op.
    transfers : Transfers
    """

    devices: tuple[str, ...]
    slots: Ints
    copy_engine: Bools
    device: Ints
    start: Floats
    end: Floats
    demand: Ints
    transfers: Transfers


@dataclass
class Layout:
    """Lanes, and which of them every bar is on; the fields of `View` of the same names."""

    op_lane: Ints
    op_lanes: Ints
    transfer_lane: Ints
    lanes: list[Lane] = field(default_factory=list)
    more_op: list[int] = field(default_factory=list)
    more_lane: list[int] = field(default_factory=list)
    more_lanes: list[int] = field(default_factory=list)
    hold_transfer: list[int] = field(default_factory=list)
    hold_lane: list[int] = field(default_factory=list)


def lay_out(bars: Bars, tolerance: float) -> Layout:
    """Lay out a schedule; bars that overlap by at most `tolerance` follow each other.

    Overlap beyond the slots of a device, which no feasible schedule has, gets lanes of its own.
    """
    layout = Layout(
        op_lane=np.zeros(len(bars.device), dtype=np.int64),
        op_lanes=np.ones(len(bars.device), dtype=np.int64),
        transfer_lane=np.zeros(len(bars.transfers), dtype=np.int64),
    )
    by_device = np.argsort(bars.device, kind="stable")
    cuts = np.searchsorted(bars.device[by_device], np.arange(1, len(bars.devices)))
    for d, ops in enumerate(np.split(by_device, cuts)):
        _lay_out_device(layout, bars, d, ops, tolerance)
    _lay_out_links(layout, bars, tolerance)
    return layout


def _lay_out_device(layout: Layout, bars: Bars, d: int, ops: Ints, tolerance: float) -> None:
    moves = bars.transfers
    ops_there = ops[bars.end[ops] - bars.start[ops] > tolerance]  # others hold no slot
    held = np.zeros(0, dtype=np.int64)
    if not bars.copy_engine[d]:
        carried = (moves.source == d) | (moves.target == d)
        held = np.flatnonzero(carried & (moves.end - moves.start > tolerance))
    placed = assign_lanes(
        np.concatenate([bars.start[ops_there], moves.start[held]]),
        np.concatenate([bars.end[ops_there], moves.end[held]]),
        np.concatenate([bars.demand[ops_there], np.ones(len(held), dtype=np.int64)]),
        lanes=_shown(int(bars.slots[d])),
        tolerance=tolerance,
    )
    base, many = len(layout.lanes), len(ops_there)
    layout.op_lane[ops] = base
    layout.op_lane[ops_there] = base + placed.first[:many]
    layout.op_lanes[ops_there] = placed.width[:many]
    layout.hold_transfer += held.tolist()
    layout.hold_lane += (base + placed.first[many:]).tolist()
    _add_further_lanes(layout, placed, ops_there, base)
    name, one = bars.devices[d], placed.count == 1
    layout.lanes += [
        Lane(name if one else f"{name} slot {k}", name, k, link=False) for k in range(placed.count)
    ]


def _shown(slots: int) -> int:
    """Lanes that a device has whatever runs there."""
    return min(max(slots, 1), EMPTY_SLOTS)


def _add_further_lanes(layout: Layout, placed: Lanes, ops: Ints, base: int) -> None:
    # Only ops hold several slots, so these are no transfers.
    layout.more_op += ops[placed.more_of].tolist()
    layout.more_lane += (base + placed.more_first).tolist()
    layout.more_lanes += placed.more_width.tolist()


def _lay_out_links(layout: Layout, bars: Bars, tolerance: float) -> None:
    moves = bars.transfers
    if not len(moves):
        return
    link = moves.source * len(bars.devices) + moves.target
    names: Iterable[str]
    keys, of = np.unique(link, return_inverse=True)
    pairs = [divmod(key, len(bars.devices)) for key in keys.tolist()]
    names = [f"{bars.devices[a]} → {bars.devices[b]}" for a, b in pairs]
    sources = [bars.devices[a] for a, _ in pairs]
    if len(keys) > LINKS:
        keys, of = np.unique(moves.source, return_inverse=True)
        sources = [bars.devices[a] for a in keys.tolist()]
        names = [f"{name} → any" for name in sources]
    limit = max(1, min(LINK_LANES, ALL_LINK_LANES // len(keys)))
    by_link = np.argsort(of, kind="stable")
    cuts = np.searchsorted(of[by_link], np.arange(1, len(keys)))
    for name, source, rows in zip(names, sources, np.split(by_link, cuts), strict=True):
        base = len(layout.lanes)
        placed = assign_lanes(moves.start[rows], moves.end[rows], tolerance=tolerance, limit=limit)
        layout.transfer_lane[rows] = base + placed.first
        layout.lanes += [Lane(name, source, None, link=True)] * placed.count
