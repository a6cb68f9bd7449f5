"""Planning a schedule that runs again: what stays, what moves, what is lost."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given

import talos_opt
from talos_opt import Cluster, Device, Graph, Input, Link, Memory, Model, Op, Problem, Schedule
from talos_opt.core.feasibility import check
from talos_opt.core.metrics import objective_value
from talos_opt.core.replanning import MoveCost, Replanning, freeze
from talos_opt.core.result import Status
from talos_opt.core.simulator import simulate
from talos_opt.online.replan import place_around, solve_left
from tests.replanned import replannings
from tests.strategies import costly


@pytest.fixture(scope="module")
def fig1() -> Problem:
    return talos_opt.read("models/fig1.yaml")


@pytest.fixture(scope="module")
def running(fig1: Problem) -> Schedule:
    schedule = talos_opt.solve(fig1, "tsam").schedule
    assert schedule is not None
    return schedule


def chain(*, links: bool = True) -> Problem:
    """Three ops in a row, and a fourth that reads the first; two equal GPUs."""
    ops = (
        Op("a", {"gpu": 2}, Memory(1, 4)),
        Op("b", {"gpu": 2}, Memory(1, 4), (Input("a"),)),
        Op("c", {"gpu": 2}, Memory(1, 4), (Input("b"),)),
        Op("d", {"gpu": 3}, Memory(1, 4), (Input("a"),)),
    )
    gpus = tuple(Device(f"gpu{k}", "gpu") for k in range(3))
    way = (Link("gpu", "gpu", latency=1.0),) if links else None
    return Problem(Graph("chain", (Model("m", ops),)), Cluster(gpus, way))


def placed(problem: Problem, *devices: int) -> Schedule:
    return simulate(problem, np.array(devices), problem.arrays.rank)


def test_with_nothing_started_it_is_a_solve(fig1: Problem, running: Schedule) -> None:
    again = talos_opt.replan(fig1, running, 0.0)
    assert again.left.problem == fig1
    assert (again.result.status, again.result.value) == (Status.OPTIMAL, 9)
    assert talos_opt.solve(fig1).value == 9


def test_with_everything_started_nothing_changes(fig1: Problem, running: Schedule) -> None:
    last = float(running.start.max())
    again = talos_opt.replan(fig1, running, (last + running.makespan) / 2)
    assert again.moves == ()
    assert again.result.status is Status.OPTIMAL
    assert again.schedule is not None
    for name in ("device", "start", "end"):
        assert np.array_equal(getattr(again.schedule, name), getattr(running, name))


def test_what_has_started_stays_and_the_rest_gets_better(fig1: Problem, running: Schedule) -> None:
    again = talos_opt.replan(fig1, running, 1.0)
    assert (again.result.value, again.result.status) == (9, Status.OPTIMAL)
    assert {move.op for move in again.moves} == {"m1/op3", "m2/op6"}
    assert again.moves[0].why == "it would add 3 ms on cpu0"
    assert again.schedule is not None
    assert talos_opt.check(fig1, again.schedule) == ()
    document = again.to_dict()
    assert document["replanned"]["started"] == 2
    assert [move["op"] for move in document["moves"]] == [move.op for move in again.moves]


def test_a_price_of_moving_decides_what_moves(fig1: Problem, running: Schedule) -> None:
    cheap = talos_opt.replan(fig1, running, 1.0, move_cost=0.5)
    assert (cheap.result.value, cheap.price, len(cheap.moves)) == (10, 1, 2)
    assert cheap.answer.value == 9  # what the file states: no price in it
    assert cheap.answer.lower_bound <= 9
    dear = talos_opt.replan(fig1, running, 1.0, move_cost=5.0)
    assert (dear.result.value, dear.result.status) == (11.5, Status.OPTIMAL)
    assert dear.moves == ()


def test_models_join_at_the_moment(fig1: Problem, running: Schedule) -> None:
    late = Problem(
        dataclasses.replace(
            fig1.graph,
            models=tuple(dataclasses.replace(m, id=f"{m.id}b") for m in fig1.graph.models),
        ),
        fig1.cluster,
    )
    again = talos_opt.replan(fig1, running, 1.0, add=[late])
    problem, schedule = again.answer.problem, again.schedule
    assert schedule is not None
    assert problem.graph.model_ids == ("m1", "m2", "m1b", "m2b")
    assert problem.arrays.release.tolist() == [0, 0, 1, 1]
    assert check(problem, schedule) == ()
    with pytest.raises(talos_opt.InputError, match="has a model 'm1', as graph 'fig1' has"):
        talos_opt.replan(fig1, running, 1.0, add=[fig1])


def test_devices_may_join() -> None:
    problem = chain(links=False)
    alone = dataclasses.replace(problem, cluster=Cluster(problem.cluster.devices[:1]))
    schedule = placed(alone, 0, 0, 0, 0)
    assert schedule.makespan == 9
    again = talos_opt.replan(problem, schedule, 1.0)
    assert again.result.value == 6
    assert again.schedule is not None
    assert again.schedule.start.min() == 0


@pytest.mark.parametrize(
    ("at", "lost"),
    [
        (1.0, {"m/a"}),  # it was running
        (2.5, {"m/a"}),  # it had ended, and its tensor was on the way
        (3.5, set()),  # b and its copy are on another device, where d can read it too
    ],
)
def test_what_ran_on_a_device_that_leaves_runs_again(at: float, lost: set[str]) -> None:
    problem = chain()
    schedule = placed(problem, 0, 1, 1, 1)
    again = talos_opt.replan(problem, schedule, at, without=["gpu0"])
    assert set(again.lost) == lost
    assert again.schedule is not None
    assert check(again.answer.problem, again.schedule) == ()
    late = again.schedule.start >= at
    assert (again.schedule.device[late] != 0).all()
    assert again.result.status is Status.OPTIMAL


def test_what_has_read_a_lost_tensor_reads_it_no_more() -> None:
    problem = chain()
    schedule = placed(problem, 0, 0, 1, 0)  # a and b on gpu0, then c on gpu1 has begun
    at = float(schedule.start[2]) + 0.5
    again = talos_opt.replan(problem, schedule, at, without=["gpu0"])
    # d was running, or still to come, and needs what a made: a runs again, and b does not.
    assert set(again.lost) == {"m/a", "m/d"}
    whole = again.answer.problem
    assert [edge.op for edge in whole.ops[1].inputs] == []
    assert [edge.op for edge in whole.ops[3].inputs] == ["a"]
    assert again.schedule is not None
    assert check(whole, again.schedule) == ()
    assert {move.why for move in again.moves} == {"gpu0 left, it runs again"}


@costly
@given(replannings())
def test_what_joins_is_placed_around_a_plan(left: Replanning) -> None:
    result = place_around(left, "heft", time_limit=5)
    if result.schedule is not None:
        old = len(left.running.device)
        assert np.array_equal(result.schedule.device[:old], left.running.device)
        assert np.array_equal(result.schedule.start[:old], left.running.start)
        assert check(dataclasses.replace(result.problem, frozen=None), result.schedule) == ()


@costly
@given(replannings(max_ops=4))
def test_the_answer_is_no_worse_than_going_on(left: Replanning) -> None:
    frozen = left.problem.frozen
    stays = len(left.running.device) == left.problem.arrays.op_count
    assume(frozen is not None and not frozen.left.any() and stays)
    again = solve_left(left, "heft")
    assert again.result.value is not None
    assert again.result.value <= objective_value(left.problem, left.running) + 1e-9


def test_a_price_above_all_leaves_a_bound_without_it(fig1: Problem, running: Schedule) -> None:
    dear = talos_opt.replan(fig1, running, 1.0, move_cost=1e9)
    assert dear.result.lower_bound == dear.result.value == dear.answer.value == 11.5
    assert 7.5 <= dear.answer.lower_bound <= 9


def test_few_ops_after_a_long_past_are_a_small_problem() -> None:
    problem = talos_opt.read("models/googlenet.yaml")
    running = talos_opt.solve(problem, "heft").schedule
    assert running is not None
    again = talos_opt.replan(problem, running, float(np.sort(running.start)[-3]), time_limit=10)
    assert again.result.status is Status.OPTIMAL


@pytest.mark.parametrize("price", [-1.0, float("nan")])
def test_a_price_is_a_number_of_at_least_0(price: float) -> None:
    with pytest.raises(talos_opt.InputError, match="per_op is"):
        MoveCost(price)
    with pytest.raises(talos_opt.InputError, match="per_byte is"):
        MoveCost(0.0, price)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"at": 9.5}, "at is 9.5, expected from 0 to 6 ms, when the running schedule ends"),
        ({"without": ["gpu7"]}, "without names 'gpu7', expected a device of cpu0, gpu0"),
        ({"without": ["cpu0", "gpu0"]}, "without names all devices"),
        ({"at": -1.0}, "at is -1.0"),
        ({"without": "gpu0"}, "without is 'gpu0', expected a list"),
        ({"add": "models/fig1.yaml"}, "add is 'models/fig1.yaml', expected a list"),
        ({"objective": "bottleneck"}, "is not about when ops end"),
    ],
)
def test_what_does_not_fit_is_one_error(
    fig1: Problem, running: Schedule, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(talos_opt.InputError, match=message):
        talos_opt.replan(fig1, running, **{"at": 1.0, **changes})


def test_no_device_leaves_that_tensors_go_over() -> None:
    devices = (Device("cpu0", "cpu"), Device("gpu0", "gpu"), Device("gpu1", "gpu"))
    links = (Link("cpu", "gpu", 1.0), Link("gpu", "gpu", via="cpu0"))
    problem = dataclasses.replace(chain(), cluster=Cluster(devices, links))
    schedule = placed(problem, 1, 1, 1, 1)
    with pytest.raises(talos_opt.InputError, match="over which tensors go from gpu0 to gpu1"):
        freeze(problem, schedule, 1.0, without=["cpu0"])


def test_a_schedule_that_breaks_the_model_is_refused(fig1: Problem, running: Schedule) -> None:
    broken = dataclasses.replace(running, start=running.start * 0, end=running.end * 0 + 1)
    with pytest.raises(talos_opt.InputError, match="the running schedule is not feasible"):
        talos_opt.replan(fig1, broken, 0.5)
