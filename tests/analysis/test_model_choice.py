"""Which models are compared where there are too many for all pairs."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from talos_opt.analysis.affinity import affinities
from talos_opt.analysis.model_choice import choose_models
from tests.analysis.test_affinity import model


def test_few_models_are_all_compared() -> None:
    models = [model(name, ("conv", 6, 1)) for name in "abc"]
    choice = choose_models(models, 3)
    assert (choice.chosen, choice.alike, choice.left_out) == ((0, 1, 2), (), 0)


def test_of_models_that_are_alike_one_stands_for_all() -> None:
    models = [model(f"m{j}", ("conv", 6 + j % 2, 1), ("relu", 1, 1)) for j in range(10)]
    choice = choose_models(models, 1)
    assert (choice.chosen, choice.left_out) == ((0, 1), 0)
    assert choice.alike == ((0, 2, 4, 6, 8), (1, 3, 5, 7, 9))


def test_types_and_speedups_in_order_make_models_alike_not_times() -> None:
    one = model("one", ("conv", 6, 1), ("relu", 2, 1))
    again = model("again", ("conv", 12, 2), ("relu", 4, 2))
    turned = model("turned", ("relu", 2, 1), ("conv", 6, 1))
    other_type = model("other type", ("conv", 6, 1), ("gelu", 2, 1))
    untimed = model("untimed", ("conv", 6, 1), ("relu", math.inf, 1))
    choice = choose_models([one, again, other_type, untimed, turned], 6)
    assert choice.alike == ((0, 1),)
    assert choice.chosen == (0, 2, 3, 4)


def test_then_those_that_take_longest_are_compared() -> None:
    models = [model(f"m{j}", ("conv", time, 1)) for j, time in enumerate((3, 9, 1, 7, 5))]
    choice = choose_models(models, 4)  # three models make 3 pairs, four make 6
    assert (choice.chosen, choice.alike, choice.left_out) == ((1, 3, 4), (), 10 - 3)
    assert choose_models(models, 0).left_out == 10


@given(
    st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.integers(0, 2)),
                      min_size=1, max_size=3), min_size=2, max_size=6),
    st.integers(0, 15),
)  # fmt: skip
def test_alike_means_that_every_comparison_is_the_same(
    drawn: list[list[tuple[str, int, int]]], most: int
) -> None:
    models = [model(f"m{j}", *ops) for j, ops in enumerate(drawn)]
    choice = choose_models(models, most)
    count = len(choice.chosen)
    assert count * (count - 1) // 2 <= most
    for members in choice.alike:
        for other in models:
            found = [affinities([models[j], other])[0] for j in members]
            told = {repr(replace(pair, first="", second="")) for pair in found}
            assert len(told) == 1
