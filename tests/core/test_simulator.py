"""The simulator keeps the model on any placement and order; `retime` keeps it off the grid."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from talos_opt.core.feasibility import check
from talos_opt.core.metrics import objective_value
from talos_opt.core.problem import MemoryRule, Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import (
    Activity,
    MemoryDeadlockError,
    SimulationStoppedError,
    retime,
    simulate,
)
from talos_opt.core.transfers import NoRouteError, plan_transfers
from tests.builders import device, fig1, link, op, problem, schedule
from tests.naive import best_schedule, brute_force, naive_check
from tests.strategies import large_problems, placed_problems, problems

Placed = tuple[Problem, list[int], list[int]]
many = settings(max_examples=3 * settings.default.max_examples)


def place(given: Problem, *devices: str) -> np.ndarray:
    return np.array([given.device_ids.index(name) for name in devices])


# ---- by hand -------------------------------------------------------------------------------


def test_fig1_in_the_order_of_the_optimum() -> None:
    where = place(fig1(), "gpu0", "cpu0", "gpu0", "cpu0", "gpu0", "cpu0")
    answer = simulate(fig1(), where, [0, 3, 4, 1, 2, 5])
    assert answer.start.tolist() == [0, 1.5, 2.5, 0, 1, 2.5]
    assert answer.end.tolist() == [1, 2.5, 4.5, 1.5, 2, 4.5]


def test_the_smaller_priority_value_goes_first_and_ties_go_to_the_lower_op() -> None:
    given = problem([op("a", 1), op("b", 2), op("c", 4)], "cpu0")
    where = place(given, "cpu0", "cpu0", "cpu0")
    assert simulate(given, where, [2, 1, 0]).start.tolist() == [6, 4, 0]
    assert simulate(given, where, [0.5, 0.5, 0.1]).start.tolist() == [4, 5, 0]


def test_a_later_op_fills_the_gap_before_an_earlier_one() -> None:
    given = problem({"m1": [op("a", 2)], "m2": [op("b", 2), op("c", 3)]}, release={"m1": 2})
    given = replace(given, cluster=replace(given.cluster, devices=(device("cpu0"),)))
    where = np.zeros(3, dtype=int)
    assert simulate(given, where, [0, 1, 2]).start.tolist() == [2, 0, 4]
    assert simulate(given, where, [0, 1, 2], insertion=False).start.tolist() == [2, 4, 6]


def test_priorities_need_not_respect_the_edges() -> None:
    given = problem([op("b", 1, "a"), op("a", 1)], "cpu0")
    assert simulate(given, np.zeros(2, dtype=int), [0, 1]).start.tolist() == [1, 0]


def test_tensors_travel_once_per_destination_when_first_needed() -> None:
    given = problem(
        [op("a", 1, output=4), op("b", 1, "a:2"), op("c", 1, "a")],
        "cpu0 gpu0",
        [link("cpu gpu", 0, 2)],
    )
    answer = simulate(given, place(given, "cpu0", "gpu0", "gpu0"), [0, 1, 2])
    assert [tuple(row) for row in answer.transfers.rows()] == [(0, 0, 1, 1, 3, 4, 0)]
    assert answer.start.tolist() == [0, 3, 4]


def test_a_tensor_is_staged_once() -> None:
    given = problem(
        [op("a", 1, output=2), op("b", 1, "a"), op("c", 1, "a:4")],
        "cpu0 gpu0 gpu1 gpu2",
        [link("cpu gpu", 1, 2), link("gpu gpu", via="cpu0")],
    )
    where = place(given, "gpu0", "gpu1", "gpu2")
    answer = simulate(given, where, [0, 1, 2])
    moves = [(row.source, row.target, row.start, row.end) for row in answer.transfers.rows()]
    assert moves == [(1, 0, 1, 4), (0, 2, 4, 6), (0, 3, 4, 7)]
    hops = [[(h.source, t, h.bytes, h.duration) for t, h in hops.items()]
            for hops in plan_transfers(given, where)]  # fmt: skip
    assert sorted(hops[0]) == [(0, 2, 2, 2), (0, 3, 4, 3), (1, 0, 4, 3)]
    assert hops[1:] == [[], []]


def test_serial_links_and_missing_copy_engines_delay_transfers() -> None:
    ops = [op("a", 1, output=4), op("b", 1, output=4), op("r", 1, "a b")]
    for contention, engine, start in (("none", True, 3), ("serial", True, 5), ("none", False, 5)):
        given = problem(
            ops,
            [device("cpu0", slots=2), device("gpu0", copy_engine=engine)],
            [link("cpu gpu", 0, 2)],
            contention=contention,
        )
        answer = simulate(given, place(given, "cpu0", "cpu0", "gpu0"), [0, 1, 2])
        assert answer.start.tolist() == [0, 0, start]


def test_no_route() -> None:
    given = problem([op("a"), op("b", 1, "a")], "gpu0 gpu1", [])
    with pytest.raises(NoRouteError) as caught:
        simulate(given, place(given, "gpu0", "gpu1"), [0, 1])
    assert (caught.value.producer, caught.value.source, caught.value.target) == (0, 0, 1)


def test_ops_wait_for_memory() -> None:
    """While a and its output are alive, b does not fit; c frees them."""
    given = problem(
        {"m1": [op("a", 1, output=4), op("c", 1, "a")], "m2": [op("b", 1, output=4)]},
        [device("cpu0", 7, slots=2)],
        rule="peak",
    )
    answer = simulate(given, np.zeros(3, dtype=int), [0, 2, 1])
    assert answer.start.tolist() == [0, 1, 2]


def test_an_order_that_memory_cannot_finish() -> None:
    """Both sources first: then neither reader's workspace fits."""
    models = {
        name: [op(f"a{name}", 1, output=4), op(f"r{name}", 1, f"a{name}", workspace=4)]
        for name in ("m1", "m2")
    }
    given = problem(models, [device("cpu0", 8)], rule="peak")
    where = np.zeros(4, dtype=int)
    assert simulate(given, where, [0, 1, 2, 3]).start.tolist() == [0, 1, 2, 3]
    with pytest.raises(MemoryDeadlockError) as caught:
        simulate(given, where, [0, 2, 1, 3])
    assert caught.value.device == 0


