"""The `ilp` solver: each rule alone, the whole against brute force, how it stops and refuses."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import talos_opt
from talos_opt.core.errors import DependencyError, UnsupportedError
from talos_opt.core.feasibility import check
from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.core.simulator import simulate
from talos_opt.core.transfers import NoRouteError
from talos_opt.solvers.engine import registry
from talos_opt.solvers.engine.base import Verdict
from talos_opt.solvers.engine.budget import Budget
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.ilp import IlpOptions, IlpSolver, bounding, builder, cbc, highs, search
from talos_opt.solvers.ilp.backend import Job, Outcome
from talos_opt.solvers.ilp.extract import start_values
from talos_opt.solvers.ilp.first import balance_greedily
from talos_opt.solvers.ilp.sequencing import SequencingFormulation
from talos_opt.solvers.ilp.windows import make_windows, possible_devices
from talos_opt.testing.reference.brute import placements
from tests.builders import device, fig1, link, op, problem
from tests.clocks import Looks, Stopwatch
from tests.naive import brute_force
from tests.strategies import costly, problems

BACKENDS = ("highs", "cbc")
both_backends = pytest.mark.parametrize("backend", BACKENDS)

#: What the formulation covers; the rest is refused.
COVERED = {"peak": False, "serial": False}


def solve(
    problem: Problem, backend: str = "highs", *, run: Run | None = None, **options: object
) -> tuple[Verdict, Run]:
    run = Run(problem, time_limit=30.0) if run is None else run
    verdict = IlpSolver(IlpOptions(backend=backend, **options)).solve(problem, run)  # type: ignore[arg-type]
    return verdict, run


def optimum(problem: Problem, backend: str = "highs") -> float:
    """The value that the solver proves."""
    verdict, run = solve(problem, backend)
    assert verdict.status is Status.FEASIBLE
    assert run.best is not None
    assert check(problem, run.best) == ()
    assert run.proven, f"value {run.value}, bound {run.lower_bound}"
    return run.value


def homes(problem: Problem) -> str:
    """Devices of the ops in an optimal schedule, in op order."""
    _, run = solve(problem)
    assert run.best is not None
    assert run.proven
    return " ".join(problem.device_ids[d] for d in run.best.device.tolist())


def chains(count: int, seed: int = 0) -> Problem:
    """Two models, each a chain: large enough that optimality takes longer than a test may."""
    rng = np.random.default_rng(seed)
    models = {
        name: [
            op(f"{name}{i}", {"cpu": rng.uniform(1, 5), "gpu": rng.uniform(0.5, 4)},
               f"{name}{i - 1}" if i else "")
            for i in range(count)
        ]
        for name in "ab"
    }  # fmt: skip
    return problem(models)


# ---- known optima --------------------------------------------------------------------------


@both_backends
@pytest.mark.parametrize(
    ("objective", "value"), [("toct", 9.0), ("makespan", 4.5), ("bottleneck", 4.5)]
)
def test_fig1_is_proven_exactly(backend: str, objective: str, value: float) -> None:
    _, run = solve(fig1(objective), backend)
    assert run.value == pytest.approx(value, abs=1e-12)
    assert run.lower_bound == pytest.approx(value, abs=1e-12)


def test_fig1_has_one_optimal_assignment() -> None:
    assert homes(fig1()) == "gpu0 cpu0 gpu0 cpu0 gpu0 cpu0"


# ---- each rule alone: an instance that meets it at no cost, and one where it binds ---------------


@both_backends
@pytest.mark.parametrize(
    ("slots", "demands", "makespan"),
    [
        (1, (1, 1), 2.0),
        (2, (1, 1), 1.0),
        (2, (1, 1, 1), 2.0),
        (2, (2, 2), 2.0),
        (2, (2, 1, 1), 2.0),
        (3, (2, 1), 1.0),
        (3, (2, 2, 1, 1), 2.0),
        (3, (3, 2, 2, 1), 3.0),
    ],
)
def test_slots(backend: str, slots: int, demands: tuple[int, ...], makespan: float) -> None:
    ops = [op(f"o{i}", 1, slots=demand) for i, demand in enumerate(demands)]
    case = problem(ops, [device("cpu0", slots=slots)], objective="makespan")
    assert optimum(case, backend) == pytest.approx(makespan)


def test_an_op_of_no_time_holds_no_slot() -> None:
    ops = [op("long", 4), op("first", 0), op("second", 1, "first")]
    case = problem({"a": [ops[0]], "b": ops[1:]}, "cpu0", objective="makespan")
    assert optimum(case) == pytest.approx(5.0)
    ops[2] = op("second", 0, "first")
    case = problem({"a": [ops[0]], "b": ops[1:]}, "cpu0")
    assert optimum(case) == pytest.approx(4.0)  # b ends at 0, while a runs


def test_precedence() -> None:
    apart = problem([op("a", 2), op("b", 3)], objective="makespan")
    assert optimum(apart) == pytest.approx(3.0)
    chained = problem([op("a", 2), op("b", 3, "a")], objective="makespan")
    assert optimum(chained) == pytest.approx(5.0)


def test_release() -> None:
    models = {"a": [op("a", 1)], "b": [op("b", 1)]}
    assert optimum(problem(models, "cpu0")) == pytest.approx(3.0)
    assert optimum(problem(models, "cpu0", release={"b": 5.0})) == pytest.approx(7.0)


def test_weights_decide_who_goes_first() -> None:
    models = {"a": [op("a", 2)], "b": [op("b", 3)]}
    assert optimum(problem(models, "cpu0")) == pytest.approx(2 + 5)
    assert optimum(problem(models, "cpu0", weight={"b": 2.0})) == pytest.approx(5 + 2 * 3)
    assert optimum(problem(models, "cpu0", weight={"a": 0.0})) == pytest.approx(3)


def test_pins_and_colocation() -> None:
    fast_apart = [op("a", {"cpu": 1, "gpu": 9}), op("b", {"cpu": 9, "gpu": 1})]
    assert optimum(problem(fast_apart, objective="makespan")) == pytest.approx(1.0)
    together = [
        op("a", {"cpu": 1, "gpu": 9}, colocate="g"),
        op("b", {"cpu": 9, "gpu": 1}, colocate="g"),
    ]
    assert optimum(problem(together, objective="makespan")) == pytest.approx(10.0)
    pinned = [fast_apart[0], op("b", {"cpu": 9, "gpu": 1}, devices="cpu")]
    assert optimum(problem(pinned, objective="makespan")) == pytest.approx(9.0)


@both_backends
@pytest.mark.parametrize(
    ("memory", "makespan"),
    # a and b weigh 4 + 1 each, the largest workspace is 3: 13 for both, 8 for one alone.
    [(13, 2.0), (12, 10.0)],
)
def test_static_memory_counts_the_largest_workspace(
    backend: str, memory: int, makespan: float
) -> None:
    time = {"gpu": 1, "cpu": 10}
    ops = [
        op("a", time, weights=4, output=1, workspace=3),
        op("b", time, weights=4, output=1, workspace=2),
    ]
    case = problem(ops, [device("cpu0"), device("gpu0", memory)], objective="makespan")
    assert optimum(case, backend) == pytest.approx(makespan)


@both_backends
def test_memory_is_exact_to_the_byte(backend: str) -> None:
    """Two ops are one byte too many of 4 PiB: no floating-point tolerance can see that."""
    limit = 2**52
    time = {"gpu": 1, "cpu": 10}
    for over, makespan in ((0, 2.0), (1, 10.0)):
        ops = [op("a", time, weights=limit // 2), op("b", time, weights=limit // 2 + over)]
        case = problem(ops, [device("cpu0"), device("gpu0", limit)], objective="makespan")
        assert optimum(case, backend) == pytest.approx(makespan)


def test_no_route() -> None:
    ops = [op("a", {"cpu": 1, "gpu": 9}), op("b", {"cpu": 9, "gpu": 1}, "a")]
    free = problem(ops, links=[link("cpu gpu")], objective="makespan")
    assert optimum(free) == pytest.approx(2.0)
    assert optimum(problem(ops, links=[], objective="makespan")) == pytest.approx(10.0)
    one_way = problem(ops, links=[link("gpu > cpu")], objective="makespan")
    assert optimum(one_way) == pytest.approx(10.0)


def test_a_transfer_delays_its_reader_by_latency_and_bytes() -> None:
    ops = [op("a", {"cpu": 1}, output=6), op("b", {"gpu": 1}, "a")]
    case = problem(ops, links=[link("cpu gpu", 0.5, 4.0)], objective="makespan")
    assert optimum(case) == pytest.approx(1 + 0.5 + 1.5 + 1)


def test_the_largest_bytes_that_a_reader_names_are_sent() -> None:
    ops = [op("a", {"cpu": 1}), op("b", {"gpu": 1}, "a:2"), op("c", {"gpu": 1}, "a:6")]
    devices = [device("cpu0"), device("gpu0", slots=2)]
    case = problem(ops, devices, [link("cpu gpu", bandwidth=2.0)], objective="makespan")
    assert optimum(case) == pytest.approx(1 + 3 + 1)


@both_backends
@pytest.mark.parametrize(
    ("engines", "makespan"),
    [
        # The tensor (2 long) leaves while d (3 long) runs; both readers share it.
        ((True, True), 4.0),
        # The sender is held: d waits for it, or it for d.
        ((False, True), 6.0),
        # The receiver is held too: e (3 long, pinned there) cannot run meanwhile.
        ((True, False), 6.0),
        # Both at once: neither d nor e fits in before the transfer.
        ((False, False), 7.0),
    ],
)
def test_without_a_copy_engine_a_transfer_occupies_the_device(
    backend: str, engines: tuple[bool, bool], makespan: float
) -> None:
    ops = [
        op("a", {"cpu": 1}, output=2),
        op("b", {"gpu": 0.5}, "a"),
        op("c", {"gpu": 0.5}, "a"),
        op("d", {"cpu": 3}),
        op("e", {"gpu": 3}),
    ]
    devices = [
        device("cpu0", copy_engine=engines[0]),
        device("gpu0", copy_engine=engines[1]),
    ]
    case = problem(ops, devices, [link("cpu gpu", bandwidth=1.0)], objective="makespan")
    expected = brute_force(case)
    assert expected is not None
    assert expected[0] == pytest.approx(makespan)
    assert optimum(case, backend) == pytest.approx(makespan)


@pytest.mark.parametrize(("engine", "makespan"), [(True, 4.0), (False, 6.0)])
def test_a_staged_tensor_reaches_its_stage_once(engine: bool, makespan: float) -> None:
    ops = [
        op("a", 1, output=1, devices="gpu0"),
        op("b", 1, "a", devices="gpu1"),
        op("c", 1, "a", devices="gpu2"),
        op("d", 2, devices="cpu0"),
    ]
    devices = [device("cpu0", copy_engine=engine), *(device(f"gpu{k}") for k in range(3))]
    links = [link("cpu gpu", bandwidth=1.0), link("gpu gpu", via="cpu0")]
    case = problem(ops, devices, links, objective="makespan")
    # Held by its three hops (one in, two out) and by d, the stage is busy for 5 from 0 on.
    expected = brute_force(case)
    assert expected is not None
    assert expected[0] == pytest.approx(makespan)
    assert optimum(case) == pytest.approx(makespan)


@both_backends
def test_bottleneck_counts_slots_demands_and_carried_transfers(backend: str) -> None:
    ops = [op("a", {"cpu": 4}, slots=2, output=1), op("b", {"gpu": 1}, "a"), op("c", {"cpu": 4})]
    for engine, load in ((True, (8 + 4) / 4), (False, (8 + 4) / 4 + 0.5)):
        devices = [device("cpu0", slots=4, copy_engine=engine), device("gpu0")]
        links = [link("cpu gpu", bandwidth=2.0)]
        case = problem(ops, devices, links, objective="bottleneck")
        assert optimum(case, backend) == pytest.approx(load)


def test_identical_devices_cost_no_optimum() -> None:
    ops = [op(f"o{i}", {"gpu": t}) for i, t in enumerate((3, 3, 2, 2, 2))]
    case = problem(ops, "gpu0 gpu1 gpu2", objective="makespan")
    assert optimum(case) == pytest.approx(5.0)


# ---- against brute force ---------------------------------------------------------------------


def assert_agrees(case: Problem, backend: str, run: Run | None = None) -> None:
    expected = brute_force(case)
    verdict, run = solve(case, backend, run=run)
    if expected is None:
        assert verdict.status is Status.INFEASIBLE
        assert verdict.reason
        assert run.best is None
    else:
        assert verdict.status is Status.FEASIBLE
        assert run.best is not None
        assert run.value == pytest.approx(expected[0], rel=1e-9, abs=1e-9)
        assert run.lower_bound <= expected[0] * (1 + 1e-9) + 1e-9
        assert run.proven


@costly
@given(problems(max_ops=6, **COVERED))
def test_highs_agrees_with_brute_force(case: Problem) -> None:
    assert_agrees(case, "highs")


@settings(max_examples=max(1, settings.default.max_examples // 3))
@given(problems(max_ops=5, **COVERED))
def test_cbc_agrees_with_brute_force(case: Problem) -> None:
    assert_agrees(case, "cbc")


@costly
@given(problems(max_ops=5, **COVERED), st.randoms(use_true_random=False))
def test_a_start_changes_no_optimum(case: Problem, rng: object) -> None:
    """The incumbent sets deadlines and so the big-M: none may cut off a better schedule."""
    run = Run(case, time_limit=30.0)
    offer_random(case, run, rng)
    assert_agrees(case, "highs", run)


def offer_random(case: Problem, run: Run, rng: object) -> None:
    candidates = list(placements(case))
    rng.shuffle(candidates)  # type: ignore[attr-defined]
    for candidate in candidates:
        priority = [rng.random() for _ in candidate]  # type: ignore[attr-defined]
        try:
            run.offer(simulate(case, np.array(candidate), priority), "random")
        except NoRouteError:
            continue
        return


@given(
    problems(max_ops=6, objectives=("toct", "makespan"), **COVERED),
    st.randoms(use_true_random=False),
)
def test_a_schedule_is_a_solution_of_the_formulation(case: Problem, rng: object) -> None:
    """With all integers fixed to a schedule's, the program is feasible and values it the same."""
    run = Run(case, time_limit=30.0)
    offer_random(case, run, rng)
    assume(run.best is not None)
    possible = possible_devices(case)
    formulation = SequencingFormulation(
        case, possible, 1.0, lambda: False, make_windows(case, possible, run.best), 2.0
    )
    for variable, value in start_values(formulation, run.best).items():
        variable.lowBound = variable.upBound = value
    outcome = highs.solve_highs(job(formulation.write.program))
    assert outcome.status is Status.OPTIMAL
    assert outcome.bound is not None
    # Left-shifting may shorten the schedule, but never below what the formulation says.
    assert outcome.bound * formulation.unit <= run.value * (1 + 1e-7) + 1e-7


