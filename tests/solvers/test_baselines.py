"""The baselines: published values, their rules against slow twins, and what they refuse."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.core.feasibility import check
from talos_opt.core.problem import Ints, Problem
from talos_opt.core.result import Status
from talos_opt.core.schedule import Schedule
from talos_opt.solvers.baselines.heft import _place_by_rank
from talos_opt.solvers.baselines.orders import (
    average_speedups,
    mean_times,
    shortest_first,
    upward_ranks,
)
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.shared.constructive import Builder, DeadEndError, realise
from tests.builders import device, fig1, link, op, problem
from tests.clocks import Looks
from tests.solvers.running import devices_of, layered, run_solver, starts_of
from tests.strategies import large_problems

HEURISTICS = ("single", "sequential", "aswm", "tsam", "heft", "etf", "talos")

every_heuristic = pytest.mark.parametrize("name", HEURISTICS)


# ---- what all of them keep -----------------------------------------------------------------


@given(large_problems(), st.sampled_from(HEURISTICS))
def test_random_problems(drawn: Problem, name: str) -> None:
    run, verdict = run_solver(name, drawn)
    if run.best is None:
        assert verdict.status is Status.UNKNOWN
        assert len(verdict.reason) > 20
    else:
        assert verdict.status is Status.FEASIBLE
        assert check(drawn, run.best) == ()


@given(large_problems(memory=False, colocation=False, pins=False, missing_routes=False))
def test_without_limits_they_always_find_a_schedule(drawn: Problem) -> None:
    for name in HEURISTICS[1:]:
        assert run_solver(name, drawn)[0].best is not None, name


@every_heuristic
def test_pins(name: str) -> None:
    ops = [op("a", 1, devices="gpu"), op("b", {"cpu": 1, "gpu": 9}, "a", devices="gpu1")]
    run, _ = run_solver(name, problem(ops, "cpu0 gpu0 gpu1"))
    assert devices_of(run)["b"] == "gpu1"
    assert devices_of(run)["a"] in ("gpu0", "gpu1")


@every_heuristic
def test_colocation(name: str) -> None:
    ops = [
        op("a", {"cpu": 9, "gpu": 1}, colocate="g"),
        op("b", {"cpu": 1, "gpu": 2}, "a"),
        op("c", {"cpu": 1, "gpu": 9}, "b", colocate="g"),
    ]
    where = devices_of(run_solver(name, problem(ops))[0])
    assert where["a"] == where["c"]


@every_heuristic
@pytest.mark.parametrize("rule", ["static", "peak"])
def test_memory(name: str, rule: str) -> None:
    """Everything is faster on the GPU, which holds two of the three."""
    ops = [op(name_, {"cpu": 5, "gpu": 1}, weights=4) for name_ in "abc"]
    run, _ = run_solver(name, problem(ops, [device("cpu0"), device("gpu0", 8)], rule=rule))
    where = list(devices_of(run).values())
    assert where.count("gpu0") <= 2
    if name not in ("single", "aswm"):
        assert where.count("gpu0") == 2


@pytest.mark.parametrize("name", HEURISTICS[1:])
def test_without_room_the_reason_names_op_device_and_bytes(name: str) -> None:
    ops = [op(name_, 1, weights=4) for name_ in "abc"]
    _, verdict = run_solver(name, problem(ops, [device("cpu0", 5), device("gpu0", 7)]))
    assert verdict.status is Status.UNKNOWN
    for part in ("m/c", "cpu0 is short by 3 bytes", "gpu0 is short by 1 bytes"):
        assert part in verdict.reason


@every_heuristic
def test_under_the_peak_rule_what_has_died_counts_no_more(name: str) -> None:
    """A chain of four tensors of 4 bytes: the static rule wants 16, two at a time are alive."""
    ops = [op(f"op{i}", 1, f"op{i - 1}" if i else "", output=4) for i in range(4)]
    limits = [device("cpu0", 8), device("gpu0", 8)]
    run, _ = run_solver(name, problem(ops, limits, [], rule="peak"))
    assert run.best is not None, "no link: only one device can take them all"
    static, verdict = run_solver(name, problem(ops, limits, [], rule="static"))
    assert static.best is None
    assert verdict.reason


@every_heuristic
def test_no_route_is_a_reason_or_avoided(name: str) -> None:
    ops = [op("a", {"cpu": 1}), op("b", {"cpu": 9, "gpu": 1}, "a")]
    run, _ = run_solver(name, problem(ops, links=[]))
    assert devices_of(run) == {"a": "cpu0", "b": "cpu0"}
    parted = [op("a", {"cpu": 1}), op("b", {"gpu": 1}, "a")]
    run, verdict = run_solver(name, problem(parted, links=[]))
    assert run.best is None
    assert verdict.reason


@every_heuristic
def test_a_group_bound_where_an_input_cannot_reach_it_is_named(name: str) -> None:
    """b goes where a is; its other input sits where no link leads from."""
    ops = [
        op("a", {"gpu": 1}, colocate="g"),
        op("c", {"cpu": 1}),
        op("b", {"gpu": 1}, "a c", colocate="g"),
    ]
    run, verdict = run_solver(name, problem(ops, links=[]))
    assert run.best is None
    assert verdict.reason
    if name in ("talos", "etf"):
        assert "m/c" in verdict.reason
        assert "no route" in verdict.reason or "no link" in verdict.reason


@every_heuristic
def test_a_group_without_a_common_device_is_named(name: str) -> None:
    ops = [op("a", {"cpu": 1}, colocate="g"), op("b", {"gpu": 1}, colocate="g")]
    _, verdict = run_solver(name, problem(ops))
    assert verdict.status is Status.UNKNOWN
    assert "m/a" in verdict.reason
    assert "colocated" in verdict.reason


@pytest.mark.parametrize("name", HEURISTICS[1:])
def test_out_of_time_they_stop(name: str) -> None:
    """At once with an incumbent, and a moment later without one."""
    big = layered(2000, width=500)
    clock = Looks(before=1)  # which `Run` itself takes
    late = Run(big, time_limit=60.0, clock=clock)
    verdict = registry.create(name).solve(big, late)
    assert clock.late <= 2
    assert late.best is None
    assert "time ran out" in verdict.reason


# ---- single --------------------------------------------------------------------------------


def test_single_takes_the_best_device_and_the_weighted_shortest_model_first() -> None:
    models = {
        "long": [op("a", {"cpu": 1, "gpu": 4})],
        "short": [op("b", {"cpu": 9, "gpu": 2})],
        "heavy": [op("c", {"cpu": 9, "gpu": 5})],
    }
    mixed = problem(models, weight={"heavy": 10.0})
    assert shortest_first(mixed, 1) == [2, 1, 0]
    run, _ = run_solver("single", mixed)
    assert set(devices_of(run).values()) == {"gpu0"}
    assert starts_of(run) == {"c": 0, "b": 5, "a": 7}
    assert run.value == 10 * 5 + 7 + 11


def test_models_without_weight_come_last() -> None:
    free = problem({"m": [op("a", 1)], "n": [op("b", 5)]}, "cpu0", weight={"m": 0.0})
    assert shortest_first(free, 0) == [1, 0]


def test_single_does_not_wait_for_a_model_while_another_is_there() -> None:
    models = {"a": [op("a", 2)], "b": [op("b", 3)]}
    late = problem(models, "cpu0", release={"a": 4}, objective="makespan")
    run, _ = run_solver("single", late)
    assert run.value == 6


def test_single_says_of_every_device_why_not() -> None:
    ops = [op("a", {"cpu": 1}, weights=4), op("b", 1, weights=4)]
    _, verdict = run_solver("single", problem(ops, [device("cpu0", 7), device("gpu0")]))
    assert "cpu0: not everything fits into its 7 bytes" in verdict.reason
    assert "gpu0: m/a" in verdict.reason


# ---- sequential ----------------------------------------------------------------------------


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=25), st.lists(st.integers(9, 30), max_size=3)
)
def test_sequential_fills_as_device_map_auto_does(sizes: list[int], limits: list[int]) -> None:
    """Accelerators in order, then the host, never going back."""
    line = problem(
        [op(f"op{i}", 1, f"op{i - 1}" if i else "", weights=size) for i, size in enumerate(sizes)],
        [device("cpu0"), *(device(f"gpu{d}", limit) for d, limit in enumerate(limits))],
    )
    run, _ = run_solver("sequential", line)
    expected = device_map_auto(sizes, {**dict(enumerate(limits)), "cpu0": math.inf})
    assert list(devices_of(run).values()) == [
        name if isinstance(name, str) else f"gpu{name}" for name in expected
    ]


def device_map_auto(sizes: list[int], memory: dict[int | str, float]) -> list[int | str]:
    """The rule of accelerate's ``infer_auto_device_map`` for a row of blocks, in plain words."""
    places, devices = [], list(memory)
    current, used = 0, 0
    for size in sizes:
        while used + size > memory[devices[current]]:
            current, used = current + 1, 0
        used += size
        places.append(devices[current])
    return places


