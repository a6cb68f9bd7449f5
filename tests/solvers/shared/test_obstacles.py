"""Cheap proofs of infeasibility: seen where they hold, and said in full."""

from __future__ import annotations

import pytest

from talos_opt.core.problem import Problem
from talos_opt.solvers.shared.obstacles import find_obstacle, group_memory
from tests.builders import device, op, problem


def full(*limits: int, rule: str = "static", **memory: int) -> Problem:
    """Three ops on devices of so many bytes."""
    ops = [op(name, 1, **memory) for name in "abc"]
    return problem(ops, [device(f"gpu{d}", size) for d, size in enumerate(limits)], rule=rule)


def test_nothing_in_the_way() -> None:
    assert find_obstacle(full(15, weights=5)) == ""
    assert find_obstacle(full(10, 5, weights=5)) == ""
    assert find_obstacle(problem([op("a", weights=10**15)], "cpu0")) == ""


def test_a_group_without_a_common_device() -> None:
    ops = [
        op("a", {"cpu": 1}, colocate="twins"),
        op("b", 1, colocate="twins"),
        op("c", {"gpu": 1}, colocate="twins"),
    ]
    reason = find_obstacle(problem(ops))
    for part in ("'twins'", "m/a: cpu0", "m/b: cpu0, gpu0", "m/c: gpu0", "no device can run"):
        assert part in reason


@pytest.mark.parametrize(("rule", "need"), [("static", 24), ("peak", 12)])
def test_a_group_too_large_for_every_device(rule: str, need: int) -> None:
    ops = [op(name, 1, weights=4, output=3, workspace=3, colocate="g") for name in "abc"]
    limits = [device("cpu0", 10), device("gpu0", 11)]
    reason = find_obstacle(problem(ops, limits, rule=rule))
    for part in (
        "m/a, m/b, m/c must share one device",
        f"need {need} bytes",
        f"cpu0 is short by {need - 10} bytes",
        f"gpu0 is short by {need - 11} bytes",
    ):
        assert part in reason


def test_long_groups_are_cut_short() -> None:
    ops = [op(f"op{i}", 1, weights=1, colocate="g") for i in range(9)]
    assert "m/op3 and 5 more" in find_obstacle(problem(ops, [device("cpu0", 8)]))


def test_all_together_outgrow_the_cluster() -> None:
    reason = find_obstacle(full(7, 7, weights=5))
    for part in (
        "3 op groups can only go to gpu0, gpu1",
        "need 15 bytes",
        "is 14 bytes",
        "short by 1 bytes",
    ):
        assert part in reason


def test_only_those_confined_to_a_device_count() -> None:
    ops = [op("a", {"gpu": 1}, weights=6), op("b", {"gpu": 1}, weights=6), op("c", 1, weights=9)]
    limits = [device("cpu0"), device("gpu0", 11)]
    reason = find_obstacle(problem(ops, limits))
    assert "2 op groups can only go to gpu0 and need 12 bytes" in reason
    assert find_obstacle(problem(ops, [device("cpu0"), device("gpu0", 12)])) == ""


def test_under_the_peak_rule_only_weights_stay() -> None:
    assert "short by" in find_obstacle(full(8, output=3))
    assert find_obstacle(full(8, output=3, rule="peak")) == ""
    assert "short by 1 bytes" in find_obstacle(full(8, weights=3, rule="peak"))


def test_memory_of_a_group() -> None:
    ops = [
        op("a", weights=1, output=2, workspace=8, colocate="g"),
        op("b", weights=4, output=16, workspace=32, colocate="g"),
        op("c", weights=64),
    ]
    assert group_memory(problem(ops)).tolist() == [1 + 2 + 4 + 16 + 32, 64]
    assert group_memory(problem(ops, rule="peak")).tolist() == [5, 64]
