"""Presolve: the optimum is unchanged, and schedules map back to ones that pass `check`."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, reject
from hypothesis import strategies as st

import talos_opt
from talos_opt.core.errors import GraphError
from talos_opt.core.feasibility import check
from talos_opt.core.graph import Input, Memory, Model, Op
from talos_opt.core.metrics import objective_value
from talos_opt.core.problem import Problem
from talos_opt.core.simulator import MemoryDeadlockError, simulate
from talos_opt.solvers.presolve import presolve
from talos_opt.testing.reference.brute import best_schedule, exact_optimum
from talos_opt.testing.reference.checker import naive_check
from tests.builders import device, link, op, problem
from tests.strategies import problems

FOLDED = "ops of no length that became tensors"
INTO = "ops of no length that became part of their reader"
JOINED = "ops that were joined to the one before them"
LEFT_OUT = "devices left out"


def with_relays(plain: Problem, rng: random.Random) -> Problem | None:
    """The problem with ops of no length beside others: between them and some of their readers."""
    models = []
    for model in plain.graph.models:
        ops: list[Op] = []
        instead: dict[str, str] = {}
        for item in model.ops:
            group = item.colocate or f"with {model.id}/{item.id}"
            ops.append(item if item.colocate else replace(item, colocate=group))
            if rng.random() < 0.5:
                # Times of a relay matter only where its group may go.
                other = dict.fromkeys(plain.cluster.kinds, 0.0) | dict.fromkeys(item.time, 0.0)
                if rng.random() < 0.5:
                    other = {k: 0.0 if k in item.time else 1.0 for k in other}
                relay = Op(
                    f"{item.id}~", other if item.devices is None else dict.fromkeys(item.time, 0.0),
                    Memory(rng.choice((0, 0, 1)), rng.choice((0, 0, 2)), rng.choice((0, 1))),
                    (Input(item.id, rng.choice((None, 0))),), colocate=group,
                    devices=item.devices, slots=item.slots,
                )  # fmt: skip
                ops.append(relay)
                instead[item.id] = relay.id
        kept = []
        for item in ops:
            inputs = []
            for edge in item.inputs:
                relay_id = instead.get(edge.op)
                if relay_id in (None, item.id) or rng.random() < 0.4:
                    inputs.append(edge)
                elif all(other.op != relay_id for other in inputs):
                    inputs.append(Input(relay_id, rng.choice((None, 1, 3))))
            kept.append(replace(item, inputs=tuple(inputs)))
        models.append(Model(model.id, tuple(kept), model.weight, model.release))
    try:
        return replace(plain, graph=replace(plain.graph, models=tuple(models)))
    except GraphError:
        return None


@st.composite
def relayed(draw: st.DrawFn) -> Problem:
    """Draw a problem of few ops, mostly with ops of no length that share their devices."""
    plain = draw(problems(max_ops=4))
    if draw(st.integers(0, 3)) == 0:
        return plain
    found = with_relays(plain, random.Random(draw(st.integers(0, 2**32 - 1))))
    if found is None:
        reject()
    return found


@given(relayed())
def test_the_optimum_is_that_of_the_smaller_problem(given: Problem) -> None:
    small = presolve(given)
    assert exact_optimum(given) == exact_optimum(small.problem)


@given(relayed())
def test_schedules_map_back_and_pass(given: Problem) -> None:
    small = presolve(given)
    found = best_schedule(small.problem)
    assume(found is not None)
    restored = small.restore(found)
    assert not check(given, restored)
    assert not naive_check(given, restored)
    value = objective_value(small.problem, found)
    assert objective_value(given, restored) == pytest.approx(value, rel=1e-12)
    again = small.adopt(restored)
    assert again.start.tolist() == pytest.approx(found.start.tolist())
    assert list(again.transfers.rows()) == list(found.transfers.rows())


@given(relayed())
def test_schedules_of_the_problem_are_adopted(given: Problem) -> None:
    found = best_schedule(given)
    assume(found is not None)
    small = presolve(given)
    adopted = small.adopt(found)
    times = small.problem.arrays.time[np.arange(len(adopted.device)), adopted.device]
    assert np.isfinite(times).all()
    if check(small.problem, adopted):
        with suppress(MemoryDeadlockError):  # list scheduling is more careful than it need be
            adopted = simulate(small.problem, adopted.device, adopted.start)
            assert not check(small.problem, adopted)
    else:
        value = objective_value(small.problem, adopted)
        assert value == pytest.approx(objective_value(given, found), rel=1e-12)


def relay(name: str, of: str, **more: int) -> Op:
    return op(name, 0, of, colocate="g", **more)


def test_relays_become_tensors() -> None:
    given = problem(
        [
            op("a", 1, colocate="g"), relay("x", "a", output=2), relay("y", "a", output=6),
            op("b", 2, "x"), op("c", 2, "y"),
        ],
        "cpu0 gpu0", [link("cpu gpu", 0.0, 1.0)],
    )  # fmt: skip
    small = presolve(given)
    assert small.counts == {FOLDED: 2}
    assert small.problem.arrays.op_count == 3
    assert small.problem.arrays.tensor_size.tolist() == [0, 2, 6, 0, 0]
    assert small.problem.arrays.edge_bytes.tolist() == [2, 6]
    result = talos_opt.solve(given, solver="cpsat", objective="makespan", time_limit=10)
    assert (result.status, result.value) == ("optimal", 5)
    assert any("2 ops of no length" in note for note in result.notes)


def test_relays_that_hold_bytes_stay_where_memory_is_counted_over_time() -> None:
    ops = [op("a", 1, colocate="g"), relay("x", "a", output=2), op("b", 2, "x")]
    ops.append(op("c", 1, output=8))
    limited = problem(ops, [device("cpu0", 9)], rule="peak")
    assert presolve(limited).problem is limited
    free = problem(ops, [device("cpu0")], rule="peak")
    assert presolve(free).counts


def test_times_where_an_op_may_not_go_do_not_count() -> None:
    """The workspace of an op that takes time on the cpu alone, where its group cannot go."""
    given = problem(
        [
            op("p", {"gpu": 5}, colocate="g", weights=3),
            op("v", {"gpu": 0, "cpu": 1}, "p", colocate="g", workspace=6),
            op("q", {"gpu": 5}, "p", weights=3),
        ],
        [device("cpu0", 10), device("gpu0", 10)],
        rule="peak",
    )
    small = presolve(given)
    assert small.counts == {FOLDED: 1}
    assert exact_optimum(small.problem) == exact_optimum(given) == 10


def test_an_op_of_no_length_joins_its_only_reader() -> None:
    given = problem(
        [op("w", 0, output=3, weights=5, colocate="g"), op("b", 2, "w", colocate="g")], "cpu0 gpu0"
    )
    small = presolve(given)
    assert small.counts == {INTO: 1}
    arrays = small.problem.arrays
    assert (arrays.weights.tolist(), arrays.output.tolist()) == ([5], [3])
    answer = small.restore(simulate(small.problem, np.array([1]), [0]))
    assert (answer.start.tolist(), answer.end.tolist()) == ([0, 0], [0, 2])


def test_chains_that_nothing_can_disturb_become_one_op() -> None:
    ops = [op(name, t, read, colocate="g") for name, t, read in (("a", 1, ""), ("b", 2, "a"))]
    given = problem(ops, [device("cpu0", slots=2), device("gpu0", slots=2)])
    small = presolve(given)
    assert small.counts == {JOINED: 1}
    answer = small.restore(simulate(small.problem, np.array([0]), [0]))
    assert (answer.start.tolist(), answer.end.tolist()) == ([0, 1], [1, 3])
    assert presolve(problem(ops, "cpu0 gpu0")).problem.arrays.op_count == 2


def test_devices_that_a_neighbour_cannot_reach_are_left_out() -> None:
    times = {"cpu": 1, "gpu": 1, "npu": 1}
    given = problem(
        [op("a", times, devices="cpu0"), op("b", times, "a"), op("c", times, "b")],
        "cpu0 gpu0 npu0",
        [link("cpu > gpu")],
    )
    small = presolve(given)
    assert small.counts == {LEFT_OUT: 2}
    assert small.problem.arrays.allowed[1:].tolist() == [[True, True, False]] * 2


def test_room_that_pinned_ops_take_is_not_offered_to_others() -> None:
    given = problem(
        [op("a", 1, weights=6, devices="cpu0"), op("b", 1, weights=5)],
        [device("cpu0", 10), device("gpu0", 10)],
    )
    small = presolve(given)
    assert small.counts == {LEFT_OUT: 1}
    assert small.problem.arrays.allowed.tolist() == [[True, False], [False, True]]


def test_a_problem_without_a_schedule_is_left_to_the_solvers() -> None:
    given = problem(
        [op("a", 1, weights=6, devices="cpu0"), op("b", 1, weights=5, devices="cpu0")],
        [device("cpu0", 10), device("gpu0", 10)],
    )
    assert presolve(given).problem is given


@pytest.mark.parametrize("rule", ["static", "peak"])
def test_limits_that_nothing_reaches_are_dropped_and_others_stay(rule: str) -> None:
    ops = [op("a", 1, weights=3, output=4, workspace=5), op("b", 1, "a:6", weights=1)]
    least = 3 + 1 + 5 + 6  # the tensor of a travels with more bytes than it is held in

    def given(room: int, **more: str) -> Problem:
        devices = [device("cpu0", room), device("gpu0", least - 1)]
        return problem(ops, devices, [link("cpu gpu")], rule=rule, **more)

    roomy, tight = given(least), given(least - 1)
    kept = presolve(roomy)
    assert [d.memory for d in kept.problem.cluster.devices] == [None, least - 1]
    assert kept.describe() == ""
    assert presolve(tight).problem is tight
    assert presolve(given(least, objective="memory")).problem.cluster.devices[0].memory == least
    result = talos_opt.solve(roomy, "auto", time_limit=5)
    assert check(roomy, result.schedule) == ()
    assert result.value == talos_opt.solve(tight, "cpsat", time_limit=5).value
