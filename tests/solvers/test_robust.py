"""Robust plans: where they differ from nominal ones, what is claimed of them, what is refused."""

from __future__ import annotations

import itertools
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from talos_opt import solve_robust
from talos_opt.analysis.retiming import fix_order
from talos_opt.analysis.sensitivity import Noise, draw_factors, sample_values, simulate_noise
from talos_opt.core import robustness
from talos_opt.core.config import SolveConfig
from talos_opt.core.errors import ConfigError, Interrupted, UnsupportedError
from talos_opt.core.feasibility import check
from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.core.robustness import Asked, Risk, half_interval
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import simulate
from talos_opt.solvers.engine.registry import create
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.engine.warmup import get_ready
from talos_opt.solvers.robust import planning, search
from tests.builders import device, fig1, link, op, problem

pytestmark = pytest.mark.usefixtures("compiled", "_sampling")


@pytest.fixture(scope="module")
def _sampling() -> None:
    assert get_ready(Run(fig1(), time_limit=600.0), "sampling")


@pytest.fixture(autouse=True)
def _short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_MOST", 400)


def spread(slow: float = 9.9, release: float = 0.0) -> Problem:
    """Four ops side by side, 9.9 s each on a device of their own; or 10 s after each other on one.

    Without noise the former is better. The latest of several ends is later on average, while the
    noise of what runs one after the other evens out: the mean of a sum is the sum.
    """
    times = {f"slow{k}": slow for k in range(4)}
    ops = [op(f"op{k}", times | {"fast": 2.5}) for k in range(4)]
    devices = "fast0 slow0 slow1 slow2 slow3"
    return problem({"m": ops}, devices, objective="makespan", release={"m": release})


@pytest.mark.parametrize("risk", ["mean", "cvar:0.8"])
def test_it_pays_a_hundredth_for_what_noise_does_to_a_maximum(risk: str) -> None:
    result = solve_robust(spread(), samples=50, noise=0.3, risk=risk, time_limit=6, workers=1)
    found = result.robust
    assert found is not None
    assert found.nominal.value == pytest.approx(9.9)
    assert found.chosen.value == pytest.approx(10.0)
    assert result.status is Status.FEASIBLE
    assert result.lower_bound == pytest.approx(9.9)
    assert found.cost == pytest.approx(0.1 / 9.9)
    assert found.difference + found.error < 0
    assert found.gain > 0.02
    if risk == "mean":
        assert abs(found.chosen.risk - 10.0) < 2 * found.chosen.error
    assert found.nominal.risk > found.lower_bound
    document = result.to_dict()
    assert document["value"] == found.chosen.value
    assert document["robust"]["risk"] == risk


def test_where_time_zero_is_changes_nothing() -> None:
    later = spread(release=1e11)
    found = solve_robust(later, samples=50, noise=0.3, time_limit=6, workers=1).robust
    assert found is not None
    assert found.chosen.value - 1e11 == pytest.approx(10.0, abs=1e-3)
    assert found.cost == pytest.approx(0.1 / 9.9, abs=1e-3)


def test_a_plan_within_the_tolerance_of_the_bound_is_optimal() -> None:
    """The gap says so, and status and gap are of the same schedule."""
    result = solve_robust(spread(10 - 1e-6), samples=50, noise=0.3, time_limit=6, workers=1)
    assert result.robust is not None
    assert result.robust.chosen.value > result.robust.nominal.value
    assert result.gap == pytest.approx(1e-7)
    assert result.status is Status.OPTIMAL


def test_a_solver_of_ones_own_finds_the_nominal_plan() -> None:
    result = solve_robust(fig1(), create("heft"), samples=5, time_limit=2, workers=1)
    assert result.solver == "heft"
    assert result.robust is not None


