"""The efficiencies of cards, from speeds that were measured with known splits.

The time of a token is a sum over parts and devices:

    T = hops + launches + sum of max(bytes / (m x bandwidth), FLOPs / (c x peak))

with two unknown efficiencies of each device, m and c, which devices of one product share. Which
side of a maximum counts is assumed from the last guess; then T is linear in 1 / m and 1 / c, and
bounded least squares of the relative errors give the next guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from talos_opt.core.cluster import Cluster, Device
from talos_opt.core.errors import InputError
from talos_opt.core.graph import Graph, Input, Model, Op
from talos_opt.core.problem import Problem
from talos_opt.core.simulator import simulate
from talos_opt.core.transfers import NoRouteError
from talos_opt.core.units import PER_SECOND
from talos_opt.frameworks.common.least_squares import bounded_least_squares
from talos_opt.frameworks.common.profile import TIME_UNIT
from talos_opt.frameworks.common.roofline import reached
from talos_opt.frameworks.llm.devices import Card
from talos_opt.frameworks.llm.graph import Room, cluster_of, hop_bytes
from talos_opt.frameworks.llm.measurements import Measurement
from talos_opt.frameworks.llm.model import LanguageModel
from talos_opt.frameworks.llm.workload import PRODUCT, Workload, dtype_on, passes_of

Floats = NDArray[np.float64]

#: Efficiencies below this are not looked for.
LEAST = 0.01
#: How far a measurement may exceed what datasheets allow.
_SLACK = 1.02
#: Columns that depend on each other up to this share cannot be told apart in measurements.
_DEPENDENT = 1e-3
#: Of a measurement's time that an unknown has to take, or it stays what the catalogue has.
LEAST_SHARE = 0.01
_ROUNDS = 50
#: Where the search starts, as multiples of the times that the catalogue's efficiencies give.
_STARTS = (1.0, 0.5, 2.0, 5.0)
_WORDS = ("bandwidth", "compute")


class Efficiency(NamedTuple):
    """Shares of a device's bandwidth and peak; None: nothing that was measured depends on it."""

    bandwidth: float | None
    compute: float | None


@dataclass(frozen=True)
class Calibration:
    """Cards as measured.

    Parameters
    ----------
    cards : tuple of Card
        With the bandwidth and peak that make the catalogue's efficiencies those that were found.
    found : dict of str to Efficiency
        By device.
    before : dict of str to Efficiency
        What the catalogue has, or 1 for devices whose rates were given.
    seconds : tuple of float
        Predicted for each measurement.
    errors : tuple of float
        The same over what was measured, less 1.
    """

    cards: tuple[Card, ...]
    found: dict[str, Efficiency]
    before: dict[str, Efficiency]
    seconds: tuple[float, ...]
    errors: tuple[float, ...]


def calibrate(
    model: LanguageModel,
    cards: Sequence[Card],
    measured: Sequence[Measurement],
    load: Workload,
    cluster: Cluster | None = None,
) -> Calibration:
    """Return the efficiencies that explain measurements best.

    Parameters
    ----------
    model : LanguageModel
    cards : sequence of Card
    measured : sequence of Measurement
    load : Workload
        Whose types and chunks were used.
    cluster : Cluster, optional
        See `problem_of`.

    Raises
    ------
    InputError
        If a speed is beyond what bandwidths and peaks allow, or the measurements do not determine
        the efficiencies that they depend on.
    """
    data = _Data(model, cards, measured, load, cluster)
    data.require_possible()
    x = data.fitted()
    data.require_determined(x)
    known = data.sensitive(x)
    found: dict[str, Efficiency] = {}
    before: dict[str, Efficiency] = {}
    after: list[Card] = []
    for card, u in zip(cards, data.unknown, strict=True):
        pair = (float(data.base[k] / x[k]) if known[k] else None for k in (u, u + 1))
        found[card.id] = Efficiency(*pair)
        before[card.id] = Efficiency(float(data.base[u]), float(data.base[u + 1]))
        after.append(_scaled(card, 1 / float(x[u]), 1 / float(x[u + 1]), found[card.id]))
    predicted = data.predict(x)
    errors = predicted / data.seconds - 1
    return Calibration(tuple(after), found, before, tuple(predicted.tolist()),
                       tuple(errors.tolist()))  # fmt: skip


