"""Paths over devices with little memory: a knapsack for each device, and a price for each op.

Ops of a path run one after another, so that it takes the sum of their times wherever they are. What
each device holds is a knapsack. With a price for each op, the cheapest way to serve all prices by
knapsacks alone bounds that sum from below (Lagrangian relaxation; Held and Karp, 1971, for the
steps on the prices). See docs/bounds.md, "Knapsacks".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from talos_opt.core.arrays import UNLIMITED
from talos_opt.core.problem import Floats, Ints, MemoryRule, Objective, Problem
from talos_opt.core.rounding import sum_error
from talos_opt.core.sums import max_by
from talos_opt.solvers.bounds.path_memory import never
from talos_opt.solvers.bounds.routes import resident_bytes
from talos_opt.solvers.shared.paths import best_times, heaviest_paths, times_within_groups

#: A path of fewer ops is left to the search.
LEAST_OPS = 16
#: Kinds of ops on the path, devices with different times or memory, and steps on the prices.
_MOST_KINDS, _MOST_DEVICES, _STEPS = 64, 32, 900
#: Ops of which a device holds at most this many are counted whole, as long as there are no more
#: ways to fill it; others may be split.
_WHOLE, _MOST_WAYS = 24, 20_000
#: Ways looked at, of all devices and in all steps together: some seconds. Fewest steps.
_MOST_LOOKS, _FEWEST_STEPS = 40_000_000, 100
#: Steps without gain before the next ones are halved, and how small they become.
_PATIENCE, _SMALLEST = 20, 1e-6
#: Share of its bytes that a device is given more: sums of bytes may have more digits than floats.
_BYTES = 1e-12
#: Numbers beside that which the prices see, where two branches are tried.
_BESIDE = 1


@dataclass(frozen=True)
class _Terms:
    """Kinds of ops on a path.

    Parameters
    ----------
    time : (k, m) float
    number : (k,) float
        Ops of each kind.
    size : (k,) float
        Bytes of an op.
    """

    time: Floats
    number: Floats
    size: Floats


@dataclass(frozen=True)
class _Knapsack:
    """What a device may hold.

    Parameters
    ----------
    count : int
        Devices that are like this.
    time : (k,) float
        Of an op of each kind; infinite where it cannot be.
    ways : (w, k) float
        Numbers of the ops that are counted whole.
    left : (w,) float
        Bytes left for others by each way.
    others : (j,) int
        Kinds that may be split.
    limited : bool
        Whether its memory has a limit.
    """

    count: int
    time: Floats
    ways: Floats
    left: Floats
    others: Ints
    limited: bool

    def fill(self, price: Floats, number: Floats, size: Floats) -> tuple[float, Floats]:
        """Return the most that ops are worth here beyond their time, and how many of each (k,)."""
        worth = np.where(np.isfinite(self.time), price - self.time, -1.0)
        gain = np.maximum(worth, 0.0)
        # A way with an op that is worth nothing is never better than the same without it.
        whole = self.ways @ np.where(worth > 0, worth, 0.0)
        able = ~((self.ways > 0) & ~np.isfinite(self.time)).any(axis=1)
        order = self.others[np.argsort(-gain[self.others] / np.maximum(size[self.others], 1e-9))]
        bytes_ = np.concatenate(([0.0], np.cumsum(number[order] * size[order])))
        value = np.concatenate(([0.0], np.cumsum(number[order] * gain[order])))
        total = np.where(able, whole + np.interp(self.left, bytes_, value), -np.inf)
        best = int(total.argmax())
        held = np.where(worth > 0, self.ways[best], 0.0)
        room = max(0.0, float(self.left[best]))
        for k in order.tolist():
            if gain[k] > 0:
                held[k] = min(float(number[k]), room / size[k] if size[k] else np.inf)
                room -= held[k] * size[k]
        return float(total[best]), held


def knapsack_bound(
    problem: Problem, stopped: Callable[[], bool] = never, least: int = LEAST_OPS
) -> float:
    """Return a lower bound on the makespan, or on toct of one model; 0 where it does not apply.

    Parameters
    ----------
    problem : Problem
    stopped : callable
        Asked between two steps, whether to leave it at that.
    least : int
        Ops that the path has to have: shorter ones are solved without it.
    """
    arrays = problem.arrays
    alone = problem.objective is Objective.TOCT and len(arrays.release) == 1
    if not (alone or problem.objective is Objective.MAKESPAN) or not arrays.op_count:
        return 0.0
    if not (arrays.capacity < UNLIMITED).any() or not arrays.allowed.any(axis=1).all():
        return 0.0
    best = best_times(arrays)
    paths = heaviest_paths(arrays, best)
    heaviest = max(range(len(paths)), key=lambda j: float(best[paths[j]].sum()))
    if len(paths[heaviest]) < least:
        return 0.0
    value = _path_bound(problem, paths[heaviest], stopped)
    if value <= 0:
        return 0.0
    ends = float(arrays.release[heaviest]) + value
    ends *= 1.0 - sum_error(2)
    return float(arrays.model_weight[0]) * ends if alone else ends


def _path_bound(problem: Problem, path: Ints, stopped: Callable[[], bool]) -> float:
    arrays = problem.arrays
    groups, member = np.unique(arrays.group[path], return_inverse=True)
    time = np.zeros((len(groups), arrays.device_count))
    np.add.at(time, member, times_within_groups(arrays)[path])
    held = resident_bytes(arrays, problem.memory_rule)
    needs = np.bincount(arrays.group, weights=held, minlength=arrays.group_count)[groups]
    rows = np.column_stack([time, needs, _workspaces(problem)[groups]])
    found, number = np.unique(rows, axis=0, return_counts=True)
    kinds: Floats = np.asarray(found, dtype=np.float64)
    if len(kinds) > _MOST_KINDS:
        return 0.0
    time, size, space = kinds[:, :-2], kinds[:, -2], kinds[:, -1]
    if _fits_where_best(time * number[:, None], size * number, space, arrays.capacity):
        return 0.0  # the longest path says as much
    devices, count = np.unique(
        np.column_stack([time.T, arrays.capacity]), axis=0, return_counts=True
    )
    if len(devices) > _MOST_DEVICES:
        return 0.0
    amount = number.astype(float)
    sacks = [
        _knapsack(int(n), row[:-1], float(row[-1]), amount, size, space)
        for row, n in zip(devices, count, strict=True)
    ]
    return _branched(sacks, _Terms(time, amount, size), stopped)


def _fits_where_best(time: Floats, size: Floats, space: Floats, capacity: Ints) -> bool:
    """Whether each kind of op fits, with all others, on its fastest device."""
    home = time.argmin(axis=1)
    held = np.bincount(home, weights=size, minlength=len(capacity))
    widest = np.zeros(len(capacity))
    np.maximum.at(widest, home, space)
    return bool((held + widest <= capacity).all())


def _workspaces(problem: Problem) -> Ints:
    """Largest workspace of each colocation group that is held wherever it is (g,)."""
    arrays = problem.arrays
    if problem.memory_rule is MemoryRule.STATIC:
        return arrays.group_workspace
    lasts = (arrays.time > 0).all(axis=1)  # over time, what takes none holds none
    return max_by(arrays.group, np.where(lasts, arrays.workspace, 0), arrays.group_count)


def _knapsack(
    count: int, time: Floats, room: float, number: Floats, size: Floats, space: Floats
) -> _Knapsack:
    """Return what a device may hold; whatever it holds needs the least workspace of all."""
    ways = np.zeros((1, len(size)))
    left = np.array([room * (1.0 + _BYTES)])
    used = np.zeros(1)
    whole: list[int] = []
    if room < UNLIMITED:
        for k in np.argsort(-size).tolist():
            most = int(min(number[k], room // size[k])) if size[k] > 0 else _WHOLE + 1
            if most > _WHOLE or len(ways) * (most + 1) > _MOST_WAYS:
                break
            steps = np.arange(most + 1.0)
            more = np.repeat(ways, len(steps), axis=0)
            more[:, k] = np.tile(steps, len(ways))
            rest = np.repeat(left, len(steps)) - more[:, k] * size[k]
            most_used = np.maximum(
                np.repeat(used, len(steps)), np.where(more[:, k] > 0, space[k], 0)
            )
            fits = rest - most_used >= 0
            ways, left, used = more[fits], rest[fits], most_used[fits]
            whole.append(k)
    others = np.array([k for k in range(len(size)) if k not in whole], dtype=np.int64)
    return _Knapsack(count, time, ways, np.maximum(left - used, 0.0), others, room < UNLIMITED)


@dataclass(frozen=True)
class _Branch:
    """At least, or at most, so many ops of a kind are on devices with limits.

    Parameters
    ----------
    kind : int
    number : float
    sign : {1, -1}
        At least; at most.
    """

    kind: int
    number: float
    sign: int


def _branched(sacks: list[_Knapsack], terms: _Terms, stopped: Callable[[], bool]) -> float:
    """Return the bound, raised by the fact that a number of large ops is whole.

    The number of ops of the largest kind on devices with limits is at most N or at least N + 1; the
    smaller of the two bounds holds. N is where the prices see the number.
    """
    base, seen = _ascend(sacks, terms, stopped, None)
    whole = [
        k for k in range(len(terms.number)) if all(k not in s.others for s in sacks if s.limited)
    ]
    whole = [k for k in whole if terms.number[k] > 1]
    if not whole or base <= 0:
        return base
    kind = max(whole, key=lambda k: float(terms.size[k]))
    best = base
    middle = int(np.floor(seen[kind]))
    for number in range(middle - _BESIDE, middle + _BESIDE + 1):
        if stopped() or not 0 <= number < terms.number[kind]:
            continue
        below, _ = _ascend(sacks, terms, stopped, _Branch(kind, number, -1))
        if below > best:
            above, _ = _ascend(sacks, terms, stopped, _Branch(kind, number + 1, 1))
            best = max(best, min(below, above))
    return best


def _prices(sacks: list[_Knapsack], terms: _Terms) -> Floats:
    """Return prices to begin with: the time on devices without a limit, else the best."""
    free = [np.where(np.isfinite(s.time), s.time, np.inf) for s in sacks if not s.limited]
    least = np.min(free, axis=0) if free else np.full(len(terms.number), np.inf)
    return np.asarray(np.where(np.isfinite(least), least, terms.time.min(axis=1)))


def _ascend(
    sacks: list[_Knapsack], terms: _Terms, stopped: Callable[[], bool], branch: _Branch | None
) -> tuple[float, Floats]:
    """Improve the prices by steps along a subgradient; each proves a bound.

    Returns
    -------
    float
        The best bound, rounded down.
    (k,) float
        How many ops of each kind devices with limits held in the mean of the later steps.
    """
    number = terms.number
    finite = np.where(np.isfinite(terms.time), terms.time, 0.0)
    # Where memory has no limit, nothing is worth more than its time there.
    price = best_price = _prices(sacks, terms)
    spread = np.maximum(finite.max(axis=1) - terms.time.min(axis=1), 1e-12 * finite.max())
    extra = best_extra = 0.0
    reach = float(number @ spread)
    error = sum_error(4 * (len(number) + sum(sack.count for sack in sacks)) + 64)
    best, idle = -np.inf, 0
    seen, steps = np.zeros(len(number)), 0
    # Seven ascents at the most: one, and two for each of three branches.
    looks = _MOST_LOOKS // (7 * sum(len(sack.ways) for sack in sacks))
    most = min(_STEPS, max(_FEWEST_STEPS, looks))
    for step in range(most):
        spent, lack, limited = 0.0, number.copy(), np.zeros(len(number))
        for sack in sacks:
            own = price
            if branch is not None and sack.limited:
                own = price.copy()
                own[branch.kind] += extra
            value, held = sack.fill(own, number, terms.size)
            spent += sack.count * value
            lack -= sack.count * held
            limited += sack.count * held * sack.limited
        if step >= most // 10:
            seen, steps = seen + limited, steps + 1
        pledge = extra * branch.number if branch is not None else 0.0
        total = float(number @ price) + pledge
        bound = total - spent - error * (float(number @ np.abs(price)) + abs(pledge) + spent)
        idle = 0 if bound > best + _SMALLEST * abs(best) else idle + 1
        if bound > best:
            best, best_price, best_extra = bound, price, extra
        if idle >= _PATIENCE:
            reach, idle, price, extra = reach / 2, 0, best_price, best_extra
        # Prices move in proportion to how much the times of their kind differ.
        slope = lack / number * spread
        length = float(slope @ lack)
        moved = extra
        if branch is not None:
            width = spread[branch.kind]
            short = branch.number - limited[branch.kind]
            if extra != 0 or short * branch.sign > 0:  # its price cannot change its sign
                moved, length = short * width, length + short * short * width
        if length == 0 or reach <= _SMALLEST * abs(best) or stopped():
            break
        stride = (best + reach - (total - spent)) / length
        price = price + stride * slope
        if branch is not None and moved is not extra:
            moved = extra + stride * moved
            extra = max(0.0, moved) if branch.sign > 0 else min(0.0, moved)
    return best, seen / max(1, steps)
