"""The integer grid that CP-SAT computes on.

Where all durations are multiples of a common tick that is long enough, the grid is exact.
Otherwise every duration is rounded *down*. A real schedule with starts t then maps to the grid
schedule floor(t), all constraints hold there, and no completion time grows (docs/bounds.md). Hence
whatever bound CP-SAT proves on the grid is valid for real times. Schedules found on the grid are
re-timed exactly.

No domain, no linear constraint and no objective of a `coarse` grid passes `LIMIT`: CP-SAT 9.15
has proven wrong optima beyond 2^31 (docs/decisions/0002). The horizon in time comes from the
incumbent (`horizon.look_ahead`), so ticks are as short as what is still open allows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from talos_opt.core.problem import DIRECT, Floats, Objective, Problem
from talos_opt.solvers.shared.horizon import Horizon, look_ahead
from talos_opt.solvers.shared.ticks import ticks_per_unit

#: No variable, and no sum of a constraint's terms, may pass this.
LIMIT = 2**31 - 1
#: Ticks that the objective may take on a fine grid, on which weights are not rounded further.
_FINE = 2**54
#: Largest sum of whole weights that is kept exact on a coarse grid at the cost of ticks.
_LIGHT = 2**12
#: Largest sum of whole weights on a fine grid.
_HEAVY = 2**24
#: Share of a tick that float sums may be off by: starts are rounded up, durations down by it.
BLUR = 1e-3
#: Share by which what counts as a whole number may be off.
_WHOLE = 1e-12
#: Largest common multiple of the devices' slots that loads are made divisible by.
_MOST_SLOTS = 5040


@dataclass(frozen=True)
class Grid:
    """Conversion between the graph's time unit and ticks, and between weights and whole numbers.

    Parameters
    ----------
    per_unit : float
        Ticks in one time unit.
    exact : bool
        Every duration is a whole number of ticks.
    horizon : int
        Ticks within which some optimal schedule ends; a load under the objective bottleneck.
    open : Horizon
        The same in time, with what the models and devices may still do.
    weights : tuple of int
        Of the models, rounded down where they have no common unit.
    weight_scale : float
        What they were multiplied by.
    weights_exact : bool
    order : bool
        All that takes time takes one tick: for questions that times do not matter to.
    slots : int
        Times up to so many horizons are told apart: a load is divided over slots.
    wide : bool
        Sums of loads, or the objective toct, may pass `LIMIT`: a fine grid.
    """

    per_unit: float
    exact: bool
    horizon: int
    open: Horizon
    weights: tuple[int, ...] = ()
    weight_scale: float = 1.0
    weights_exact: bool = True
    order: bool = False
    slots: int = 1
    wide: bool = False

    def ticks(self, time: float) -> int:
        """Return a duration in ticks: exact, or rounded down; too long for the horizon: just so."""
        if self.order:
            return int(time > 0)
        scaled = time * self.per_unit
        if scaled > self.horizon * self.slots:
            return self.horizon * self.slots + 1
        return round(scaled) if self.exact else max(0, math.floor(scaled - BLUR))

    def floor(self, time: float) -> int:
        """Return the last tick that is not after a time (for starts of a known schedule)."""
        return math.floor(min(time * self.per_unit, self.horizon + 1) + BLUR)

    def time(self, ticks: float) -> float:
        """Return ticks in time units."""
        return ticks / self.per_unit

    @property
    def value_scale(self) -> float:
        """Units of the objective on the grid in one of its value."""
        return self.per_unit * self.weight_scale

    def price_units(self, price: float) -> int:
        """Return a part of the value in units of the objective: exact, or rounded down."""
        units = price * self.value_scale
        whole = round(units)
        return whole if abs(units - whole) <= _WHOLE * max(1.0, units) else math.floor(units)

    def lateness(self, problem: Problem) -> float:
        """Return by how many time units a given moment may be late on the grid, at the most.

        Even an exact one has times only within a share of 1e-12, which is more than all that
        happens after a release where that is far from the first.
        """
        if self.order:
            return 0.0
        known = 0.0 if self.exact else BLUR / self.per_unit
        moments = given_moments(problem).tolist()
        return float(max(known, *(self.time(self.floor(late)) - late for late in moments)))

    def loss(self, problem: Problem) -> float:
        """Return how far, at the most, the grid's optimum can be below the true one.

        Each op and hop on a path may lose a tick and a bit, each weight the part that was cut off,
        each price of moving a unit of the objective.
        """
        arrays = problem.arrays
        prices: float = 0.0
        if problem.frozen is not None:
            for row in problem.frozen.prices(arrays).tolist():
                prices += max(price - self.price_units(price) / self.value_scale for price in row)
            prices = max(0.0, float(prices))
        if self.exact and self.weights_exact:
            return prices
        count = arrays.op_count + 2 * len(arrays.edge_bytes) + 2
        path = 0.0 if self.exact else 1.1 * count / self.per_unit
        if problem.objective is Objective.BOTTLENECK:
            return path * float(arrays.demand.max(initial=1))
        if problem.objective is Objective.MAKESPAN:
            return path + prices
        cut = 0.0 if self.weights_exact else 1.0 / self.weight_scale
        limited = np.isfinite(self.open.spare) & (arrays.model_weight > 0)
        late = float(arrays.model_weight.sum()) * path
        return late + cut * float(self.open.spare[limited].sum()) + prices


def make_grid(problem: Problem, upper: float = math.inf, *, fine: bool = False) -> Grid:
    """Choose the grid for a problem: of times, or of loads under the objective bottleneck.

    Parameters
    ----------
    problem : Problem
    upper : float
        Value of the incumbent: only schedules that are no worse have to fit.
    fine : bool
        Under toct the objective, under bottleneck sums of loads may pass `LIMIT`.
    """
    open_ = look_ahead(problem, upper)
    if problem.objective is Objective.BOTTLENECK:
        return _load_grid(problem, open_, upper, fine=fine)
    end = open_.end
    most = _most_ticks(problem)
    durations = _durations(problem, open_)
    if problem.objective is Objective.TOCT:
        return _toct_grid(problem, open_, durations, upper, most, fine=fine)
    per_unit = _exact_ticks(durations, end, most)
    return _grid(per_unit, end, most, open_)


def order_grid(problem: Problem, open_: Horizon) -> Grid:
    """Return the grid on which all that takes time takes one tick.

    Whether there is a schedule hangs on order alone, as does the bottleneck (docs/bounds.md).
    """
    arrays = problem.arrays
    count = arrays.op_count + 2 * len(arrays.edge_bytes) + 2
    return Grid(1.0, False, count, open_, order=True)


def _grid(per_unit: float, end: float, most: float, open_: Horizon) -> Grid:
    """Return an exact grid, or where there are no ticks for one, the finest that fits."""
    exact = per_unit > 0
    if not exact:
        per_unit = (most - 2) / end if end > 0 else 1.0
    return Grid(per_unit, exact, math.ceil(end * per_unit) + 1, open_)


def _exact_ticks(durations: Floats, end: float, most: float) -> float:
    """Ticks per unit of an exact grid whose horizon fits; 0 without one."""
    longest = float(durations.max(initial=0.0))
    if longest <= 0 or end <= 0:
        return 1.0 if end * 1.0 <= most else 0.0
    return ticks_per_unit(durations, (most - 2) * longest / end)


def _most_ticks(problem: Problem) -> int:
    """Ticks that the horizon may have.

    A constraint sums up two or three times and one duration for each device; a load two
    times (slots times where that fits, see `PlacementFormulation.limit_load`) and a part.
    """
    return LIMIT // max(problem.arrays.device_count + 3, 5)


def _toct_grid(
    problem: Problem,
    open_: Horizon,
    durations: Floats,
    upper: float,
    most: int,
    *,
    fine: bool,
) -> Grid:
    """Share the objective's range between weights and ticks."""
    weights = problem.arrays.model_weight
    range_ = _range(weights, open_, upper)
    room = (_FINE if fine else LIMIT) // 4

    def longest_horizon(scale: float) -> float:
        """Ticks of the horizon so that the objective's range fits."""
        if range_ <= 0:
            return float(most)
        return min(float(most), room * open_.end / (range_ * scale))

    whole, scale = whole_weights(weights, _HEAVY)
    exact_weights = scale > 0
    if exact_weights:
        per_unit = _exact_ticks(durations, open_.end, longest_horizon(scale))
        if per_unit > 0 or fine or sum(whole) <= _LIGHT:
            grid = _grid(per_unit, open_.end, longest_horizon(scale), open_)
            return _weighted(grid, whole, scale, exact=True, wide=fine)
    whole, scale = _rounded_weights(weights, _HEAVY if fine else _LIGHT)
    per_unit = _exact_ticks(durations, open_.end, longest_horizon(scale))
    grid = _grid(per_unit, open_.end, longest_horizon(scale), open_)
    return _weighted(grid, whole, scale, exact=False, wide=fine)