@pytest.mark.parametrize("risk", ["mean", "cvar:0.75"])
def test_no_placement_and_order_is_better_on_many_samples(risk: str) -> None:
    """All of them, by brute force; the search has seen other samples."""
    ops = [
        op("a", {"cpu": 3, "gpu": 2}),
        op("b", 3),
        op("c", {"cpu": 2, "gpu": 3}, "a"),
        op("d", 2),
    ]
    small = problem({"m": ops[:3], "n": ops[3:]}, objective="makespan")
    (factors,) = draw_factors(small, Noise(0.5), 5000, 99, 5000)
    wanted = Risk.of(risk)

    def risk_of(plan: Schedule) -> float:
        return wanted.value(sample_values(fix_order(small, plan), *factors))

    orders = [np.argsort(order) for order in itertools.permutations(range(4))]
    plans = (
        simulate(small, np.array(device), order, insertion=False)
        for device in itertools.product((0, 1), repeat=4)
        for order in orders
    )
    best = min(map(risk_of, plans))
    found = solve_robust(small, samples=40, noise=0.5, risk=risk, time_limit=4, workers=1).schedule
    assert found is not None
    assert risk_of(found) <= 1.01 * best


@pytest.fixture(scope="module")
def tight() -> Problem:
    """Chains that hold their tensors: under the peak rule not everything fits on one device."""
    ops = {
        name: [
            op(f"{name}{k}", {"cpu": 3 + k, "gpu": 2}, f"{name}{k - 1}" if k else "", output=4)
            for k in range(4)
        ]
        for name in "abc"
    }
    devices = [device("cpu0", 24, copy_engine=False), device("gpu0", 9), device("gpu1", 9)]
    links = [link("cpu gpu", 0.1, 8), link("gpu0 gpu1", 0.1, 16)]
    return problem(ops, devices, links, rule="peak", contention="serial", weight={"b": 2.0})


@pytest.mark.parametrize("objective", ["toct", "makespan", "bottleneck"])
def test_plans_are_feasible_and_their_figures_those_of_simulate(
    tight: Problem, objective: str
) -> None:
    result = solve_robust(
        tight, objective=objective, samples=8, noise=0.4, transfer_noise=0.2, time_limit=3,
        workers=1, seed=3,
    )  # fmt: skip
    found = result.robust
    assert found is not None
    assert result.schedule is not None
    assert check(result.problem, result.schedule) == ()
    assert result.value == found.chosen.value >= found.nominal.value
    again = simulate_noise(
        result.problem,
        {"": result.schedule},
        Noise(0.4, 0.2),
        samples=found.fresh,
        seed=found.fresh_seed,
    )
    assert again.outcomes[0].mean == pytest.approx(found.chosen.risk)
    assert found.difference == pytest.approx(found.chosen.risk - found.nominal.risk)
    # By Jensen's inequality; the mean is an estimate.
    assert found.chosen.risk + 2 * found.chosen.error >= result.lower_bound


def test_the_nominal_plan_stays_where_nothing_is_clearly_better() -> None:
    one = problem([op("a", 2), op("b", 3, "a")], "cpu0")
    found = solve_robust(one, samples=5, noise=0.5, time_limit=2, workers=1)
    assert found.status is Status.OPTIMAL
    assert found.robust is not None
    assert (found.robust.difference, found.robust.cost, found.robust.gain) == (0, 0, 0)


def test_without_noise_nothing_is_searched() -> None:
    result = solve_robust(spread(), samples=1, noise=0, time_limit=2, workers=1)
    assert result.robust is not None
    assert result.robust.nominal.risk == pytest.approx(9.9)
    assert result.robust.loss == pytest.approx(0)
    assert result.notes[-1] == "without noise the nominal schedule is the plan"


@pytest.mark.parametrize(("risk", "few"), [("cvar:0.99", False), ("cvar:0.995", True)])
def test_a_tail_of_few_samples_is_noted(risk: str, few: bool) -> None:
    found = solve_robust(spread(), samples=1, risk=risk, noise=0, time_limit=2, workers=1)
    assert any("the worst 5 of 1000 samples" in note for note in found.notes) == few


def test_too_many_samples_for_memory_leave_the_nominal_plan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planning, "MOST_NUMBERS", 100)
    result = solve_robust(spread(), samples=100, time_limit=2, workers=1)
    assert "ask for fewer samples" in result.notes[-1]
    assert result.robust is not None
    assert result.robust.candidates == 1


