"""The tabu search over queues: its kernel against plain longest paths, its answers against brute
force."""

from __future__ import annotations

import math
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, reject
from hypothesis import strategies as st

import talos_opt
from talos_opt.core.errors import ConfigError, UnsupportedError
from talos_opt.core.feasibility import check
from talos_opt.core.metrics import objective_value
from talos_opt.core.problem import Objective, Problem
from talos_opt.core.result import Status
from talos_opt.solvers.auto.stages import stages
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.shared.queues import is_shop, queues_tell_all
from talos_opt.solvers.shop.chain import Chain
from talos_opt.solvers.shop.pool import SIZE, Mixer, Point, Pool
from tests.builders import device, link, op
from tests.builders import problem as make
from tests.clocks import Looks
from tests.naive import brute_force
from tests.strategies import costly, large_problems, problems

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data" / "sets"
CLOSE = 1e-9
COVERED = {"peak": False, "serial": False, "no_copy_engine": False}
ORDERED = ("toct", "makespan")

pytestmark = pytest.mark.usefixtures("compiled")


def search(problem: Problem, steps: int = 400, seed: int = 0) -> Run:
    run = Run(problem, time_limit=60.0, seed=seed, workers=2)
    registry.create("shop", {"steps": steps}).solve(problem, run)
    return run


def shop(jobs: int = 6, machines: int = 4, seed: int = 1, **options: object) -> Problem:
    """Return a flexible job shop: chains of one op a machine, each on two or three of them."""
    rng = np.random.default_rng(seed)
    kinds = "abcdefghij"[:machines]
    devices = [device(f"{kind}0") for kind in kinds]
    ops = []
    for j in range(jobs):
        for k in range(machines):
            able = rng.permutation(machines)[: rng.integers(2, 4)]
            time = {kinds[d]: float(rng.integers(1, 20)) for d in able}
            ops.append(op(f"o{j}.{k}", time, f"o{j}.{k - 1}" if k else ""))
    return make(ops, devices, objective="makespan", **options)


@given(problems(max_ops=5, objectives=ORDERED, **COVERED))
def test_shop_is_feasible_and_mostly_ends_at_the_optimum(problem: Problem) -> None:
    expected = brute_force(problem)
    run = search(problem)
    if expected is None:
        assert run.best is None
        reject()
    assume(run.best is not None)
    assert check(problem, run.best) == ()
    assert run.value >= expected[0] * (1 - CLOSE) - CLOSE
    assume(run.value <= expected[0] * (1 + CLOSE) + CLOSE)  # how often is counted


@costly
@given(problems(max_ops=5, objectives=ORDERED, memory=False, colocation=False, **COVERED))
def test_it_finds_the_optimum_of_nearly_all_tiny_problems(problem: Problem) -> None:
    expected = brute_force(problem)
    assume(expected is not None)
    run = search(problem, 3000)
    assert run.best is not None
    assume(run.value == pytest.approx(expected[0], rel=1e-6, abs=1e-9))


@pytest.mark.reaches(0.4)
@given(large_problems(max_ops=40, objectives=ORDERED, **COVERED))
def test_it_passes_check_on_larger_problems(problem: Problem) -> None:
    run = search(problem, 200)
    assume(run.best is not None)
    assert check(problem, run.best) == ()


@pytest.mark.reaches(0.15)
@costly
@given(large_problems(max_ops=40, objectives=ORDERED, **COVERED), st.integers(0, 99))
def test_what_is_repaired_step_by_step_is_what_is_found_from_scratch(
    problem: Problem, seed: int
) -> None:
    assume(queues_tell_all(problem))
    run = Run(problem, time_limit=60.0)
    registry.create("heft").solve(problem, run)
    assume(run.best is not None)
    start = run.best.device, np.lexsort((problem.arrays.rank, run.best.end, run.best.start))
    chain = Chain(problem, seed, Pool(), [start])
    for _ in range(30):
        chain.search(1)
        head, reach = longest_paths(problem, chain)
        assert np.allclose(chain.shop.point[:, 0], head)
        assert np.allclose(chain.shop.reach, reach)
        scheduled = chain.schedule(chain.point())
        assert check(problem, scheduled) == ()
        assert objective_value(problem, scheduled) <= chain.value * (1 + CLOSE)