def _weighted(grid: Grid, whole: list[int], scale: float, *, exact: bool, wide: bool) -> Grid:
    return replace(grid, weights=tuple(whole), weight_scale=scale, weights_exact=exact, wide=wide)


def _range(weights: Floats, open_: Horizon, upper: float) -> float:
    """By how much the objective can exceed what the models' longest paths force."""
    weighted = weights > 0
    least = float(weights @ open_.first)
    if math.isfinite(upper):
        return max(0.0, upper - least) + 1e-9 * upper
    return float((weights * np.where(weighted, open_.spare, 0.0)).sum())


def _load_grid(problem: Problem, open_: Horizon, upper: float, *, fine: bool) -> Grid:
    """Return the grid for loads: divisible by the numbers of slots where it is exact."""
    arrays = problem.arrays
    durations = _loads(problem, open_, upper)
    end = upper if math.isfinite(upper) else open_.end
    slots = int(arrays.slots.max())
    most: float = LIMIT // (4 * slots)
    if not fine and end > 0:  # in one row: chains of partial sums cost far more than a few bits
        most = min(most, (LIMIT - 2 * slots) * end / (_widest_load(problem, open_, end) * 1.01))
    finer = int(np.lcm.reduce(arrays.slots))
    per_unit = _exact_ticks(durations, end, most / finer) if finer <= _MOST_SLOTS else 0.0
    return replace(_grid(per_unit * finer, end, most, open_), slots=slots, wide=fine)


