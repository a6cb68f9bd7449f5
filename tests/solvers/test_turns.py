"""Who goes on among several searches."""

from __future__ import annotations

import math

from talos_opt.solvers.auto.turns import AGAIN, TRIAL, Turns


def play(turns: Turns, gains: dict[str, list[float]], count: int) -> list[tuple[str, float]]:
    """Let searches gain such shares of the value, turn by turn, a second each; then none."""
    taken = []
    for _ in range(count):
        name, share = turns.choose()
        left = gains.get(name, [])
        turns.tell(name, 100.0, 100.0 * (1 - (left.pop(0) if left else 0.0)), 1.0)
        taken.append((name, share))
    return taken


def test_where_no_other_gains_the_first_has_all_that_is_left() -> None:
    taken = play(Turns(("a", "b", "c")), {}, 3)
    assert taken == [("b", TRIAL), ("c", TRIAL), ("a", 1.0)]


def test_who_gains_goes_on_until_it_does_not() -> None:
    taken = play(Turns(("a", "b", "c")), {"c": [0.1, 0.1]}, 5)
    assert taken == [("b", TRIAL), ("c", TRIAL), ("c", AGAIN), ("c", AGAIN), ("a", 1.0)]


def test_of_two_that_gain_the_faster_one_goes_on() -> None:
    taken = play(Turns(("a", "b", "c")), {"b": [0.2, 0.01], "c": [0.1]}, 5)
    assert [name for name, _ in taken] == ["b", "c", "b", "c", "b"]


def test_a_first_schedule_is_a_gain_like_no_other() -> None:
    turns = Turns(("a", "b", "c"))
    turns.tell("b", math.inf, 7.0, 1.0)
    turns.tell("c", 7.0, 6.0, 1.0)
    assert turns.choose() == ("b", AGAIN)


def test_who_is_dropped_has_no_turn_again() -> None:
    turns = Turns(("a", "b"))
    turns.drop("a")
    assert play(turns, {}, 2) == [("b", 1.0)] * 2
