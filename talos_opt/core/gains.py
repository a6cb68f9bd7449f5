"""A value beside those of two baselines, which anybody has without a search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from talos_opt.core.problem import Problem


@dataclass(frozen=True, slots=True)
class Rules:
    """What rules came to on the way of a search.

    Parameters
    ----------
    problem : Problem
        That was solved; of another one, and of another objective, this says nothing.
    found : mapping of str to (float, str)
        By the solver's name, its value and the device of its first op. What is missing was not
        run, was cut short or found nothing.
    """

    problem: Problem = field(repr=False)
    found: Mapping[str, tuple[float, str]]


@dataclass(frozen=True, slots=True)
class Gains:
    """A result's value beside those of two baselines, in the objective that it was solved for.

    Parameters
    ----------
    value : float
        Of the result.
    single : float or None
        Of everything on the best single device, by the solver `single`; None: no device can run
        and hold everything, or the rules for stages want several.
    device : str or None
        Which device that is.
    sequential : float or None
        Of filling the devices one after the other, as ``device_map="auto"`` does, by the solver
        `sequential`; None: it finds no schedule.
    forced : float
        What releases alone force of the value (`metrics.forced_value`): as in gaps, what lies above
        it is compared, so that it does not matter where time zero is.
    """

    value: float
    single: float | None
    device: str | None
    sequential: float | None
    forced: float = 0.0

    @property
    def over_single(self) -> float | None:
        """How many times as good as the best single device; None where that is undefined."""
        return self._ratio(self.single)

    @property
    def over_sequential(self) -> float | None:
        """How many times as good as `sequential`; None where that is undefined."""
        return self._ratio(self.sequential)

    def to_dict(self) -> dict[str, Any]:
        """Return the baselines and the ratios as plain Python values, None where undefined."""
        return {
            "single": self.single,
            "single_device": self.device,
            "over_single": self.over_single,
            "sequential": self.sequential,
            "over_sequential": self.over_sequential,
        }

    def _ratio(self, other: float | None) -> float | None:
        if other is None or self.value <= self.forced:
            return None
        return (other - self.forced) / (self.value - self.forced)
