"""The order of a schedule as a graph: its times, under other times, and what it keeps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

from talos_opt.analysis.retiming import fix_order
from talos_opt.core.feasibility import check
from talos_opt.core.graph import Graph, Model
from talos_opt.core.problem import MemoryRule, Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import MemoryDeadlockError, simulate
from talos_opt.core.transfers import NoRouteError
from tests.builders import device, fig1, link, op, problem, schedule
from tests.strategies import large_problems, placed_problems

Placed = tuple[Problem, list[int], list[int]]


def scaled(given: Problem, factors: np.ndarray) -> Problem:
    """Return a problem whose op times are those of another times a factor for each op."""
    factor = iter(factors.tolist())
    models = []
    for model in given.graph.models:
        ops = [
            replace(op, time={key: value * times for key, value in op.time.items()})
            for op, times in ((op, next(factor)) for op in model.ops)
        ]
        models.append(Model(model.id, tuple(ops), model.weight, model.release))
    graph = Graph(given.graph.name, tuple(models), given.graph.time_unit)
    return replace(given, graph=graph)


def simulated(placed: Placed) -> tuple[Problem, Schedule]:
    """Return a feasible schedule of a placed problem; others are drawn again."""
    given, where, priority = placed
    try:
        answer = simulate(given, np.array(where), priority)
    except (NoRouteError, MemoryDeadlockError):
        assume(False)
    assume(not check(given, answer))  # the static rule is not the simulator's
    return given, answer


def delayed(given: Problem, answer: Schedule, rng: np.random.Generator) -> Schedule:
    """Stretch a schedule: everything starts twice as late, so that there are gaps everywhere."""
    length, moves = answer.end - answer.start, answer.transfers
    start, begin = 2 * answer.start + 1, 2 * moves.start + 1
    return replace(
        answer,
        start=start,
        end=start + length,
        transfers=replace(moves, start=begin, end=begin + (moves.end - moves.start)),
    )


# ---- by hand -------------------------------------------------------------------------------


def test_an_op_waits_for_its_inputs_and_for_its_device() -> None:
    given = fig1()
    where = np.array([1, 0, 1, 0, 1, 0])
    order = fix_order(given, simulate(given, where, [0, 3, 4, 1, 2, 5]))
    assert order.retime().end.tolist() == [1, 2.5, 4.5, 1.5, 2, 4.5]
    times = order.op_times.copy()
    times[3] = 3.0  # op4 goes before op2 on the CPU, and op3 reads op2
    answer = order.retime(times)
    assert answer.start.tolist() == [0, 3, 4, 0, 1, 4]
    times[3] = 0.5
    assert order.retime(times).start.tolist() == [0, 1, 2, 0, 1, 2]


def test_the_order_on_a_device_is_kept_though_another_op_could_start() -> None:
    given = problem({"m1": [op("a", 2), op("b", 1, "a")], "m2": [op("c", 1)]}, "cpu0 gpu0")
    answer = schedule(given, {"a": ("gpu0", 0), "b": ("cpu0", 2), "c": ("cpu0", 3)})
    order = fix_order(given, answer)
    assert order.retime(np.array([5.0, 1.0, 1.0])).start.tolist() == [0, 5, 6]


def test_each_slot_keeps_its_queue() -> None:
    given = problem([op("a", 4), op("b", 1), op("c", 1), op("d", 1)], [device("cpu0", slots=2)])
    where = {"a": ("cpu0", 0), "b": ("cpu0", 0), "c": ("cpu0", 1), "d": ("cpu0", 4)}
    order = fix_order(given, schedule(given, where))
    # d takes the slot that c left at 2, not the one that a leaves at 4: it need not wait.
    assert order.retime().start.tolist() == [0, 0, 1, 2]
    assert order.retime(np.array([1.0, 3.0, 2.0, 1.0])).start.tolist() == [0, 0, 3, 5]


def test_transfers_take_their_turns_on_a_serial_link_and_on_a_device_without_copy_engine() -> None:
    ops = [op("a", 1, output=4), op("b", 3, output=4), op("r", 1, "a"), op("s", 1, "b")]
    for contention, engine, last in (("none", True, 5), ("serial", True, 7), ("none", False, 8)):
        given = problem(
            ops,
            [device("cpu0", slots=2), device("gpu0", slots=1, copy_engine=engine)],
            [link("cpu gpu", 0, 2)],
            contention=contention,
        )
        where = np.array([0, 0, 1, 1])
        order = fix_order(given, simulate(given, where, [0, 1, 2, 3]))
        # a takes 3, as b does: both tensors are ready at 3, and a's goes first as before.
        moves = order.retime(np.array([3.0, 3.0, 1.0, 1.0])).transfers
        assert (moves.op[0], moves.start[0], moves.end[0]) == (0, 3, 5)
        assert moves.end[1] == last  # r, which reads a, held gpu0 before b's tensor did


def test_an_op_goes_on_waiting_for_the_bytes_it_waited_for() -> None:
    given = problem(
        {"m1": [op("a", 1, output=4), op("c", 1, "a")], "m2": [op("b", 1, output=4)]},
        [device("cpu0", 7, slots=2)],
        rule="peak",
    )
    order = fix_order(given, simulate(given, np.zeros(3, dtype=int), [0, 2, 1]))
    assert order.retime().start.tolist() == [0, 1, 2]
    assert order.retime(np.array([1.0, 5.0, 1.0])).start.tolist() == [0, 1, 6]


def test_what_was_never_short_is_not_waited_for() -> None:
    given = problem(
        {"m1": [op("a", 1, output=4), op("c", 1, "a")], "m2": [op("b", 1, output=4)]},
        [device("cpu0", 8, slots=2)],
        rule="peak",
    )
    late = schedule(given, {"a": ("cpu0", 0), "c": ("cpu0", 1), "b": ("cpu0", 2)})
    assert fix_order(given, late).retime().start.tolist() == [0, 1, 0]


def test_bytes_of_several_readers_are_free_when_the_last_has_read() -> None:
    readers = [op(name, 1, "a") for name in "rstu"]
    given = problem(
        {"m1": [op("a", 1, output=4), *readers], "m2": [op("b", 1, output=4)]},
        [device("cpu0", 4, slots=4)],
        rule="peak",
    )
    where = dict.fromkeys("rstu", ("cpu0", 1.0))
    answer = schedule(given, {"a": ("cpu0", 0), **where, "b": ("cpu0", 2)})
    assert not check(given, answer)
    order = fix_order(given, answer)
    assert order.retime(np.array([1.0, 1, 7, 2, 3, 1])).start.tolist() == [0, 1, 1, 1, 1, 8]


def test_what_takes_no_time_stays_at_one_moment() -> None:
    """a's output has no room beside w's; a and its reader b take no time, and b reads c too."""
    given = problem(
        {
            "m1": [op("a", 0, output=4), op("c", 1), op("b", 0, "a c")],
            "m2": [op("w", 3, output=4)],
        },
        [device("cpu0", 4, slots=2)],
        rule="peak",
    )
    start = {"c": ("cpu0", 0), "a": ("cpu0", 1), "b": ("cpu0", 1), "w": ("cpu0", 0)}
    answer = schedule(given, start)
    assert not check(given, answer)
    order = fix_order(given, answer)
    again = order.retime(np.array([0.0, 2, 0, 3]))
    assert again.start.tolist() == [2, 0, 2, 0]


def test_several_samples_are_computed_at_once() -> None:
    given = fig1()
    where = np.array([1, 0, 1, 0, 1, 0])
    order = fix_order(given, simulate(given, where, [0, 3, 4, 1, 2, 5]))
    factors = np.random.default_rng(1).uniform(0.5, 2, (6, 5))
    times = order.op_times[:, None] * factors
    starts, moves = order.starts(times, np.empty((0, 5)))
    assert moves.shape == (0, 5)
    for sample in range(5):
        assert starts[:, sample].tolist() == order.retime(times[:, sample]).start.tolist()


# ---- on random problems --------------------------------------------------------------------


@given(placed_problems(max_ops=8) | placed_problems(source=large_problems()), st.booleans())
def test_without_noise_nothing_is_later_and_nothing_breaks(placed: Placed, gaps: bool) -> None:
    given, answer = simulated(placed)
    if gaps:
        answer = delayed(given, answer, np.random.default_rng(0))
        assume(not check(given, answer))
    again = fix_order(given, answer).retime()
    assert check(given, again) == ()
    assert (again.start <= answer.start).all()
    assert (again.transfers.start <= answer.transfers.start).all()


@given(
    placed_problems(max_ops=8) | placed_problems(source=large_problems(tight=True)),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.1, 0.5, 2.0]),
)
def test_every_sample_is_feasible_under_its_own_times(
    placed: Placed, seed: int, noise: float
) -> None:
    given, answer = simulated(placed)
    event(f"{given.memory_rule}, limit {bool((given.arrays.capacity < 2**62).any())}")
    order = fix_order(given, answer)
    rng = np.random.default_rng(seed)
    for _ in range(3):
        factors = np.exp(noise * rng.standard_normal(given.arrays.op_count))
        sample = order.retime(order.op_times * factors)
        assert check(scaled(given, factors), sample) == ()


def semi_active(given: Problem, answer: Schedule) -> bool:
    """Whether no op and no transfer alone can start a little earlier."""
    step = 1 / 64
    for i in range(len(answer.start)):
        start, end = answer.start.copy(), answer.end.copy()
        start[i] -= step
        end[i] -= step
        if not check(given, replace(answer, start=start, end=end)):
            return False
    moves = answer.transfers
    for row in range(len(moves)):
        start, end = moves.start.copy(), moves.end.copy()
        start[row] -= step
        end[row] -= step
        if not check(given, replace(answer, transfers=replace(moves, start=start, end=end))):
            return False
    return True


@given(placed_problems(max_ops=8, zero_times=False))
def test_a_schedule_in_which_nothing_can_start_earlier_is_its_own_retiming(placed: Placed) -> None:
    given, answer = simulated(placed)
    assume(semi_active(given, answer))
    again = fix_order(given, answer).retime()
    assert again.start.tolist() == answer.start.tolist()
    assert again.transfers.start.tolist() == answer.transfers.start.tolist()


@given(placed_problems(max_ops=8) | placed_problems(source=large_problems()), st.data())
def test_longer_op_times_make_nothing_earlier(placed: Placed, data: st.DataObject) -> None:
    given, answer = simulated(placed)
    order = fix_order(given, answer)
    longer = order.op_times.copy()
    longer[data.draw(st.integers(0, len(longer) - 1))] *= 3
    before, after = order.retime(), order.retime(longer)
    assert (after.start >= before.start).all()
    assert (after.transfers.start >= before.transfers.start).all()


@given(placed_problems(max_ops=8, links=True, traffic=True))
def test_transfers_may_take_other_times_too(placed: Placed) -> None:
    given, answer = simulated(placed)
    order = fix_order(given, answer)
    slow = order.retime(transfer_times=3 * order.transfer_times)
    rules = given.cluster.links
    if rules is not None:
        rules = tuple(
            rule
            if rule.via
            else replace(rule, latency=3 * rule.latency, bandwidth=rule.bandwidth / 3)
            for rule in rules
        )
    slower = replace(given, cluster=replace(given.cluster, links=rules))
    assert check(slower, slow) == ()


@pytest.mark.parametrize("rule", list(MemoryRule))
def test_the_arrays_say_what_each_node_waits_for(rule: MemoryRule) -> None:
    given = problem([op("a", 1), op("b", 1, "a"), op("c", 1, "a")], "cpu0", rule=rule.value)
    order = fix_order(given, simulate(given, np.zeros(3, dtype=int), [0, 1, 2]))
    assert order.activity[order.spot].tolist() == [0, 1, 2]
    waits = [
        order.activity[order.before[first:last]].tolist()
        for first, last in zip(order.before_ptr, order.before_ptr[1:], strict=False)
    ]
    assert waits == [[], [0], [0, 1]]
