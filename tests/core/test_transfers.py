"""Which tensors a placement sends where, against the naive list of hops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.core.problem import Problem
from talos_opt.core.transfers import NoRouteError, plan_transfers
from talos_opt.testing.reference.flat import Flat
from tests.strategies import large_problems, placed_problems

Placed = tuple[Problem, list[int], list[int]]


@given(st.one_of(placed_problems(max_ops=8), placed_problems(large_problems())))
def test_the_plan_is_the_naive_list_of_hops_without_those_that_are_nothing(placed: Placed) -> None:
    given, where, _ = placed
    flat = Flat(given)
    needed = flat.hops(where)
    if needed is None:
        with pytest.raises(NoRouteError):
            plan_transfers(given, np.array(where))
    else:
        expected = {}
        for (tensor, source, target), size in needed.items():
            time = flat.hop_time(source, target, size)
            if size > 0 or time > 0:
                expected[tensor, target] = (source, target, size, time)
        plan = plan_transfers(given, np.array(where))
        assert len(plan) == len(flat.tensors)
        found = {(r, t): tuple(hop) for r, hops in enumerate(plan) for t, hop in hops.items()}
        assert found == expected
