"""Bisection: the largest number that fits, and what is proven of the next."""

from __future__ import annotations

import pytest

from talos_opt.frameworks.llm.fitting import Answer, largest


@pytest.mark.parametrize("most", [0, 1, 2, 499, 500])
def test_the_most_is_found_and_the_next_proven(most: int) -> None:
    asked: list[int] = []

    def ask(blocks: int) -> Answer:
        asked.append(blocks)
        return Answer.FITS if blocks <= most else Answer.PROVEN

    found = largest(ask, 500)
    assert found.blocks == most
    assert len(asked) == found.tried <= 10
    if most < 500:
        assert (found.next, found.proven) == (Answer.PROVEN, most + 1)
    else:
        assert (found.next, found.proven) == (None, None)


def test_what_is_not_known_is_not_proven() -> None:
    def ask(blocks: int) -> Answer:
        if blocks <= 20:
            return Answer.FITS
        return Answer.PROVEN if blocks >= 40 else Answer.UNKNOWN

    found = largest(ask, 100)
    assert (found.blocks, found.next) == (20, Answer.UNKNOWN)
    assert found.proven is not None
    assert found.proven >= 40


def test_a_search_that_is_stopped_returns_what_it_knows() -> None:
    answers = iter([Answer.PROVEN, Answer.FITS])
    looks = iter([False, False, True])
    found = largest(lambda blocks: next(answers), 100, stopped=lambda: next(looks))
    assert found.blocks == 50
    assert found.proven == 100
