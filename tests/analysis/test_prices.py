"""Eq. 4 read off a schedule, held against the solver that prices ops as it places them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings

from talos_opt.analysis.prices import Price, price
from talos_opt.core.metrics import op_speedups
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.solvers.engine.run import Run
from talos_opt.solvers.talos import solver as talos_flow
from tests.analysis.scheduled import scheduled_problems
from tests.builders import device, fig1, link, op, problem, schedule
from tests.strategies import problems


@contextmanager
def recorded() -> Iterator[list[talos_flow.Arc]]:
    """What the solver ``talos`` chose, arc by arc."""
    arcs: list[talos_flow.Arc] = []
    with pytest.MonkeyPatch.context() as patch:
        place = talos_flow.Step.place

        def placing(step: talos_flow.Step, arc: talos_flow.Arc) -> None:
            arcs.append(arc)
            place(step, arc)

        patch.setattr(talos_flow.Step, "place", placing)
        yield arcs


def by_talos(given: Problem) -> tuple[list[talos_flow.Arc], Schedule | None]:
    run = Run(given, time_limit=10.0)
    with recorded() as arcs:
        talos_flow.TalosSolver().solve(given, run)
    return arcs, run.best


def where_it_ran(given: Problem, answer: Schedule, i: int) -> Price:
    return next(item for item in price(given, answer, i) if item.ran)


def test_fig1_costs_what_the_paper_prints() -> None:
    arcs, answer = by_talos(fig1())
    assert answer is not None
    assert [arc.op for arc in arcs] == [0, 3, 4, 1, 5, 2]
    costs = [where_it_ran(fig1(), answer, arc.op).cost for arc in arcs]
    assert costs == [1, 1.5, 0.5, 1.5, 2.5, 2]
    op5 = where_it_ran(fig1(), answer, 4)
    assert (op5.wait, op5.comm, op5.exec, op5.max_pt, op5.speedup) == (1, 0, 1, 1.5, 1.5)


@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(
    problems(
        max_ops=8,
        memory=False,
        serial=False,
        no_copy_engine=False,
        slots=False,
        edge_bytes=False,
        zero_times=False,
    )
)
def test_parts_are_those_that_talos_placed_by(given: Problem) -> None:
    arcs, answer = by_talos(given)
    assume(answer is not None)
    arrays = given.arrays
    for k, arc in enumerate(arcs):
        found = where_it_ran(given, answer, arc.op)
        assert (found.wait, found.comm, found.exec) == (arc.wait, arc.comm, arc.exec)
        before = [other.op for other in arcs[:k]]
        level = [i for i in range(arrays.op_count) if arrays.level[i] == arrays.level[arc.op]]
        started = [(float(answer.start[i]), i) < (float(answer.start[arc.op]), arc.op)
                   for i in level]  # fmt: skip
        if started == [i in before for i in level]:  # placed in the order in which they start
            assert found.max_pt == arc.max_pt


@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(scheduled_problems(max_ops=8))
def test_speedup_where_it_ran_is_the_metric(drawn: tuple[Problem, Schedule]) -> None:
    given, answer = drawn
    for i, expected in enumerate(op_speedups(given, answer).tolist()):
        speedup = where_it_ran(given, answer, i).speedup
        assert np.isnan(expected) if speedup is None else speedup == pytest.approx(expected)


def test_other_devices_are_priced_as_if_all_else_had_stayed() -> None:
    given = problem(
        [
            op("a", 2, output=4, devices="cpu"),
            op("busy", {"gpu": 5}, devices="gpu0"),
            op("later", {"gpu": 9}, devices="gpu0"),
            op("b", {"cpu": 3, "gpu": 1}, "a", slots=2),
        ],
        [device("cpu0", slots=2), device("gpu0", slots=2), device("npu0")],
        [link("cpu gpu", 1, 4)],
    )
    answer = schedule(
        given, {"a": ("cpu0", 0), "busy": ("gpu0", 1), "later": ("gpu0", 6), "b": ("cpu0", 2)}
    )
    here, there = price(given, answer, 3)
    assert (here.device, here.ran, here.wait, here.comm, here.exec) == (0, True, 0, 0, 3)
    # The tensor is there at 2 + 1 + 4 / 4; `busy` had started by 2 and leaves both slots at 6.
    assert (there.device, there.ran, there.comm, there.wait, there.exec) == (1, False, 2, 2, 1)
    assert (here.speedup, there.speedup) == (1, 3 / 5)
