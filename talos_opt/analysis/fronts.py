"""What is worth its price: the points of which no other is both cheaper and better."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Point:
    """A price and what it buys.

    Parameters
    ----------
    price, value : float
        Smaller is better.
    bound : float or None
        Proven: no smaller value can be had at this price in this way.
    label : str
    case : int
        Number of the case.
    """

    price: float
    value: float
    bound: float | None
    label: str
    case: int


def pareto_front(points: Iterable[Point]) -> tuple[Point, ...]:
    """Return the points of which no other costs no more and is no worse, cheapest first.

    Of points with the same price and value the first is kept.
    """
    front: list[Point] = []
    for point in sorted(points, key=lambda item: (item.price, item.value)):
        if not front or point.value < front[-1].value:
            front.append(point)
    return tuple(front)
