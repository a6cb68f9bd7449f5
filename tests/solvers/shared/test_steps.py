"""Steps that values come in."""

from __future__ import annotations

import math

import pytest

from talos_opt.solvers.shared.steps import value_step
from tests.builders import device, op, problem


@pytest.mark.parametrize(
    ("times", "weight", "slots", "objective", "step"),
    [
        ((1, 2), 1.0, 1, "makespan", 1.0),
        ((1, 2.5), 1.0, 1, "makespan", 0.5),
        ((1, 2.5), 0.5, 1, "toct", 0.25),
        ((1, 3), 1.0, 4, "bottleneck", 0.25),
        ((1, 1 / 3), 1.0, 1, "makespan", 1 / 3),
        ((1, math.pi), 1.0, 1, "makespan", 0.0),
        ((1, 2), 1.0, 1, "memory", 0.0),
    ],
)
def test_value_step(
    times: tuple[float, float], weight: float, slots: int, objective: str, step: float
) -> None:
    ops = [op(f"o{i}", time) for i, time in enumerate(times)]
    case = problem(ops, [device("cpu0", slots=slots)], objective=objective, weight={"m": weight})
    assert value_step(case) == pytest.approx(step)


def test_slots_with_no_small_common_multiple() -> None:
    # The least common multiple is beyond 64 bits: what is left of it there is no step.
    slots = (1_000_003, 1_000_033, 1_000_037, 1_000_039)
    devices = [device(f"cpu{k}", slots=count) for k, count in enumerate(slots)]
    assert value_step(problem([op("a", 1)], devices, objective="bottleneck")) == 0.0
    assert value_step(problem([op("a", 1)], devices[:1], objective="bottleneck")) == 1 / 1_000_003