def longest_paths(problem: Problem, chain: Chain) -> tuple[np.ndarray, np.ndarray]:
    """Heads, and longest paths from each op's start, of the queues as they are; by recursion."""
    arrays, q = problem.arrays, chain.shop
    before: dict[int, int] = {}
    for s in range(len(q.length)):
        queue = q.row[q.row_ptr[s] : q.row_ptr[s] + q.length[s]].tolist()
        before |= dict(zip(queue[1:], queue[:-1], strict=True))
    after = {a: b for b, a in before.items()}
    device, span = q.place[:, 0], arrays.time[np.arange(arrays.op_count), q.place[:, 0]]
    head = np.full(arrays.op_count, -1.0)
    reach = np.full((arrays.op_count, len(q.done)), -math.inf)

    def delay(e: int) -> float:
        a, b = int(device[arrays.edge_src[e]]), int(device[arrays.edge_dst[e]])
        hops = arrays.path(a, b) if a != b else ()
        assert hops is not None
        tensor = arrays.edge_tensor[e]
        of = slice(arrays.read_ptr[tensor], arrays.read_ptr[tensor + 1])
        size = int(arrays.edge_bytes[of].max())
        return float(sum(arrays.transfer_time(c, d, size) for c, d in hops))

    def find_head(i: int) -> float:
        if head[i] < 0:
            found = [float(arrays.release[arrays.model[i]])]
            for e in arrays.in_edge[arrays.in_ptr[i] : arrays.in_ptr[i + 1]].tolist():
                producer = int(arrays.edge_src[e])
                found.append(find_head(producer) + span[producer] + delay(e))
            if i in before:
                found.append(find_head(before[i]) + span[before[i]])
            head[i] = max(found)
        return float(head[i])

    def find_reach(i: int) -> np.ndarray:
        if reach[i].max() == -math.inf:
            found = np.full(len(q.done), -math.inf)
            found[q.lane[i]] = 0.0
            for e in range(arrays.out_ptr[i], arrays.out_ptr[i + 1]):
                found = np.maximum(found, find_reach(int(arrays.edge_dst[e])) + delay(e))
            if i in after:
                found = np.maximum(found, find_reach(after[i]))
            reach[i] = found + span[i]
        return reach[i]

    for i in range(arrays.op_count):
        find_head(i)
        find_reach(i)
    return head, reach


@given(problems(max_ops=5, objectives=ORDERED, **COVERED))
def test_same_seed_and_steps_give_the_same_answer(problem: Problem) -> None:
    first, second = search(problem, 200, seed=7), search(problem, 200, seed=7)
    assert first.value == second.value
    assume(first.best is not None and second.best is not None)
    assert np.array_equal(first.best.device, second.best.device)
    assert np.array_equal(first.best.start, second.best.start)


def test_a_shop_is_solved_to_its_bound() -> None:
    problem = shop()
    exact = talos_opt.solve(problem, "cpsat", time_limit=60, workers=2)
    assert exact.status is Status.OPTIMAL
    assert search(problem, 20_000).value == pytest.approx(exact.value)


