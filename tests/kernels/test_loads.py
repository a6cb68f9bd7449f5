"""Loads of placements, each transfer counted once per hop (see also tests/solvers/test_fast.py)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.kernels.loads import largest, placement_loads, smoothed, unreachable
from talos_opt.solvers.shared.instance import make_instance
from talos_opt.testing.reference.flat import channel
from tests.builders import device, link, op, problem
from tests.kernels.drawing import Ordered, interpreted, ints, ordered_problems
from tests.reference.queues import steady_loads, unreached_edges


@given(st.one_of(ordered_problems(), ordered_problems(traffic=True, max_models=1)))
def test_loads_are_those_of_the_hops_that_are_needed(drawn: Ordered) -> None:
    given, where = drawn.problem, drawn.device
    arrays, instance = given.arrays, make_instance(given)
    # What was there before is overwritten.
    load = np.full(arrays.device_count, 7.0)
    carried = np.full(int(arrays.channel.max(initial=-1)) + 1, 7.0)
    size = np.zeros(arrays.device_count, dtype=np.int64)
    placement_loads(instance, ints(where), size, load, carried)
    expected, lines = steady_loads(given, where)
    assert load.tolist() == expected
    for a, b in np.argwhere(arrays.channel >= 0).tolist():
        line = lines.get(channel(given.cluster, a, b), 0.0)
        assert carried[arrays.channel[a, b]] == line
    assert not size.any(), "working space is left as it was found"
    assert interpreted(largest)(load, carried) == pytest.approx(max([*expected, *lines.values()]))
    norm = float(np.sum(np.array([*load, *carried]) ** 8) ** 0.125)
    top = max([*expected, *lines.values()])
    assert interpreted(smoothed)(load, carried, top) == pytest.approx(norm)
    assert interpreted(unreachable)(instance, ints(where)) == unreached_edges(given, where)


@pytest.mark.parametrize(("at_stage", "beyond"), [(8, 2), (2, 8)])
@pytest.mark.parametrize("names", ["bc", "cb"])
def test_the_hop_to_a_stage_carries_what_its_largest_reader_names(
    at_stage: int, beyond: int, names: str
) -> None:
    near, far = names
    ops = [op("a"), op(near, 1, f"a:{at_stage}"), op(far, 1, f"a:{beyond}")]
    given = problem(
        sorted(ops, key=lambda item: item.id),
        [device("cpu0", copy_engine=False), device("gpu0"), device("gpu1")],
        [link("cpu gpu", 0, 1), link("gpu gpu", via="cpu0")],
    )
    where = [1, 0, 2] if near == "b" else [1, 2, 0]
    load, carried, size = np.zeros(3), np.zeros(0), np.zeros(3, dtype=np.int64)
    placement_loads(make_instance(given), ints(where), size, load, carried)
    assert load.tolist() == [1.0 + max(at_stage, beyond) + beyond, 1.0, 1.0]
    assert load.tolist() == steady_loads(given, where)[0]
