"""What has started by some moment and stays as it is, while the rest is planned anew.

The problem stays whole: ops that have started keep their device and their times, transfers that
have started keep theirs, and everything else starts at the moment or later. So a schedule of a
problem with a frozen part is one of the problem without, memory and all, and what is proven of the
problem without it holds with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from talos_opt.core.arrays import Arrays, Bools, Floats, Ints

if TYPE_CHECKING:
    from talos_opt.core.schedule import Schedule, TransferRow, Transfers


@dataclass(frozen=True, eq=False)
class Frozen:
    """The part of a problem that has started: n ops, m devices.

    Parameters
    ----------
    moment : float
        Whatever is not frozen starts then or later.
    started : (n,) bool
        Ops that have started; with an op, all whose outputs it reads.
    start, end : (n,) float
        When those ops run; of the others they say nothing.
    transfers : Transfers
        Hops that have started. One that no reader needs any more is broken off and forgotten.
    allowed : (n, m) bool
        Devices that an op may be on: of those that have started, their own.
    left : (m,) bool
        Devices that have left: nothing is sent there or from there any more.
    planned : (n,) int
        Where each op was to run before; -1: it was not planned.
    price : (n,) float
        What it costs to run an op elsewhere, in units of the objective's value.
    """

    moment: float
    started: Bools
    start: Floats
    end: Floats
    transfers: Transfers
    allowed: Bools
    left: Bools
    planned: Ints
    price: Floats

    def __post_init__(self) -> None:
        for value in vars(self).values():
            if isinstance(value, np.ndarray):
                value.setflags(write=False)

    def __repr__(self) -> str:
        return (
            f"Frozen({int(self.started.sum())} of {len(self.started)} ops and "
            f"{len(self.transfers)} transfers at {self.moment:g})"
        )

    @cached_property
    def hops(self) -> Mapping[tuple[int, int], TransferRow]:
        """Hops that have started, by tensor and target."""
        return {(row.tensor, row.target): row for row in self.transfers.rows()}

    @cached_property
    def moments(self) -> Floats:
        """All times that are given: the moment, and when what has started starts and ends."""
        return np.unique(
            np.concatenate(
                [
                    [self.moment],
                    self.start[self.started],
                    self.end[self.started],
                    self.transfers.start,
                    self.transfers.end,
                ]
            )
        )

    def touches(self, device: int) -> bool:
        """Whether anything is particular about a device: what is on its way there, or that it left.

        Ops that have started show in `allowed`.
        """
        moves = self.transfers
        return bool(
            self.left[device] or (moves.source == device).any() or (moves.target == device).any()
        ) or bool((self.planned[self.price > 0] == device).any())

    def earliest(self, arrays: Arrays) -> Floats:
        """When each op may start at the earliest; of those that have started, when they do (n,)."""
        released = np.maximum(arrays.release[arrays.model], self.moment)
        return np.asarray(np.where(self.started, self.start, released))

    def restrict(self, arrays: Arrays) -> Arrays:
        """Return arrays in which ops can run only where they may be."""
        if self.allowed.all():
            return arrays
        allowed = arrays.allowed.copy()
        np.logical_and.at(allowed, arrays.group, self.allowed)
        return replace(arrays, time=np.where(self.allowed, arrays.time, np.inf), allowed=allowed)

    def prices(self, arrays: Arrays) -> Floats:
        """What it costs to have a group on a device, not where it was to be (g, m)."""
        price = np.where(self.planned >= 0, self.price, 0.0)
        table = np.zeros(arrays.allowed.shape)
        for d in range(arrays.device_count):
            np.add.at(table[:, d], arrays.group, np.where(self.planned == d, 0.0, price))
        return table

    def cost(self, device: Ints) -> float:
        """Return what a placement (n,) costs by what moves in it."""
        moved = (self.planned >= 0) & (device != self.planned)
        return float(self.price[moved].sum())

    def impose(self, schedule: Schedule) -> Schedule:
        """Return a schedule in which what is frozen has the very times that it had.

        They may differ by the rounding of a way to another scale and back.
        """
        moves = schedule.transfers
        begin, end = moves.start.copy(), moves.end.copy()
        hops = self.hops
        for k, key in enumerate(zip(moves.tensor.tolist(), moves.target.tolist(), strict=True)):
            if key in hops:
                begin[k], end[k] = hops[key].start, hops[key].end
        return replace(
            schedule,
            start=np.where(self.started, self.start, schedule.start),
            end=np.where(self.started, self.end, schedule.end),
            transfers=replace(moves, start=begin, end=end),
        )

    def rescaled(self, origin: float, times: int, values: int) -> Frozen:
        """Return it with times from an origin on, times and prices multiplied by powers of two."""

        def moved(time: Floats) -> Floats:
            return np.asarray(np.ldexp(time - origin, times))

        moves = self.transfers
        return replace(
            self,
            moment=math.ldexp(max(0.0, self.moment - origin), times),
            start=moved(self.start),
            end=moved(self.end),
            transfers=replace(moves, start=moved(moves.start), end=moved(moves.end)),
            price=np.ldexp(self.price, values),
        )
