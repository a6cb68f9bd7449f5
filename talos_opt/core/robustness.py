"""What is asked of a robust plan, and what is known about it: proven and estimated apart."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np

from talos_opt.core import units
from talos_opt.core.errors import ConfigError, UnsupportedError
from talos_opt.core.problem import Floats, MemoryRule, Objective, Problem

#: Samples that a plan may be searched on; more only takes time from the search.
MOST_SAMPLES = 10_000
#: Ops of the largest graph: what is estimated takes seconds on as many.
MOST_OPS = 20_000
#: Largest standard deviation of a factor, as for `simulate`.
MOST_NOISE = 100.0

_CVAR = re.compile(r"cvar:(0?\.\d+|0|\d+(\.\d+)?%)")


@dataclass(frozen=True)
class Risk:
    """What is minimised of a distribution of values.

    Parameters
    ----------
    level : float
        0: the mean. Else the conditional value at risk: the mean of the worst 1 - level of the
        values, with 0 < level < 1.

    Notes
    -----
    CVaR is the smallest value over t of t + E[max(V - t, 0)] / (1 - level) (Rockafellar and
    Uryasev, *Optimization of conditional value-at-risk*, 2000).
    """

    level: float = 0.0

    def __post_init__(self) -> None:
        if not (isinstance(self.level, Real) and 0 <= self.level < 1):
            raise ConfigError(
                f"level is {units.describe(self.level)}, expected a number from 0 to below 1",
                path="risk",
            )

    @classmethod
    def of(cls, value: object) -> Risk:
        """Read ``mean``, ``cvar:0.9`` or ``cvar:90%``; a `Risk` stays as it is.

        Raises
        ------
        ConfigError
        """
        if isinstance(value, Risk):
            return value
        if value == "mean":
            return cls()
        if isinstance(value, str) and _CVAR.fullmatch(value):
            text = value.removeprefix("cvar:")
            level = float(text[:-1]) / 100 if text.endswith("%") else float(text)
            if 0 < level < 1:
                return cls(level)
        raise ConfigError(
            f"risk is {units.describe(value)}, expected mean, or cvar: with a level above 0 and "
            "below 1, such as cvar:0.9",
            path="risk",
        )

    def __str__(self) -> str:
        level = np.format_float_positional(self.level, trim="-")  # not 1e-05, nor 1 for 0.9999999
        return f"cvar:{level}" if self.level else "mean"

    def terms(self, values: Floats) -> Floats:
        """Return a number for each sample whose mean is the risk (s,).

        For CVaR, t + max(V - t, 0) / (1 - level) at the t that makes the mean smallest, a quantile.
        The mean does not change with t to first order, so their spread is that of the estimate.
        """
        if not self.level:
            return values
        t = float(np.quantile(values, self.level, method="inverted_cdf"))
        return np.asarray(t + np.maximum(values - t, 0.0) / (1 - self.level))

    def value(self, values: Floats) -> float:
        """Return the risk of values (s,)."""
        return float(self.terms(values).mean())


@dataclass(frozen=True)
class Asked:
    """What a robust plan is asked for.

    Parameters
    ----------
    samples : int
        Samples that the search minimises the risk of.
    noise, transfer_noise : float
        Standard deviations of the factors of op times and of transfers, as for `simulate`.
    risk : Risk
    """

    samples: int = 20
    noise: float = 0.2
    transfer_noise: float = 0.0
    risk: Risk = Risk()

    def __post_init__(self) -> None:
        if (
            isinstance(self.samples, bool)
            or not isinstance(self.samples, Integral)
            or not 1 <= self.samples <= MOST_SAMPLES
        ):
            raise ConfigError(
                f"samples is {units.describe(self.samples)}, expected a whole number from 1 to "
                f"{MOST_SAMPLES}",
                path="samples",
            )
        for name in ("noise", "transfer_noise"):
            value = getattr(self, name)
            if (
                isinstance(value, bool)
                or not isinstance(value, Real)
                or not 0 <= value <= MOST_NOISE
            ):
                raise ConfigError(
                    f"{name} is {units.describe(value)}, expected a number from 0 to "
                    f"{MOST_NOISE:g}",
                    path=name,
                )
        object.__setattr__(self, "risk", Risk.of(self.risk))

    def require(self, problem: Problem) -> None:
        """Refuse what robust plans do not cover, by name.

        Raises
        ------
        UnsupportedError
        """
        why = ""
        if problem.objective is Objective.STEP:
            why = "the objective step: samples are those of a single micro-batch"
        elif problem.objective is Objective.MEMORY:
            why = "the objective memory: it counts bytes, and op times are what varies"
        elif problem.memory_rule is MemoryRule.PIPELINE:
            why = "the memory rule pipeline: samples are those of a single micro-batch"
        elif problem.bundling is not None or problem.cluster.bundles:
            why = "bundled devices: solve without bundles"
        elif problem.arrays.op_count > MOST_OPS:
            why = f"more than {MOST_OPS} ops: the graph has {problem.arrays.op_count}"
        if why:
            raise UnsupportedError(f"robust plans do not cover {why}")


@dataclass(frozen=True)
class Standing:
    """One plan, with and without noise; in the graph's time unit.

    Parameters
    ----------
    value : float
        Value without noise, as `check` computes it.
    risk : float
        Mean, or CVaR, over fresh samples.
    error : float
        Half the 95 % confidence interval of it.
    """

    value: float
    risk: float
    error: float

    def to_dict(self) -> dict[str, float]:
        """Return the figures as plain data."""
        return {"value": self.value, "risk_value": self.risk, "error": self.error}


@dataclass(frozen=True)
class Robustness:
    """A robust plan beside the nominal one, the best that was found for times without noise.

    Parameters
    ----------
    asked : Asked
    fresh : int
        Samples that the figures are of; none of them was used for the search or the choice.
    fresh_seed : int
        Their seed: ``simulate`` with it, and as many samples, sees the same ones.
    nominal, chosen : Standing
        `chosen` is the plan that was returned.
    difference, error : float
        Mean of the chosen plan's risk less the nominal one's, sample by sample, and half its 95 %
        confidence interval. Below 0: the chosen one is better.
    lower_bound : float
        Proven bound on the value without noise. The mean over all possible times is no smaller for
        any placement and order, nor is CVaR: a fixed order's value is a convex function of times
        whose means are the nominal ones.
    forced : float
        What releases alone force of all of these; shares are of what lies above it.
    candidates : int
        Plans that the choice was made from, the nominal one included.
    """

    asked: Asked
    fresh: int
    fresh_seed: int
    nominal: Standing
    chosen: Standing
    difference: float
    error: float
    lower_bound: float
    forced: float
    candidates: int

    @property
    def loss(self) -> float:
        """How much the nominal plan loses under noise, as a share of its nominal value."""
        return self._share(self.nominal.risk - self.nominal.value, self.nominal.value)

    @property
    def cost(self) -> float:
        """How much more the chosen plan takes if there is no noise, as a share."""
        return self._share(self.chosen.value - self.nominal.value, self.nominal.value)

    @property
    def gain(self) -> float:
        """How much less risk the chosen plan has than the nominal one, as a share."""
        return self._share(self.nominal.risk - self.chosen.risk, self.nominal.risk)

    def _share(self, amount: float, of: float) -> float:
        above = of - self.forced
        return amount / above if above > 0 else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return what stands in a schedule document as ``robust``."""
        asked = self.asked
        return {
            "risk": str(asked.risk),
            "noise": float(asked.noise),
            "transfer_noise": float(asked.transfer_noise),
            "samples": int(asked.samples),
            "fresh_samples": self.fresh,
            "fresh_seed": self.fresh_seed,
            "candidates": self.candidates,
            "nominal": self.nominal.to_dict(),
            "chosen": self.chosen.to_dict(),
            "difference": self.difference,
            "difference_error": self.error,
            "loss": self.loss,
            "cost": self.cost,
            "gain": self.gain,
            "lower_bound": self.lower_bound,
            "proven": ["nominal.value", "chosen.value", "cost", "lower_bound"],
            "estimated": [
                *(f"{plan}.{what}" for plan in ("nominal", "chosen") for what in ESTIMATES),
                *("difference", "difference_error", "loss", "gain"),
            ],
        }


ESTIMATES = ("risk_value", "error")

#: Two-sided 95 % point of the normal distribution.
_NORMAL_95 = 1.959963984540054


def half_interval(terms: Floats) -> float:
    """Return half the 95 % confidence interval of the mean of independent numbers (s,)."""
    count = len(terms)
    if count < 2:
        return 0.0
    return _NORMAL_95 * float(terms.std(ddof=1)) / math.sqrt(count)
