"""Where the time goes: by hand, on random problems, and for the graphs of models/."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from talos_opt import read
from talos_opt.analysis.breakdown import Breakdown, break_down
from talos_opt.analysis.completions import completion_bounds
from talos_opt.analysis.gaps import Part
from talos_opt.core import rounding
from talos_opt.core.feasibility import check
from talos_opt.core.metrics import completion_times, measure
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import simulate
from tests.analysis.scheduled import scheduled_problems
from tests.builders import device, fig1, link, op, problem, schedule
from tests.strategies import costly

MODELS = sorted((Path(__file__).parents[2] / "models").glob("*.yaml"))


def parts_of(found: Breakdown, name: str) -> dict[str, float]:
    d = found.problem.device_ids.index(name)
    return {Part(k).name: time for k, time in enumerate(found.devices[d].parts) if time}


def require_whole(found: Breakdown) -> None:
    """All parts of each device, and those of the path, add up, and none is negative."""
    answer = found.schedule
    slack = rounding.noise(answer.start, answer.end)
    origin = found.problem.arrays.release.min()
    for item in found.devices:
        assert sum(item.parts) == pytest.approx(found.span, abs=slack)
        assert min(item.parts) >= -slack
        assert sum(wait.time for wait in item.waits) <= found.span + slack
    path = found.path
    assert path.end == pytest.approx(answer.end[path.stretches[-1].op] - origin, abs=slack)
    assert sum(path.by_device.values()) == pytest.approx(path.compute, abs=slack)
    assert sum(path.by_link.values()) == pytest.approx(path.transfer, abs=slack)
    assert sum(path.by_type.values()) == pytest.approx(path.compute, abs=slack)
    assert -slack <= path.queue <= path.compute + path.transfer + slack


# ---- by hand -------------------------------------------------------------------------------


def test_fig1() -> None:
    answer = simulate(fig1(), np.array([1, 0, 1, 0, 1, 0]), [0, 3, 4, 1, 2, 5])
    found = break_down(fig1(), answer)
    assert parts_of(found, "cpu0") == {"COMPUTE": 4.5}
    assert parts_of(found, "gpu0") == {"COMPUTE": 4.0, "INPUT": 0.5}
    (wait,) = found.devices[1].waits
    assert (wait.part, wait.time, found.problem.names[wait.op]) == (Part.INPUT, 0.5, "m1/op2")
    # op4, whose slot op2 waits for, then op2 and op3.
    assert (found.path.compute, found.path.queue) == (4.5, 1.5)
    assert [item.bound for item in found.models] == pytest.approx([4.0, 3.5])


def test_each_part_by_hand() -> None:
    given = problem(
        {"m": [op("a", 2, output=3), op("b", 1, "a"), op("c", 4)], "late": [op("d", 1)]},
        [device("cpu0", slots=2), device("gpu0", copy_engine=False)],
        [link("cpu gpu", 0, 1)],
        release={"late": 8},
    )
    answer = schedule(
        given,
        {"a": ("cpu0", 0), "b": ("gpu0", 5), "c": ("cpu0", 1), "d": ("gpu0", 8)},
        [("a", "cpu0", "gpu0", 2, 5, 3)],
    )
    found = break_down(given, answer)
    # gpu0 waits for a, holds the transfer, runs b, waits for the release of d, and runs d.
    assert parts_of(found, "gpu0") == {
        "INPUT": 2.0, "TRANSFER": 3.0, "COMPUTE": 2.0, "RELEASE": 2.0,
    }  # fmt: skip
    # A slot of cpu0 is free for a second before c, which could have started sooner.
    assert parts_of(found, "cpu0") == {"COMPUTE": 3.0, "ORDER": 0.5, "TAIL": 5.5}
    assert found.path.release == 8.0
    assert found.busiest == "gpu0"


def test_a_wait_for_memory_is_one_also_where_a_transfer_waits() -> None:
    given = problem(
        [op("a", 1, output=2), op("b", 3, output=4), op("c", 1, "a"), op("d", 1, "b")],
        [device("cpu0"), device("gpu0", 5)],
        [link("cpu gpu", 0, 2)],
        rule="peak",
    )
    answer = schedule(
        given,
        {"a": ("cpu0", 0), "b": ("gpu0", 0), "c": ("gpu0", 6), "d": ("cpu0", 5)},
        [("b", "gpu0", "cpu0", 3, 5, 4), ("a", "cpu0", "gpu0", 5, 6, 2)],
    )
    assert not check(given, answer)
    found = break_down(given, answer)
    # b's output fills gpu0 until it has been sent; only then has the output of a room there.
    assert parts_of(found, "gpu0") == {"COMPUTE": 4.0, "ARRIVAL": 1.0, "MEMORY": 2.0}
    waits = [(wait.part, found.problem.names[wait.op]) for wait in found.devices[1].waits]
    assert waits == [(Part.MEMORY, "m/b"), (Part.ARRIVAL, "m/a")]
    (_, peak) = found.peaks
    assert (peak.bytes, peak.time, [held.what for held in peak.holdings]) == (4, 0.0, ["output"])
    assert [(moved.op, moved.bytes, moved.time) for moved in found.moved] == [
        (1, 4, 2.0), (0, 2, 1.0),
    ]  # fmt: skip


# ---- on random problems ------------------------------------------------------------------


@costly
@given(scheduled_problems(max_ops=7))
def test_the_parts_add_up_to_the_makespan(case: tuple[Problem, Schedule]) -> None:
    given, answer = case
    found = break_down(given, answer)
    require_whole(found)
    assert (completion_bounds(given) <= completion_times(given, answer)).all()
    shares = [item.share for item in found.models]
    assert sum(shares) == pytest.approx(1.0) or sum(shares) == 0


@costly
@given(scheduled_problems(max_ops=7, short=True))
def test_each_gap_is_what_it_says(case: tuple[Problem, Schedule]) -> None:
    """At the middle of each gap, against the rules, and against the metrics over all gaps."""
    given, answer = case
    found = break_down(given, answer)
    require_whole(found)
    arrays, gaps, noise = given.arrays, found.gaps, rounding.noise(answer.start, answer.end)
    tail = np.zeros(arrays.device_count)
    for g in range(len(gaps.device)):
        time, d = (gaps.start[g] + gaps.end[g]) / 2, gaps.device[g]
        part = Part(int(gaps.part[g]))
        if gaps.end[g] - gaps.start[g] <= noise:
            continue
        running = (answer.device == d) & (answer.start < time) & (answer.end > time)
        assert arrays.demand[running].sum() + gaps.slots[g] <= arrays.slots[d]
        i, k = int(gaps.next_op[g]), int(gaps.next_transfer[g])
        later = answer.start[(answer.device == d) & (answer.start > time)]
        if part is Part.TAIL:
            assert i < 0
            assert not len(later)
            tail[d] += (gaps.end[g] - gaps.start[g]) * gaps.slots[g] / arrays.slots[d]
            continue
        if k >= 0:
            assert not arrays.copy_engine[d]
            continue
        assert answer.start[i] == later.min()
        edges = arrays.in_edge[arrays.in_ptr[i] : arrays.in_ptr[i + 1]]
        makers = arrays.edge_src[edges]
        made = bool((answer.end[makers] <= time).all())
        assert (part is Part.RELEASE) == (arrays.release[arrays.model[i]] > time)
        if part is not Part.RELEASE:
            assert (part is Part.INPUT) == (not made)
        if part is Part.INPUT:
            assert answer.end[gaps.by[g]] == answer.end[makers].max()
    # What is not the end of a device's work is its idle time.
    metrics = measure(given, answer)
    held = [answer.end[answer.device == d].max(initial=0.0) for d in range(arrays.device_count)]
    for d, item in enumerate(found.devices):
        if not arrays.copy_engine[d]:
            continue
        waited = sum(item.parts[Part.RELEASE : Part.TAIL])
        # The metric counts from 0.
        idle = metrics.idle_time[given.device_ids[d]] - arrays.release.min()
        assert waited + tail[d] == pytest.approx(
            idle + answer.makespan - float(held[d]), abs=4 * noise
        )


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_the_parts_add_up_for_the_models(path: Path) -> None:
    given = read(path)
    arrays = given.arrays
    # Each op where it is fastest, in topological order: with transfers, and waits for them.
    answer = simulate(given, arrays.time.argmin(axis=1), arrays.rank)
    require_whole(break_down(given, answer))
