"""The contents bound by hand, and its tables against all subsets of the parts."""

from __future__ import annotations

import random
from itertools import chain, combinations

import numpy as np
import pytest

from talos_opt.core.metrics import objective_value
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.relax.contents import Contents, Filling
from talos_opt.solvers.relax.covering import prove_by_contents
from talos_opt.solvers.relax.layers import Crossing, build_layers, narrow_order
from tests.builders import device, link, op
from tests.builders import problem as make
from tests.naive import brute_force


def never() -> bool:
    return False


def pipeline(count: int, devices: int, transfer: float, *, host: bool = False) -> Problem:
    """A chain of ops of time 2 on identical devices."""
    ops = [
        op(f"o{i}", {"gpu": 2, "cpu": 4}, f"o{i - 1}" if i else "", output=1) for i in range(count)
    ]
    cluster = [device(f"gpu{k}", copy_engine=False) for k in range(devices)]
    links = [link("gpu gpu", 0.0, 1 / transfer)]
    if host:
        cluster.append(device("cpu0"))
        links = [link("cpu gpu", 0.0, 1 / transfer), link("gpu gpu", via="cpu0")]
    return make(ops, cluster, links, objective="bottleneck")


def proven(problem: Problem, seconds: float = 5.0) -> Run:
    run = Run(problem, time_limit=seconds, workers=1)
    registry.create("single").solve(problem, run)
    assert prove_by_contents(problem, run, "relax")
    return run


@pytest.mark.parametrize("transfer", [0.25, 1.0])
@pytest.mark.parametrize("devices", [2, 3])
@pytest.mark.parametrize("host", [False, True])
def test_a_pipeline_is_solved(transfer: float, devices: int, *, host: bool) -> None:
    problem = pipeline(6, devices, transfer, host=host)
    best = brute_force(problem)[0]
    run = proven(problem)
    assert run.value == pytest.approx(best)
    assert run.lower_bound == pytest.approx(best, rel=1e-4)


def test_devices_with_copy_engines_only_are_left_to_the_load_bound() -> None:
    problem = make([op("a", {"cpu": 1})], [device("cpu0"), device("cpu1")], objective="bottleneck")
    run = Run(problem, time_limit=5.0, workers=1)
    registry.create("single").solve(problem, run)
    assert not prove_by_contents(problem, run, "relax")


def test_many_kinds_of_devices_are_not_covered() -> None:
    times = {f"gpu{k}": float(k + 1) for k in range(6)}
    devices = [device(f"gpu{k}", copy_engine=False) for k in range(6)]
    problem = make([op("a", {"gpu": 1, **times})], devices, objective="bottleneck")
    assert not Contents(problem, 10.0, never).covered


def test_it_stops_when_told() -> None:
    assert not Contents(pipeline(4, 2, 1.0), 8.0, lambda: True).covered
    contents = Contents(pipeline(4, 2, 1.0), 8.0, never)
    contents.stopped = lambda: True
    assert contents.fill(contents.paying[0], np.ones(4, dtype=np.int64), 8.0, 2) is None


def draw(rng: random.Random) -> Problem:
    """Two to six ops whose tensors have several readers, on two or three equal devices."""
    count = rng.randint(2, 6)
    ops = []
    for i in range(count):
        inputs = rng.sample(range(i), min(i, rng.randint(1, 3)))
        ops.append(
            op(
                f"o{i}",
                {"gpu": rng.choice((0, 1, 2, 3)), "cpu": rng.choice((4, 8))},
                " ".join(f"o{k}" for k in inputs),
                output=rng.choice((1, 2)),
            )
        )
    devices = [device(f"gpu{k}", copy_engine=False) for k in range(rng.randint(2, 3))]
    devices += [device("cpu0")]
    links = [link("cpu gpu", 0.0, rng.choice((1.0, 4.0))), link("gpu gpu", via="cpu0")]
    return make(ops, devices, links, objective="bottleneck")