def _scaled(card: Card, bandwidth: float, peak: float, found: Efficiency) -> Card:
    """Return a card whose speeds are multiplied."""
    said = " and ".join(
        f"{share:.3g} of its {'bandwidth' if k == 0 else 'peak'}"
        for k, share in enumerate(found)
        if share is not None
    )
    if not said:
        return card
    text = f"measured to reach {said}"
    if card.sheet is None:
        own = None if card.peak is None else card.peak * peak
        return replace(card, bandwidth=card.bandwidth * bandwidth, peak=own, measured=text)
    peaks = MappingProxyType({dtype: value * peak for dtype, value in card.sheet.peak.items()})
    sheet = replace(card.sheet, bandwidth=card.sheet.bandwidth * bandwidth, peak=peaks)
    return replace(card, sheet=sheet, measured=text)


class _Data:
    """Measurements as arrays; unknowns u and u + 1 are the slowness of a product.

    That is: by what its times for bytes and for FLOPs are to be multiplied.
    """

    def __init__(
        self,
        model: LanguageModel,
        cards: Sequence[Card],
        measured: Sequence[Measurement],
        load: Workload,
        cluster: Cluster | None,
    ) -> None:
        self.measured = measured
        self.seconds: Floats = np.array([m.seconds for m in measured])
        self.fixed: Floats = np.zeros(len(measured))
        products = [card.id if card.sheet is None else card.sheet for card in cards]
        #: The first unknown of each card, and the cards that have it, in words.
        self.unknown = [2 * products.index(product) for product in products]
        self.names = {
            u: "/".join(card.id for card, v in zip(cards, self.unknown, strict=True) if u == v)
            for u in self.unknown
        }
        index = {card.id: d for d, card in enumerate(cards)}
        rows: list[tuple[int, int, float, float]] = []
        for m, one in enumerate(measured):
            mine = replace(load, context=one.context, batch=one.batch, phase=one.phase,
                           prompt=0, generate=0)  # fmt: skip
            self.fixed[m] = _hops(model, cards, mine, one, cluster)
            for part, name in zip(model.parts, one.devices, strict=True):
                d = index[name]
                for count, terms in passes_of(part, model, mine, cards[d]):
                    self.fixed[m] += count * terms.launch
                    rows.append(
                        (m, self.unknown[d], count * terms.traffic, count * terms.arithmetic)
                    )
        self.m = np.array([row[0] for row in rows])
        self.u = np.array([row[1] for row in rows])
        self.traffic: Floats = np.array([row[2] for row in rows])
        self.arithmetic: Floats = np.array([row[3] for row in rows])
        self.base: Floats = np.ravel([_shares(card, model) for card in cards])
        self.low: Floats = np.minimum(self.base, 1.0)
        self.high: Floats = np.maximum(self.base / LEAST, 1.0)
        idle = np.setdiff1d(np.arange(len(self.base)), np.concatenate([self.u, self.u + 1]))
        self.low[idle] = self.high[idle] = 1.0

    def predict(self, x: Floats) -> Floats:
        """Return the seconds of each measurement."""
        times = np.maximum(x[self.u] * self.traffic, x[self.u + 1] * self.arithmetic)
        return self.fixed + np.bincount(self.m, times, minlength=len(self.seconds))

    def _loss(self, x: Floats) -> float:
        return float(np.sum((self.predict(x) / self.seconds - 1) ** 2))

    def columns(self, x: Floats) -> Floats:
        """Return what each relative error gains for each unknown, near a guess."""
        reads = x[self.u] * self.traffic >= x[self.u + 1] * self.arithmetic
        matrix = np.zeros((len(self.seconds), len(x)))
        np.add.at(
            matrix,
            (self.m, np.where(reads, self.u, self.u + 1)),
            np.where(reads, self.traffic, self.arithmetic),
        )
        return matrix / self.seconds[:, None]

    def sensitive(self, x: Floats) -> NDArray[np.bool_]:
        """Tell which unknowns take more than a hundredth of some measurement's time."""
        return np.asarray((self.columns(x) * x > LEAST_SHARE).any(axis=0))

    def fitted(self) -> Floats:
        """Return the best unknowns; those without influence are 1."""
        x = self._best()
        for _ in range(len(x)):
            idle = ~self.sensitive(x)
            if not (idle & (self.low < self.high)).any():
                break
            self.low[idle] = self.high[idle] = 1.0
            x = self._best()
        return x

    def _best(self) -> Floats:
        """Return the best unknowns over several starts."""
        best = np.ones(len(self.base))
        least = np.inf
        for reading in _STARTS:
            for computing in _STARTS:
                start = np.tile([reading, computing], len(self.base) // 2)
                x = self._descend(np.clip(start, self.low, self.high))
                loss = self._loss(x)
                if loss < least * (1 - 1e-9) - 1e-18:
                    best, least = x, loss
        return best

    def _descend(self, x: Floats) -> Floats:
        loss = self._loss(x)
        target = 1 - self.fixed / self.seconds
        for _ in range(_ROUNDS):
            matrix = self.columns(x)
            there = bounded_least_squares(matrix, target, self.low, self.high, x)
            for share in (1.0, 0.5, 0.25, 0.1, 0.02):
                tried = x + share * (there - x)
                next_ = self._loss(tried)
                if next_ < loss * (1 - 1e-12):
                    break
            else:
                return x
            x, loss = tried, next_
        return x

    def require_possible(self) -> None:
        """Refuse speeds that no efficiency explains."""
        least, most = self.predict(self.low), self.predict(self.high)
        for k, (one, seconds) in enumerate(zip(self.measured, self.seconds, strict=True)):
            said = f"{one.path}: {one.rate:g} tokens per second are"
            if least[k] > seconds * _SLACK:
                raise InputError(
                    f"{said} more than the devices' bandwidths, peaks and links allow, "
                    f"{one.rate * seconds / least[k]:.4g}: is the split right? A device that is "
                    "faster than the catalogue knows can be given its rates, as in "
                    "64GB:89.6GB/s:2TFLOPS"
                )
            if most[k] * _SLACK < seconds:
                raise InputError(
                    f"{said} fewer than {100 * LEAST:g} % of the devices' bandwidths and peaks "
                    f"give, {one.rate * seconds / most[k]:.4g}: is the split right?"
                )

    def require_determined(self, x: Floats) -> None:
        """Refuse measurements that leave open what they depend on."""
        which = np.flatnonzero(self.sensitive(x))
        if not len(which):
            raise InputError(
                "the measurements determine nothing: hops and launches alone take the time that "
                "was measured"
            )
        matrix = (self.columns(x) * x)[:, which]
        matrix /= np.linalg.norm(matrix, axis=0)
        _, values, rows = np.linalg.svd(np.linalg.qr(matrix, mode="r"))
        values = np.concatenate([values, np.zeros(len(which) - len(values))])
        loose = np.abs(rows[values < _DEPENDENT]).max(axis=0, initial=0.0) > 0.1
        if loose.any():
            names = [f"{_WORDS[k % 2]} of {self.names[k - k % 2]}" for k in which[loose].tolist()]
            raise InputError(
                f"the measurements do not distinguish {', '.join(names)}: add some with other "
                "shares of the layers on these devices, or another phase"
            )


def _hops(
    model: LanguageModel,
    cards: Sequence[Card],
    load: Workload,
    one: Measurement,
    cluster: Cluster | None,
) -> float:
    """Return the seconds that a split spends between devices."""
    runs = [name for name, _ in groupby(one.devices)]
    times, size = {card.id: 0.0 for card in cards}, hop_bytes(model, load)
    ops = tuple(
        Op(str(k), times, inputs=(Input(str(k - 1), size),) if k else ()) for k in range(len(runs))
    )
    free = [replace(card, memory=None) for card in cards]
    place = cluster and replace(
        cluster, devices=tuple(Device(d.id, d.kind) for d in cluster.devices)
    )
    problem = Problem(
        Graph("hops", (Model("hops", ops),), TIME_UNIT), cluster_of(free, load, Room(), place)
    )
    placed = np.array([problem.cluster.index[name] for name in runs])
    try:
        whole = simulate(problem, placed, np.arange(len(runs))).makespan
    except NoRouteError as error:
        a, b = (problem.device_ids[d] for d in (error.source, error.target))
        raise InputError(f"{one.path}: the cluster has no route from {a} to {b}") from None
    return whole / PER_SECOND[TIME_UNIT]


def _shares(card: Card, model: LanguageModel) -> tuple[float, float]:
    """Return the efficiencies that a card is taken to have."""
    if card.sheet is None:
        return 1.0, 1.0
    return reached(PRODUCT, card.sheet, dtype_on(card, model))
