"""Tabu search over queues, step by step, against longest paths found by plain recursion."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from talos_opt.core.feasibility import check
from talos_opt.core.problem import Objective
from talos_opt.kernels.queues import BEST, BETTER, EXPECTED, NOW, STEP, WILD, Queues
from talos_opt.kernels.reinsertion import reinsert
from talos_opt.solvers.fast.chain import Chain
from talos_opt.solvers.shared.queues import queues_tell_all
from talos_opt.testing.reference.flat import Flat, route
from tests.builders import device, link, op, problem
from tests.kernels.drawing import Ordered, ordered_problems
from tests.kernels.test_anneal import start
from tests.reference.queues import groups, queue_schedule

PLAIN = {"serial": False, "no_copy_engine": False, "peak": False, "demands": False}


def searching(drawn: Ordered, seed: int = 0) -> Chain:
    """A chain whose point tabu search may start from; others are not looked at."""
    assume(queues_tell_all(drawn.problem))
    chain = start(drawn, seed)
    assume(chain.can_reinsert and math.isfinite(chain.state.value[2]))
    return chain


def step(chain: Chain, steps: int = 1, *, fresh: bool = False, patience: int = 50) -> int:
    return reinsert(
        chain.instance, chain.times, chain.queues, chain.state, chain.allowed, steps, 4, patience,
        2, fresh,
    )  # fmt: skip


def recursive(chain: Chain) -> tuple[list[float], list[dict[int, float]], float]:
    """Starts, longest ways from ends to the end of each lane, and the value of the queues."""
    q = chain.queues
    flat = Flat(chain.problem)
    device = q.device.tolist()

    def time(i: int) -> float:
        found = flat.time(i, device[i])
        assert found is not None
        return found

    def moved(source: int, reader: int, size: int) -> float:
        legs = route(chain.problem.cluster, device[source], device[reader])
        assert legs is not None
        return sum(flat.hop_time(a, b, size) for a, b in legs)

    @cache
    def head(i: int) -> float:
        ready = [flat.release[i]]
        ready += [head(s) + time(s) + moved(s, r, size) for s, r, size in flat.edges if r == i]
        if q.before[i] >= 0:
            ready.append(head(int(q.before[i])) + time(int(q.before[i])))
        return max(ready)

    @cache
    def tail(i: int, lane: int) -> float:
        ways = [0.0 if q.lane[i] == lane else -math.inf]
        ways += [moved(s, r, size) + time(r) + tail(r, lane) for s, r, size in flat.edges if s == i]
        if q.after[i] >= 0:
            ways.append(time(int(q.after[i])) + tail(int(q.after[i]), lane))
        return max(ways)

    count, lanes = len(device), len(q.weight)
    heads = [head(i) for i in range(count)]
    done = [
        max(heads[i] + time(i) for i in range(count) if q.lane[i] == lane) for lane in range(lanes)
    ]
    value = float(sum(w * c for w, c in zip(q.weight.tolist(), done, strict=True)))
    return heads, [{k: tail(i, k) for k in range(lanes)} for i in range(count)], value


def check_queues(chain: Chain, q: Queues) -> None:
    """Every op that takes time stands in one queue of its device, and memory is kept."""
    instance = chain.instance
    seen: list[int] = []
    for s in range(len(q.first)):
        i, last = int(q.first[s]), -1
        while i >= 0:
            assert q.slot[i] == s
            assert q.before[i] == last
            assert instance.device[q.device[i], 0] <= s < instance.device[q.device[i], 1]
            seen.append(i)
            last, i = i, int(q.after[i])
        assert q.last[s] == last
    busy = [i for i in range(len(q.device)) if instance.time[i, q.device[i]] > 0]
    assert sorted(set(seen) | set(busy)) == sorted(seen)
    for group, members in enumerate(groups(chain.problem)):
        assert {int(q.device[i]) for i in members} == {int(q.home[group])}
        assert chain.allowed[group, q.home[group]]
    for d in range(len(q.held)):
        here = q.home == d
        assert q.held[d] == instance.group[here, 0].sum()
        assert q.widest[d] == instance.group[here, 1].max(initial=0)
        if here.any():
            assert q.held[d] + q.widest[d] <= instance.device[d, 3]


@pytest.mark.reaches(0.4)
@given(ordered_problems(**PLAIN), st.integers(0, 99))
def test_every_step_is_worth_what_was_expected_of_it(drawn: Ordered, seed: int) -> None:
    chain = searching(drawn, seed)
    q = chain.queues
    step(chain, 0)
    for number in range(12):
        before = q.device.tolist(), q.slot.tolist(), q.before.tolist()
        if step(chain, fresh=number == 0) == 0:
            assert number == 0 or (q.device.tolist(), q.slot.tolist(), q.before.tolist()) == before
            break
        heads, tails, value = recursive(chain)
        assert q.head.tolist() == pytest.approx(heads)
        found = [dict(enumerate(row)) for row in q.tail.tolist()]
        assert found == [pytest.approx(row) for row in tails]
        assert q.value[NOW] == pytest.approx(value)
        changed = before != (q.device.tolist(), q.slot.tolist(), q.before.tolist())
        if changed and number > 0:
            assert q.value[EXPECTED] == pytest.approx(value)
        check_queues(chain, q)
        assert sorted(q.order.tolist()) == list(range(len(heads)))
        assert q.order[q.place].tolist() == list(range(len(heads)))
        assert q.value[BEST] <= q.value[NOW] * (1 + 1e-6)


@pytest.mark.reaches(0.4)
@given(ordered_problems(**PLAIN), st.integers(0, 99))
def test_what_is_kept_is_worth_its_value_and_passes_check(drawn: Ordered, seed: int) -> None:
    chain = searching(drawn, seed)
    given_value = chain.state.value[2]
    step(chain, 300, fresh=True, patience=20)
    value = chain.state.value[2]
    assert value <= given_value
    home, order = chain.state.best_home.tolist(), chain.state.best_order.tolist()
    device = [home[g] for g in chain.problem.arrays.group.tolist()]
    queued = queue_schedule(drawn.problem, device, order)
    assert queued is not None
    assert queued.value == pytest.approx(value)
    assert check(drawn.problem, chain.schedule()) == ()


@pytest.mark.reaches(0.4)
@given(ordered_problems(**PLAIN), st.integers(0, 99))
def test_the_same_seed_makes_the_same_steps(drawn: Ordered, seed: int) -> None:
    first, second = searching(drawn, seed), searching(drawn, seed)
    for chain in (first, second):
        step(chain, 60, fresh=True, patience=20)
    for name, one, other in zip(first.queues._fields, first.queues, second.queues, strict=True):
        assert np.array_equal(one, other), name


def test_after_some_patience_it_returns_to_the_best_and_moves_at_random() -> None:
    ops = [op(f"o{k}", {"gpu": 3 + k, "cpu": 5}) for k in range(6)]
    drawn = Ordered(problem(ops, objective="makespan"), [0] * 6, list(range(6)), 0)
    chain = start(drawn)
    step(chain, 40, fresh=True, patience=1000)
    q = chain.queues
    assert q.counter[STEP] == 40
    assert q.counter[BETTER] > 0
    step(chain, 1, patience=0)
    assert q.counter[STEP] == 1
    assert q.counter[WILD] == 1


def test_no_random_move_parts_an_op_from_its_reader() -> None:
    """Not even where the model counts for nothing: no link leads back from the gpu."""
    ops = [op("a", 1, output=1), op("b", {"cpu": 1}, "a"), op("c", 1)]
    given_one_way = problem(
        ops, links=[link("cpu0 > gpu0", 0, 1)], weight={"m": 0.0}, objective="toct"
    )
    chain = start(Ordered(given_one_way, [0, 0, 0], [0, 1, 2], 0))
    for number in range(60):
        step(chain, 1, fresh=number == 0, patience=0)
        assert np.isfinite(chain.queues.value[NOW])
        assert chain.queues.device[0] == 0


@pytest.mark.parametrize(
    ("why", "changes"),
    [
        ("several slots at once", {"demand": 2}),
        ("bottleneck", {"objective": "bottleneck"}),
        ("liveness", {"rule": "peak"}),
    ],
)
def test_it_stays_away_where_queues_do_not_tell_all(why: str, changes: dict[str, object]) -> None:
    demand = changes.pop("demand", 1)
    ops = [op("a", 1, output=1), op("b", 1, "a", slots=demand)]
    devices = [device("cpu0", slots=2, memory=100), device("gpu0", slots=2)]
    drawn = problem(ops, devices, **changes)  # type: ignore[arg-type]
    assert not queues_tell_all(drawn), why
    plain = problem([op("a", 1, output=1), op("b", 1, "a")], devices)
    assert queues_tell_all(plain)
    assert plain.objective is not Objective.BOTTLENECK
