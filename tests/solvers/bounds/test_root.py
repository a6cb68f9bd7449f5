"""The root bound of many models: what it was model by model, at a cost linear in the graph."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.core.problem import Ints, Objective, Problem
from talos_opt.solvers.bounds import path_bound, quick_bound, root_bound
from talos_opt.solvers.bounds import path_memory as module
from talos_opt.solvers.bounds.path_memory import PathMemory
from talos_opt.solvers.shared.paths import heaviest_paths
from tests.builders import device, link, op
from tests.builders import problem as make
from tests.naive import brute_force
from tests.strategies import large_problems, problems

CLOSE = 1e-9
TIMED = ("toct", "makespan")


def stop_after(count: int) -> Callable[[], bool]:
    """A clock that ends when it has been looked at so often."""
    left = [count]

    def stopped() -> bool:
        left[0] -= 1
        return left[0] < 0

    return stopped


# ---- the definition ------------------------------------------------------------------------


def naive_paths(problem: Problem, weight: np.ndarray, edge_weight: np.ndarray | None) -> list[Ints]:
    """The heaviest path of every model, searched from each of its ops."""
    arrays = problem.arrays
    edges: dict[int, list[tuple[int, float]]] = {i: [] for i in range(arrays.op_count)}
    for e, (a, b) in enumerate(
        zip(arrays.edge_src.tolist(), arrays.edge_dst.tolist(), strict=True)
    ):
        edges[a].append((b, 0.0 if edge_weight is None else float(edge_weight[e])))
    best: dict[int, tuple[float, list[int]]] = {}
    for i in reversed(arrays.order.tolist()):
        most: tuple[float, list[int]] | None = None
        for reader, extra in edges[i]:
            value = best[reader][0] + extra
            if most is None or value > most[0]:
                most = value, best[reader][1]
        value, path = most or (0.0, [])
        best[i] = float(weight[i]) + value, [i, *path]
    found = []
    for j in range(len(arrays.release)):
        members = [i for i in range(arrays.op_count) if arrays.model[i] == j]
        found.append(np.array(best[max(members, key=lambda i: best[i][0])][1]))
    return found


def improve_path_by_path(memory: PathMemory) -> None:
    """What `PathMemory.improve` did before: every path of every model, then the whole graph."""
    if memory.pointless:
        return
    arrays, held, best = memory.arrays, memory.held, memory.best
    mixed = held / max(1.0, float(held.sum())) + best / max(1e-300, float(best.sum()))
    sizes = arrays.edge_bytes / max(1, int(arrays.edge_bytes.sum()))
    paths: dict[bytes, Ints] = {}

    def take(weight: np.ndarray, edge_weight: np.ndarray | None = None) -> bool:
        before = len(paths)
        for path in naive_paths(memory.problem, weight, edge_weight):
            paths.setdefault(path.tobytes(), path)
        return len(paths) > before

    for weight, edge_weight in ((held, None), (mixed, None), (best, None), (mixed, sizes)):
        take(weight, edge_weight)
    for _ in range(4):
        met = np.zeros(arrays.op_count, dtype=bool)
        for path in paths.values():
            met[path] = True
        if met.all() or not take(np.where(met, 0.01, 1.0) * mixed):
            break
    for _ in range(2):
        for path in paths.values():
            part = memory._restrict(path)
            assert part is not None
            memory._sweep_both_ways(path, part)
            memory._spread()
        memory._spread_by_class()


def assert_as_before(problem: Problem) -> None:
    new, old = PathMemory(problem), PathMemory(problem)
    new.improve()
    improve_path_by_path(old)
    assert new.completions() == pytest.approx(old.completions(), rel=1e-12)


@given(problems(max_ops=5, objectives=TIMED))
def test_all_models_at_once_prove_what_path_by_path_does(problem: Problem) -> None:
    assert_as_before(problem)


@given(large_problems(max_models=6, objectives=TIMED, traffic=True, tight=True))
def test_all_models_at_once_prove_what_path_by_path_does_on_larger_graphs(
    problem: Problem,
) -> None:
    assert_as_before(problem)


@given(large_problems(max_models=6), st.randoms(use_true_random=False))
def test_heaviest_paths_against_a_search_of_each_model(problem: Problem, rng) -> None:  # type: ignore[no-untyped-def]
    arrays = problem.arrays
    weight = np.array([rng.choice((0.0, 1.0, 2.0)) for _ in range(arrays.op_count)])
    edge_weight = np.array([rng.choice((0.0, 0.5)) for _ in arrays.edge_src])
    for extra in (None, edge_weight):
        found = [path.tolist() for path in heaviest_paths(arrays, weight, extra)]
        assert found == [path.tolist() for path in naive_paths(problem, weight, extra)]
        chosen = np.arange(len(arrays.release)) % 2 == 0
        some = [path.tolist() for path in heaviest_paths(arrays, weight, extra, chosen)]
        assert some == found[::2]


# ---- stopped -------------------------------------------------------------------------------


@given(problems(max_ops=5), st.integers(0, 60))
def test_stopped_at_any_moment_it_holds(problem: Problem, looks: int) -> None:
    expected = brute_force(problem)
    found = root_bound(problem, stop_after(looks))
    assert 0 <= found <= root_bound(problem)
    if expected is not None:
        assert found <= expected[0] * (1 + CLOSE)


@given(problems(max_ops=5))
def test_the_root_bound_is_the_better_of_its_parts(problem: Problem) -> None:
    assert root_bound(problem) == max(quick_bound(problem), path_bound(problem))


@given(problems(max_ops=5, objectives=("bottleneck",)))
def test_a_load_is_rounded_down(problem: Problem) -> None:
    """Shares are no dyadic numbers: their sums round, and must not pass the value by an ulp."""
    expected = brute_force(problem)
    if expected is not None:
        assert root_bound(problem) <= expected[0]


# ---- what it costs -------------------------------------------------------------------------


def serving(models: int) -> Problem:
    """Models that outgrow the small devices, each by itself."""
    chain = [
        op(f"o{i}", {"gpu": 1, "cpu": 9}, f"o{i - 1}" if i else "", weights=3, output=1)
        for i in range(3)
    ]
    devices = [device("cpu0"), device("gpu0", 8), device("gpu1", 8)]
    return make({f"m{j}": chain for j in range(models)}, devices, [link("cpu gpu", 1.0)])


def count_calls(monkeypatch: pytest.MonkeyPatch, problem: Problem) -> dict[str, int]:
    calls = dict.fromkeys(("passes", "paths", "sweeps", "looks"), 0)

    def counted(name: str, call: Callable[..., object]) -> Callable[..., object]:
        def count(*args: object, **settings: object) -> object:
            calls[name] += 1
            return call(*args, **settings)

        return count

    with monkeypatch.context() as patch:
        patch.setattr(module, "spread", counted("passes", module.spread))
        patch.setattr(module, "heaviest_paths", counted("paths", module.heaviest_paths))
        patch.setattr(module, "sweep", counted("sweeps", module.sweep))
        root_bound(problem, counted("looks", lambda: False))  # type: ignore[arg-type]
    return calls


def test_twice_the_models_is_no_pass_more_and_twice_the_sweeps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    few = count_calls(monkeypatch, serving(20))
    many = count_calls(monkeypatch, serving(40))
    assert few["sweeps"] >= 20 * 2
    assert many["passes"] == few["passes"]
    assert many["paths"] == few["paths"]
    assert many["sweeps"] == 2 * few["sweeps"]
    assert many["looks"] > many["sweeps"] / 2


def test_models_that_fit_anywhere_are_not_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = make({f"m{j}": [op("a"), op("b", 1, "a")] for j in range(30)}, "cpu0 gpu0")
    assert count_calls(monkeypatch, problem)["sweeps"] == 0


@pytest.mark.parametrize("objective", Objective)
def test_a_stop_is_heard_between_two_sweeps(objective: Objective) -> None:
    problem = serving(20).with_objective(objective)
    looks = [0]

    def stopped() -> bool:
        looks[0] += 1
        return looks[0] > 3

    root_bound(problem, stopped)
    assert looks[0] <= 8
