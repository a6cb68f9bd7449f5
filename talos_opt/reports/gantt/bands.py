"""Lanes of a Gantt picture, stacked: how high each is and where it lies, in inches from the top."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from talos_opt.core.problem import Floats
from talos_opt.reports.view import Lane

#: Height of the lanes of all slots together, about; and of one.
SLOTS, LEAST_SLOT, LARGEST_SLOT = 5.5, 0.115, 0.36

#: Height of a lane that stands for the devices of a kind, and of one for their links.
GROUP, LINK_GROUP = 0.6, 0.24

#: Height of a name: of a link with its lanes at least, of a device on which nothing runs.
NAME = 0.15

#: Space between devices, and between links.
DEVICE_GAP, LINK_GAP = 0.1, 0.03

#: Share of a lane's height that its bars fill.
FILLED = 0.86


@dataclass(frozen=True)
class Band:
    """Neighbouring lanes of one device or of one link.

    Parameters
    ----------
    name : str
    link : bool
    first, last : int
        Lanes.
    """

    name: str
    link: bool
    first: int
    last: int


@dataclass(frozen=True)
class Stack:
    """Where lanes lie.

    Parameters
    ----------
    bands : tuple of Band
    top, bottom : (lanes,) float
        Of the bars in each lane.
    height : float
        Of all.
    slot : float
        Of the lane of a slot.
    """

    bands: tuple[Band, ...]
    top: Floats
    bottom: Floats
    height: float
    slot: float

    def middle(self, band: Band) -> float:
        """Return the middle of a band."""
        return float(self.top[band.first] + self.bottom[band.last]) / 2


def stack(lanes: Sequence[Lane], used: Collection[str], folded: Collection[int] = ()) -> Stack:
    """Stack lanes from the top down.

    Parameters
    ----------
    lanes : sequence of Lane
    used : collection of str
        Devices on which something runs; the lanes of others are squeezed.
    folded : collection of int
        Lanes that stand for several.
    """
    slots = sum(
        not lane.link and lane.device in used and k not in folded for k, lane in enumerate(lanes)
    )
    slot = min(LARGEST_SLOT, max(LEAST_SLOT, SLOTS / max(1, slots)))
    bands = tuple(_bands(lanes))
    top, bottom = np.zeros(len(lanes)), np.zeros(len(lanes))
    y = 0.0
    for at, band in enumerate(bands):
        if at:
            y += LINK_GAP if band.link and bands[at - 1].link else DEVICE_GAP
        count = band.last - band.first + 1
        each = slot
        if band.first in folded:
            each = LINK_GROUP if band.link else GROUP
        elif band.link:
            each = max(0.4 * slot, NAME / count)
        elif band.name not in used:
            each = NAME / count
        for k in range(band.first, band.last + 1):
            # Bars of a link are thin, however high its name.
            thin = band.link and k not in folded
            thick = min(each * FILLED, 0.3 * slot) if thin else each * FILLED
            top[k] = y + (each - thick) / 2
            bottom[k] = top[k] + thick
            y += each
    return Stack(bands, top, bottom, y, slot)


def _bands(lanes: Sequence[Lane]) -> list[Band]:
    def belongs(k: int) -> tuple[bool, str]:
        lane = lanes[k]
        return lane.link, lane.label if lane.link else lane.device

    bands = []
    for (link, name), members in groupby(range(len(lanes)), belongs):
        here = list(members)
        bands.append(Band(name, link, here[0], here[-1]))
    return bands
