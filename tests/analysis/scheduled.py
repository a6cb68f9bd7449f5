"""Random problems with a schedule that the simulator made."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import reject
from hypothesis import strategies as st

from talos_opt.core.errors import GraphError
from talos_opt.core.feasibility import check
from talos_opt.core.metrics import measure
from talos_opt.core.problem import MemoryRule, Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import MemoryDeadlockError, simulate
from talos_opt.core.transfers import NoRouteError
from tests.strategies import placed_problems


@st.composite
def scheduled_problems(
    draw: st.DrawFn,
    source: st.SearchStrategy[Problem] | None = None,
    *,
    short: bool = False,
    **features: Any,
) -> tuple[Problem, Schedule]:
    """Draw a problem and a feasible schedule of it; keyword arguments as for `problems`.

    `short`: memory is counted by the rule ``peak``, and devices lack some that they could use.
    """
    given, where, priority = draw(placed_problems(source, **features))
    if short:
        given = _short(draw, given, where, priority)
    try:
        made = simulate(given, np.array(where), priority, insertion=draw(st.booleans()))
    except (MemoryDeadlockError, NoRouteError):
        reject()
    if check(given, made):  # the static rule, which the simulator does not look at
        reject()
    return given, made


def _short(draw: st.DrawFn, given: Problem, where: list[int], priority: list[int]) -> Problem:
    """The same problem with limits below what its schedule would hold without any."""
    free = tuple(replace(item, memory=None, memory_fraction=1.0) for item in given.cluster.devices)
    roomy = replace(
        given, cluster=replace(given.cluster, devices=free), memory_rule=MemoryRule.PEAK
    )
    try:
        held = measure(roomy, simulate(roomy, np.array(where), priority)).peak_memory
    except NoRouteError:
        reject()
    shares = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    for share in shares[draw(st.integers(0, len(shares) - 1)) :]:
        devices = tuple(
            replace(item, memory=max(1, math.ceil(share * held[item.id]))) for item in free
        )
        try:
            short = replace(roomy, cluster=replace(given.cluster, devices=devices))
            simulate(short, np.array(where), priority)
        except (GraphError, MemoryDeadlockError):  # too short, for an op alone or for this order
            continue
        return short
    return roomy