@pytest.mark.parametrize("seed", range(40))
def test_tables_hold_the_least_load_of_every_sum(seed: int) -> None:
    rng = random.Random(seed)
    problem = draw(rng)
    contents = Contents(problem, 1e3, never)
    (kind,) = contents.paying
    prices = np.array([rng.randint(0, 4) for _ in range(contents.parts)], dtype=np.int64)
    cap = rng.randint(0, int(prices.sum()) + 1)
    barred = frozenset(rng.sample(range(contents.parts), rng.randint(0, 1)))
    filling = contents.fill(kind, prices, 1e3, cap, elsewhere=barred)
    assert filling is not None
    subsets = [s for s in _subsets(contents.parts) if not s & barred]
    for total in range(cap + 1):
        least = min(
            (kind.load(s) for s in subsets if prices[sorted(s)].sum() >= total), default=np.inf
        )
        assert _least(filling, total) == pytest.approx(least)
    for place, load in enumerate(filling.loads.tolist()):
        content = filling.content(place)
        assert kind.load(content) == pytest.approx(load)
        assert prices[sorted(content)].sum() >= filling.sums[place]
        assert not content & barred


def _subsets(count: int) -> list[frozenset[int]]:
    sizes = (combinations(range(count), size) for size in range(count + 1))
    return [frozenset(some) for some in chain.from_iterable(sizes)]


def _least(filling: Filling, total: int) -> float:
    place = int(np.searchsorted(filling.sums, total))
    return float(filling.loads[place]) if place < len(filling.sums) else float("inf")


def test_sums_that_cannot_be_reached_any_more_are_dropped_and_counted() -> None:
    contents = Contents(pipeline(6, 2, 1.0), 7.0, never)
    prices = np.ones(6, dtype=np.int64)
    (kind,) = contents.paying
    full = contents.fill(kind, prices, 7.0, 3)
    some = contents.fill(kind, prices, 7.0, 3, least=3)
    assert full is not None
    assert some is not None
    assert (full.most(0.0), full.most(6.9), full.most(7.0)) == (0, 2, 3)
    assert (some.most(0.0), some.most(6.9), some.most(7.0)) == (2, 2, 3)


def test_a_content_pays_once_for_each_tensor() -> None:
    problem = make(
        [
            op("a", {"gpu": 1}, output=2),
            op("b", {"gpu": 1}, "a"),
            op("c", {"gpu": 1}, "a"),
            op("d", {"gpu": 1}, "b c", output=0),
        ],
        [device(f"gpu{k}", copy_engine=False) for k in range(2)],
        [link("gpu gpu", 0.0, 1.0)],
        objective="bottleneck",
    )
    (kind,) = Contents(problem, 100.0, never).paying
    parts = Contents(problem, 100.0, never).part.tolist()
    a, b, c, d = parts
    assert kind.load(frozenset({a})) == 3
    assert kind.load(frozenset({b, c})) == 4
    assert kind.load(frozenset({a, b, c, d})) == 4
    assert kind.load(frozenset()) == 0


def test_layers_are_few_in_a_narrow_order() -> None:
    crossings = [Crossing(k, frozenset({k + 1}), 1.0, 1.0) for k in range(9)]
    apart = [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]
    order = narrow_order(10, crossings, apart, never)
    assert order == list(range(10))
    able = [True] * 10
    narrow = build_layers(order, able, crossings, 150, never)
    assert narrow is not None
    assert max(layer.count for layer in narrow) == 2
    assert build_layers(apart, able, crossings, 150, never) is None


def test_a_placement_of_contents_is_offered() -> None:
    problem = pipeline(9, 3, 0.5)
    run = proven(problem)
    best = run.best
    assert isinstance(best, Schedule)
    assert objective_value(problem, best) == pytest.approx(7.0)  # 6 + 0.5 + 0.5
    assert run.lower_bound == pytest.approx(7.0)
