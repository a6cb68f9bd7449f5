"""Schedules under noise: the factors, the values, and what is said of them."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.analysis.retiming import fix_order
from talos_opt.analysis.sensitivity import (
    Noise,
    Outcome,
    sample_values,
    simulate_noise,
    wilson_interval,
)
from talos_opt.core.errors import ConfigError
from talos_opt.core.metrics import measure, objective_value
from talos_opt.core.problem import Objective, Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import simulate
from tests.analysis.test_retiming import Placed, scaled, simulated
from tests.builders import fig1, op, problem, schedule
from tests.strategies import large_problems, placed_problems


def optimum(given: Problem) -> Schedule:
    return simulate(given, np.array([1, 0, 1, 0, 1, 0]), [0, 3, 4, 1, 2, 5])


def on_gpu(given: Problem) -> Schedule:
    return simulate(given, np.ones(6, dtype=int), range(6))


@pytest.mark.parametrize("objective", [item for item in Objective if item is not Objective.STEP])
@given(
    placed=placed_problems(max_ops=8) | placed_problems(source=large_problems()),
    seed=st.integers(0, 99),
)
def test_values_are_those_of_the_retimed_schedules(
    placed: Placed, seed: int, objective: Objective
) -> None:
    given, answer = simulated(placed)
    given = given.with_objective(objective)
    order = fix_order(given, answer)
    factors = np.random.default_rng(seed).uniform(0.5, 2, (given.arrays.op_count, 3))
    values = sample_values(order, factors, np.ones_like(factors))
    for sample in range(3):
        again = order.retime(order.op_times * factors[:, sample])
        other = scaled(given, factors[:, sample])
        assert values[sample] == pytest.approx(objective_value(other, again), rel=1e-12)
        assert values[sample] == pytest.approx(measure(other, again).value(objective), rel=1e-12)


def test_noise_of_transfers_reaches_their_times_alone() -> None:
    from tests.builders import link

    given = problem([op("a", 1, output=4), op("b", 1, "a")], "cpu0 gpu0", [link("cpu gpu", 0, 2)])
    order = fix_order(given, simulate(given, np.array([0, 1]), [0, 1]))
    plain = np.ones((2, 1))
    assert sample_values(order, plain, plain).tolist() == [4]
    assert sample_values(order, plain, np.array([[3.0], [9.0]])).tolist() == [8]


def test_without_noise_every_sample_is_the_retimed_value() -> None:
    given = problem([op("a", 2)], "cpu0")
    late = schedule(given, {"a": ("cpu0", 3)})
    (outcome,) = simulate_noise(given, {"late": late}, Noise(0), samples=3).outcomes
    assert (outcome.announced, outcome.retimed) == (5, 2)
    assert outcome.values.tolist() == [2, 2, 2]
    assert outcome.deviation == 0
    assert outcome.overrun(0) == 0


@pytest.mark.parametrize("deviation", [0.1, 0.5, 1.0])
def test_factors_have_mean_1_and_the_deviation_asked_for(deviation: float) -> None:
    given = problem([op("a", 1)], "cpu0")
    answer = schedule(given, {"a": ("cpu0", 0)})
    (outcome,) = simulate_noise(given, {"a": answer}, Noise(deviation), samples=40_000).outcomes
    assert outcome.mean == pytest.approx(1, abs=4 * deviation / 200)
    assert outcome.deviation == pytest.approx(deviation, rel=0.1)
    logs = np.log(outcome.values)
    assert logs.std() == pytest.approx(np.sqrt(np.log1p(deviation**2)), rel=0.02)
    assert (outcome.values > 0).all()


def test_all_schedules_see_the_same_times() -> None:
    given = fig1()
    both = {"one": optimum(given), "two": optimum(given)}
    found = simulate_noise(given, both, Noise(0.3), samples=50)
    one, two = found.outcomes
    assert one.values.tolist() == two.values.tolist()
    assert found.best_shares() == [1, 1]
    (duel,) = found.duels()
    assert (duel.wins, duel.ties, duel.losses, duel.difference) == (0, 50, 0, 0)


def test_the_mean_difference_of_ties_is_0() -> None:
    """Sums in another order differ in their last bits, which was a mean of -2.84e-8 ns."""
    given = fig1()
    found = simulate_noise(given, {"a": optimum(given)}, Noise(0.3), samples=20)
    (one,) = found.outcomes
    other = replace(one, name="b", values=np.nextafter(one.values, 0))
    (duel,) = replace(found, outcomes=(one, other)).duels()
    assert (duel.ties, duel.difference, duel.error) == (20, 0, 0)


def test_the_samples_of_a_schedule_depend_on_the_seed_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = fig1()
    alone = simulate_noise(given, {"a": optimum(given)}, Noise(0.3), samples=20, seed=4)
    values = alone.outcomes[0].values.tolist()
    beside = {"b": on_gpu(given), "a": optimum(given)}
    noise = Noise(0.3, transfers=0.5)  # this graph's tensors take no time
    assert simulate_noise(given, beside, noise, samples=20, seed=4).outcomes[1].values.tolist() == (
        values
    )
    more = simulate_noise(given, {"a": optimum(given)}, Noise(0.3), samples=30, seed=4)
    assert more.outcomes[0].values.tolist()[:20] == values
    monkeypatch.setattr("talos_opt.analysis.sensitivity._BLOCK", 30)
    parted = simulate_noise(given, {"a": optimum(given)}, Noise(0.3), samples=20, seed=4)
    assert parted.outcomes[0].values.tolist() == values
    other = simulate_noise(given, {"a": optimum(given)}, Noise(0.3), samples=20, seed=5)
    assert other.outcomes[0].values.tolist() != values


def test_the_better_schedule_wins_most_of_the_time() -> None:
    given = fig1()
    found = simulate_noise(
        given, {"gpu": on_gpu(given), "best": optimum(given)}, Noise(0.2), samples=400
    )
    (duel,) = found.duels()
    assert duel.wins + duel.ties + duel.losses == 400
    assert duel.wins > 390
    assert duel.low < duel.wins / 400 <= duel.high
    assert duel.difference == pytest.approx(
        found.outcomes[1].mean - found.outcomes[0].mean, rel=1e-9
    )
    assert sum(found.best_shares()) == pytest.approx(1)


def test_overruns_and_quantiles_by_hand() -> None:
    outcome = Outcome("a", 10.0, 10.0, np.array([9.0, 10.0, 10.5, 11.0, 13.0]))
    shares = [outcome.overrun(share) for share in (0, 0.05, 0.1, 0.2)]
    assert shares == [0.6, 0.4, 0.2, 0.2]
    assert outcome.quantile(0.5) == 10.5
    assert outcome.mean == 10.7


def test_the_interval_is_wilsons() -> None:
    # Brown, Cai and DasGupta (2001) recommend it; 8 of 10 is 0.490 to 0.943.
    low, high = wilson_interval(8, 10)
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    assert wilson_interval(0, 10) == (0, pytest.approx(0.2775, abs=1e-4))
    assert wilson_interval(10, 10) == (pytest.approx(0.7225, abs=1e-4), 1)


def test_a_cancelled_run_keeps_whole_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("talos_opt.analysis.sensitivity._BLOCK", 60)
    given, cancel = fig1(), threading.Event()
    shares: list[float] = []

    def stop(share: float) -> None:
        shares.append(share)
        if len(shares) == 2:
            cancel.set()

    found = simulate_noise(
        given,
        {"a": optimum(given), "b": on_gpu(given)},
        Noise(0.2),
        samples=100,
        on_progress=stop,
        cancel=cancel,
    )
    assert found.interrupted
    assert [len(outcome.values) for outcome in found.outcomes] == [20, 20]
    assert shares == [0.1, 0.2]
    assert found.to_dict()["interrupted"] is True


@pytest.mark.parametrize(
    ("bad", "complaint"),
    [
        ({"noise": -0.1}, "noise of ops is -0.1, expected a number from 0 to 100"),
        ({"noise": float("nan")}, "noise of ops is nan"),
        ({"samples": 0}, "samples is 0, expected at least 1"),
        ({"schedules": {}}, "no schedule was given"),
    ],
)
def test_bad_values(bad: dict[str, object], complaint: str) -> None:
    given = fig1()
    values = {"noise": 0.2, "samples": 10, "schedules": {"a": optimum(given)}} | bad
    with pytest.raises(ConfigError, match=complaint):
        simulate_noise(
            given, values["schedules"], Noise(values["noise"]), samples=values["samples"]
        )


def test_a_release_is_kept_and_the_weights_count() -> None:
    given = problem(
        {"m1": [op("a", 2)], "m2": [op("b", 1)]},
        "cpu0 gpu0",
        weight={"m1": 3},
        release={"m2": 5},
    )
    order = fix_order(given, schedule(given, {"a": ("cpu0", 0), "b": ("gpu0", 5)}))
    values = sample_values(order, np.array([[2.0], [0.5]]), np.ones((2, 1)))
    assert values.tolist() == [3 * 4 + 5.5]
    fast = replace(given, objective=Objective.MAKESPAN)
    order = fix_order(fast, order.schedule)
    assert sample_values(order, np.array([[2.0], [0.5]]), np.ones((2, 1))).tolist() == [5.5]


def test_shares_do_not_depend_on_where_time_zero_is() -> None:
    """At 1.7e12 no sample exceeded the announced value, and all schedules were equally good."""
    told = []
    for release in (0.0, 1.7e12):
        given = problem([op("a", {"cpu": 8, "gpu": 8.5})], "cpu0 gpu0", release={"m": release})
        placed = {
            name: simulate(given, np.array([d]), [0.0]) for d, name in enumerate(("cpu", "gpu"))
        }
        found = simulate_noise(given, placed, Noise(0.2), samples=300)
        shares = [[one.overrun(share) for share in (0.0, 0.05, 0.2)] for one in found.outcomes]
        told.append((shares, found.best_shares(), [duel.losses for duel in found.duels()]))
    assert told[0] == told[1]
    assert told[0][1] == [1.0, 0.0]
    assert 0.3 < told[0][0][0][0] < 0.7