def job(program: object, **changes: object) -> Job:
    chosen: dict[str, object] = {
        "budget": Budget().within(30.0),
        "mip_gap": 0.0,
        "seed": 0,
        "threads": 1,
        "stopped": lambda: False,
        "on_solution": lambda _values: None,
        "on_bound": lambda _bound: None,
    }
    return Job(program, **(chosen | changes))  # type: ignore[arg-type]


def test_highs_presolve_does_not_break_the_proof() -> None:
    """HiGHS 1.14 with its presolve calls 4.75 optimal here (its issue 2957)."""
    ops = [
        op("a", {"gpu": 1}, devices="gpu0", output=2),
        op("b", {"gpu": 0, "npu": 0}, "a:0", output=1),
        op("c", {"gpu": 0.5, "cpu": 0.5}, "a:1", slots=2, output=4),
        op("d", {"gpu": 0.5, "npu": 0, "cpu": 0.5}, "a:3 c:3", output=1),
        op("e", {"cpu": 1}, "b:3", output=4),
        op("f", {"gpu": 1.5}, slots=2),
    ]
    devices = [
        device("gpu0", slots=2, copy_engine=False), device("npu0", slots=2), device("cpu0"),
    ]  # fmt: skip
    links = [link("gpu npu", 0.5, 2.0), link("gpu cpu", 0.5, 2.0), link("npu cpu", 0.5, 0.5)]
    case = problem(ops, devices, links, objective="bottleneck")
    assert optimum(case) == pytest.approx(3.25)


