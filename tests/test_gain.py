"""What a result gains: the baselines are those of the solvers, None where they have no schedule."""

from __future__ import annotations

import dataclasses

import pytest

import talos_opt
from talos_opt.core.problem import Problem
from tests.builders import device, link, op, problem


def branches(memory: int | None = None, objective: str = "makespan") -> Problem:
    """Two ops side by side on two equal devices, and one that joins them."""
    ops = [op("a", 4, weights=10), op("b", 4, weights=10), op("c", 1, "a b")]
    devices = [device("gpu0", memory), device("gpu1", memory)]
    return problem(ops, devices, [link("gpu gpu")], objective=objective, reference="gpu")


def test_both_baselines() -> None:
    result = talos_opt.solve(branches(), "heft")
    found = talos_opt.gains(result)
    assert found is not None
    assert (found.value, found.single, found.sequential) == (5, 9, 9)
    assert found.device == "gpu0"
    assert found.over_single == found.over_sequential == pytest.approx(9 / 5)


def test_what_releases_force_is_left_out_as_in_gaps() -> None:
    ops = [op("a", 4), op("b", 4), op("c", 1, "a b")]
    devices = [device("gpu0"), device("gpu1")]
    late = problem({"m": ops}, devices, [link("gpu gpu")], release={"m": 1e6}, objective="makespan")
    result = talos_opt.solve(late, "heft")
    found = talos_opt.gains(result)
    assert found is not None
    assert (found.value, found.single) == (1e6 + 5, 1e6 + 9)
    assert found.over_single == found.over_sequential == pytest.approx(9 / 5)
    assert "1.8x as fast as the best single device" in result.summary()


def test_no_single_device_holds_everything() -> None:
    found = talos_opt.gains(talos_opt.solve(branches(memory=15), "heft"))
    assert found is not None
    assert found.single is found.device is found.over_single is None
    assert found.sequential == 5
    assert found.over_sequential == 1


def test_in_the_objective_of_the_result() -> None:
    result = talos_opt.solve(branches(objective="toct"), "single")
    found = talos_opt.gains(result)
    assert found is not None
    assert found.value == found.single == result.value
    assert found.over_single == 1


def test_no_schedule_and_nothing_that_takes_time() -> None:
    nothing = talos_opt.solve(branches(memory=15), "single")
    assert nothing.schedule is None
    assert talos_opt.gains(nothing) is None
    idle = problem([op("a", 0)], "cpu0", objective="makespan")
    found = talos_opt.gains(talos_opt.solve(idle, "single"))
    assert found is not None
    assert found.over_single is None


def test_a_problem_in_which_devices_act_as_one() -> None:
    plain = branches()
    both = talos_opt.bundled(plain, [{"members": ["gpu0", "gpu1"], "mode": "data"}])
    result = talos_opt.solve(both, "single")
    found = talos_opt.gains(dataclasses.replace(result, problem=both))
    assert found is not None
    assert found.single == 9  # one device, though the bundle is one in the problem
    assert found.device == "gpu0"


def test_what_auto_ran_is_not_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    found = branches()
    result = talos_opt.solve(found, "auto", time_limit=1)
    again = talos_opt.gains(dataclasses.replace(result, rules=None))
    assert result.rules is not None
    assert set(result.rules.found) >= {"single", "sequential"}

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a baseline was solved again")

    monkeypatch.setattr("talos_opt.gain.solve", refuse)
    assert talos_opt.gains(result) == again


def test_rules_of_another_problem_do_not_count() -> None:
    result = talos_opt.solve(branches(), "auto", time_limit=1)
    other = talos_opt.solve(branches(objective="toct"), "heft")
    mixed = dataclasses.replace(other, rules=result.rules)
    found, expected = talos_opt.gains(mixed), talos_opt.gains(other)
    assert found == expected


def test_no_time_no_baselines() -> None:
    result = talos_opt.solve(branches(), "heft")
    found = talos_opt.gains(result, time_limit=0)
    assert found is not None
    assert (found.value, found.single, found.sequential) == (5, None, None)