def _widest_load(problem: Problem, open_: Horizon, end: float) -> float:
    """Time that all that a device or link might ever do takes, slots included, and a load."""
    arrays = problem.arrays
    time = np.where(np.isfinite(arrays.time), arrays.time, 0.0) * arrays.demand[:, None]
    group = np.zeros(arrays.allowed.shape)
    np.add.at(group, arrays.group, time)
    work = np.where(open_.allowed, np.minimum(group, end * arrays.slots), 0.0).sum(axis=0)
    direct = arrays.via == DIRECT
    np.fill_diagonal(direct, False)
    size = np.zeros(arrays.tensor_count)
    np.maximum.at(size, arrays.edge_tensor, arrays.edge_bytes)
    size = size[np.unique(arrays.edge_tensor)]
    hops = np.zeros(direct.shape)
    for a, b in np.argwhere(direct).tolist():
        hops[a, b] = np.minimum(arrays.latency[a, b] + arrays.per_byte[a, b] * size, end).sum()
    moves = np.where(arrays.copy_engine, 0.0, hops.sum(axis=0) + hops.sum(axis=1))
    links = [float(hops[arrays.channel == c].sum()) for c in np.unique(arrays.channel) if c >= 0]
    loads = work + arrays.slots * moves + arrays.slots * end
    return float(max([*loads.tolist(), *(link + end for link in links)]))


def _loads(problem: Problem, open_: Horizon, upper: float) -> Floats:
    """All distinct times that loads are made of."""
    arrays = problem.arrays
    usable = open_.allowed[arrays.group] & np.isfinite(arrays.time)
    carries = arrays.via == DIRECT
    np.fill_diagonal(carries, False)
    held = ~arrays.copy_engine[:, None] | ~arrays.copy_engine[None, :] | (arrays.channel >= 0)
    hops = _hop_times(problem, carries & held)
    return np.unique(np.concatenate([arrays.time[usable], hops[hops <= upper * (1 + 1e-9)]]))


def _durations(problem: Problem, open_: Horizon) -> Floats:
    """All distinct op times, hop times and given moments that matter."""
    arrays = problem.arrays
    usable = open_.allowed[arrays.group] & np.isfinite(arrays.time)
    direct = arrays.via == DIRECT
    np.fill_diagonal(direct, False)
    hops = _hop_times(problem, direct)
    parts = [
        arrays.time[usable],
        hops[hops <= open_.end * (1 + 1e-9)],
        given_moments(problem),
    ]
    if problem.frozen is not None:  # what is added to the value counts in the same units
        scale = 1.0
        if problem.objective is Objective.TOCT:
            scale = whole_weights(arrays.model_weight)[1] or 1.0
        parts.append(problem.frozen.price * scale)
    return np.unique(np.concatenate(parts))


def given_moments(problem: Problem) -> Floats:
    """Releases, and where something has started, all times of that."""
    releases, frozen = problem.arrays.release, problem.frozen
    return releases if frozen is None else np.concatenate([releases, frozen.moments])


def _hop_times(problem: Problem, direct: np.ndarray) -> Floats:
    arrays = problem.arrays
    sizes = np.unique(arrays.edge_bytes)
    hops = arrays.latency[direct][:, None] + arrays.per_byte[direct][:, None] * sizes[None, :]
    return np.asarray(hops.ravel())


def whole_weights(weights: Floats, most: int = _HEAVY) -> tuple[list[int], float]:
    """Return weights as whole multiples of a common unit, and units in 1; scale 0 without one.

    Parameters
    ----------
    weights : (k,) float
    most : int
        Largest sum.
    """
    total = float(weights.sum())
    if total <= 0:
        return [0] * len(weights), 1.0
    scale = ticks_per_unit(weights, most * float(weights.max()) / total)
    return [round(weight * scale) for weight in weights.tolist()], scale


def _rounded_weights(weights: Floats, most: int) -> tuple[list[int], float]:
    """Return weights rounded down to a sum of at most `most`, and their factor."""
    scale = most / float(weights.sum())
    return [int(weight * scale * (1 - 1e-12)) for weight in weights.tolist()], scale


def common_tick(problem: Problem) -> float:
    """Return ticks per unit such that all durations are whole; 0 without such a tick."""
    open_ = look_ahead(problem, math.inf)
    return _exact_ticks(_durations(problem, open_), open_.end, 2.0**44)