def test_a_transfer_that_nobody_asks_for_passes_on_no_slots() -> None:
    """Three tensors leave a device of two slots; a fourth, needless one made 10 look enough."""
    ops = [
        op("a", {"gpu": 1.5}, weights=1, output=4),
        op("b", {"gpu": 0.0}, "a:1", slots=2, weights=2, output=4),
        op("c", {"gpu": 0.0}, "a:1 b:0", slots=2, weights=1, output=1),
        op("d", {"gpu": 1.0, "cpu": 1.5}, "a c", output=2, workspace=2),
        op("e", {"gpu": 1.0, "cpu": 0.0}, "b d:3", output=1),
        op("f", {"cpu": 0.5}, "a:3 e:3"),
    ]
    devices = [device("gpu0", 17, slots=2, copy_engine=False), device("cpu0")]
    case = problem(ops, devices, [link("gpu cpu", bandwidth=0.5)], objective="makespan")
    expected = brute_force(case)
    assert expected is not None
    assert expected[0] == pytest.approx(12.0)
    assert optimum(case) == pytest.approx(12.0)


# ---- stopping --------------------------------------------------------------------------------


@pytest.mark.timing
@both_backends
def test_a_time_limit_leaves_a_schedule_and_a_bound(backend: str) -> None:
    case = chains(22)
    run = Run(case, time_limit=1.0)
    watch = Stopwatch()
    verdict, _ = solve(case, backend, run=run)
    watch.check(2.5)
    assert verdict.status is Status.FEASIBLE
    assert run.best is not None
    assert not run.proven
    assert 0 < run.lower_bound < run.value


