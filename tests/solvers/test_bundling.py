"""The search over ways to bundle: against brute force, and instances worked out by hand."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from talos_opt import (
    Cluster,
    Device,
    Graph,
    GraphError,
    Input,
    InputError,
    Interrupted,
    Link,
    Memory,
    Model,
    Op,
    Problem,
    Progress,
    Result,
    Status,
    UnsupportedError,
    check,
    solve,
)  # fmt: skip
from talos_opt.core.bundles import Bundle, BundleMode
from talos_opt.core.bundling import Derivation, bundled
from talos_opt.core.equal_devices import Twins
from talos_opt.core.metrics import objective_value
from talos_opt.core.simulator import MemoryDeadlockError, simulate
from talos_opt.core.transfers import NoRouteError
from talos_opt.solvers.bundling import ways
from talos_opt.solvers.bundling.pricing import common_bound
from talos_opt.solvers.bundling.ways import find_classes, find_ways
from talos_opt.testing.reference.brute import brute_force
from tests.builders import device, link, op, problem
from tests.reference.bundles import all_blocks, best_bottleneck
from tests.strategies import costly


def chain(count: int, time: Any, **given: Any) -> tuple[Op, ...]:
    return tuple(
        Op(f"l{i}", time, inputs=(Input(f"l{i - 1}"),) if i else (), **given) for i in range(count)
    )


def ruled(
    ops: Sequence[Op],
    devices: Sequence[Device],
    bundles: Any,
    links: Sequence[Link] | None = None,
    contention: str = "none",
    **more: Any,
) -> Problem:
    rules = None if links is None else tuple(links)
    cluster = Cluster(tuple(devices), rules, contention=contention, bundles=bundles)
    return Problem(Graph("g", (Model("m", tuple(ops)),), time_unit="s"), cluster, **more)


def cards(count: int, memory: int | None = None) -> list[Device]:
    return [device(f"gpu{k}", memory) for k in range(count)]


def bundles_of(result: Result) -> list[tuple[str, str]]:
    found = result.problem.bundling
    return [] if found is None else [(bundle.id, bundle.mode.value) for bundle in found.bundles]


# ---- worked out by hand ----------------------------------------------------------------------

MIXED = [Device("slow0", "slow"), Device("slow1", "slow"), Device("fast0", "fast")]
#: A layer takes 2.5 on a slow card.
LAYER = {"slow": 2.5, "fast": 1.0}


@pytest.mark.parametrize("stages", ["acyclic", "ordered"])
@pytest.mark.parametrize(
    ("layers", "alone", "together"),
    # 44 layers on the fast card and 18 on each slow one: 18 x 2.5. As one the slow cards take 36
    # in as long. Of three layers, each card takes one; or the two slow ones half of one each.
    [(80, 45.0, 45.0), (3, 2.5, 2.0)],
)
def test_replicas_pay_where_layers_are_few(
    layers: int, alone: float, together: float, stages: str
) -> None:
    plain = ruled(chain(layers, LAYER), MIXED, {}, objective="bottleneck", stages=stages)
    assert solve(plain).value == pytest.approx(alone)
    found = solve(plain, bundles={"slow": {"modes": ["data"]}})
    assert found.value == pytest.approx(together)
    assert found.status is Status.OPTIMAL
    if together < alone:
        assert bundles_of(found) == [("slow0+slow1", "data")]


def test_a_layer_that_no_card_holds_goes_to_several() -> None:
    layer = op("a", {"gpu": 4}, weights=160, output=10, split=True)
    given = ruled([layer], cards(3, 100), {"gpu": {"sizes": [1, 2, 3]}}, [link("gpu gpu", 0, 10)])
    found = solve(given)
    # Three cards take 4/3 s and 4/3 s to add up 10 bytes, two 2 s and 1 s.
    assert (found.value, found.status) == (pytest.approx(8 / 3), Status.OPTIMAL)
    assert bundles_of(found) == [("gpu0+gpu1+gpu2", "tensor")]
    assert found.metrics is not None
    assert found.metrics.static_memory == {"gpu0+gpu1+gpu2": 64}


def test_what_fits_nothing_is_an_input_error() -> None:
    with pytest.raises(GraphError, match="op m/a needs 410 B"):
        ruled([op("a", weights=400, output=10, split=True)], cards(2, 100), "all")


def test_infeasible_says_why() -> None:
    layers = chain(4, {"gpu": 1}, memory=Memory(90), split=True)
    found = solve(ruled(layers, cards(2, 100), "all", [link("gpu gpu")]))
    assert (found.status, found.lower_bound, found.schedule) == (Status.INFEASIBLE, math.inf, None)
    assert "in none of 3 ways to bundle" in found.reason
    more = solve(ruled(layers, cards(2, 180), "all", [link("gpu gpu")]))
    assert more.status is Status.OPTIMAL


def test_one_device_a_bundle_is_the_plain_problem() -> None:
    ops = [op("a", 3, output=4), op("b", 2, "a"), op("c", 4, "a")]
    plain = problem(ops, cards(3), [link("gpu gpu", 1, 4)], objective="makespan")
    found = solve(plain, bundles={"gpu": {"sizes": [1]}})
    assert found.problem == plain
    assert (found.value, found.status) == (solve(plain).value, Status.OPTIMAL)
    assert "bundles" not in found.to_dict()


@pytest.mark.parametrize("solver", ["heft", "single", "cpsat", "ilp", "dp", "fast", "talos"])
def test_any_solver_can_be_the_inner_one(solver: str) -> None:
    given = ruled(chain(3, {"gpu": 4}), cards(2), "all", objective="makespan")
    found = solve(given, solver)
    assert (found.value, found.solver) == (6, solver)


def test_a_solver_that_covers_less_refuses_by_name() -> None:
    given = ruled(chain(3, {"gpu": 4}), cards(2), "all", stages="acyclic")
    with pytest.raises(UnsupportedError, match="'heft' does not cover stages"):
        solve(given, "heft")


# ---- all ways --------------------------------------------------------------------------------


def ways_of(given: Problem) -> list[ways.Way]:
    return find_ways(given, find_classes(given, Twins(given.cluster, given.arrays, given.names)))


@pytest.mark.parametrize("stages", ["any", "ordered"])
@pytest.mark.parametrize("modes", [["data"], ["data", "tensor"]])
@pytest.mark.parametrize("count", [1, 4, 8])
def test_ways_of_equal_devices_are_counted(count: int, modes: list[str], stages: str) -> None:
    rule = {"sizes": list(range(1, count + 1)), "modes": modes}
    given = ruled([op("a", split=True)], cards(count), {"gpu": rule}, stages=stages)
    found = ways_of(given)
    # Partitions, and compositions where the order counts (Pell numbers with two modes).
    expected = {
        ("any", 1): {1: 1, 4: 5, 8: 22}, ("any", 2): {1: 1, 4: 10, 8: 75},
        ("ordered", 1): {1: 1, 4: 8, 8: 128}, ("ordered", 2): {1: 1, 4: 17, 8: 577},
    }  # fmt: skip
    assert len(found) == len(set(found)) == expected[stages, len(modes)][count]


def orders(given: Problem, blocks: list[list[tuple[str, tuple[int, ...]]]]) -> set[tuple[str, ...]]:
    """Kinds of devices in the order of their first members, of several sets of blocks."""
    names = given.cluster.devices
    return {
        tuple(f"{names[m[0]].kind}{len(m)}{mode}" for mode, m in sorted(row, key=lambda x: x[1][0]))
        for row in blocks
    }


@pytest.mark.parametrize("where", ["gpu cpu gpu gpu", "gpu gpu cpu gpu cpu", "gpu gpu gpu gpu"])
def test_ordered_ways_are_all_orders_of_first_members(where: str) -> None:
    devices = [Device(f"{kind}-{k}", kind) for k, kind in enumerate(where.split())]
    rule = {"sizes": [1, 2, 3], "modes": ["data"]}
    given = ruled([op("a")], devices, {"gpu": rule}, stages="ordered")
    every = [
        [(block.mode, tuple(sorted(block.members))) for block in blocks]
        for blocks in all_blocks(given)
    ]
    found = []
    for way in ways_of(given):
        inside = {name for bundle in way for name in bundle.members}
        rows = [
            (bundle.mode.value, tuple(given.cluster.index[name] for name in bundle.members))
            for bundle in way
        ]
        rows += [("", (d,)) for d, name in enumerate(given.device_ids) if name not in inside]
        assert all(list(members) == sorted(members) for _, members in rows)
        found.append(rows)
    assert orders(given, found) == orders(given, every)
    assert len(found) == len(orders(given, found))


def test_devices_that_differ_are_bundled_with_their_like() -> None:
    devices = [*cards(2, 100), device("gpu2", 50), device("gpu3", 50)]
    rule = {"sizes": [1, 2], "modes": ["data"]}
    found = {tuple(b.id for b in way) for way in ways_of(ruled([op("a")], devices, {"gpu": rule}))}
    assert found == {(), ("gpu0+gpu1",), ("gpu2+gpu3",), ("gpu0+gpu1", "gpu2+gpu3")}
    with pytest.raises(GraphError, match="no 3 equal devices of kind gpu: gpu0 and gpu2 are not"):
        ways_of(ruled([op("a")], devices, {"gpu": {"sizes": [1, 3]}}))
    with pytest.raises(GraphError, match=r"3 equal device.* cannot be divided into bundles of 2"):
        ways_of(ruled([op("a")], cards(3), {"gpu": {"sizes": [2]}}))


def test_too_many_ways_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ways, "MOST_WAYS", 3)
    with pytest.raises(InputError, match="more than 3 ways to bundle"):
        ways_of(ruled([op("a")], cards(4), "all"))


# ---- against brute force ---------------------------------------------------------------------


def random_problem(
    seed: int, limits: Sequence[int | None] = (None, 60, 90, 140), most: int = 5, **more: Any
) -> Problem | None:
    """Up to five cards, perhaps a CPU; memory that may be too small; None: an op fits nowhere."""
    pick = random.Random(seed)
    count, host = pick.choice([2, 3, 3, 4, 5][:most]), pick.random() < 0.3
    host = host and count < 5
    devices = cards(count, pick.choice(limits))
    if not limits[-1] and pick.random() < 0.5:
        devices = [replace(card, copy_engine=False) for card in devices]
    links = [link("gpu gpu", pick.choice([0, 0.25]), pick.choice([8, 32]))]
    if host:
        devices.append(device("cpu0", pick.choice([None, 50]) if limits[-1] else None))
        links.append(link("gpu cpu", 0, 4))
    ops = pick.choice([2, 3, 3, 4]) if count < 5 < most + 1 else pick.choice([2, 3])
    training = pick.random() < 0.4
    made = []
    for i in range(ops):
        late = "update" if i == ops - 1 and pick.random() < 0.5 else "backward"
        time = {"gpu": pick.choice([1.0, 2.0, 4.0, 8.0])}
        if pick.random() < 0.7:
            time["cpu"] = pick.choice([8.0, 16.0, 32.0])
        inputs = tuple(Input(f"o{k}") for k in range(i) if pick.random() < 0.5)
        memory = Memory(
            pick.choice([0, 10, 33, 60, 100]), pick.choice([0, 7, 16]), pick.choice([0, 9])
        )
        made.append(
            Op(
                f"o{i}", time, memory, inputs, split=pick.random() < 0.6,
                phase=late if training and 2 * i >= ops else "forward",
                colocate=pick.choice([None, None, "a", "b"]),
            )
        )  # fmt: skip
    sizes = pick.choice([(1, 2), (1, 2, 4), (1, 2, 3), (1, 2, 3, 4, 5)])
    rule: dict[str, Any] = {
        "sizes": [size for size in sizes if size <= count],
        "modes": pick.choice([["data"], ["tensor"], ["data", "tensor"]]),
    }
    if pick.random() < 0.3:
        rule["scaling"] = {2: 1.5}
    try:
        return ruled(made, devices, {"gpu": rule}, links, **more)
    except GraphError:
        return None


@costly
@given(st.integers(0, 10**6))
def test_the_bottleneck_is_the_least_of_all_ways(seed: int) -> None:
    given = random_problem(seed, objective="bottleneck")
    assume(given is not None)
    assert given is not None
    best = best_bottleneck(given)
    derivation = Derivation(given)
    shared = common_bound(derivation, find_classes(given, derivation.twins), lambda: False)
    assert shared <= best
    found = solve(given, time_limit=20)
    value = math.inf if found.value is None else found.value
    if found.status in (Status.FEASIBLE, Status.UNKNOWN):
        # One of hundreds: what bundles of several sorts hold is bounded by relaxations.
        assert given.cluster.devices[0].memory is not None
        assert found.lower_bound <= best * (1 + 1e-9) <= value * (1 + 2e-9)
    else:
        assert found.status is (Status.INFEASIBLE if math.isinf(best) else Status.OPTIMAL)
        assert value == pytest.approx(best)


@costly
@given(st.integers(0, 10**6), st.sampled_from(["makespan", "toct"]))
def test_the_makespan_is_the_least_of_all_ways(seed: int, objective: str) -> None:
    traffic = random.Random(seed).choice(["none", "serial"])
    given = random_problem(seed, (None,), 4, objective=objective, contention=traffic)
    assert given is not None
    values = []
    ids = given.device_ids
    for blocks in all_blocks(given):
        chosen = [
            Bundle(tuple(ids[d] for d in block.members), BundleMode(block.mode))
            for block in blocks
            if block.mode
        ]
        answer = brute_force(bundled(given, chosen))
        assert answer is not None
        values.append(answer[0])
    found = solve(given, time_limit=20)
    assert (found.value, found.status) == (pytest.approx(min(values)), Status.OPTIMAL)


@costly
@given(st.integers(0, 10**6), st.sampled_from(["makespan", "memory", "bottleneck"]))
def test_no_schedule_beats_a_bound_under_the_peak_rule(seed: int, objective: str) -> None:
    given = random_problem(seed, (60, 90, 140), objective=objective, memory_rule="peak")
    assume(given is not None)
    assert given is not None
    found = solve(given, time_limit=0.3)
    if found.schedule is not None:
        assert check(found.problem, found.schedule) == ()
    pick = random.Random(seed)
    derivation, tried = Derivation(given), ways_of(given)
    for _ in range(20):
        try:
            other = derivation.derive(pick.choice(tried))
            group = [pick.choice(np.flatnonzero(row).tolist()) for row in other.arrays.allowed]
            where = np.array(group)[other.arrays.group]
            schedule = simulate(other, where, np.array([pick.random() for _ in where]))
        except (GraphError, IndexError, MemoryDeadlockError, NoRouteError):
            continue
        assert check(other, schedule) == ()
        assert found.status is not Status.INFEASIBLE
        assert objective_value(other, schedule) >= found.lower_bound * (1 - 1e-9)


# ---- time, progress, interruptions -----------------------------------------------------------


def layered(count: int = 12) -> Problem:
    ops = [op(f"a{i}", 3 + i % 4, f"a{i - 1}" if i % 3 else "", output=3) for i in range(count)]
    return problem(ops, cards(4), [link("gpu gpu", 0.5, 4)], objective="makespan")


def test_progress_is_of_all_ways_together() -> None:
    seen: list[Progress] = []
    found = solve(layered(), bundles="all", time_limit=3, on_progress=seen.append)
    assert found.value is not None
    values = [event.value for event in seen if event.value is not None]
    assert values == sorted(values, reverse=True)
    assert all(event.lower_bound <= found.value * (1 + 1e-9) for event in seen)
    known = [event.lower_bound for event in found.history]
    assert known == sorted(known)
    assert found.history[-1].value == found.value


def test_cancelling_keeps_the_best_answer() -> None:
    event = threading.Event()

    def stop(progress: Progress) -> None:
        if progress.value is not None:
            event.set()

    found = solve(layered(40), bundles="all", time_limit=60, on_progress=stop, cancel=event)
    assert found.interrupted
    assert found.schedule is not None
    assert check(found.problem, found.schedule) == ()


def test_an_interrupt_carries_the_best_answer() -> None:
    def stop(progress: Progress) -> None:
        if progress.value is not None:
            raise KeyboardInterrupt

    with pytest.raises(Interrupted) as caught:
        solve(layered(), bundles="all", time_limit=60, on_progress=stop)
    assert caught.value.result is not None
    assert caught.value.result.interrupted
    assert caught.value.result.schedule is not None
    again = solve(layered(), bundles="all", on_progress=stop, catch_interrupt=True)
    assert again.value == caught.value.result.value


def test_what_a_caller_raises_is_passed_on() -> None:
    def fail(progress: Progress) -> None:
        raise OSError("the caller's own")

    with pytest.raises(OSError, match="the caller's own"):
        solve(layered(), bundles="all", on_progress=fail)


def test_a_warm_start_is_never_lost() -> None:
    given = layered().with_bundles("all")
    first = solve(given, "heft", time_limit=2)
    assert first.schedule is not None
    assert first.value is not None
    again = solve(first.problem, "single", warm_start=first.schedule, time_limit=1)
    assert again.value is not None
    assert again.value <= first.value
    mine = [{"members": ["gpu1", "gpu3"], "mode": "data"}]
    other = bundled(given, mine)
    schedule = simulate(other, np.zeros(12, dtype=np.int64), np.arange(12))
    ended = solve(other, "heft", warm_start=schedule, time_limit=1)
    assert ended.value is not None
    assert ended.value <= objective_value(other, schedule)
    with pytest.raises(InputError, match="the warm start has bundles that are not allowed: gpu1"):
        solve(
            bundled(layered().with_bundles({"gpu": {"sizes": [1, 4]}}), mine), warm_start=schedule
        )


def test_given_bundles_are_kept_where_there_are_no_rules() -> None:
    fixed = bundled(layered(), [{"members": ["gpu0", "gpu1"], "mode": "data"}])
    found = solve(fixed, "heft", objective="bottleneck")
    assert bundles_of(found) == [("gpu0+gpu1", "data")]
    assert found.problem.objective == "bottleneck"