def test_an_output_that_stays_must_fit_beside_what_runs_later() -> None:
    """At 0 there is room for a, but its output would still be there when b needs all of it."""
    given = problem(
        {"m1": [op("b", 2, workspace=4)], "m2": [op("a", 1, output=1), op("r", 1, "a")]},
        [device("cpu0", 4)],
        rule="peak",
        release={"m1": 3},
    )
    answer = simulate(given, np.zeros(3, dtype=int), [0, 1, 2])
    assert answer.start.tolist() == [3, 5, 6]
    assert check(given, answer) == ()


def test_what_was_sent_for_an_op_that_finds_no_room_is_taken_back() -> None:
    """The copy of a fits beside the output of x and that of b does not, until y has read x."""
    given = problem(
        {
            "m1": [op("a", 1, output=1), op("b", 1, output=1), op("r", 1, "a b")],
            "m2": [op("x", 1, output=4), op("y", 1, "x")],
        },
        [device("cpu0", slots=2), device("gpu0", 5)],
        [link("cpu gpu", 0, 1)],
        rule="peak",
    )
    where = place(given, "cpu0", "cpu0", "gpu0", "gpu0", "gpu0")
    answer = simulate(given, where, [1, 2, 3, 0, 4])
    assert answer.start.tolist() == [0, 0, 3, 0, 1]
    assert [row.start for row in answer.transfers.rows()] == [1, 2]
    assert check(given, answer) == ()


def test_sent_tensors_are_taken_back_where_the_op_itself_finds_no_room() -> None:
    given = problem(
        {
            "m1": [op("a", 1, output=1), op("r", 1, "a", workspace=1)],
            "m2": [op("x", 1, output=4), op("y", 1, "x")],
        },
        [device("cpu0"), device("gpu0", 5)],
        [link("cpu gpu", 0, 1)],
        rule="peak",
    )
    where = place(given, "cpu0", "gpu0", "gpu0", "gpu0")
    answer = simulate(given, where, [1, 2, 0, 3])
    assert answer.start.tolist() == [0, 2, 0, 1]
    assert check(given, answer) == ()