@both_backends
def test_without_time_only_the_start_survives(backend: str) -> None:
    case = chains(22)
    schedule = simulate(case, np.zeros(44, dtype=np.int64), np.arange(44.0))
    run = Run(case, time_limit=0.0)
    run.offer(schedule, "somebody")
    verdict, _ = solve(case, backend, run=run)
    assert verdict.status is Status.FEASIBLE
    assert run.best is schedule
    assert run.best_solver == "somebody"


@both_backends
def test_a_start_is_improved_on(backend: str) -> None:
    case = fig1()
    run = Run(case, time_limit=30.0)
    run.offer(simulate(case, np.zeros(6, dtype=np.int64), np.arange(6.0)), "somebody")
    assert run.value > 9
    solve(case, backend, run=run)
    assert run.value == pytest.approx(9.0)
    assert run.best_solver == "ilp"


@pytest.mark.timing
@both_backends
def test_cancelling_stops_the_backend(backend: str) -> None:
    case = chains(22)
    cancel = threading.Event()
    run = Run(case, time_limit=60.0, cancel=cancel)
    timer = threading.Timer(0.7, cancel.set)
    timer.start()
    watch = Stopwatch()
    verdict, _ = solve(case, backend, run=run)
    timer.cancel()
    watch.check(3.0)
    assert verdict.status is Status.FEASIBLE


