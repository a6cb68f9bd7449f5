"""The cut diagram: by hand, exact where nothing competes, and its labels against a plain twin."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from talos_opt.core.feasibility import check
from talos_opt.core.metrics import objective_value
from talos_opt.core.problem import Problem
from talos_opt.core.simulator import simulate
from talos_opt.solvers.bounds.diagram import Diagrams, read, views
from talos_opt.solvers.bounds.labels import Labels, reduce, rename
from talos_opt.solvers.bounds.path_memory import PathMemory
from tests.builders import device, link, op
from tests.builders import problem as make
from tests.naive import brute_force
from tests.strategies import problems


def never() -> bool:
    return False


def bound(problem: Problem, upper: float = math.inf, most: int = 1000) -> float:
    memory = PathMemory(problem)
    Diagrams(memory).improve(upper, most, never)
    return memory.bound()


def residual(links: float = 4.0) -> Problem:
    """A block whose input is read again at its end, and that no device can hold."""
    ops = [
        op("a", {"gpu": 1}, weights=3, output=4),
        op("b", {"gpu": 1}, "a", weights=3, output=1),
        op("c", {"gpu": 1}, "b", weights=3, output=1),
        op("d", {"gpu": 1}, "c a", weights=3, output=1),
    ]
    devices = [device(f"gpu{k}", 12) for k in range(3)]
    return make(ops, devices, [link("gpu gpu", 0.0, 1.0 / links)], objective="makespan")


def test_a_tensor_beside_the_path_has_to_travel_too() -> None:
    problem = residual()
    path = PathMemory(problem)
    path.improve()
    assert path.bound() < bound(problem) == brute_force(problem)[0]


@pytest.mark.parametrize("known", [True, False])
def test_an_incumbent_changes_nothing_but_the_effort(known: bool) -> None:
    problem = residual()
    best = brute_force(problem)[0]
    assert bound(problem, best if known else math.inf) == best


def test_a_limit_below_the_optimum_is_the_bound() -> None:
    problem = residual()
    best = brute_force(problem)[0]
    assert bound(problem, best - 0.5) == best - 0.5


def test_both_directions_agree_where_nothing_was_merged() -> None:
    memory = PathMemory(residual())
    found = [read(memory, view, math.inf, 1000, never) for view in views(memory, 0)]
    assert [one.merged for one in found] == [0, 0]
    assert found[0].value == found[1].value == brute_force(memory.problem)[0]


def test_a_group_counts_once_on_its_device() -> None:
    ops = [
        op("a", {"gpu": 1}, weights=2, colocate="g"),
        op("b", {"gpu": 1}, "a", weights=1),
        op("c", {"gpu": 1}, "b", weights=2, colocate="g"),
        op("aside", {"gpu": 1}, weights=1),
    ]
    devices = [device("gpu0", 5), device("gpu1", 5)]
    problem = make(ops, devices, [link("gpu gpu", 1.0)], objective="makespan")
    assert bound(problem) == 3
    assert bound(problem, 10.0) == 3


def test_a_group_that_no_device_may_hold_proves_nothing() -> None:
    ops = [op("a", {"gpu": 1}, colocate="g"), op("b", {"cpu": 1}, colocate="g")]
    assert bound(make(ops, objective="makespan")) == 0


def test_a_pass_that_is_stopped_says_nothing() -> None:
    memory = PathMemory(residual())
    assert read(memory, views(memory, 0)[0], math.inf, 1000, lambda: True) is None


def test_the_placement_behind_the_bound_is_the_best_one() -> None:
    problem = residual()
    memory = PathMemory(problem)
    diagrams = Diagrams(memory)
    diagrams.improve(math.inf, 1000, never)
    device = diagrams.placement()
    assert device is not None
    schedule = simulate(problem, device, problem.arrays.level)
    assert check(problem, schedule) == ()
    assert objective_value(problem, schedule) == memory.bound()


@given(
    problems(
        max_ops=5, max_models=1, objectives=("makespan",), memory=False, peak=False,
        serial=False, no_copy_engine=False, edge_bytes=False,
    )
)  # fmt: skip
def test_exact_where_nothing_competes(problem: Problem) -> None:
    """With a slot for every op and no memory limit, the relaxation is the problem."""
    devices = tuple(replace(one, slots=16) for one in problem.cluster.devices)
    wide = replace(problem, cluster=replace(problem.cluster, devices=devices))
    memory = PathMemory(wide)
    assume(len(memory.classes.members) == len(devices))  # classes tell all devices apart
    diagrams = Diagrams(memory)
    diagrams.improve(math.inf, 100_000, never)
    expected = brute_force(wide)
    assume(expected is not None)
    assert memory.bound() == pytest.approx(expected[0], abs=1e-9)


@given(problems(max_ops=6, max_models=1, objectives=("makespan",), traffic=True, peak=False))
def test_merging_only_lowers_the_bound(problem: Problem) -> None:
    memory = PathMemory(problem)
    for view in views(memory, 0):
        whole = read(memory, view, math.inf, 100_000, never)
        few = read(memory, view, math.inf, 4, never)
        assert whole.merged == 0
        assert few.value <= whole.value
        for op_ in view.order:
            assert (few.end[op_] <= whole.end[op_]).all()


# ---- labels --------------------------------------------------------------------------------


@st.composite
def label_sets(draw: st.DrawFn) -> Labels:
    count, width = draw(st.integers(1, 40)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    unit = rename(rng.integers(-1, 2, (count, width)).astype(np.int8))
    kind = np.where(unit < 0, 0, 1).astype(np.int8)
    return Labels(
        unit,
        kind,
        rng.integers(0, 4, (count, width)).astype(float),
        rng.integers(0, 4, (count, width)).astype(float),
        rng.integers(0, 4, count).astype(float),
        np.zeros((count, 3), dtype=np.int64),
    )


def rows(labels: Labels) -> list[tuple[bytes, tuple[float, ...]]]:
    cost = np.column_stack([labels.end, labels.used, labels.value])
    state = np.column_stack([labels.unit, labels.kind])
    return [(s.tobytes(), tuple(c.tolist())) for s, c in zip(state, cost, strict=True)]


def covers(a: tuple[bytes, tuple[float, ...]], b: tuple[bytes, tuple[float, ...]]) -> bool:
    return a[0] == b[0] and all(x <= y for x, y in zip(a[1], b[1], strict=True))


@given(label_sets())
def test_reduce_keeps_what_nothing_dominates(labels: Labels) -> None:
    before = rows(labels)
    kept, lost = reduce(labels, 1000, 2)
    assert lost == 0
    after = rows(kept)
    assert len(set(after)) == len(after)
    best = {one for one in before if not any(covers(o, one) and o != one for o in before)}
    assert set(after) == best


@given(label_sets(), st.integers(4, 8))
def test_merged_labels_stand_for_all_that_they_replace(labels: Labels, most: int) -> None:
    kept, _ = reduce(labels, most, 2)
    assert len(kept) <= most
    after = rows(kept)
    any_state = bytes([256 - 3] * labels.width + [2] * labels.width)
    for one in rows(labels):
        same = [o for o in after if covers(o, one)]
        anyone = [o for o in after if o[0] == any_state and covers((one[0], o[1]), one)]
        assert same or anyone


def test_units_are_named_by_their_first_column() -> None:
    unit = np.array([[3, -1, 3, 0], [-2, 0, 0, 0]], dtype=np.int8)
    assert rename(unit).tolist() == [[0, -1, 0, 3], [-2, 1, 1, 1]]


def test_the_views_of_many_models_are_made_when_their_turn_comes() -> None:
    models = {f"m{j}": [op("a"), op("b", 1, "a")] for j in range(9)}
    memory = PathMemory(make(models))
    looks = iter([False] * 9 + [True] * 99)
    diagrams = Diagrams(memory)
    assert not diagrams.views
    diagrams.improve(math.inf, 100, lambda: next(looks))
    assert 0 < len(diagrams.views) < 9
    assert diagrams.placement() is None
    diagrams.improve(math.inf, 100, never)
    assert len(diagrams.views) == 9
    assert diagrams.placement() is not None