def test_an_op_that_cannot_run_there_does_not_move_the_fill_on() -> None:
    ops = [
        op("a", 1, weights=2),
        op("b", {"cpu": 1}, "a", weights=2),
        op("c", 1, "b", weights=2),
    ]
    run, _ = run_solver("sequential", problem(ops, [device("cpu0"), device("gpu0", 4)]))
    assert devices_of(run) == {"a": "gpu0", "b": "cpu0", "c": "gpu0"}


# ---- the paper's baselines -----------------------------------------------------------------


def test_fig1() -> None:
    aswm, _ = run_solver("aswm", fig1())
    assert aswm.value == 12.5
    assert starts_of(aswm) == {"op1": 0, "op2": 1, "op3": 4, "op4": 0, "op5": 1.5, "op6": 4.5}
    tsam, _ = run_solver("tsam", fig1())
    assert tsam.value == 11.5
    assert starts_of(tsam) == {"op1": 0, "op5": 1, "op6": 2, "op4": 0, "op2": 1.5, "op3": 2.5}


def test_average_speedups() -> None:
    assert average_speedups(fig1()) == [1.5, 1.0]
    odd = problem(
        {
            "here": [op("a", {"cpu": 1})],
            "there": [op("b", {"gpu": 1})],
            "split": [op("c", {"cpu": 1}), op("d", {"gpu": 1}), op("e", {"cpu": 6, "gpu": 2})],
            "apart": [op("f", {"cpu": 1}), op("g", {"gpu": 1})],
            "idle": [op("h", 0)],
        }
    )
    assert average_speedups(odd) == [0, math.inf, 3, 1, 1]