def test_writing_a_large_formulation_stops_in_time() -> None:
    ops = [op(f"o{i}", 1 + i % 3, f"o{i - 1}" if i else "") for i in range(4000)]
    case = problem(ops, [device("cpu0"), device("gpu0", copy_engine=False)],
                   [link("cpu gpu", 0.1)], objective="bottleneck")  # fmt: skip
    clock = Looks(before=50)
    run = Run(case, time_limit=30.0, clock=clock)
    verdict, _ = solve(case, run=run)
    assert 0 < clock.late < 50  # the whole formulation takes thousands
    assert verdict.status is Status.FEASIBLE


def test_improvements_are_reported_while_it_runs() -> None:
    case = chains(10, seed=3)
    run = Run(case, time_limit=30.0)
    solve(case, run=run)
    values = [event.value for event in run.history if event.value is not None]
    assert len(set(values)) > 2
    assert run.proven


@both_backends
def test_a_gap_may_be_left_open(backend: str) -> None:
    case = chains(6, seed=1)
    _, run = solve(case, backend, mip_gap=0.3)
    assert run.value * (1 - 0.3) <= run.lower_bound * (1 + 1e-6)


def test_threads_do_not_disturb_each_other() -> None:
    found: list[float] = []

    def work(backend: str) -> None:
        found.append(optimum(fig1(), backend))

    threads = [threading.Thread(target=work, args=(backend,)) for backend in BACKENDS * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == pytest.approx([9.0] * 4)


# ---- infeasible --------------------------------------------------------------------------------


@both_backends
def test_infeasible_memory_names_device_and_bytes(backend: str) -> None:
    # 18 bytes into twice 10: the sum fits, but one device must hold two ops.
    ops = [op(name, 1, weights=6) for name in "abc"]
    for objective in ("toct", "bottleneck"):
        case = problem(ops, [device("cpu0", 10), device("gpu0", 10)], objective=objective)
        verdict, run = solve(case, backend)
        assert verdict.status is Status.INFEASIBLE
        assert "short by 2 bytes" in verdict.reason
        assert run.best is None


def test_infeasible_routes_are_named() -> None:
    ops = [op("a", 1, devices="cpu0"), op("b", 1, "a", devices="gpu0")]
    verdict, _ = solve(problem(ops, links=[]))
    assert verdict.status is Status.INFEASIBLE
    assert "cpu0 -> gpu0" in verdict.reason


def test_a_wrong_proof_of_infeasibility_is_seen_through(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Job] = []

    def lying(job: Job) -> Outcome:
        calls.append(job)
        return Outcome(Status.INFEASIBLE) if len(calls) == 1 else highs.solve_highs(job)

    monkeypatch.setitem(search.BACKENDS, "highs", lying)
    monkeypatch.setattr(search, "balance_greedily", lambda *_: None)
    # Balanced, so that no root bound proves the answer at once.
    case = problem([op("a", 1, weights=1), op("b", 2, weights=1)], [device("cpu0", 2)])
    verdict, run = solve(case)
    assert len(calls) > 1
    assert verdict.status is Status.FEASIBLE
    assert run.best is not None


# ---- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"backend": "gurobi"}, "backend is 'gurobi', expected one of highs, cbc"),
        ({"mip_gap": -0.1}, "mip_gap"),
        ({"mip_gap": 1.0}, "mip_gap"),
        ({"max_ops": 0}, "max_ops"),
    ],
)
def test_options_out_of_range(options: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        IlpOptions(**options)  # type: ignore[arg-type]


def test_features_outside_the_formulation_are_refused_by_name() -> None:
    ops = [op("a", 1, weights=1)]
    peak = problem(ops, [device("cpu0", 5)], rule="peak")
    with pytest.raises(UnsupportedError, match=r"'ilp' does not cover memory_rule peak"):
        solve(peak)
    serial = problem(ops, links=[link("cpu gpu")], contention="serial")
    with pytest.raises(UnsupportedError, match="contention serial"):
        solve(serial)


def test_large_problems_are_refused_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builder, "load_pulp", _never)
    with pytest.raises(UnsupportedError, match=r"at most 100 ops .* has 102 ops.*use cpsat"):
        solve(chains(51))
    with pytest.raises(UnsupportedError, match=r"at most 5 ops under objective bottleneck"):
        solve(fig1("bottleneck"), max_placement_ops=5)
    ops = [op("a", 1, output=1), op("b", 1, "a")]
    devices = [device("cpu0", copy_engine=False), device("gpu0")]
    moving = problem(ops, devices, [link("cpu gpu", 1.0)])
    with pytest.raises(UnsupportedError, match=r"2 ops and up to 2 transfers"):
        solve(moving, max_ops=3)