def test_weights_alone_can_be_too_many() -> None:
    given = problem([op("a", 1, weights=3), op("b", 1, weights=3)], "cpu0 gpu0", rule="peak")
    devices = (device("cpu0"), device("gpu0", 5))
    given = replace(given, cluster=replace(given.cluster, devices=devices))
    with pytest.raises(MemoryDeadlockError) as caught:
        simulate(given, place(given, "gpu0", "gpu0"), [0, 1])
    assert (caught.value.op, caught.value.device) == (0, 1)
    assert simulate(given, place(given, "gpu0", "cpu0"), [0, 1]).start.tolist() == [0, 0]


# ---- on random problems --------------------------------------------------------------------


def keeps_the_model(placed: Placed, *, insertion: bool = True) -> Schedule | None:
    """Simulate; any complaint must be about static memory, which the placement decides."""
    problem, where, priority = placed
    try:
        answer = simulate(problem, np.array(where), priority, insertion=insertion)
    except (NoRouteError, MemoryDeadlockError) as error:
        event(type(error).__name__)
        return None
    found = check(problem, answer)
    naive = naive_check(problem, answer)
    allowed = {"memory"} if problem.memory_rule is MemoryRule.STATIC else set()
    assert {item.rule for item in found} <= allowed
    assert {line.split(":")[0] for line in naive} <= allowed
    assert bool(found) == bool(naive)
    return None if found else answer


@many
@given(placed_problems(max_ops=8))
def test_simulated_schedules_are_feasible(placed: Placed) -> None:
    keeps_the_model(placed)


@pytest.mark.reaches(0.3)
@given(placed_problems(st.one_of(problems(max_ops=8), large_problems(max_ops=30))))
def test_devices_that_serve_their_ops_as_queues(placed: Placed) -> None:
    given, where, priority = placed
    answer = keeps_the_model(placed, insertion=False)
    # Short of memory, ops may be taken in another order.
    assume(answer is not None and all(item.memory is None for item in given.cluster.devices))
    taken: list[int] = []
    edges = list(zip(given.arrays.edge_src.tolist(), given.arrays.edge_dst.tolist(), strict=True))
    while len(taken) < len(where):
        ready = [
            i
            for i in range(len(where))
            if i not in taken and all(src in taken for src, reader in edges if reader == i)
        ]
        taken.append(min(ready, key=lambda i: priority[i]))
    for d in range(len(given.device_ids)):
        # What takes no time holds no slot and queues for none.
        starts = [
            answer.start[i] for i in taken if where[i] == d and answer.end[i] > answer.start[i]
        ]
        assert starts == sorted(starts)


@given(placed_problems(large_problems()))
def test_larger_simulated_schedules_are_feasible(placed: Placed) -> None:
    keeps_the_model(placed)


@given(placed_problems(large_problems(tight=True, max_ops=40, peak=True)))
def test_larger_simulated_schedules_are_feasible_in_tight_memory(placed: Placed) -> None:
    keeps_the_model(placed)


@given(placed_problems(max_ops=5))
def test_no_simulated_schedule_beats_the_optimum(placed: Placed) -> None:
    answer = keeps_the_model(placed)
    assume(answer is not None)
    best = brute_force(placed[0])
    assert best is not None
    assert objective_value(placed[0], answer) >= best[0]


@given(placed_problems(max_ops=6))
def test_the_same_input_gives_the_same_schedule(placed: Placed) -> None:
    first, second = keeps_the_model(placed), keeps_the_model(placed)
    assume(first is not None and second is not None)
    assert first.start.tolist() == second.start.tolist()
    assert list(first.transfers.rows()) == list(second.transfers.rows())


# ---- exact times from a grid ---------------------------------------------------------------


def grid_of(answer: Schedule) -> tuple[list[Activity], dict[tuple[int, int], Activity]]:
    ops = [Activity(*pair) for pair in zip(answer.start.tolist(), answer.end.tolist(), strict=True)]
    hops = {(r.tensor, r.target): Activity(r.start, r.end) for r in answer.transfers.rows()}
    return ops, hops


