"""Who goes on among several searches."""

from __future__ import annotations

import math

from talos_opt.solvers.auto.turns import Turns


def play(turns: Turns, gains: dict[str, float], count: int) -> list[str]:
    """Let searches gain so much of the value in each of their turns of a second."""
    taken = []
    for _ in range(count):
        name, _ = turns.choose()
        turns.tell(name, 100.0, 100.0 * (1 - gains.get(name, 0.0)), 1.0)
        taken.append(name)
    return taken


def test_each_has_a_turn_before_any_has_two() -> None:
    assert play(Turns(("a", "b", "c")), {"c": 0.5}, 3) == ["a", "b", "c"]


def test_the_one_that_gains_goes_on_and_the_others_are_not_forgotten() -> None:
    taken = play(Turns(("a", "b", "c")), {"b": 0.1}, 43)[3:]
    assert taken.count("b") == 30
    assert taken.count("a") == taken.count("c") == 5


def test_who_stops_gaining_gives_way_to_who_still_does() -> None:
    turns = Turns(("a", "b"))
    play(turns, {"a": 0.3, "b": 0.01}, 8)
    later = play(turns, {"b": 0.01}, 20)
    assert later.count("b") > later.count("a")


def test_turns_without_a_gain_become_longer_up_to_a_limit() -> None:
    turns = Turns(("a",))
    growths = []
    for _ in range(6):
        growths.append(turns.choose()[1])
        turns.tell("a", 5.0, 5.0, 1.0)
    assert growths == [1.0, 1.5, 2.25, 3.375, 4.0, 4.0]
    turns.tell("a", 5.0, 4.0, 1.0)
    assert turns.choose()[1] == 1.0


def test_a_first_schedule_is_a_gain_like_no_other() -> None:
    turns = Turns(("a", "b"))
    turns.tell("a", math.inf, 7.0, 1.0)
    turns.tell("b", 7.0, 6.0, 1.0)
    assert turns.choose()[0] == "a"


def test_who_is_dropped_has_no_turn_again() -> None:
    turns = Turns(("a", "b"))
    turns.drop("a")
    assert play(turns, {}, 5) == ["b"] * 5
