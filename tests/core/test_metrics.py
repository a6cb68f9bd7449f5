"""The metrics against their naive twins, and the facts about them that the docs state."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from talos_opt.core.feasibility import check
from talos_opt.core.metrics import Metrics, measure, objective_value
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import MemoryDeadlockError, simulate
from talos_opt.core.transfers import NoRouteError
from talos_opt.testing.reference.brute import placements
from tests.builders import device, fig1, link, op, problem, schedule
from tests.naive import naive_metrics
from tests.strategies import large_problems, placed_problems, problems

Placed = tuple[Problem, list[int], list[int]]

TALOS = {
    "op1": ("gpu0", 0.0), "op5": ("gpu0", 1.0), "op3": ("gpu0", 2.5),
    "op4": ("cpu0", 0.0), "op2": ("cpu0", 1.5), "op6": ("cpu0", 2.5),
}  # fmt: skip
TSAM = {
    "op1": ("gpu0", 0.0), "op5": ("gpu0", 1.0), "op6": ("gpu0", 2.0),
    "op4": ("cpu0", 0.0), "op2": ("cpu0", 1.5), "op3": ("cpu0", 2.5),
}  # fmt: skip
ASWM = {
    "op1": ("gpu0", 0.0), "op2": ("gpu0", 1.0), "op3": ("gpu0", 4.0),
    "op4": ("cpu0", 0.0), "op5": ("cpu0", 1.5), "op6": ("cpu0", 4.5),
}  # fmt: skip


# ---- Fig. 1 of the paper -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ops", "toct", "makespan", "idle"),
    [(TALOS, 9, 4.5, 0.5), (TSAM, 11.5, 6, 0), (ASWM, 12.5, 6.5, 0)],
)
def test_fig1(ops: dict[str, tuple[str, float]], toct: float, makespan: float, idle: float) -> None:
    answer = schedule(fig1(), ops)
    assert check(fig1(), answer) == ()
    found = measure(fig1(), answer)
    assert (found.toct, found.makespan, found.total_idle) == (toct, makespan, idle)
    assert found.weighted_speedup == 15.5 / toct  # all on the CPU: 9 and 6.5
    for objective in found.values:
        assert found.value(objective) == objective_value(fig1(objective), answer)


def test_fig1_models_and_ops() -> None:
    answer = schedule(fig1(), TSAM)
    found = measure(fig1(), answer)
    assert found.completion == {"m1": 5.5, "m2": 6}
    assert found.model_speedup == {"m1": 9 / 5.5, "m2": 6.5 / 6}


# ---- by hand -------------------------------------------------------------------------------


def test_weights_and_releases() -> None:
    given = problem(
        {"m1": [op("a", 2)], "m2": [op("b", 3)]},
        release={"m2": 4},
        weight={"m1": 0.5, "m2": 3},
    )
    found = measure(given, schedule(given, {"a": ("gpu0", 1), "b": ("cpu0", 5)}))
    assert found.toct == 0.5 * 3 + 3 * 8
    assert found.weighted_speedup == (0.5 * 2 + 3 * 3) / found.toct
    assert found.model_speedup == {"m1": 2 / 3, "m2": 3 / 4}  # from its release on
    assert found.idle_time == {"cpu0": 5, "gpu0": 1}


def test_no_speedup_without_a_reference_time() -> None:
    given = problem({"m1": [op("a", {"gpu": 2})], "m2": [op("b", 1)]}, weight={"m2": 2})
    ops = {"a": ("gpu0", 0.0), "b": ("cpu0", 0.0)}
    found = measure(given, schedule(given, ops))
    assert found.weighted_speedup is None
    assert found.model_speedup == {"m1": None, "m2": 1}
    silent = problem({"m1": given.ops[:1], "m2": given.ops[1:]}, weight={"m1": 0})
    assert measure(silent, schedule(silent, ops)).weighted_speedup == 1
    nothing = problem([op("a", 0)])
    assert measure(nothing, schedule(nothing, {"a": ("cpu0", 0)})).weighted_speedup is None


def test_the_reference_device_has_its_own_times() -> None:
    given = problem([op("a", {"cpu": 5, "cpu0": 6, "gpu": 3})], "cpu1 cpu0 gpu0", reference="cpu")
    found = measure(given, schedule(given, {"a": ("gpu0", 0)}))
    assert found.weighted_speedup == 5 / 3  # the first of its kind
    given = replace(given, cluster=replace(given.cluster, reference="gpu"))
    assert measure(given, schedule(given, {"a": ("cpu0", 0)})).weighted_speedup == 3 / 6


def test_loads_and_the_bottleneck() -> None:
    given = problem(
        [op("a", 2, output=6), op("b", 3, slots=2), op("r", 1, "a")],
        [device("cpu0", slots=2), device("gpu0", copy_engine=False)],
        [link("cpu gpu", 1, 2)],
    )
    ops = {"a": ("cpu0", 0.0), "b": ("cpu0", 2.0), "r": ("gpu0", 6.0)}
    answer = schedule(given, ops, [("a", "cpu0", "gpu0", 2, 6, 6)])
    found = measure(given, answer)
    assert found.load == {"cpu0": (2 + 3 * 2) / 2, "gpu0": 1 + 4}
    assert found.bottleneck == 5
    assert found.transferred_bytes == 6
    assert found.idle_time == {"cpu0": 1, "gpu0": 2}


def test_a_serial_link_can_be_the_bottleneck() -> None:
    ops = [op("a", 1, output=8), op("b", 1, output=8), op("r", 1, "a b")]
    at = {"a": ("cpu0", 0.0), "b": ("cpu0", 1.0), "r": ("gpu0", 9.0)}
    moves = [("a", "cpu0", "gpu0", 1.0, 5.0, 8), ("b", "cpu0", "gpu0", 5.0, 9.0, 8)]
    for contention, value in (("none", 2), ("serial", 8)):
        given = problem(ops, links=[link("cpu gpu", 0, 2)], contention=contention)
        assert measure(given, schedule(given, at, moves)).bottleneck == value


def test_memory_is_reported_by_both_rules_whichever_holds() -> None:
    ops = [op("a", 1, weights=1, output=4), op("b", 1, "a", output=2, workspace=3), op("c", 1, "b")]
    for rule in ("static", "peak"):
        given = problem(ops, "cpu0", rule=rule)
        answer = schedule(given, {"a": ("cpu0", 0), "b": ("cpu0", 1), "c": ("cpu0", 2)})
        found = measure(given, answer)
        assert found.peak_memory == {"cpu0": 1 + 4 + 2 + 3}
        assert found.static_memory == {"cpu0": 1 + 4 + 2 + 3}
        apart = schedule(given, {"a": ("cpu0", 0), "b": ("cpu0", 1), "c": ("cpu0", 9)})
        assert measure(given, apart).peak_memory == {"cpu0": 10}


# ---- on random problems --------------------------------------------------------------------


def simulated(placed: Placed) -> Schedule | None:
    given, where, priority = placed
    try:
        return simulate(given, np.array(where), priority)
    except (NoRouteError, MemoryDeadlockError):
        return None


def agree(given: Problem, answer: Schedule) -> None:
    found: Metrics = measure(given, answer)
    expected = naive_metrics(given, answer)
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value), name
    assert set(expected) == set(found.to_dict())
    assert objective_value(given, answer) == pytest.approx(expected[given.objective.value])


@given(placed_problems(max_ops=8))
def test_metrics_agree_with_their_naive_twins(placed: Placed) -> None:
    answer = simulated(placed)
    assume(answer is not None)
    agree(placed[0], answer)


@given(placed_problems(large_problems()))
def test_metrics_of_larger_schedules(placed: Placed) -> None:
    answer = simulated(placed)
    assume(answer is not None)
    agree(placed[0], answer)


@given(problems(max_ops=4, absent_kinds=False), st.permutations(range(4)))
def test_the_largest_weighted_speedup_is_the_smallest_weighted_toct(
    given: Problem, order: list[int]
) -> None:
    """Over all placements: w R is a constant, so either objective picks the same schedule."""
    found = []
    for where in placements(given):
        try:
            answer = simulate(given, np.array(where), order[: len(where)])
        except (NoRouteError, MemoryDeadlockError):
            continue
        found.append(measure(given, answer))
    models = given.graph.models
    kinds = [item.kind for item in given.cluster.devices]
    first = given.cluster.devices[kinds.index(given.cluster.reference)]
    gain = sum(
        model.weight * sum(op.time.get(first.id, op.time.get(first.kind)) for op in model.ops)
        for model in models
    )
    speedups = [item.weighted_speedup for item in found if item.weighted_speedup is not None]
    tocts = [item.toct for item in found if item.toct > 0]
    assert speedups == pytest.approx([gain / toct for toct in tocts])
    if speedups:
        assert max(speedups) == pytest.approx(gain / min(tocts))


@pytest.mark.parametrize("release", [0.0, 1e9, 1_764_153_000_000_000.0])
def test_loads_do_not_hang_on_when_ops_run(release: float) -> None:
    """At 1.76e15 floats are a quarter apart: what lies between two of them is no load."""
    ops = [op("a", 0.3, output=1, devices="cpu"), op("b", 0.4, "a", devices="gpu")]
    devices = [device("cpu0", copy_engine=False), device("gpu0")]
    wire = [link("cpu gpu", 0.1, 5)]
    given = problem({"m": ops}, devices, wire, release={"m": release}, objective="bottleneck")
    moves = [("a", "cpu0", "gpu0", release + 0.3, release + 0.6, 1)]
    answer = schedule(given, {"a": ("cpu0", release), "b": ("gpu0", release + 0.6)}, moves)
    assert measure(given, answer).load == pytest.approx({"cpu0": 0.6, "gpu0": 0.4})
    assert objective_value(given, answer) == pytest.approx(0.6)