def shortened(problem: Problem, rng: random.Random) -> Problem:
    """The problem before its times were rounded up: zero stays zero, and only zero becomes it."""

    def cut(time: float) -> float:
        return max(time - rng.choice((0, 0.125, 0.25, 0.375)), time / 4)

    models = [
        replace(
            model,
            release=cut(model.release),
            ops=tuple(
                replace(op, time={key: cut(time) for key, time in op.time.items()})
                for op in model.ops
            ),
        )
        for model in problem.graph.models
    ]
    cluster = problem.cluster
    if cluster.links is not None:
        links = tuple(replace(item, latency=cut(item.latency)) for item in cluster.links)
        cluster = replace(cluster, links=links)
    return replace(problem, graph=replace(problem.graph, models=tuple(models)), cluster=cluster)


@many
@given(problems(max_ops=6, objectives=("toct", "makespan")), st.integers(0, 2**32 - 1))
def test_retiming_an_optimum_on_a_grid_keeps_the_model_and_the_value(
    coarse: Problem, seed: int
) -> None:
    grid = best_schedule(coarse)
    assume(grid is not None)
    exact = shortened(coarse, random.Random(seed))
    answer = retime(exact, grid.device, *grid_of(grid))
    assert check(exact, answer) == ()
    assert naive_check(exact, answer) == []
    assert objective_value(exact, answer) <= objective_value(coarse, grid)


@given(placed_problems(large_problems(max_ops=40, tight=True)), st.integers(0, 2**32 - 1))
def test_retiming_a_simulated_schedule_keeps_the_model(placed: Placed, seed: int) -> None:
    coarse = placed[0]
    grid = keeps_the_model(placed)
    assume(grid is not None)
    exact = shortened(coarse, random.Random(seed))
    answer = retime(exact, grid.device, *grid_of(grid))
    assert check(exact, answer) == ()
    assert (answer.end <= grid.end + 1e-9).all()


@given(placed_problems(max_ops=8))
def test_only_the_order_of_grid_times_counts(placed: Placed) -> None:
    grid = keeps_the_model(placed)
    assume(grid is not None)
    ops, hops = grid_of(grid)
    warped = [Activity(a.start**2 + a.start, a.end**2 + a.end) for a in ops]
    warped_hops = {k: Activity(a.start**2 + a.start, a.end**2 + a.end) for k, a in hops.items()}
    answer = retime(placed[0], grid.device, warped, warped_hops)
    straight = retime(placed[0], grid.device, ops, hops)
    assert answer.start.tolist() == straight.start.tolist()
    assert check(placed[0], answer) == ()


def test_what_takes_no_time_at_one_moment_stays_at_one_moment() -> None:
    """If p went to 0, its output would be alive beside b until z, which r follows on the grid."""
    given = problem(
        {
            "m1": [op("p", 0, output=5), op("r", 0, "p")],
            "m2": [op("z", 0)],
            "m3": [op("b", 5, workspace=10)],
        },
        [device("cpu0", 10, slots=2)],
        rule="peak",
        release={"m2": 3},
    )
    at = {"p": ("cpu0", 3), "r": ("cpu0", 3), "z": ("cpu0", 3), "b": ("cpu0", 0)}
    grid = schedule(given, {name: (where, float(time)) for name, (where, time) in at.items()})
    assert check(given, grid) == ()
    assert check(given, retime(given, grid.device, *grid_of(grid))) == ()


def test_retiming_needs_routes() -> None:
    given = problem([op("a"), op("b", 1, "a")], "gpu0 gpu1", [])
    with pytest.raises(NoRouteError):
        retime(given, place(given, "gpu0", "gpu1"), [Activity(0, 1), Activity(1, 2)], {})


def test_it_can_be_stopped_before_any_op() -> None:
    looks: list[int] = []

    def stopped() -> bool:
        looks.append(1)
        return len(looks) > 3

    given_ = problem([op(f"o{i}") for i in range(9)], "cpu0")
    with pytest.raises(SimulationStoppedError):
        simulate(given_, np.zeros(9, dtype=np.int64), np.arange(9), stopped=stopped)
    assert len(looks) == 4
