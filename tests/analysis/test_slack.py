"""Slack: what it allows keeps every rule and the objective; a moment more does not."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from talos_opt.analysis.causes import find_causes
from talos_opt.analysis.slack import find_slacks, path_ahead
from talos_opt.core.feasibility import check
from talos_opt.core.metrics import objective_value
from talos_opt.core.problem import MemoryRule, Problem
from talos_opt.core.schedule import Schedule, Transfers
from talos_opt.core.simulator import simulate
from tests.analysis.scheduled import scheduled_problems
from tests.analysis.test_causes import MOMENT
from tests.builders import fig1, link, op, problem
from tests.strategies import costly, large_problems


def test_fig1() -> None:
    answer = simulate(fig1(), np.array([1, 0, 1, 0, 1, 0]), [0, 3, 4, 1, 2, 5])
    slacks = find_slacks(fig1(), answer)
    # op1 may run from 0.5 to 1.5: op5 then ends at 2.5, when op6 can start; op2 at 1.5 anyway.
    assert slacks.op.tolist() == [0.5, 0, 0, 0, 0.5, 0]
    causes = find_causes(fig1(), answer)
    assert [step.op for step in path_ahead(slacks, causes, 3)] == [1, 2]
    assert path_ahead(slacks, causes, 2) == ()


def test_a_model_without_weight_has_all_the_time() -> None:
    given = problem({"m1": [op("a", 1)], "m2": [op("b", 5)]}, weight={"m2": 0})
    answer = simulate(given, np.array([0, 1]), [0, 1])
    assert find_slacks(given, answer).op.tolist() == [0, math.inf]
    assert find_slacks(given.with_objective("makespan"), answer).op.tolist() == [4, 0]


def test_a_transfer_that_is_held_up_is_on_the_path_ahead() -> None:
    given = problem([op("a", 1, output=2), op("b", 1, "a")], "cpu0 gpu0", [link("cpu gpu", 0, 1)])
    answer = simulate(given, np.array([0, 1]), [0, 1])
    slacks = find_slacks(given, answer)
    assert (slacks.op.tolist(), slacks.transfer.tolist()) == ([0, 0], [0])
    step = path_ahead(slacks, find_causes(given, answer), 0)[0]
    assert (step.op, step.transfers) == (1, (0,))


def pushed(given: Problem, answer: Schedule, late: int, by: float) -> Schedule:
    """An op later, and all that must then be later, by looking at every pair of activities."""
    arrays, moves, n = given.arrays, answer.transfers, len(answer.start)
    begin = [*answer.start.tolist(), *moves.start.tolist()]
    end = [*answer.end.tolist(), *moves.end.tolist()]
    first = [
        0.25 if moves.source[k] == answer.device[moves.op[k]] else 0.5 for k in range(len(moves))
    ]
    rank = np.empty(n)
    rank[arrays.order] = np.arange(n)
    depth = [*rank.tolist(), *(rank[moves.op] + first).tolist()]
    order = sorted(range(len(begin)), key=lambda a: (begin[a], end[a], depth[a]))
    peak = given.memory_rule is MemoryRule.PEAK and any(
        item.memory is not None for item in given.cluster.devices
    )

    def sides(a: int) -> list[int]:
        if a < n:
            return [int(answer.device[a])]
        return [int(moves.source[a - n]), int(moves.target[a - n])]

    def feeds(a: int, b: int) -> bool:
        """Whether b cannot begin before a has ended since it needs what a makes or brings."""
        if a < n:
            there, maker = sides(a)[0], a
            made = np.flatnonzero(arrays.tensor_op == a)
        else:
            there, maker = sides(a)[1], int(moves.op[a - n])
            made = moves.tensor[a - n : a - n + 1]
        if b >= n:
            return moves.tensor[b - n] in made and (a < n or sides(b)[0] == there)
        reads = np.isin(made, arrays.edge_tensor[arrays.edge_dst == b]).any()
        if not reads:
            return False
        here, home = sides(b)[0], int(answer.device[maker])
        return here == there or (a < n) or int(arrays.via[home, here]) == there

    def meet(a: int, b: int) -> bool:
        """Whether two activities use one device, link or memory."""
        common = set(sides(a)) & set(sides(b))
        if begin[a] < end[a] and begin[b] < end[b]:
            engines = arrays.copy_engine
            if any((a < n or not engines[d]) and (b < n or not engines[d]) for d in common):
                return True
            if a >= n and b >= n:
                channel = arrays.channel[tuple(sides(a))]
                if channel >= 0 and channel == arrays.channel[tuple(sides(b))]:
                    return True
        limited = given.cluster.devices[sides(b)[-1]].memory is not None
        return peak and limited and sides(b)[-1] in sides(a)

    shifted = list(begin)
    shifted[late] += by
    changed = True
    while changed:
        changed = False
        for i, a in enumerate(order):
            for b in order[i + 1 :]:
                if end[a] <= begin[b] and (feeds(a, b) or meet(a, b)):
                    earliest = shifted[a] + end[a] - begin[a]
                    changed |= shifted[b] < earliest
                    shifted[b] = max(shifted[b], earliest)
        if peak:
            for a in order:
                for b in order:
                    if begin[a] == end[a] == begin[b] == end[b] and shifted[a] < shifted[b]:
                        shifted[a], changed = shifted[b], True
    length = np.array(end) - np.array(begin)
    start = np.array(shifted)
    transfers = Transfers(
        moves.op,
        moves.source,
        moves.target,
        start[n:],
        (start + length)[n:],
        moves.bytes,
        moves.tensor,
    )
    return Schedule(answer.device, start[:n], (start + length)[:n], transfers)


@costly
@given(
    scheduled_problems(max_ops=8) | scheduled_problems(large_problems(max_ops=25), short=True),
    st.randoms(use_true_random=False),
)
def test_slack_is_all_the_delay_that_there_is(drawn: tuple[Problem, Schedule], rng: object) -> None:
    given, answer = drawn
    slacks = find_slacks(given, answer)
    measured = given.with_objective("makespan") if given.objective == "bottleneck" else given
    value = objective_value(measured, answer)
    for i in range(min(len(answer.start), 8)):
        slack = float(slacks.op[i])
        event("none" if slack == 0 else "all" if math.isinf(slack) else "some")
        within = pushed(given, answer, i, min(slack, 3.0))
        assert not check(given, within)
        assert objective_value(measured, within) == value
        if slack < math.inf:
            beyond = pushed(given, answer, i, slack + MOMENT)
            assert not check(given, beyond)
            assert objective_value(measured, beyond) > value


@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(scheduled_problems(large_problems(max_ops=30)))
def test_the_path_ahead_leads_on_in_time_to_what_counts(drawn: tuple[Problem, Schedule]) -> None:
    given, answer = drawn
    given = given.with_objective("makespan")
    slacks, causes, moves = find_slacks(given, answer), find_causes(given, answer), answer.transfers
    for i in range(len(answer.start)):
        at = float(answer.end[i])
        length = 0.0
        for step in path_ahead(slacks, causes, i):
            for start, end in [
                *((moves.start[k], moves.end[k]) for k in step.transfers),
                (answer.start[step.op], answer.end[step.op]),
            ]:
                assert at <= start
                at = end
                length += end - start
        # What lies between the op and the end is on the path, but for the slack.
        assert float(answer.end[i]) + float(slacks.op[i]) + length == answer.makespan
