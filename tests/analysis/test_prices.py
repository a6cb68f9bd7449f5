"""Eq. 4 read off a schedule, held against the solver that prices ops as it places them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, assume, given, settings

from talos_opt.analysis.prices import Price, price
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


def speedups(given: Problem, answer: Schedule) -> list[float | None]:
    """Weighted speedup of every op where it ran."""
    return [where_it_ran(given, answer, i).speedup for i in range(given.arrays.op_count)]


def test_fig1_speedups() -> None:
    answer = schedule(
        fig1(),
        {
            "op1": ("gpu0", 0.0), "op5": ("gpu0", 1.0), "op6": ("gpu0", 2.0),
            "op4": ("cpu0", 0.0), "op2": ("cpu0", 1.5), "op3": ("cpu0", 2.5),
        },
    )  # fmt: skip
    # The paper gives 0.625 for op6: on the CPU it would wait 0.5 and run 2, on the GPU it runs 4.
    # What starts there at the moment an op is ready (op4 when op5 is) does not delay it.
    assert speedups(fig1(), answer) == [5, 1, 1, 1, 3 / 2, 0.625]


def test_speedups_count_waiting_and_travelling() -> None:
    given = problem(
        [op("a", 1, output=4), op("b", {"cpu": 6, "gpu": 2}, "a"), op("x", {"cpu": 4})],
        links=[link("cpu gpu", 0, 2)],
    )
    at = {"a": ("gpu0", 0.0), "b": ("gpu0", 1.0), "x": ("cpu0", 0.0)}
    # On the CPU the tensor would be there at 3 and the device free at 4, and b would end at 10.
    assert speedups(given, schedule(given, at)) == [1, 9 / 2, 1]
    at["x"] = ("cpu0", 20.0)  # not yet running when b is ready
    assert speedups(given, schedule(given, at)) == [1, 8 / 2, 1]


def test_speedups_count_the_slots_that_are_held() -> None:
    given = problem(
        [op("a", 1), op("b", {"cpu": 6, "gpu": 2}, "a"), op("x", {"cpu": 4}, slots=2),
         op("y", {"cpu": 7})],
        [device("cpu0", slots=3), device("gpu0")],
    )  # fmt: skip
    at = {"a": ("gpu0", 0.0), "b": ("gpu0", 1.0), "x": ("cpu0", 0.0), "y": ("cpu0", 0.0)}
    # x and y hold all three slots; x gives two back at 4, and b would end at 10.
    assert speedups(given, schedule(given, at)) == [1, 9 / 2, 1, 1]


def test_speedups_that_are_undefined() -> None:
    given = problem([op("a", {"gpu": 1}), op("b", {"cpu": 1, "gpu": 0})])
    assert speedups(given, schedule(given, {"a": ("gpu0", 0), "b": ("gpu0", 0)})) == [None, None]


@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(scheduled_problems(max_ops=8))
def test_every_op_has_a_speedup_of_one_on_the_reference_kind(
    drawn: tuple[Problem, Schedule],
) -> None:
    given, answer = drawn
    kinds = [item.kind for item in given.cluster.devices]
    for device_of, speedup in zip(answer.device.tolist(), speedups(given, answer), strict=True):
        if kinds[device_of] == given.cluster.reference:
            assert speedup == 1
        else:
            assert speedup is None or speedup >= 0


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
