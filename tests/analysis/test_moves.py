"""Moving an op: by hand, each refusal, and on random problems."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings

from talos_opt.analysis.moves import MoveError, companions, moved, resimulated, try_move
from talos_opt.core.feasibility import check
from talos_opt.core.metrics import objective_value
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import simulate
from tests.analysis.scheduled import scheduled_problems
from tests.builders import device, fig1, link, op, problem, schedule
from tests.strategies import large_problems


def test_fig1() -> None:
    answer = simulate(fig1(), np.array([1, 0, 1, 0, 1, 0]), [0, 3, 4, 1, 2, 5])
    assert objective_value(fig1(), resimulated(fig1(), answer)) == 9
    # op3 takes 3 on the CPU. It and op6 ran side by side: op6 is ahead by topological order.
    assert moved(fig1(), answer, 2, 0).device.tolist() == [1, 0, 0, 0, 1, 0]
    assert try_move(fig1(), answer, 2, 0).value == 12


def test_colocated_ops_move_along() -> None:
    given = problem([op("a", 1, colocate="g"), op("b", 1), op("c", 2, colocate="g")])
    answer = schedule(given, {"a": ("cpu0", 0), "b": ("cpu0", 3), "c": ("cpu0", 1)})
    assert companions(given, 2).tolist() == [0, 2]
    assert moved(given, answer, 2, 1).device.tolist() == [1, 0, 1]
    assert try_move(given, answer, 2, 1).value == 3


def refused(given: Problem, answer: Schedule, name: str, to: str) -> str:
    where = given.device_ids.index(to)
    move = try_move(given, answer, given.find_op(name), where)
    assert move.value is None
    with pytest.raises(MoveError):
        moved(given, answer, given.find_op(name), where)
    return move.reason


def test_each_refusal_says_why() -> None:
    given = problem(
        [
            op("slow", {"cpu": 1}),
            op("pinned", 1, devices="cpu"),
            op("wide", 1, slots=2),
            op("large", 1, weights=3, output=2, workspace=1),
            op("a", 1, colocate="g"),
            op("b", {"cpu": 1}, colocate="g"),
            op("half", 1, weights=3),
            op("other", 1, weights=2, devices="gpu"),
        ],
        [device("cpu0", slots=2), device("gpu0", 4)],
    )
    names = [name.partition("/")[2] for name in given.names]
    at = {name: ("cpu0" if name != "other" else "gpu0", float(i)) for i, name in enumerate(names)}
    answer = schedule(given, at)
    assert not check(given, answer)
    assert refused(given, answer, "slow", "gpu0") == "m/slow has no time there"
    assert refused(given, answer, "pinned", "gpu0") == "m/pinned is pinned to cpu"
    assert refused(given, answer, "wide", "gpu0") == "m/wide holds 2 slots, the device has 1"
    large = "m/large alone is larger than the memory there by 2 bytes (2 B)"
    assert refused(given, answer, "large", "gpu0") == large
    assert refused(given, answer, "a", "gpu0") == "m/b has no time there"
    short = "the memory of gpu0 is short by 1 bytes (1 B)"
    assert refused(given, answer, "half", "gpu0") == short


def test_a_tensor_without_route() -> None:
    given = problem([op("a", 1), op("b", 1, "a")], "cpu0 gpu0", [link("gpu0 > cpu0", 0, 1)])
    answer = schedule(given, {"a": ("cpu0", 0), "b": ("cpu0", 1)})
    assert refused(given, answer, "b", "gpu0") == (
        "the output of m/a has no route from cpu0 to gpu0"
    )


def test_memory_that_an_order_cannot_do_with() -> None:
    heavy = problem(
        [op("a", 1, output=2, weights=1), op("b", 1, "a", weights=2)],
        [device("cpu0", 9), device("gpu0", 3, slots=2)],
        rule="peak",
    )
    answer = schedule(heavy, {"a": ("gpu0", 0), "b": ("cpu0", 1)}, [("a", "gpu0", "cpu0", 1, 1, 2)])
    assert not check(heavy, answer)
    assert refused(heavy, answer, "b", "gpu0") == (
        "in this order m/a finds no room in the memory of gpu0 at any time"
    )


@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(scheduled_problems(max_ops=8) | scheduled_problems(large_problems(max_ops=25), short=True))
def test_a_moved_schedule_is_feasible_and_moves_no_other_op(
    drawn: tuple[Problem, Schedule],
) -> None:
    given, answer = drawn
    for i in range(min(len(answer.start), 6)):
        for d in range(len(given.device_ids)):
            move = try_move(given, answer, i, d)
            event("moved" if move.value is not None else move.reason.partition(" ")[2][:12])
            if move.value is None:
                assert move.reason
                continue
            made = moved(given, answer, i, d)
            assert not check(given, made)
            assert objective_value(given, made) == move.value
            others = given.arrays.group != given.arrays.group[i]
            assert (made.device[others] == answer.device[others]).all()
            assert (made.device[~others] == d).all()