def test_aswm_may_queue_a_second_model_on_the_gpu() -> None:
    """The CPU idles: behind the first model the second is still done sooner than there."""
    queue = problem({"m": [op("a", {"cpu": 40, "gpu": 2})], "n": [op("b", {"cpu": 30, "gpu": 2})]})
    run, _ = run_solver("aswm", queue)
    assert devices_of(run) == {"a": "gpu0", "b": "gpu0"}


@given(
    large_problems(
        max_ops=25, links=False, memory=False, pins=False, colocation=False, slots=False,
        releases=False, zero_times=False,
    )
)  # fmt: skip
def test_tsam_against_its_slow_twin(drawn: Problem) -> None:
    run, _ = run_solver("tsam", drawn)
    assert run.best is not None
    where, start = tsam_by_hand(drawn)
    assert run.best.device.tolist() == where
    assert run.best.start.tolist() == start


def tsam_by_hand(drawn: Problem) -> tuple[list[int], list[float]]:
    """At every moment the best pair of a ready op and a free device, looked up anew."""
    arrays, average = drawn.arrays, average_speedups(drawn)
    kinds = [item.kind for item in drawn.cluster.devices]
    inputs: list[list[int]] = [[] for _ in drawn.ops]
    for a, b in zip(arrays.edge_src.tolist(), arrays.edge_dst.tolist(), strict=True):
        inputs[b].append(a)
    where, start, end = [-1] * len(inputs), [0.0] * len(inputs), [math.inf] * len(inputs)
    free, now = [0.0] * len(kinds), 0.0
    while -1 in where:
        best = None
        for i, before in enumerate(inputs):
            if where[i] >= 0 or any(end[k] > now for k in before):
                continue
            for d, kind in enumerate(kinds):
                here = float(arrays.time[i, d])
                if free[d] > now or math.isinf(here):
                    continue
                others = [
                    float(arrays.time[i, e]) for e, other in enumerate(kinds) if other != kind
                ]
                speedup = min(others, default=here) / here if here > 0 else math.inf
                key = (speedup > 1, average[int(arrays.model[i])], speedup, -i, -d)
                if best is None or key > best[0]:
                    best = (key, i, d, here)
        if best is None:
            now = min(time for time in (*free, *end) if now < time < math.inf)
            continue
        _, i, d, here = best
        where[i], start[i], end[i] = d, now, now + here
        if here > 0:
            free[d] = now + here
    return where, start


# ---- HEFT ----------------------------------------------------------------------------------

#: The example of Topcuoglu, Hariri, Wu, "Performance-effective and low-complexity task scheduling
#: for heterogeneous computing", IEEE TPDS 13(3), 2002, Fig. 2: times on three processors ...
TIMES = {
    "n1": (14, 16, 9), "n2": (13, 19, 18), "n3": (11, 13, 19), "n4": (13, 8, 17),
    "n5": (12, 13, 10), "n6": (13, 16, 9), "n7": (7, 15, 11), "n8": (5, 11, 14),
    "n9": (18, 12, 20), "n10": (21, 7, 16),
}  # fmt: skip
#: ... and the cost of each edge between two of them.
EDGES = {
    ("n1", "n2"): 18, ("n1", "n3"): 12, ("n1", "n4"): 9, ("n1", "n5"): 11, ("n1", "n6"): 14,
    ("n2", "n8"): 19, ("n2", "n9"): 16, ("n3", "n7"): 23, ("n4", "n8"): 27, ("n4", "n9"): 23,
    ("n5", "n9"): 13, ("n6", "n8"): 15, ("n7", "n10"): 17, ("n8", "n10"): 11, ("n9", "n10"): 13,
}  # fmt: skip


