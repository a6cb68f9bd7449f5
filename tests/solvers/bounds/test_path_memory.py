"""The path-memory bound: by hand, and each sweep against all splits of a short path."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.core.problem import Problem
from talos_opt.solvers.bounds import root_bound
from talos_opt.solvers.bounds.path_memory import PathMemory, PathProblem, first_of_runs, sweep
from tests.builders import device, link, op
from tests.builders import problem as make
from tests.naive import brute_force

FREE = 10**9


def bound(problem: Problem) -> float:
    memory = PathMemory(problem)
    memory.improve()
    return memory.bound()


def chain(count: int, **settings: int) -> list:
    """Ops of one time unit, each reading the one before."""
    return [op(f"o{i}", {"gpu": 1}, f"o{i - 1}" if i else "", **settings) for i in range(count)]


def test_a_chain_that_needs_two_devices_pays_one_transfer() -> None:
    devices = [device("gpu0", 6), device("gpu1", 6)]
    problem = make(
        chain(4, weights=2, output=1), devices, [link("gpu gpu", 0.5, 2.0)], objective="makespan"
    )
    assert bound(problem) == 4 + 0.5 + 0.5
    assert bound(problem) == brute_force(problem)[0]


def test_a_host_between_two_devices_is_cheaper_than_a_transfer_through_it() -> None:
    ops = [
        op("a", {"gpu": 1, "cpu": 50}, weights=4, output=1),
        op("b", {"gpu": 1, "cpu": 0.5}, "a", output=1),
        op("c", {"gpu": 1, "cpu": 50}, "b", weights=4, output=1),
    ]
    devices = [device("cpu0"), device("gpu0", 6), device("gpu1", 6)]
    links = [link("cpu gpu", 3.0), link("gpu gpu", via="cpu0")]
    problem = make(ops, devices, links, objective="makespan")
    assert bound(problem) == 1 + 3 + 0.5 + 3 + 1  # b beside a: 1 + 1 + 6 + 1
    assert bound(problem) == brute_force(problem)[0]


def test_members_of_a_colocation_group_off_the_path_count() -> None:
    ops = chain(2, weights=2)
    aside = op("aside", {"gpu": 0}, weights=3, colocate="g")
    ops[1] = op("o1", {"gpu": 1}, "o0", weights=2, colocate="g")
    devices = [device("gpu0", 5), device("gpu1", 5)]
    links = [link("gpu gpu", 1.0)]
    apart = make([*ops, aside], devices, links, objective="makespan")
    assert bound(apart) == 3 == brute_force(apart)[0]
    assert bound(make(ops, devices, links, objective="makespan")) == 2


def test_a_group_counts_once_in_a_run() -> None:
    ops = [op(f"o{i}", {"gpu": 1}, f"o{i - 1}" if i else "", weights=2, colocate="g")
           for i in range(3)]  # fmt: skip
    problem = make(ops, [device("gpu0", 6), device("gpu1", 6)], [link("gpu gpu", 1.0)],
                   objective="makespan")  # fmt: skip
    assert bound(problem) == 3


def test_outputs_count_under_the_static_rule_alone() -> None:
    devices = [device("gpu0", 5), device("gpu1", 5)]
    links = [link("gpu gpu", 1.0)]
    ops = chain(2, output=3)
    assert bound(make(ops, devices, links, objective="makespan")) == 3
    assert bound(make(ops, devices, links, objective="makespan", rule="peak")) == 2


def test_what_one_path_shows_strengthens_another() -> None:
    """The op where both paths meet starts after the longer of them, transfers included."""
    left = [op(f"l{i}", {"gpu": 1}, f"l{i - 1}" if i else "", weights=3) for i in range(3)]
    right = [op("r", {"gpu": 2})]
    tail = [op("z", {"gpu": 1}, "l2 r", weights=3)]
    devices = [device(f"gpu{k}", 6) for k in range(3)]
    problem = make([*left, *right, *tail], devices, [link("gpu gpu", 5.0)], objective="makespan")
    assert bound(problem) == 4 + 5 == brute_force(problem)[0]


def test_toct_adds_the_models_up() -> None:
    models = {"m1": chain(4, weights=2, output=1), "m2": chain(2)}
    devices = [device("gpu0", 6), device("gpu1", 6)]
    links = [link("gpu gpu", 1.0)]
    problem = make(models, devices, links, weight={"m1": 2.0}, release={"m2": 3.0})
    assert bound(problem) == 2.0 * (4 + 1) + (3 + 2)


def test_the_root_bound_takes_the_best_of_all() -> None:
    devices = [device("gpu0", 6), device("gpu1", 6)]
    ops = chain(4, weights=2, output=1)
    problem = make(ops, devices, [link("gpu gpu", 9.0)], objective="makespan")
    assert root_bound(problem) == 13
    free = [op(f"w{i}", {"gpu": 8}) for i in range(4)]
    assert root_bound(make([*ops, *free], devices, [link("gpu gpu", 9.0)],
                           objective="makespan")) == pytest.approx(18)  # fmt: skip


# ---- the sweep against all splits ----------------------------------------------------------

Case = tuple[list[int], list[int], list[float], PathProblem, np.ndarray]


@st.composite
def short_paths(draw: st.DrawFn) -> Case:
    """Groups of the ops, bytes of the groups, capacities, the path and its releases."""
    length, count = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    halves = st.integers(0, 6).map(lambda k: k / 2)
    group = [draw(st.integers(0, length - 1)) for _ in range(length)]
    size = [draw(st.integers(0, 3)) for _ in range(length)]
    capacity = [draw(st.sampled_from((2.0, 3.0, 5.0, float(FREE)))) for _ in range(count)]
    table = draw(st.lists(halves, min_size=length * count, max_size=length * count))
    time = np.array(table).reshape(length, count)
    delays = (length - 1) * count * count
    delay = np.array(draw(st.lists(halves, min_size=delays, max_size=delays)))
    rest = np.array(draw(st.lists(halves, min_size=length * count, max_size=length * count)))
    first = np.column_stack(
        [first_of_runs(np.array(group), np.array(size, dtype=float), c) for c in capacity]
    )
    part = PathProblem(
        time, delay.reshape(length - 1, count, count), first, np.array(capacity) >= FREE
    )
    return group, size, capacity, part, rest.reshape(length, count)


def all_splits(group: list[int], size: list[int], capacity: list[float], part: PathProblem,
               release: np.ndarray) -> np.ndarray:  # fmt: skip
    """Least end of every op on each class, by trying every class of every op and every cut."""
    length, count = part.time.shape
    least = np.full((length, count), math.inf)
    for last in range(length):
        for kinds in product(range(count), repeat=last + 1):
            for cuts in product((False, True), repeat=last):
                if any(kinds[i] != kinds[i + 1] and not cuts[i] for i in range(last)):
                    continue
                end = walk(kinds, cuts, group, size, capacity, part, release)
                least[last, kinds[-1]] = min(least[last, kinds[-1]], end)
    return least


def walk(kinds, cuts, group, size, capacity, part, release) -> float:  # type: ignore[no-untyped-def]
    end, run = 0.0, []
    for i, c in enumerate(kinds):
        new = i > 0 and cuts[i - 1]
        run = [i] if new or i == 0 else [*run, i]
        if sum(size[g] for g in {group[k] for k in run}) > capacity[c]:
            return math.inf
        start = end + (part.delay[i - 1, kinds[i - 1], c] if new else 0.0)
        end = max(start, release[i, c]) + part.time[i, c]
    return end


@given(short_paths())
def test_a_sweep_finds_the_best_of_all_splits(case) -> None:  # type: ignore[no-untyped-def]
    group, size, capacity, part, release = case
    expected = all_splits(group, size, capacity, part, release)
    np.testing.assert_array_equal(sweep(part, release), expected)


@given(short_paths())
def test_backwards_is_the_path_turned_round(case) -> None:  # type: ignore[no-untyped-def]
    group, size, capacity, part, release = case
    turned = part.reversed()
    expected = all_splits(group[::-1], size, capacity, turned, release)
    np.testing.assert_array_equal(sweep(turned, release), expected)
