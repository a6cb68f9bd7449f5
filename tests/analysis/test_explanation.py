"""What is told of an op: by hand, and that it fits together on random problems."""

from __future__ import annotations

import json
import math

import numpy as np
from hypothesis import HealthCheck, given, settings

from talos_opt.analysis.causes import Cause
from talos_opt.analysis.explanation import explain
from talos_opt.core.metrics import objective_value
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import simulate
from tests.analysis.scheduled import scheduled_problems
from tests.builders import device, fig1, link, op, problem, schedule


def test_fig1() -> None:
    answer = simulate(fig1(), np.array([1, 0, 1, 0, 1, 0]), [0, 3, 4, 1, 2, 5])
    found = explain(fig1(), answer, 1)
    assert (found.cause, found.produced, found.arrived) == (Cause.SLOT, 1, 1)
    assert found.meanwhile == (3,)
    assert (found.value, found.again, found.slack) == (9, 9, 0)
    assert [(move.device, move.value, found.change(move)) for move in found.moves] == [(1, 11, 2)]
    assert [step.op for step in (*found.before, *found.after)] == [3, 1, 2]


def test_inputs_with_their_hops_last_first() -> None:
    given = problem(
        [op("a", 1, output=2), op("b", 2), op("c", 1, "a b")],
        "cpu0 gpu0 gpu1",
        [link("cpu gpu", 0, 1), link("gpu gpu", via="cpu0")],
    )
    answer = simulate(given, np.array([1, 2, 2]), [0, 1, 2])
    late, soon = explain(given, answer, 2).inputs
    assert (late.op, late.produced, late.arrived, late.transfers) == (0, 1, 5, (0, 1))
    assert (soon.op, soon.produced, soon.arrived, soon.transfers) == (1, 2, 2, ())


def test_a_placement_that_simulates_to_another_value_says_so() -> None:
    given = problem([op("a", 1), op("b", 1)], "cpu0 gpu0")
    answer = schedule(given, {"a": ("cpu0", 3), "b": ("cpu0", 1)})
    found = explain(given, answer, 0)
    assert found.cause is Cause.DELAY
    assert (found.value, found.again) == (4, 2)
    assert found.change(found.moves[0]) == -1


def test_an_op_that_waits_for_memory() -> None:
    given = problem(
        {
            "m1": [op("a", 1, output=2), op("b", 1, "a")],
            "m2": [op("c", 1, output=2), op("d", 1, "c")],
        },
        [device("cpu0", 3, slots=2)],
        rule="peak",
    )
    answer = simulate(given, np.zeros(4, dtype=int), [0, 1, 2, 3])
    found = explain(given, answer, 2)
    assert found.cause is Cause.MEMORY
    assert (found.again, found.moves) == (found.value, ())


@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(scheduled_problems(max_ops=8))
def test_the_parts_agree(drawn: tuple[Problem, Schedule]) -> None:
    given, answer = drawn
    for i in range(min(3, len(answer.start))):
        found = explain(given, answer, i)
        here = next(item for item in found.prices if item.ran)
        assert here.comm == found.arrived - found.produced >= 0
        assert here.wait == answer.start[i] - found.arrived >= 0
        assert found.value == objective_value(given, answer)
        assert found.before[-1].op == i
        assert len(found.moves) == len(given.device_ids) - 1
        for item in found.inputs:
            end = item.produced
            for k in item.transfers:
                assert answer.transfers.start[k] >= end
                end = answer.transfers.end[k]
            assert item.arrived == end <= answer.start[i]
        document = found.to_dict()
        assert json.loads(json.dumps(document, allow_nan=False)) == document
        assert (document["slack"] is None) == math.isinf(found.slack)