def _never(*_: object) -> object:
    raise AssertionError("nothing may be built")


@both_backends
def test_a_highspy_that_breaks_ortools_is_refused(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata, "version", lambda _: "1.15.0")
    with pytest.raises(DependencyError, match=r"1\.15\.0.*pip install"):
        solve(fig1(), backend)


@both_backends
def test_times_that_no_better_schedule_can_use_do_not_reach_the_backend(backend: str) -> None:
    """Found by benchmarks/trust: HiGHS refuses factors of 1e15 and more."""
    given = problem([op("a", {"npu": 0.5**6, "cpu": 1e12})], "npu0 cpu0", objective="makespan")
    first = Run(given)
    first.offer(simulate(given, np.zeros(1, dtype=np.int64), np.zeros(1)), "test")
    assert optimum(given, backend) == 0.5**6
    _, run = solve(given, backend, run=first)
    assert (run.value, run.proven, run.notes) == (0.5**6, True, [])


@both_backends
def test_pulp_4_is_refused(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = metadata.version
    monkeypatch.setattr(
        metadata, "version", lambda name: "4.0.0" if name == "pulp" else found(name)
    )
    with pytest.raises(DependencyError, match=r"PuLP 4\.0\.0.*pip install 'pulp"):
        solve(fig1(), backend)


def test_nothing_heavy_is_imported_until_it_solves() -> None:
    code = (
        "import sys; from talos_opt.solvers.engine import registry; registry.create('ilp'); "
        "print([name for name in ('pulp', 'highspy', 'ortools') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@both_backends
def test_it_is_silent_and_leaves_no_files(
    backend: str,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    optimum(fig1(), backend)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_options_reach_it_through_the_registry() -> None:
    solver = registry.create("ilp", {"backend": "cbc", "max_ops": 7})
    assert solver.options == IlpOptions(backend="cbc", max_ops=7)


# ---- parts -------------------------------------------------------------------------------------


def test_a_bound_is_lowered_then_rounded_up_to_a_possible_value() -> None:
    assert bounding.safe_bound(90.0, 0.1, 0.0) < 9.0
    assert bounding.safe_bound(90.0, 0.1, 0.5) == 9.0
    assert bounding.safe_bound(90.1, 0.1, 0.5) == 9.5
    assert bounding.safe_bound(0.0, 1.0, 0.5) <= 0.0


@pytest.mark.parametrize(
    ("text", "at_most"), [("12.500", 12.499), ("9.00000000", 8.99999999), ("3e+05", 2e5)]
)
def test_a_printed_bound_may_have_been_rounded_up(text: str, at_most: float) -> None:
    assert cbc._printed(text) == pytest.approx(at_most)
    assert cbc._printed(text) < float(text)


def test_the_greedy_start_respects_memory_and_routes() -> None:
    ops = [op(f"o{i}", 1, weights=4) for i in range(4)]
    case = problem(ops, [device("cpu0", 8), device("gpu0", 8)])
    found = balance_greedily(case, possible_devices(case))
    assert found is not None
    assert sorted(found.tolist()) == [0, 0, 1, 1]
    short = problem(ops, [device("cpu0", 8), device("gpu0", 7)])
    assert balance_greedily(short, possible_devices(short)) is None
    chain = problem([op("a", {"cpu": 1, "gpu": 2}), op("b", {"cpu": 2, "gpu": 1}, "a")], links=[])
    found = balance_greedily(chain, possible_devices(chain))
    assert found is not None
    assert len(set(found.tolist())) == 1


def test_deadlines_follow_from_what_the_incumbent_costs() -> None:
    """A model of weight 0 gets no deadline but the horizon: it may end as late as it likes."""
    models = {"a": [op("a", {"cpu": 2, "gpu": 50})], "b": [op("b", {"cpu": 3, "gpu": 50})]}
    case = problem(models)
    early = simulate(case, np.zeros(2, dtype=np.int64), [1, 0])  # b ends at 3, a at 5: TOCT 8
    windows = make_windows(case, possible_devices(case), early)
    assert windows.deadline.tolist() == pytest.approx([8 - 3, 8 - 2], rel=1e-5)
    free = problem(models, weight={"b": 0.0})
    windows = make_windows(free, possible_devices(free), early)
    assert windows.deadline.tolist() == pytest.approx([5, 100], rel=1e-5)
    makespan = case.with_objective("makespan")
    windows = make_windows(makespan, possible_devices(makespan), early)
    assert windows.deadline.tolist() == pytest.approx([5, 5], rel=1e-5)


def test_heads_and_tails_know_devices_and_transfers() -> None:
    ops = [op("a", {"cpu": 1, "gpu": 4}, output=2), op("b", {"cpu": 5, "gpu": 1}, "a")]
    case = problem(ops, links=[link("cpu gpu", bandwidth=1.0)], objective="makespan")
    windows = make_windows(case, possible_devices(case), None)
    assert windows.head.tolist() == [[0.0, 0.0], [1.0, 3.0]]
    assert windows.tail.tolist() == [[3.0, 1.0], [0.0, 0.0]]
    assert windows.completion.tolist() == [4.0]


Solve = Callable[[Job], Outcome]


@pytest.mark.parametrize("backend", [highs.solve_highs, cbc.solve_cbc])
def test_backends_tell_optimal_from_infeasible(backend: Solve) -> None:
    write = builder.Builder("test", lambda: False)
    x, y = write.binary("x"), write.continuous("y", 0.0, 10.0)
    write.at_least([(x, 2.0), (y, 1.0)], 1.5)
    write.minimise([(x, 3.0), (y, 1.0)])
    outcome = backend(job(write.program))
    assert outcome.status is Status.OPTIMAL
    assert outcome.values is not None
    assert (outcome.values(x), outcome.values(y)) == pytest.approx((0.0, 1.5))
    assert outcome.bound == pytest.approx(1.5, abs=1e-6)
    write.at_most([(y, 1.0)], 1.0)
    write.at_most([(x, 1.0)], 0.0)
    assert backend(job(write.program)).status is Status.INFEASIBLE


def test_the_builder_adds_up_repeated_terms_and_stops() -> None:
    write = builder.Builder("test", lambda: False)
    x = write.continuous("x", 0.0, 10.0)
    write.at_least([(x, 1.0), (x, 1.0)], 3.0)
    write.minimise([(x, 1.0)])
    outcome = highs.solve_highs(job(write.program))
    assert outcome.values is not None
    assert outcome.values(x) == pytest.approx(1.5)


def test_writing_looks_at_the_clock() -> None:
    write = builder.Builder("test", lambda: True)
    x = write.continuous("x")

    def many_rows() -> None:
        for _ in range(1000):
            write.at_most([(x, 1.0)], 1.0)

    with pytest.raises(builder.BuildStoppedError):
        many_rows()


def test_a_horizon_that_dwarfs_the_ops_proves_nothing_wrong() -> None:
    """A release of a model that counts for nothing, decades after all else."""
    ops = {
        "late": [op("op1", {"gpu": 101.259, "cpu": 133.434}, "op0"), op("op0", {"cpu": 166.667})],
        "now": [
            op("op1", {"gpu": 130, "cpu": 103}, "op0"),
            op("op2", {"gpu": 129.576, "cpu": 130}, "op0"),
            op("op0", {"cpu": 64.912}),
        ],
    }
    given = problem(
        ops,
        [device("gpu0", slots=2), device("cpu0")],
        weight={"late": 0.0, "now": 5e-11},
        release={"late": 1764153000000.0, "now": 133.434},
    )
    expected = brute_force(given)
    result = talos_opt.solve(given, "ilp", time_limit=10, workers=1)
    assert expected is not None
    assert result.lower_bound <= expected[0] * (1 + 1e-9)
    assert result.value == pytest.approx(expected[0], rel=1e-6)