def test_memory_pins_and_groups_are_kept_to() -> None:
    ops = [
        op(f"o{k}", {"cpu": 3.0, "gpu": 1.0}, f"o{k - 4}" if k > 3 else "", weights=10,
           colocate="pair" if k in (0, 9) else None)
        for k in range(16)
    ]  # fmt: skip
    problem = make(ops, [device("cpu0"), device("gpu0", 60)], objective="makespan")
    run = search(problem, 3000)
    assert run.best is not None
    assert check(problem, run.best) == ()
    assert (run.best.device == 1).sum() <= 6
    assert run.best.device[0] == run.best.device[9]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("objective bottleneck", lambda: shop().with_objective(Objective.BOTTLENECK)),
        (
            "contention serial",
            lambda: make(
                [op("a"), op("b", 1, "a")], [device("cpu0"), device("cpu1")],
                links=[link("cpu0 cpu1")], contention="serial", objective="makespan",
            ),
        ),
    ],
)  # fmt: skip
def test_what_queues_cannot_tell_is_refused_by_name(name: str, found: object) -> None:
    problem = found()  # type: ignore[operator]
    with pytest.raises(UnsupportedError, match=name):
        talos_opt.solve(problem, "shop", time_limit=1)


def test_a_negative_number_of_steps_is_an_error() -> None:
    with pytest.raises(ConfigError, match="steps is -1, expected at least 0"):
        registry.create("shop", {"steps": -1})


def test_it_stops_when_the_time_is_over_and_when_it_is_cancelled() -> None:
    problem = shop(30, 10)
    clock = Looks(before=300)
    run = Run(problem, time_limit=600, clock=clock)
    assert registry.create("shop").solve(problem, run).status is Status.FEASIBLE
    assert clock.late <= 10
    run = Run(problem, time_limit=600)
    threading.Timer(0.3, run.cancel.set).start()
    assert registry.create("shop").solve(problem, run).status is Status.FEASIBLE
    assert run.best is not None


def test_auto_gives_shops_to_it_and_nothing_else() -> None:
    problem = shop(10, 4)
    assert is_shop(problem)
    assert "shop" in {stage.solver for stage in stages(problem)}
    assert not is_shop(problem.with_objective(Objective.BOTTLENECK))
    assert not is_shop(shop(2, 4))
    dear = shop(10, 4, links=[link("a0 b0", 100.0)])
    assert not is_shop(dear)
    assert "shop" not in {stage.solver for stage in stages(dear)}


def test_a_mix_lies_between_its_parents() -> None:
    problem = shop()
    points = [Point(1.0, s.device, s.start) for s in two_schedules(problem)]
    a, b = points
    mixer = Mixer(problem, np.zeros((2, 4, 4)))
    for seed in range(20):
        home, order = mixer.between(a, b, np.random.default_rng(seed))
        assert ((home == a.device) | (home == b.device)).all()
        place = np.argsort(order)
        arrays = problem.arrays
        assert (place[arrays.edge_src] < place[arrays.edge_dst]).all()
        both = (a.start[:, None] < a.start) & (b.start[:, None] < b.start)
        assert (place[:, None] < place)[both].all()


def two_schedules(problem: Problem) -> list[talos_opt.Schedule]:
    found = []
    for name in ("heft", "single" if problem.arrays.allowed.all() else "etf"):
        run = Run(problem, time_limit=60)
        registry.create(name).solve(problem, run)
        assert run.best is not None
        found.append(run.best)
    return found


def test_the_pool_keeps_the_best_that_are_not_alike() -> None:
    pool = Pool()
    rng = np.random.default_rng(0)
    for value in range(20):
        pool.add(Point(float(20 - value), rng.integers(0, 9, 30), rng.random(30)))
    assert len(pool) == SIZE
    assert pool.best().value == 1.0
    best = pool.best()
    pool.add(Point(0.5, best.device, best.start))
    assert len(pool) == SIZE
    assert sorted(p.value for p in pool.draw(rng, 99)) == [0.5, *map(float, range(2, SIZE + 1))]


@pytest.mark.skipif(not FOLDER.exists(), reason="the public instances are not here")
@pytest.mark.parametrize(
    ("name", "most"), [("fjsp/hurink_rdata_la24.txt", 840), ("fjsp/behnke_lar04_5.txt", 460)]
)
def test_public_shops_come_near_the_best_known_in_few_steps(name: str, most: float) -> None:
    problem = talos_opt.read(FOLDER / name, objective="makespan")
    assert search(problem, 20_000).value <= most