def topcuoglu(*, tensor_per_edge: bool) -> Problem:
    """The example; a byte travels one unit of time.

    Its edges are tensors of their own, even to readers on one device. `tensor_per_edge` puts an
    op of no time, colocated with the producer, on each edge.
    """
    ops = []
    for name, times in TIMES.items():
        parts = []
        for (a, b), size in EDGES.items():
            if b == name:
                parts.append(f"{a}-{b}:{size}" if tensor_per_edge else f"{a}:{size}")
        time_of = {f"p{d}": time for d, time in enumerate(times)}
        ops.append(op(name, time_of, " ".join(parts), colocate=name))
        if tensor_per_edge:
            ops += [
                op(f"{a}-{b}", dict.fromkeys(time_of, 0), f"{a}:0", colocate=a)
                for a, b in EDGES
                if a == name
            ]
    devices = [device("p0"), device("p1"), device("p2")]
    return problem(ops, devices, [link("p p", 0.0, 1.0)], objective="makespan")


def test_heft_ranks_of_the_textbook_example() -> None:
    ranks = upward_ranks(topcuoglu(tensor_per_edge=False))
    assert ranks.round(3).tolist() == [
        108.000, 77.000, 80.000, 80.000, 69.000, 63.333, 42.667, 35.667, 44.333, 14.667,
    ]  # fmt: skip


def test_heft_schedule_of_the_textbook_example() -> None:
    run, _ = run_solver("heft", topcuoglu(tensor_per_edge=True))
    assert run.value == 80
    where, start = devices_of(run), starts_of(run)
    assert {name: (where[name], start[name]) for name in TIMES} == {
        "n1": ("p2", 0), "n2": ("p0", 27), "n3": ("p2", 9), "n4": ("p1", 18), "n5": ("p2", 28),
        "n6": ("p1", 26), "n7": ("p2", 38), "n8": ("p0", 57), "n9": ("p1", 56), "n10": ("p1", 73),
    }  # fmt: skip


def test_heft_places_the_textbook_example_alike_where_edges_share_a_tensor() -> None:
    """But what n4 reads now waits for the larger bytes that n6 reads there: 85 instead of 80."""
    shared = topcuoglu(tensor_per_edge=False)
    builder = Builder(shared)
    _place_by_rank(builder)
    order = [shared.ops[i].id for i in builder.order]
    assert order == ["n1", "n3", "n4", "n2", "n5", "n6", "n9", "n7", "n8", "n10"]
    assert max(builder.end) == 80
    assert run_solver("heft", shared)[0].value == 85


def test_heft_fills_gaps() -> None:
    """While b waits for its tensor, the short c runs before it."""
    ops = [
        op("a", {"cpu": 1}, output=4),
        op("b", {"gpu": 9}, "a"),
        op("c", {"gpu": 2}),
    ]
    run, _ = run_solver("heft", problem(ops, links=[link("cpu gpu", 0.0, 1.0)]))
    assert starts_of(run) == {"a": 0, "b": 5, "c": 0}
    ranks = upward_ranks(run.problem)
    assert ranks[1] > ranks[2], "b is placed first"


def test_means_leave_out_what_cannot_run() -> None:
    ops = [op("a", {"cpu": 2, "gpu": 4}), op("b", {"cpu": 3}), op("c", 1, devices="gpu0")]
    assert mean_times(problem(ops)).tolist() == [3, 3, 1]


# ---- ETF -----------------------------------------------------------------------------------


def test_etf_asks_when_an_op_can_start_not_when_it_ends() -> None:
    ops = [op("a", {"cpu": 20, "gpu": 2}), op("b", {"cpu": 20, "gpu": 2})]
    run, _ = run_solver("etf", problem(ops))
    assert sorted(devices_of(run).values()) == ["cpu0", "gpu0"]
    assert set(starts_of(run).values()) == {0}


def test_etf_breaks_ties_by_the_longer_path_below() -> None:
    ops = [op("short", 1), op("long", 1), op("tail", 5, "long")]
    run, _ = run_solver("etf", problem(ops, "cpu0"))
    assert starts_of(run) == {"long": 0, "tail": 1, "short": 6}


