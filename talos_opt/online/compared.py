"""All policies on a trace, beside who knew everything before."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from talos_opt import api
from talos_opt.core.errors import InputError
from talos_opt.core.metrics import completion_times, objective_value
from talos_opt.core.result import Result
from talos_opt.online.policies import POLICIES, Lived, NoScheduleError, Setting, live
from talos_opt.online.trace import Trace, read_trace

SCHEMA = "talos-online/1"


@dataclass(frozen=True)
class Online:
    """What policies came to on a trace.

    Parameters
    ----------
    trace : Trace
    lived : tuple of Lived
        Those that found a schedule for all arrivals.
    failed : dict of str to str
        Why the other policies found none.
    clairvoyant : Result
        Of all models, known from the start; its value is no more than any policy's.
    """

    trace: Trace
    lived: tuple[Lived, ...]
    failed: dict[str, str]
    clairvoyant: Result

    def value(self, lived: Lived) -> float:
        """Return the objective of a policy's schedule."""
        return objective_value(self.trace.problem, lived.schedule)

    def ratio(self, lived: Lived) -> float:
        """Return a policy's value over the clairvoyant one; infinite if that alone is 0."""
        best, value = self.clairvoyant.value, self.value(lived)
        assert best is not None, "a policy's schedule is one of the whole problem"
        if best > 0:
            return value / best
        return math.inf if value > 0 else 1.0

    def completions(self, lived: Lived) -> dict[str, float]:
        """Return when each model is done."""
        done = completion_times(self.trace.problem, lived.schedule).tolist()
        return dict(zip(self.trace.problem.graph.model_ids, done, strict=True))

    def to_dict(self) -> dict[str, Any]:
        """Return it in plain types."""
        problem, best = self.trace.problem, self.clairvoyant
        return {
            "schema": SCHEMA,
            "trace": self.trace.name,
            "time_unit": problem.graph.time_unit,
            "objective": problem.objective.value,
            "arrivals": [
                {"at": arrival.at, "models": list(arrival.models)}
                for arrival in self.trace.arrivals
            ],
            "clairvoyant": {
                "value": best.value,
                "lower_bound": best.lower_bound,
                "status": best.status.value,
                "runtime_s": best.runtime_s,
                "completion": None if best.metrics is None else best.metrics.completion,
            },
            "policies": [
                {
                    "policy": lived.policy,
                    "value": self.value(lived),
                    "ratio": ratio if math.isfinite(ratio := self.ratio(lived)) else None,
                    "moves": lived.moves,
                    "runtime_s": lived.runtime_s,
                    "completion": self.completions(lived),
                }
                for lived in self.lived
            ],
            "failed": self.failed,
        }


def compare_policies(
    trace: Trace | str | os.PathLike[str],
    policies: Sequence[str] = tuple(POLICIES),
    setting: Setting | None = None,
    *,
    cancel: threading.Event | None = None,
    on_progress: Callable[[float, str], None] | None = None,
) -> Online | None:
    """Let a trace come to pass under each policy, and solve it with all known beforehand.

    ``talos-opt online`` prints what comes of it.

    Parameters
    ----------
    trace : Trace or path
        docs/online.md describes the file.
    policies : sequence of str
    setting : Setting, optional
        Its time limit is also that of the clairvoyant solve for each arrival.
    cancel : threading.Event, optional
    on_progress : callable, optional
        Called with the share that is done, and what is.

    Returns
    -------
    Online or None
        If cancelled, of the policies that were through by then; None if there are none.

    Raises
    ------
    InputError
        On an unknown policy.
    NoScheduleError
        If nothing finds a schedule of all models.
    """
    for name in policies:
        if name not in POLICIES:
            raise InputError(f"no policy is called {name!r}, expected {', '.join(POLICIES)}")
    if not isinstance(trace, Trace):
        trace = read_trace(trace)
    setting = setting or Setting()
    lived: list[Lived] = []
    failed: dict[str, str] = {}
    count = len(trace.arrivals)
    steps, done = count * (len(policies) + 1), 0
    report = on_progress or (lambda share, doing: None)
    for name in policies:

        def arrived(policy: str = name) -> None:
            nonlocal done
            done += 1
            report(done / steps, f"policy {policy}")

        report(done / steps, f"policy {name}")
        try:
            found = live(trace, name, setting, cancel=cancel, on_arrival=arrived)
        except NoScheduleError as error:
            failed[name] = str(error)
            continue
        if found is None:
            break
        lived.append(found)
    if cancel is not None and cancel.is_set() and not lived:
        return None
    report(count * len(policies) / steps, "with all known beforehand")
    best = _clairvoyant(trace, lived, setting, cancel)
    if best.schedule is None:
        raise NoScheduleError(f"no schedule of all models was found: {best.reason}")
    return Online(trace, tuple(lived), failed, best)


def _clairvoyant(
    trace: Trace, lived: Sequence[Lived], setting: Setting, cancel: threading.Event | None
) -> Result:
    problem = trace.problem
    values = [objective_value(problem, one.schedule) for one in lived]
    begin = lived[int(np.argmin(values))].schedule if lived else None
    asked = setting.arguments()
    asked["time_limit"] *= len(trace.arrivals)
    return api.solve(problem, "auto", warm_start=begin, cancel=cancel, **asked)
