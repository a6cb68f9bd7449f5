"""What schedules are worth when op times are not what the graph says.

Each sample draws a factor for every op (and, if asked, for every tensor that moves): log-normal,
with mean 1. The placement and the order of a schedule stay, and everything starts as soon as it
may (`retiming`). All schedules see the same factors, whatever device an op sits on, so their
values can be compared sample by sample.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from talos_opt.analysis.retiming import FixedOrder, fix_order
from talos_opt.core import rounding, units
from talos_opt.core.errors import ConfigError
from talos_opt.core.given import require_schedule
from talos_opt.core.metrics import forced_value, objective_value
from talos_opt.core.problem import Floats, MemoryRule, Objective, Problem
from talos_opt.core.schedule import Schedule

SCHEMA = "talos-sensitivity/1"

#: Quantiles that are reported.
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 0.99)

#: Shares above the announced value whose probability is reported; of what releases do not force.
OVERRUNS = (0.0, 0.05, 0.1, 0.2)

#: Values closer than this share of what releases do not force are the same: so much float sums
#: cannot tell apart.
TIE = 1e-9

#: Two-sided 95 % point of the normal distribution.
_NORMAL_95 = 1.959963984540054

#: Numbers held at once for a block of samples; 8 bytes each, a few times over.
_BLOCK = 2_000_000


@dataclass(frozen=True)
class Noise:
    """How much times vary.

    Parameters
    ----------
    ops, transfers : float
        Standard deviation of the factors, whose mean is 1; 0: none. The logarithm of a factor is
        normal with variance ln(1 + deviation²).
    """

    ops: float
    transfers: float = 0.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not (isinstance(value, int | float) and 0 <= value <= 100):
                raise ConfigError(f"noise of {name} is {value!r}, expected a number from 0 to 100")


@dataclass(frozen=True)
class Outcome:
    """One schedule under noise; values in the graph's time unit.

    Parameters
    ----------
    name : str
    announced : float
        Value of the schedule as it was given.
    retimed : float
        Value of its order without noise; below `announced` if something could start earlier.
    values : (s,) float
        Value in each sample.
    forced : float
        What releases alone force of all of these.
    """

    name: str
    announced: float
    retimed: float
    values: Floats
    forced: float = 0.0

    @property
    def mean(self) -> float:
        """Mean over the samples."""
        return float(self.values.mean())

    @property
    def deviation(self) -> float:
        """Standard deviation over the samples, 0 for a single one."""
        return float(self.values.std(ddof=1)) if len(self.values) > 1 else 0.0

    def quantile(self, share: float) -> float:
        """Return the value that this share of the samples does not exceed."""
        return float(np.quantile(self.values, share))

    def overrun(self, share: float) -> float:
        """Return the share of samples that exceed the announced value by more than a share.

        A share of what releases do not force of it, so it does not depend on where time zero is.
        """
        limit = self.announced + share * (self.announced - self.forced)
        close = TIE * (limit - self.forced) + rounding.ULPS * rounding.spacing(limit)
        return float((self.values > limit + close).mean())


@dataclass(frozen=True)
class Duel:
    """How often a schedule beats the first one, sample by sample.

    Parameters
    ----------
    name : str
    wins, ties, losses : int
        Samples.
    low, high : float
        95 % confidence interval of the probability of a win (Wilson, 1927).
    difference, error : float
        Mean of the schedule's value less the first one's, and half its 95 % interval.
    """

    name: str
    wins: int
    ties: int
    losses: int
    low: float
    high: float
    difference: float
    error: float


@dataclass(frozen=True)
class Sensitivity:
    """Schedules of one problem under the same noise.

    Parameters
    ----------
    problem : Problem
    noise : Noise
    seed : int
    outcomes : tuple of Outcome
        In the order in which the schedules were given.
    interrupted : bool
        Fewer samples were drawn than asked for.
    """

    problem: Problem
    noise: Noise
    seed: int
    outcomes: tuple[Outcome, ...]
    interrupted: bool = False

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(self.outcomes[0].values)

    def best_shares(self) -> list[float]:
        """Return for each schedule the share of samples in which none is better; ties count."""
        values = np.array([outcome.values for outcome in self.outcomes])
        least = values.min(axis=0)
        close = _tie(least, self.outcomes[0].forced)
        return [float(share) for share in (values <= least + close).mean(axis=1)]

    def duels(self) -> tuple[Duel, ...]:
        """Compare each schedule but the first with the first."""
        return tuple(_duel(self.outcomes[0], other) for other in self.outcomes[1:])

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as plain data, without the samples."""
        return {
            "schema": SCHEMA,
            "graph": self.problem.graph.name,
            "objective": self.problem.objective.value,
            "time_unit": self.problem.graph.time_unit,
            "noise": self.noise.ops,
            "transfer_noise": self.noise.transfers,
            "samples": self.samples,
            "seed": self.seed,
            **({"interrupted": True} if self.interrupted else {}),
            "schedules": [
                {
                    "schedule": outcome.name,
                    "announced": outcome.announced,
                    "retimed": outcome.retimed,
                    "mean": outcome.mean,
                    "std": outcome.deviation,
                    "min": float(outcome.values.min()),
                    "max": float(outcome.values.max()),
                    "quantiles": {f"{share:g}": outcome.quantile(share) for share in QUANTILES},
                    "overrun": {f"{share:g}": outcome.overrun(share) for share in OVERRUNS},
                    "best": best,
                }
                for outcome, best in zip(self.outcomes, self.best_shares(), strict=True)
            ],
            "against_first": [
                {
                    "schedule": duel.name,
                    "wins": duel.wins,
                    "ties": duel.ties,
                    "losses": duel.losses,
                    "win_share": duel.wins / self.samples,
                    "win_interval": [duel.low, duel.high],
                    "mean_difference": duel.difference,
                    "mean_difference_error": duel.error,
                }
                for duel in self.duels()
            ],
        }


