"""Values of all samples in one pass, against one pass for each."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given

from talos_opt.analysis.retiming import fix_order
from talos_opt.analysis.sensitivity import sample_values
from talos_opt.core.problem import Floats, Objective
from talos_opt.core.robustness import Asked, Risk
from talos_opt.kernels.listing import list_schedule
from talos_opt.kernels.sampling import anneal_samples, sample_loads, sample_schedule, sampled_value
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.robust.search import SampledChain, Search
from talos_opt.solvers.shared.instance import make_times, read_times
from tests.kernels.drawing import Ordered, ints, ordered_problems

ASKED = Asked(samples=3, noise=0.5, transfer_noise=0.5)
ENDS = ("toct", "makespan")


def search_of(drawn: Ordered, asked: Asked = ASKED) -> Search:
    return Search(drawn.problem, asked, Run(drawn.problem), (), lambda _: None)


def chain_of(drawn: Ordered, search: Search) -> tuple[SampledChain, tuple[Floats, Floats]]:
    """Return a chain at a point, and the factors that it has drawn."""
    chain, factors = SampledChain(search, 0), search.draw(drawn.seed)
    chain.take_samples(factors)
    home = np.zeros(drawn.problem.arrays.group_count, dtype=np.int64)
    home[drawn.problem.arrays.group] = drawn.device
    chain.chain.goto(home, ints(drawn.order))
    return chain, factors


@given(ordered_problems(objectives=ENDS))
def test_without_noise_the_times_are_those_of_the_list_schedule(drawn: Ordered) -> None:
    search, times = search_of(drawn), make_times(drawn.problem)
    chain, _ = chain_of(drawn, search)
    device, order = ints(drawn.device), ints(drawn.order)
    expected = list_schedule(search.instance, times, device, order, np.inf)
    starts = times.start.copy()
    found = sample_schedule(search.instance, times, chain.samples, device, order)
    assert found == (expected < np.inf)
    if found:
        assert chain.samples.value[0] == expected
        assert chain.samples.end[:, 0].tolist() == times.end.tolist()
        assert (chain.samples.end[:, 0] >= starts).all()


@given(ordered_problems(objectives=ENDS, slots=False, no_copy_engine=False))
def test_a_sample_is_a_list_schedule_of_the_times_drawn(drawn: Ordered) -> None:
    """One slot leaves no choice but the order, which is the same in every sample."""
    search, times = search_of(drawn, Asked(samples=3, noise=0.5)), make_times(drawn.problem)
    assume((drawn.problem.arrays.slots == 1).all())
    device, order = ints(drawn.device), ints(drawn.order)
    chain, _ = chain_of(drawn, search)
    assume(sample_schedule(search.instance, times, chain.samples, device, order))
    for sample in range(1, 4):
        factors = chain.samples.op[:, sample : sample + 1]
        drawn_times = search.instance._replace(time=search.instance.time * factors)
        value = list_schedule(drawn_times, times, device, order, np.inf)
        assert chain.samples.value[sample] == value


@given(ordered_problems(slots=False, peak=False, zero_times=False, missing_routes=False))
def test_values_are_those_that_simulate_finds(drawn: Ordered) -> None:
    """Loads, and starts where no slot can be handed to one of two."""
    search, times = search_of(drawn), make_times(drawn.problem)
    problem, device, order = drawn.problem, ints(drawn.device), ints(drawn.order)
    assume((problem.arrays.slots == 1).all())
    assume(problem.objective in (Objective.TOCT, Objective.MAKESPAN, Objective.BOTTLENECK))
    chain, factors = chain_of(drawn, search)
    assume(sample_schedule(search.instance, times, chain.samples, device, order))
    value = list_schedule(search.instance, times, device, order, np.inf)
    assume(value < np.inf)
    if problem.objective is Objective.BOTTLENECK:
        sample_loads(search.instance, chain.samples, device)
    fixed = fix_order(problem, read_times(problem, times, device))
    expected = sample_values(fixed, *factors)
    np.testing.assert_allclose(chain.samples.value[1:], expected, rtol=1e-9)


@given(ordered_problems(objectives=(*ENDS, "bottleneck")))
def test_books_are_right_after_a_run(drawn: Ordered) -> None:
    search = search_of(drawn, Asked(samples=4, noise=0.5, risk=Risk(0.6)))
    chain, _ = chain_of(drawn, search)
    state, times, samples = chain.chain.state, chain.chain.times, chain.samples
    allowed = chain.chain.allowed
    for moves in (0, 30):
        anneal_samples(search.instance, times, samples, state, allowed, moves, 1e3, 1e-3, 0.5)
    assert state.value[2] <= state.value[0] or state.value[3] < state.value[1]
    assume(state.value[3] == 0 and state.value[2] < np.inf)
    chain.chain.goto(state.best_home.copy(), state.best_order.copy())
    value, over = sampled_value(search.instance, times, samples, state)
    assert (value, over) == (state.value[2], 0.0)
    # The worst 40 % of four samples are one and a half.
    worst = np.sort(samples.value[1:])[::-1]
    expected = (worst[0] + 0.6 * worst[1]) / 1.6
    assert value == np.float64(expected) or abs(value / expected - 1) < 1e-12
    place = np.empty_like(state.order)
    place[state.order] = np.arange(len(place))
    arrays = drawn.problem.arrays
    assert (place[arrays.edge_src] < place[arrays.edge_dst]).all()