@given(
    large_problems(
        max_ops=25, memory=False, colocation=False, slots=False, serial=False,
        no_copy_engine=False, edge_bytes=False, missing_routes=False, via=False, zero_times=False,
    )
)  # fmt: skip
def test_etf_against_its_slow_twin(drawn: Problem) -> None:
    run, _ = run_solver("etf", drawn)
    assert run.best is not None
    assert sorted(run.best.start.tolist()) == sorted(etf_by_hand(drawn))


def etf_by_hand(drawn: Problem) -> list[float]:
    """Of all ready ops and devices the earliest start, looked up anew for every op."""
    arrays, rank = drawn.arrays, upward_ranks(drawn)
    count, devices = arrays.op_count, arrays.device_count
    edges = list(
        zip(
            arrays.edge_src.tolist(), arrays.edge_dst.tolist(), arrays.edge_bytes.tolist(),
            strict=True,
        )
    )  # fmt: skip
    where, start, end, free = [-1] * count, [0.0] * count, [0.0] * count, [0.0] * devices
    for _ in range(count):
        choices = []
        for i in range(count):
            before = [(a, size) for a, b, size in edges if b == i]
            if where[i] >= 0 or any(where[a] < 0 for a, _ in before):
                continue
            for d in range(devices):
                if math.isinf(arrays.time[i, d]):
                    continue
                arrivals = [
                    end[a] + (arrays.transfer_time(where[a], d, size) if where[a] != d else 0.0)
                    for a, size in before
                ]
                ready = max([arrays.release[arrays.model[i]], free[d], *arrivals])
                choices.append((ready, -rank[i], arrays.time[i, d], i, d))
        ready, _, length, i, d = min(choices)
        where[i], start[i], end[i] = d, ready, ready + length
        free[d] = end[i]
    return start


# ---- many models ---------------------------------------------------------------------------


@given(large_problems(), st.randoms(use_true_random=False))
def test_what_is_undone_leaves_no_trace(drawn: Problem, rng: random.Random) -> None:
    """Placements before and after a trial are those of a builder that made no trial."""
    tried, plain = Builder(drawn), Builder(drawn)
    for op_ in drawn.arrays.order.tolist():
        mark = tried.mark()
        try:
            for member in (op_, *(i for i in range(op_) if tried.device[i] < 0)):
                device_ = rng.choice(tried.candidates(member))
                if all(tried.device[i] >= 0 for i, *_ in tried.inputs[member]):
                    tried.place(member, device_, tried.arrival(member, device_))
        except DeadEndError:
            pass
        tried.undo(mark)
        try:
            device_ = rng.choice(plain.candidates(op_))
        except DeadEndError:
            break
        for builder in (tried, plain):
            builder.place(op_, device_, builder.arrival(op_, device_))
        for name in ("device", "start", "end", "order", "home", "held", "widest", "free", "_sent"):
            assert getattr(tried, name) == getattr(plain, name), name


@pytest.mark.parametrize("name", ["sequential", "aswm", "tsam", "heft", "etf", "talos"])
def test_twice_the_models_is_twice_the_placements(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And twice the estimates of arrivals, which all rules spend their time on."""

    def count(models: int) -> tuple[int, int]:
        calls = {"place": 0, "arrival": 0}

        def counted(what: str, call: Callable[..., object]) -> Callable[..., object]:
            def wrapper(*args: object) -> object:
                calls[what] += 1
                return call(*args)

            return wrapper

        with monkeypatch.context() as patch:
            for what in calls:
                patch.setattr(Builder, what, counted(what, getattr(Builder, what)))
            chain = [op("a", {"cpu": 3, "gpu": 1}), op("b", {"cpu": 2, "gpu": 1}, "a")]
            run_solver(name, problem({f"m{j}": chain for j in range(models)}))
        return calls["place"], calls["arrival"]

    few, many = count(40), count(80)
    assert few[0] >= 80
    assert many == (2 * few[0], 2 * few[1])


def test_devices_that_are_alike_are_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []

    def note(given_: Problem, device_: Ints, order: list[int], *, run: Run) -> Schedule:
        tried.append(int(device_[0]))
        return realise(given_, device_, order, run=run)

    monkeypatch.setattr("talos_opt.solvers.baselines.single.realise", note)
    models = {"m": [op("a", 3)], "n": [op("a", 1)]}
    run, _ = run_solver("single", problem(models, "cpu0 gpu0 gpu1 cpu1"))
    assert tried == [0, 0]  # in file order, then shortest first; times are equal on all devices
    assert run.value == 5
