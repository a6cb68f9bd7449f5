"""Why ops start no sooner: by hand, and against the checker on random problems."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from hypothesis import HealthCheck, event, given, settings

from talos_opt.analysis.causes import Cause, Causes, critical_path, find_causes, last_op
from talos_opt.core.feasibility import check
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule, Transfers
from talos_opt.core.simulator import simulate
from tests.analysis.scheduled import scheduled_problems
from tests.builders import device, fig1, link, op, problem, schedule
from tests.strategies import large_problems

#: Shorter than any time between events of a random problem, longer than what counts as equal.
MOMENT = 2.0**-12

some = settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])


def told(found: Causes, i: int) -> tuple[Cause, int, int]:
    return Cause(int(found.cause[i])), int(found.by[i]), int(found.transfer[i])


# ---- by hand -------------------------------------------------------------------------------


def test_fig1() -> None:
    answer = simulate(fig1(), np.array([1, 0, 1, 0, 1, 0]), [0, 3, 4, 1, 2, 5])
    found = find_causes(fig1(), answer)
    assert told(found, 0) == told(found, 3) == (Cause.NOTHING, -1, -1)
    assert told(found, 1) == (Cause.SLOT, 3, -1)  # op2 follows op4 on the CPU
    assert told(found, 2) == (Cause.INPUT, 1, -1)
    assert told(found, 4) == (Cause.SLOT, 0, -1)
    assert told(found, 5) == (Cause.SLOT, 1, -1)
    path = critical_path(fig1(), answer, found)
    assert [step.op for step in path] == [3, 1, 2]
    assert [step.cause for step in path] == [Cause.NOTHING, Cause.SLOT, Cause.INPUT]
    assert [step.op for step in critical_path(fig1(), answer, to=4)] == [0, 4]


def test_an_op_waits_for_a_release() -> None:
    given = problem([op("a", 1)], "cpu0", release={"m": 2})
    assert told(find_causes(given, schedule(given, {"a": ("cpu0", 2)})), 0)[0] is Cause.RELEASE


def test_both_hops_of_a_tensor_are_on_the_path() -> None:
    given = problem(
        [op("a", 1, output=2), op("b", 1, "a")],
        "cpu0 gpu0 gpu1",
        [link("cpu gpu", 0, 1), link("gpu gpu", via="cpu0")],
    )
    answer = simulate(given, np.array([1, 2]), [0, 1])
    found = find_causes(given, answer)
    assert told(found, 1) == (Cause.TRANSFER, 0, 1)
    assert found.hop_cause.tolist() == [Cause.INPUT, Cause.TRANSFER]
    assert found.hop_transfer.tolist() == [-1, 0]
    step = critical_path(given, answer)[-1]
    assert (step.op, step.transfer, step.transfers) == (1, 1, (0, 1))


def test_a_transfer_waits_for_the_link_and_the_path_turns_to_the_other_tensor() -> None:
    given = problem(
        {
            "m1": [op("a", 2, output=4), op("b", 1, "a")],
            "m2": [op("c", 1, output=4), op("d", 1, "c")],
        },
        [device("cpu0", slots=2), device("gpu0")],
        [link("cpu gpu", 0, 1)],
        contention="serial",
    )
    answer = simulate(given, np.array([0, 1, 0, 1]), [0, 3, 1, 2])
    found = find_causes(given, answer)
    assert [answer.transfers.op.tolist(), answer.transfers.start.tolist()] == [[2, 0], [1, 5]]
    assert found.hop_cause.tolist() == [Cause.INPUT, Cause.LINK]
    assert [(s.op, s.transfers) for s in critical_path(given, answer)] == [(2, ()), (1, (0, 1))]


def test_a_transfer_holds_a_device_without_copy_engine() -> None:
    given = problem(
        {"m1": [op("a", 1, output=2), op("b", 1, "a")], "m2": [op("c", 3)]},
        [device("cpu0"), device("gpu0", copy_engine=False)],
        [link("cpu gpu", 0, 1)],
    )
    answer = schedule(
        given,
        {"a": ("cpu0", 0), "b": ("gpu0", 6), "c": ("gpu0", 3)},
        [("a", "cpu0", "gpu0", 1, 3, 2)],
    )
    assert not check(given, answer)
    found = find_causes(given, answer)
    assert told(found, 2) == (Cause.SLOT, 0, 0)
    assert told(found, 1) == (Cause.SLOT, 2, -1)
    assert [step.op for step in critical_path(given, answer)] == [0, 2, 1]


def test_an_op_waits_for_as_many_slots_as_it_holds() -> None:
    given = problem({"m": [op("a", 1), op("b", 3), op("c", 1, slots=2)]}, [device("cpu0", slots=2)])
    answer = schedule(given, {"a": ("cpu0", 0), "b": ("cpu0", 0), "c": ("cpu0", 3)})
    assert told(find_causes(given, answer), 2) == (Cause.SLOT, 1, -1)


def test_memory_comes_free_with_the_last_reader() -> None:
    ops = [op("a", 1, output=4), op("b", 2, "a"), op("c", 1, output=3)]
    given = problem(ops, [device("cpu0", 6, slots=2)], rule="peak")
    answer = schedule(given, {"a": ("cpu0", 0), "b": ("cpu0", 1), "c": ("cpu0", 3)})
    assert told(find_causes(given, answer), 2) == (Cause.MEMORY, 1, -1)
    roomy = problem(ops, [device("cpu0", 7, slots=2)], rule="peak")
    assert told(find_causes(roomy, answer), 2) == (Cause.DELAY, -1, -1)


def test_an_op_that_takes_no_time_does_not_wait_for_memory_that_it_sets_free_itself() -> None:
    given = problem(
        [op("a", 1, output=2), op("b", 0, "a", output=2), op("c", 1, "b")],
        [device("cpu0", 3)],
        rule="peak",
    )
    answer = schedule(given, {"a": ("cpu0", 0), "b": ("cpu0", 2), "c": ("cpu0", 2)})
    assert not check(given, answer)
    assert told(find_causes(given, answer), 1) == (Cause.DELAY, -1, -1)


def test_the_path_leads_to_a_model_that_counts() -> None:
    given = problem({"m1": [op("a", 1)], "m2": [op("b", 5)]}, weight={"m2": 0})
    answer = schedule(given, {"a": ("cpu0", 0), "b": ("gpu0", 0)})
    assert last_op(given, answer) == 0
    assert last_op(given.with_objective("makespan"), answer) == 1


# ---- on random problems --------------------------------------------------------------------


def sooner(answer: Schedule, i: int | None = None, hop: int | None = None) -> Schedule:
    """The same schedule with one op, or one transfer, a moment earlier."""
    shift = np.zeros(len(answer.start))
    moved = np.zeros(len(answer.transfers))
    if i is not None:
        shift[i] = MOMENT
    if hop is not None:
        moved[hop] = MOMENT
    moves = answer.transfers
    transfers = Transfers(
        moves.op,
        moves.source,
        moves.target,
        moves.start - moved,
        moves.end - moved,
        moves.bytes,
        moves.tensor,
    )
    return replace(answer, start=answer.start - shift, end=answer.end - shift, transfers=transfers)


def late(answer: Schedule, by: float) -> Schedule:
    """All that a schedule holds from its middle on, later: what is there waits for nothing."""
    middle = float(np.median(answer.end))

    def moved(column: np.ndarray, start: np.ndarray) -> np.ndarray:
        return column + np.where(start >= middle, by, 0.0)

    moves = answer.transfers
    times = (moved(moves.start, moves.start), moved(moves.end, moves.start))
    transfers = Transfers(moves.op, moves.source, moves.target, *times, moves.bytes, moves.tensor)
    return Schedule(
        answer.device,
        moved(answer.start, answer.start),
        moved(answer.end, answer.start),
        transfers,
    )


@some
@given(scheduled_problems(max_ops=8) | scheduled_problems(large_problems(max_ops=25), short=True))
def test_what_has_a_cause_can_start_no_sooner_and_what_has_none_can(
    drawn: tuple[Problem, Schedule],
) -> None:
    given, made = drawn
    for answer in (made, late(made, 1.0)):
        if check(given, answer):
            continue
        found = find_causes(given, answer)
        for i, cause in enumerate(found.cause.tolist()):
            event(f"op: {Cause(cause).name}")
            assert bool(check(given, sooner(answer, i))) == (cause != Cause.DELAY)
        for k, cause in enumerate(found.hop_cause.tolist()):
            event(f"transfer: {Cause(cause).name}")
            assert bool(check(given, sooner(answer, hop=k))) == (cause != Cause.DELAY)


@some
@given(scheduled_problems(max_ops=8))
def test_what_was_waited_for_ends_when_the_op_starts(drawn: tuple[Problem, Schedule]) -> None:
    given, answer = drawn
    found, moves = find_causes(given, answer), answer.transfers
    release = given.arrays.release[given.arrays.model]
    for i, start in enumerate(answer.start.tolist()):
        cause, by, row = told(found, i)
        if cause in (Cause.NOTHING, Cause.RELEASE, Cause.DELAY):
            assert (by, row) == (-1, -1)
            assert cause is Cause.DELAY or start == (release[i] if cause is Cause.RELEASE else 0)
        elif row >= 0:
            assert moves.end[row] == start
            assert moves.op[row] == by
        else:
            assert answer.end[by] == start
        if cause in (Cause.INPUT, Cause.TRANSFER):
            assert by in given.arrays.edge_src[given.arrays.edge_dst == i]
            assert (row >= 0) == (cause is Cause.TRANSFER)
        if cause is Cause.SLOT:
            here = answer.device[i]
            assert (answer.device[by] if row < 0 else here) == here
            assert row < 0 or here in (moves.source[row], moves.target[row])


@some
@given(
    scheduled_problems(large_problems(max_ops=30))
    | scheduled_problems(large_problems(max_ops=25), short=True)
)
def test_the_critical_path_is_one_stretch_of_time_up_to_the_end(
    drawn: tuple[Problem, Schedule],
) -> None:
    given, answer = drawn
    given = given.with_objective("makespan")
    causes, moves = find_causes(given, answer), answer.transfers
    path = critical_path(given, answer, causes)
    assert answer.end[path[-1].op] == answer.makespan
    assert len({step.op for step in path}) == len(path)
    # Every activity on the path in turn: when it starts, when it ends, and why no sooner.
    walked: list[tuple[float, float, Cause]] = []
    for step in path:
        assert step.transfer == (step.transfers[-1] if step.transfers else -1)
        for k in step.transfers:
            walked.append((moves.start[k], moves.end[k], Cause(int(causes.hop_cause[k]))))
        walked.append((answer.start[step.op], answer.end[step.op], step.cause))
    for (_, end, _), (start, _, cause) in pairwise(walked):
        event(cause.name)
        assert end <= start if cause is Cause.DELAY else end == start
    if path[0].cause is Cause.MEMORY:  # of ops that wait in a circle none takes time
        by = int(causes.by[path[0].op])
        assert answer.start[by] == answer.end[by]
    else:
        assert walked[0][2] in (Cause.NOTHING, Cause.RELEASE, Cause.DELAY)
    assert not path[0].transfers