def test_samples_of_all_draws_differ() -> None:
    assert len({planning.sample_seed(seed, draw) for seed in range(5) for draw in range(6)}) == 30


def test_a_cancelled_run_returns_the_nominal_plan() -> None:
    cancel = threading.Event()
    cancel.set()
    result = solve_robust(fig1(), samples=5, cancel=cancel)
    assert result.interrupted
    assert result.robust is None


def test_an_interrupt_of_the_search_leaves_the_nominal_plan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(search.Search, "_turns", interrupted)
    with pytest.raises(Interrupted) as caught:
        solve_robust(fig1(), samples=5, time_limit=3)
    assert caught.value.result is not None
    assert caught.value.result.value == 9
    kept = solve_robust(fig1(), samples=5, time_limit=3, catch_interrupt=True)
    assert kept.interrupted
    assert kept.value == 9


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"objective": "memory"}, "the objective memory"),
        ({"objective": "step", "stages": "acyclic"}, "the objective step"),
    ],
)
def test_what_is_not_covered_is_refused_by_name(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(UnsupportedError, match=what):
        solve_robust(fig1(), **changes)


def test_bundles_are_refused_by_name() -> None:
    given = problem([op("a")], "gpu0 gpu1").with_bundles("all")
    with pytest.raises(UnsupportedError, match="bundled devices"):
        solve_robust(given)


def test_large_graphs_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(robustness, "MOST_OPS", 5)
    with pytest.raises(UnsupportedError, match="more than 5 ops: the graph has 6"):
        solve_robust(fig1())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"samples": 0}, "samples is 0, expected a whole number from 1 to 10000"),
        ({"samples": True}, "samples is True"),
        ({"samples": 10_001}, "samples is 10001"),
        ({"noise": -0.1}, "noise is -0.1, expected a number from 0 to 100"),
        ({"noise": float("nan")}, "noise is nan"),
        ({"transfer_noise": "much"}, "transfer_noise is 'much'"),
        ({"risk": "cvar:1"}, "risk is 'cvar:1', expected mean, or cvar:"),
        ({"risk": "cvar:0"}, "risk is 'cvar:0'"),
        ({"risk": None}, "risk is empty"),
        ({"config": SolveConfig(worth=0.1)}, "worth has no effect on robust plans"),
        ({"config": {}}, "config is a mapping, expected a SolveConfig"),
    ],
)
def test_bad_arguments_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        solve_robust(fig1(), **wrong)


@pytest.mark.parametrize(
    ("text", "level"),
    [("cvar:0.9", 0.9), ("cvar:75%", 0.75), ("mean", 0), ("cvar:0.9999999", 1 - 1e-7),
     ("cvar:0.00001", 1e-5)],
)  # fmt: skip
def test_risks_are_read_as_they_are_written(text: str, level: float) -> None:
    assert Risk.of(text).level == pytest.approx(level)
    assert Risk.of(str(Risk.of(text))) == Risk.of(text)


def test_cvar_is_the_mean_of_the_worst() -> None:
    values = np.array([5.0, 1, 9, 3, 7])
    assert Risk(0.6).value(values) == pytest.approx((9 + 7) / 2)
    assert Risk(0.7).value(values) == pytest.approx((9 + 0.5 * 7) / 1.5)
    assert Risk(0.99).value(values) == 9
    assert Risk().value(values) == 5
    assert half_interval(values[:1]) == 0
    assert half_interval(values) == pytest.approx(1.96 * np.sqrt(10 / 5), rel=1e-3)


def test_noise_of_all_sizes_ends_in_a_plan() -> None:
    for noise in (1e-9, 100.0):
        result = solve_robust(fig1(), samples=3, noise=noise, time_limit=2, workers=1)
        assert result.robust is not None
        assert np.isfinite(result.robust.chosen.risk)


def test_what_was_asked_is_checked_once() -> None:
    asked = Asked(risk="cvar:0.5")  # type: ignore[arg-type]
    assert replace(asked, samples=3).risk == Risk(0.5)
