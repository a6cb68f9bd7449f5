"""Times that fit together: measured ops with the measured whole, estimates with measurements.

An op that is timed alone pays for the timer, for a dispatch that the whole model hides, and for
caches that nobody warmed; so the sum of the ops is not the whole. One factor per device mends the
sum and keeps the ratios of the ops, which are what placement needs.

The whole is a step of what runs placed models, which starts op by op. What it takes to start one is
a term of its own: the same for a lookup and for a convolution. A CPU computes nothing meanwhile, so
it is added to the op; a GPU computes what it was told before, so the longer of the two counts.

Estimates are mended per op type, by the median over the ops of a type of how many times longer
they took than estimated. Medians of logarithms: twice as long and half as long weigh the same.
A few ops of a type say little, so its ratio leans towards that of its class.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.profile import OpProfile

#: A ratio beyond this, either way, says that something else was measured than was estimated.
MAX_RATIO = 10.0

#: A type's ratio counts as many times as it has ops, the ratio of its class this often. Assumed.
CLASS_WEIGHT = 2

#: Seconds that no clock can tell from none.
_LEAST_S = 1e-12


def whole_factor(
    ops: Iterable[OpProfile], device: str, whole_s: float | None, launch_s: float = 0.0
) -> float:
    """Return what raw op times on a device are multiplied by, so that their sum is the whole.

    What starting the ops takes is part of the whole, and of no raw time.

    1 where the whole was not measured, or where all ops took no time (less than any clock can
    tell): nothing can be said then.

    Parameters
    ----------
    ops : iterable of OpProfile
    device : str
        Ops without a timing on it do not count.
    whole_s : float or None
        Measured time of the whole model, in seconds.
    launch_s : float
        What starting an op takes, in seconds, while nothing computes.

    Raises
    ------
    InputError
        If the whole is negative or not finite.
    """
    if whole_s is None:
        return 1.0
    if not (math.isfinite(whole_s) and whole_s >= 0):
        raise InputError(
            f"the whole model's time on {device} is {whole_s!r}, expected seconds of at least 0"
        )
    raw = [op.timings[device].raw_s for op in ops if device in op.timings]
    left = whole_s - launch_s * len(raw)
    if sum(raw) <= _LEAST_S or left <= 0:
        return 1.0
    return left / sum(raw)


def launch_time(ops: Iterable[OpProfile], device: str, whole_s: float | None) -> float:
    """Return what starting an op takes on a device that computes while the host starts more.

    Where the whole takes longer than its kernels, the device waits for the host. So no op ends
    sooner than the host starts one: the time L of a start is the one for which the sum of
    max(raw, L) is the whole. Views start nothing. 0 where kernels fill the whole.

    Parameters
    ----------
    ops : iterable of OpProfile
        With raw times of the kernels alone on the device.
    device : str
    whole_s : float or None
        Measured time of the whole model, in seconds.
    """
    timed = [op for op in ops if device in op.timings]
    kernels = sorted((op.timings[device].raw_s for op in timed if op.output), reverse=True)
    left = (whole_s or 0.0) - sum(op.timings[device].raw_s for op in timed if not op.output)
    below = len(kernels)
    if left <= sum(kernels):
        return 0.0
    for longest in kernels:  # as long as it alone fills more than its share of what is left
        if longest * below < left:
            break
        left -= longest
        below -= 1
    return left / below if below else 0.0


def calibrated(
    ops: Sequence[OpProfile],
    device: str,
    whole_s: float | None,
    launch_s: float = 0.0,
    *,
    ahead: bool = True,
) -> tuple[OpProfile, ...]:
    """Return the ops with times on a device that sum to the whole; raw times stay.

    Parameters
    ----------
    ops : sequence of OpProfile
    device : str
    whole_s : float or None
        Measured time of the whole model, in seconds.
    launch_s : float
        What starting an op takes the host.
    ahead : bool
        Whether the host starts ops ahead of a device that is still computing, so that an op takes
        the longer of both; see `launch_time`. Else it takes the sum.
    """
    if ahead and launch_s > 0:
        return tuple(_timed(op, device, lambda raw: max(raw, launch_s)) for op in ops)
    factor = whole_factor(ops, device, whole_s, launch_s)
    return tuple(_timed(op, device, lambda raw: raw * factor + launch_s, views=True) for op in ops)


def _timed(
    op: OpProfile, device: str, rule: Callable[[float], float], *, views: bool = False
) -> OpProfile:
    timing = op.timings.get(device)
    if timing is None or not (op.output or views):
        return op
    return replace(op, timings={**op.timings, device: replace(timing, time_s=rule(timing.raw_s))})


@dataclass(frozen=True)
class TypeRatios:
    """How many times longer ops took than they were estimated to take, per op type.

    Parameters
    ----------
    by_type : mapping of str to float
        Types that were measured; not yet clamped.
    overall : float
        For types of no class that was measured: the median over the types; 1 if there are none.
    counts : mapping of str to int
        Ops behind each type's ratio.
    by_class : mapping of str to float
        For types that were not measured, by their class: the median over its ops.
    class_of : callable, optional
        Class of a type; None: types have no classes.
    """

    by_type: Mapping[str, float] = field(default_factory=dict)
    overall: float = 1.0
    counts: Mapping[str, int] = field(default_factory=dict)
    by_class: Mapping[str, float] = field(default_factory=dict)
    class_of: Callable[[str], str] | None = None

    def of(self, type_: str) -> float:
        """Return the ratio of a type, measured or not, from 1/`MAX_RATIO` to `MAX_RATIO`."""
        likely = self.overall
        if self.class_of is not None:
            likely = self.by_class.get(self.class_of(type_), likely)
        return _clamp(self.by_type.get(type_, likely))

    @property
    def clamped(self) -> tuple[str, ...]:
        """Types whose ratio is beyond the clamp."""
        return tuple(name for name, ratio in self.by_type.items() if _clamp(ratio) != ratio)

    def shape(self, power: float = 1.0) -> TypeRatios:
        """Return the ratios over the overall one, raised to a power: what is peculiar to a type.

        How good a device is as a whole cancels, so that the rest can be carried to another one.
        """

        def shaped(ratios: Mapping[str, float]) -> dict[str, float]:
            return {name: (ratio / self.overall) ** power for name, ratio in ratios.items()}

        return TypeRatios(
            shaped(self.by_type), 1.0, self.counts, shaped(self.by_class), self.class_of
        )


def _clamp(ratio: float) -> float:
    return max(1 / MAX_RATIO, min(MAX_RATIO, ratio))


def type_ratios(
    observed: Iterable[tuple[str, float, float]], class_of: Callable[[str], str] | None = None
) -> TypeRatios:
    """Return the ratios per type that observations give.

    Parameters
    ----------
    observed : iterable of (str, float, float)
        Op type, measured time, estimated time, in one unit. Rows where either time is 0 say
        nothing about a ratio and are left out.
    class_of : callable, optional
        Class of a type. With it, the logarithm of a type's ratio is the mean of its median, which
        counts once for each op, and of its class's, which counts `CLASS_WEIGHT` times.
    """
    logs: dict[str, list[float]] = {}
    for type_, measured, estimated in observed:
        if measured > 0 and estimated > 0:
            logs.setdefault(type_, []).append(math.log(measured / estimated))
    if not logs:
        return TypeRatios()
    medians = {type_: float(np.median(values)) for type_, values in logs.items()}
    together: dict[str, list[float]] = {}
    if class_of is not None:
        for type_, values in logs.items():
            together.setdefault(class_of(type_), []).extend(values)
    classes = {name: float(np.median(values)) for name, values in together.items()}

    def leaning(type_: str) -> float:
        if class_of is None:
            return medians[type_]
        count = len(logs[type_])
        weighed = count * medians[type_] + CLASS_WEIGHT * classes[class_of(type_)]
        return weighed / (count + CLASS_WEIGHT)

    return TypeRatios(
        by_type={type_: math.exp(leaning(type_)) for type_ in logs},
        overall=math.exp(float(np.median(list(medians.values())))),
        counts={type_: len(values) for type_, values in logs.items()},
        by_class={name: math.exp(value) for name, value in classes.items()},
        class_of=class_of,
    )