def simulate_noise(
    problem: Problem,
    schedules: Mapping[str, Schedule],
    noise: Noise,
    *,
    samples: int = 1000,
    seed: int = 0,
    on_progress: Callable[[float], None] | None = None,
    cancel: threading.Event | None = None,
) -> Sensitivity:
    """Value schedules under perturbed op times.

    Parameters
    ----------
    problem : Problem
        Its objective is what is valued.
    schedules : mapping of str to Schedule
        Feasible ones, by name; at least one.
    noise : Noise
    samples : int
    seed : int
        The factors of an op depend on the seed and the op alone: not on the schedules, nor on the
        noise of transfers, nor on how many samples follow.
    on_progress : callable, optional
        Called with the share that is done.
    cancel : threading.Event, optional
        Set it, from another thread, to stop; the samples so far are returned, at least a block.

    Raises
    ------
    InputError
        If a schedule is of another problem, or an argument is out of its range.
    """
    if not isinstance(schedules, Mapping):
        raise ConfigError(f"schedules is {units.describe(schedules)}, expected them by their names")
    if not schedules:
        raise ConfigError("no schedule was given, expected at least one")
    for schedule in schedules.values():
        require_schedule(problem, schedule)
    if not isinstance(noise, Noise):
        raise ConfigError(f"noise is {units.describe(noise)}, expected a Noise, such as Noise(0.2)")
    if problem.objective is Objective.STEP:
        raise ConfigError("samples are those of one micro-batch, expected another objective")
    if samples < 1:
        raise ConfigError(f"samples is {samples}, expected at least 1")
    orders = [fix_order(problem, schedule) for schedule in schedules.values()]
    size = max(len(order.activity) for order in orders)
    found: list[list[Floats]] = [[] for _ in orders]
    done = 0
    for ops, tensors in draw_factors(problem, noise, samples, seed, max(1, _BLOCK // size)):
        for order, values in zip(orders, found, strict=True):
            values.append(sample_values(order, ops, tensors))
        done += ops.shape[1]
        if on_progress is not None:
            on_progress(done / samples)
        if cancel is not None and cancel.is_set():
            break
    outcomes = [
        Outcome(
            name,
            objective_value(problem, schedule),
            objective_value(problem, order.retime()),
            np.concatenate(values),
            forced_value(problem),
        )
        for (name, schedule), order, values in zip(schedules.items(), orders, found, strict=True)
    ]
    return Sensitivity(problem, noise, seed, tuple(outcomes), done < samples)


def draw_factors(
    problem: Problem, noise: Noise, samples: int, seed: int, block: int
) -> Iterator[tuple[Floats, Floats]]:
    """Yield factors of the times of ops, and of the transfers of what they make, in blocks.

    Parameters
    ----------
    problem : Problem
    noise : Noise
    samples : int
    seed : int
        The factors of an op depend on the seed and the op alone, not on `block`.
    block : int
        Most samples of a block.

    Yields
    ------
    tuple of (n, b) and (n, b) float
    """
    count = problem.arrays.op_count
    for_ops, for_tensors = (
        np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(2)
    )
    for first in range(0, samples, block):
        width = min(block, samples - first)
        yield (
            _draw(for_ops, noise.ops, count, width),
            _draw(for_tensors, noise.transfers, count, width),
        )


def _draw(generator: np.random.Generator, deviation: float, count: int, width: int) -> Floats:
    if deviation == 0:
        return np.ones((count, width))
    variance = math.log1p(deviation * deviation)
    normal = generator.standard_normal((width, count)).T  # sample by sample, whatever the block
    return np.asarray(np.exp(math.sqrt(variance) * normal - variance / 2))


def sample_values(order: FixedOrder, ops: Floats, tensors: Floats) -> Floats:
    """Return the objective's value in each sample (s,).

    Parameters
    ----------
    order : FixedOrder
    ops, tensors : (n, s) float
        Factors of each op's time, and of the times of all transfers of its tensor.
    """
    problem, moves = order.problem, order.schedule.transfers
    op_times = order.op_times[:, None] * ops
    hop_times = order.transfer_times[:, None] * tensors[moves.op]
    if problem.objective is Objective.BOTTLENECK:
        return _largest_loads(order, op_times, hop_times)
    if problem.objective is Objective.MEMORY:
        return _largest_shares(order, op_times, hop_times)
    ends = order.starts(op_times, hop_times)[0] + op_times
    if problem.objective is Objective.MAKESPAN:
        return np.asarray(ends.max(axis=0))
    models, first = np.unique(problem.arrays.model, return_index=True)
    finished = np.maximum.reduceat(ends, first, axis=0)
    return np.asarray(problem.arrays.model_weight[models] @ finished)


def _largest_shares(order: FixedOrder, op_times: Floats, hop_times: Floats) -> Floats:
    """Largest share of a device's memory: what is alive together depends on all times."""
    problem, given = order.problem, order.schedule
    samples = op_times.shape[1]
    if problem.memory_rule is MemoryRule.STATIC:
        return np.full(samples, objective_value(problem, given))
    starts, hops = order.starts(op_times, hop_times)[:2]
    values = np.empty(samples)
    for k in range(samples):
        moves = replace(given.transfers, start=hops[:, k], end=hops[:, k] + hop_times[:, k])
        made = Schedule(given.device, starts[:, k], starts[:, k] + op_times[:, k], moves)
        values[k] = objective_value(problem, made)
    return values


def _largest_loads(order: FixedOrder, op_times: Floats, hop_times: Floats) -> Floats:
    """Largest load of a device or serial link: times alone decide, not the order."""
    arrays, moves = order.problem.arrays, order.schedule.transfers
    largest = np.zeros(op_times.shape[1])
    for device, slots in enumerate(arrays.slots.tolist()):
        here = order.schedule.device == device
        load = (op_times[here] * arrays.demand[here, None]).sum(axis=0) / slots
        if not arrays.copy_engine[device]:
            load += hop_times[(moves.source == device) | (moves.target == device)].sum(axis=0)
        np.maximum(largest, load, out=largest)
    channel = arrays.channel[moves.source, moves.target]
    for used in np.unique(channel[channel >= 0]):
        np.maximum(largest, hop_times[channel == used].sum(axis=0), out=largest)
    return largest


def _tie(values: Floats, forced: float) -> Floats:
    """Return by how much values about these may differ and be the same."""
    return np.asarray(TIE * (values - forced) + rounding.slack(values))


def _duel(first: Outcome, other: Outcome) -> Duel:
    difference = other.values - first.values
    close = _tie(np.maximum(first.values, other.values), first.forced)
    difference[np.abs(difference) <= close] = 0.0  # a tie is one in the mean too
    wins, losses = int((difference < 0).sum()), int((difference > 0).sum())
    count = len(difference)
    low, high = wilson_interval(wins, count)
    spread = float(difference.std(ddof=1)) if count > 1 else 0.0
    return Duel(
        name=other.name,
        wins=wins,
        ties=count - wins - losses,
        losses=losses,
        low=low,
        high=high,
        difference=float(difference.mean()),
        error=_NORMAL_95 * spread / math.sqrt(count),
    )


def wilson_interval(hits: int, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a probability of which `hits` of `count` trials were seen."""
    square = _NORMAL_95**2
    share = hits / count
    middle = share + square / (2 * count)
    half = _NORMAL_95 * math.sqrt(share * (1 - share) / count + square / (4 * count * count))
    scale = 1 + square / count
    low, high = (middle - half) / scale, (middle + half) / scale
    # Rounding leaves 1e-18 of what is exactly 0 or 1.
    return (0.0 if hits == 0 else low), (1.0 if hits == count else high)
