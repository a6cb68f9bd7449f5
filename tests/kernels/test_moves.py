"""The generator of random numbers, and bundles of groups, against sets and whole numbers."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.kernels.moves import grow_bundle, next_random
from talos_opt.solvers.shared.instance import make_instance
from talos_opt.testing.reference.flat import Flat
from tests.kernels.drawing import Ordered, ints, ordered_problems
from tests.reference.queues import groups
from tests.reference.randomness import SplitMix


@given(st.integers(0, 2**64 - 1))
def test_random_numbers_are_those_of_splitmix(seed: int) -> None:
    state, expected = np.array([seed], dtype=np.uint64), SplitMix(seed)
    for _ in range(20):
        number = next_random(state)
        assert number == expected.real()
        assert 0 <= number < 1
        assert int(state[0]) == expected.state


def test_random_numbers_are_the_published_ones() -> None:
    """The first outputs for the seed 1234567, as in the test of many libraries."""
    stream = SplitMix(1234567)
    assert [stream.whole() for _ in range(3)] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


def neighbours(drawn: Ordered) -> tuple[list[list[int]], list[int]]:
    """Groups that share an edge with each group, and the device of each."""
    flat = Flat(drawn.problem)
    members = groups(drawn.problem)
    group = {i: g for g, ops in enumerate(members) for i in ops}
    near: list[set[int]] = [set() for _ in members]
    for a, b, _ in flat.edges:
        if group[a] != group[b]:
            near[group[a]].add(group[b])
            near[group[b]].add(group[a])
    return [sorted(found) for found in near], [drawn.device[ops[0]] for ops in members]


def naive_bundle(
    near: list[list[int]], home: list[int], seed: int, wanted: int, same: bool, draw: SplitMix
) -> list[int]:
    """Breadth first around a seed; where that ends, a random group of the device may join."""
    bundle = [seed]
    for group in bundle:
        if len(bundle) >= wanted:
            break
        around = near[group]
        shift = draw.below(len(around)) if around else 0
        for other in around[shift:] + around[:shift]:
            fits = not same or home[other] == home[seed]
            if fits and len(bundle) < wanted and other not in bundle:
                bundle.append(other)
        if group == bundle[-1] and len(bundle) < wanted:
            other = draw.below(len(home))
            if other not in bundle and home[other] == home[seed]:
                bundle.append(other)
    return bundle


@given(ordered_problems(), st.integers(1, 20), st.booleans())
def test_bundles_grow_around_their_seed(drawn: Ordered, wanted: int, same: bool) -> None:
    near, home = neighbours(drawn)
    instance = make_instance(drawn.problem)
    state, draw = np.array([drawn.seed], dtype=np.uint64), SplitMix(drawn.seed)
    mark, bundle = np.zeros(len(home), dtype=np.int64), np.full(48, -1, dtype=np.int64)
    for stamp in range(1, 6):
        seed = drawn.seed % len(home)
        count = grow_bundle(instance, state, ints(home), seed, wanted, same, mark, stamp, bundle)
        expected = naive_bundle(near, home, seed, wanted, same, draw)
        assert bundle[:count].tolist() == expected
        assert np.flatnonzero(mark == stamp).tolist() == sorted(expected)
        assert int(state[0]) == draw.state
