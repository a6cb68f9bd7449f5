"""The ways to decide, part by part, what one device holds, as layers of states.

A state is what later decisions need to know of the tensors that have been touched and have
readers, or their producer, still to come: whether the producer is on the device, which readers
are, and whether the device has paid for a transfer already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from talos_opt.core.problem import Floats, Ints


@dataclass(frozen=True)
class Crossing:
    """A tensor, or several of the same parts, and what the device pays where it crosses.

    Parameters
    ----------
    maker : int
        Part that makes it.
    readers : frozenset of int
        Other parts that read it.
    out, into : float
        Least time if the maker is on the device and a reader is not; and if a reader is and the
        maker is not.
    """

    maker: int
    readers: frozenset[int]
    out: float
    into: float

    @property
    def parts(self) -> frozenset[int]:
        """All parts that it touches."""
        return self.readers | {self.maker}


@dataclass(frozen=True)
class Layer:
    """The decision about one part.

    Parameters
    ----------
    part : int
    moves : (2, s) int
        Next state of each state without the part, and with it; -1: not possible.
    costs : (2, s) float
        What is paid for transfers on the way.
    count : int
        Number of next states.
    """

    part: int
    moves: Ints
    costs: Floats
    count: int


#: A layer has at most this part of the states of all layers together.
_LAYERS_OF_MOST = 30
#: States between two looks at the clock.
_STATES_PER_LOOK = 512

#: What is known of an open tensor. Maker seen: whether it is here, or that it is paid for; maker
#: unseen: which readers are here.
_OUTSIDE, _HERE, _PAID, _READ_OUTSIDE, _READ_HERE, _READ_BOTH = range(6)
_READ = (_READ_OUTSIDE, _READ_HERE)


def narrow_order(
    parts: int,
    crossings: Sequence[Crossing],
    start: Sequence[int],
    stopped: Callable[[], bool],
) -> list[int]:
    """Return parts in an order in which few tensors are open at a time.

    Parameters
    ----------
    parts : int
    crossings : sequence of Crossing
    start : sequence of int
        All parts; breaks ties, and says where to begin.
    stopped : callable
        Where it says True, the rest comes as in `start`.
    """
    touching = _touching(parts, crossings)
    left = [len(crossing.parts) for crossing in crossings]
    rank = {part: place for place, part in enumerate(start)}
    waiting = iter(start)
    order: list[int] = []
    done: set[int] = set()
    near: set[int] = set()

    def growth(part: int) -> tuple[int, int]:
        """How many more tensors are open after a part."""
        total = 0
        for t in touching[part]:
            opened = left[t] < len(crossings[t].parts)
            total += (left[t] > 1) - opened if opened else int(left[t] > 1)
        return total, rank[part]

    while len(order) < parts:
        if near and not stopped():
            part = min(near, key=growth)
            near.remove(part)
        else:
            part = next(p for p in waiting if p not in done)
            near.discard(part)
        done.add(part)
        order.append(part)
        for t in touching[part]:
            left[t] -= 1
            near |= crossings[t].parts - done
    return order


def _touching(parts: int, crossings: Sequence[Crossing]) -> list[list[int]]:
    """Crossings that touch each part."""
    found: list[list[int]] = [[] for _ in range(parts)]
    for number, crossing in enumerate(crossings):
        for part in crossing.parts:
            found[part].append(number)
    return found


def build_layers(
    order: Sequence[int],
    able: Sequence[bool],
    crossings: Sequence[Crossing],
    most: int,
    stopped: Callable[[], bool],
) -> list[Layer] | None:
    """Return the layers of an order; None if there are more states than `most`, or if stopped.

    Parameters
    ----------
    order : sequence of int
        All parts.
    able : sequence of bool
        Whether the device may hold each part.
    crossings : sequence of Crossing
    most : int
        States of all layers together.
    stopped : callable
    """
    touching = _touching(len(order), crossings)
    place = {part: k for k, part in enumerate(order)}
    last = [max(place[part] for part in crossing.parts) for crossing in crossings]
    states: dict[tuple[tuple[int, int], ...], int] = {(): 0}
    layers: list[Layer] = []
    total = 0
    for k, part in enumerate(order):
        following: dict[tuple[tuple[int, int], ...], int] = {}
        moves = np.full((2, len(states)), -1, dtype=np.int64)
        costs = np.zeros((2, len(states)))
        closing = {t for t in touching[part] if last[t] == k}
        for state, number in states.items():
            if len(following) > most // _LAYERS_OF_MOST or (
                number % _STATES_PER_LOOK == 0 and stopped()
            ):
                return None
            for here in (0, 1) if able[part] else (0,):
                known = dict(state)
                for t in touching[part]:
                    known[t], paid = _touch(known.get(t), crossings[t], part, here)
                    costs[here, number] += paid
                key = tuple(sorted(item for item in known.items() if item[0] not in closing))
                moves[here, number] = following.setdefault(key, len(following))
        states = following
        total += len(states)
        if total > most:
            return None
        layers.append(Layer(part, moves, costs, len(states)))
    return layers


def _touch(known: int | None, crossing: Crossing, part: int, here: int) -> tuple[int, float]:
    """Return what is known of a tensor after one of its parts was decided, and what is paid."""
    price = crossing.out if here else crossing.into
    if part == crossing.maker:
        if known is None or known == _READ[here]:
            return here, 0.0
        return _PAID, price
    if known is None:
        return _READ[here], 0.0
    if known in (_PAID, _READ_BOTH, _READ[here], here):
        return known, 0.0
    if known in _READ:
        return _READ_BOTH, 0.0
    return _PAID, crossing.into if here else crossing.out
