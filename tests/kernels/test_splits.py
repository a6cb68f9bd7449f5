"""Walks that fill the stages of a pipeline."""

from __future__ import annotations

import math

import numpy as np
import pytest

from talos_opt.core.problem import Problem
from talos_opt.solvers.shared.splits.search import SplitSearch
from tests.builders import op, problem


def chains(*lengths: int) -> Problem:
    """Chains beside each other, of ops of one unit each, on two devices."""
    ops = [
        op(f"c{c}o{k}", 1, f"c{c}o{k - 1}" if k else "")
        for c, length in enumerate(lengths)
        for k in range(length)
    ]
    return problem(ops, "gpu0 gpu1", objective="bottleneck").with_stages("acyclic")


@pytest.mark.parametrize("lengths", [(5, 3), (4, 4, 4), (2, 2, 1, 1)])
def test_a_walk_balances_what_can_be(lengths: tuple[int, ...]) -> None:
    asked = chains(*lengths)
    half = sum(lengths) / 2
    device = SplitSearch(asked, np.full(2, 0.5), sum(lengths)).balance(half, 0, lambda: False)
    assert device is not None
    assert asked.keeps_stages(device)
    assert np.bincount(device).tolist() == [half, half]


def test_what_cannot_be_is_given_up() -> None:
    search = SplitSearch(chains(1, 1, 1), np.full(2, 0.5), 2.0)
    assert search.balance(1.5, 0, lambda: False) is None
    assert SplitSearch(chains(2), np.full(2, 0.5), math.inf).balance(1, 0, lambda: False) is None
