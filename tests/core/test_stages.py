"""The rule for stages: what it allows, what it names, and how it is read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from talos_opt.core.errors import GraphError
from talos_opt.core.feasibility import check
from talos_opt.core.problem import Problem
from talos_opt.core.simulator import simulate
from talos_opt.core.stages import Stages
from tests import strategies
from tests.builders import op, problem
from tests.naive import naive_check

CHAIN = [op("a"), op("b", inputs="a"), op("c", inputs="b")]


def broken(asked: Problem, *device: int) -> list[str]:
    """What the checker says of a placement's stages; the naive one must agree on whether."""
    where = np.array(device)
    answer = simulate(asked, where, asked.arrays.rank)
    found = [item.message for item in check(asked, answer) if item.rule == "stages"]
    naive = [line for line in naive_check(asked, answer) if line.startswith("stages")]
    assert bool(found) == bool(naive) == (not asked.keeps_stages(where))
    return found


def test_a_device_that_was_left_is_not_entered_again() -> None:
    asked = problem(CHAIN, "cpu0 gpu0").with_stages("acyclic")
    assert broken(asked, 0, 1, 1) == []
    assert broken(asked, 1, 1, 0) == []
    assert broken(asked, 0, 1, 0) == ["model 'm' enters a device again: cpu0 -> gpu0 -> cpu0"]
    assert broken(asked.with_stages("any"), 0, 1, 0) == []


def test_ordered_stages_follow_the_cluster() -> None:
    asked = problem(CHAIN, "cpu0 gpu0").with_stages("ordered")
    assert broken(asked, 0, 1, 1) == []
    assert broken(asked, 1, 1, 0) == ["m/c on cpu0 reads m/b on gpu0, which stands behind it"]


def test_use_all_names_the_empty_device() -> None:
    ops = [op("a"), op("b", inputs="a"), op("u", inputs="b", phase="update")]
    asked = problem(ops, "cpu0 gpu0").with_stages({"use_all": True})
    assert broken(asked, 0, 1, 0) == []
    assert broken(asked, 0, 0, 1) == ["gpu0 has no forward op, each needs one"]


def test_backward_ops_may_come_back() -> None:
    ops = [*CHAIN[:2], op("back", inputs="b", phase="backward")]
    asked = problem(ops, "cpu0 gpu0").with_stages("ordered")
    assert broken(asked, 0, 1, 0) == []


def test_a_wait_without_bytes_is_an_arc_too() -> None:
    ops = [op("a"), op("b", inputs="a"), op("c", inputs="b:0")]
    assert broken(problem(ops, "cpu0 gpu0").with_stages("acyclic"), 0, 1, 0)


@given(strategies.placed_problems(stages=True))
def test_the_naive_checker_agrees(drawn: tuple[Problem, list[int], list[int]]) -> None:
    asked, device, priority = drawn
    free = asked.with_stages("any")
    from talos_opt.core.simulator import MemoryDeadlockError
    from talos_opt.core.transfers import NoRouteError

    try:
        answer = simulate(free, np.array(device), np.array(priority))
    except (MemoryDeadlockError, NoRouteError):
        strategies.reject()
    rules = {item.rule for item in check(asked, answer)}
    naive = {line.partition(":")[0] for line in naive_check(asked, answer)}
    assert ("stages" in rules) == ("stages" in naive)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("cyclic", "stages is 'cyclic', expected one of any, acyclic, ordered"),
        ({"rule": "acyclic", "all": True}, "unknown key 'all', expected one of rule, use_all"),
        ({"use_all": 1}, "use_all is 1, expected true or false"),
        (3, "stages is 3, expected text"),
    ],
)
def test_what_is_no_rule_is_refused(given: object, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        Stages.of(given)  # type: ignore[arg-type]


def test_a_rule_reads_back_what_it_writes() -> None:
    for rule in (Stages(), Stages("ordered"), Stages("acyclic", True)):
        assert Stages.of(rule.to_plain()) == rule


def test_an_unknown_phase_is_refused() -> None:
    with pytest.raises(GraphError, match="phase of op 'a' is 'side', expected one of forward"):
        op("a", phase="side")
