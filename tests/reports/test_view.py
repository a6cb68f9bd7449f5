"""What a Gantt chart shows: lanes, idle time, memory over time, the critical path."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, reject

from talos_opt import api
from talos_opt.core import occupancy
from talos_opt.core.errors import ScheduleError
from talos_opt.core.metrics import idle_times, measure
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import MemoryDeadlockError, simulate
from talos_opt.core.transfers import NoRouteError
from talos_opt.formats.schedule_document import COLUMNS
from talos_opt.reports import layout
from talos_opt.reports.view import View, view_of, view_of_document
from tests.builders import device, link, op, problem, schedule
from tests.strategies import placed_problems


def chain() -> tuple[Problem, Schedule]:
    """Three ops: a on the CPU feeds b and c on the GPU over a link of 2 s + 1 B/s."""
    found = problem(
        [op("a", 3, output=4), op("b", 1, "a"), op("c", 2, "a", workspace=5)],
        [device("cpu0"), device("gpu0", 100, fraction=0.5)],
        links=[link("cpu gpu", 2.0, 1.0)],
        rule="peak",
    )
    where = {"a": ("cpu0", 0.0), "b": ("gpu0", 11.0), "c": ("gpu0", 9.0)}
    return found, schedule(found, where, [("a", "cpu0", "gpu0", 3.0, 9.0, 4)])


def labels(view: View) -> list[str]:
    return [lane.label for lane in view.lanes]


def test_a_small_schedule_column_by_column() -> None:
    view = view_of(*chain())
    assert (view.title, view.time_unit, view.horizon) == ("test", "s", 12.0)
    assert labels(view) == ["cpu0", "gpu0", "cpu0 → gpu0"]
    assert [lane.link for lane in view.lanes] == [False, False, True]
    assert view.op_names == ("m/a", "m/b", "m/c")
    assert view.op_lane.tolist() == [0, 1, 1]
    assert view.op_device.tolist() == [0, 1, 1]
    assert view.op_start.tolist() == [0, 11, 9]
    assert (view.transfer_op.tolist(), view.transfer_lane.tolist()) == ([0], [2])
    assert (view.transfer_source.tolist(), view.transfer_target.tolist()) == ([0], [1])
    assert view.idle.tolist() == [0.0, 9.0]
    assert view.slots.tolist() == [1, 1]
    assert view.facts == {"objective": "toct", "value": 12.0}


def test_memory_over_time_is_that_of_the_rule_peak() -> None:
    cpu, gpu = view_of(*chain()).memory
    # a's output from 0 until its transfer ends; the copy on the GPU until its last reader ends.
    assert (cpu.times.tolist(), cpu.bytes.tolist()) == ([0.0, 9.0], [4, 0])
    assert (gpu.times.tolist(), gpu.bytes.tolist()) == (
        [0.0, 3.0, 9.0, 11.0, 12.0],
        [0, 4, 9, 4, 0],
    )
    assert (cpu.limit, gpu.limit) == (None, 50)
    assert gpu.static is None


def test_under_the_rule_static_the_curve_says_what_is_counted() -> None:
    found = problem([op("a", 1, weights=7, output=2, workspace=1)], [device("cpu0", 10)])
    (curve,) = view_of(found, schedule(found, {"a": ("cpu0", 0.0)})).memory
    assert (curve.limit, curve.static) == (10, 10)
    assert (curve.times.tolist(), curve.bytes.tolist()) == ([0.0, 1.0], [10, 7])


def test_the_critical_path_goes_over_the_transfer() -> None:
    view = view_of(*chain())
    assert view.critical_ops.tolist() == [0, 2, 1]
    assert view.critical_transfers.tolist() == [0]


def test_a_schedule_that_breaks_rules_is_shown_as_it_is() -> None:
    found = problem([op("a", 2), op("b", 2)], "cpu0")
    view = view_of(found, schedule(found, {"a": ("cpu0", 0.0), "b": ("cpu0", 1.0)}))
    assert labels(view) == ["cpu0 slot 0", "cpu0 slot 1"]
    assert view.op_lane.tolist() == [0, 1]
    assert view.facts["broken_rules"] == 1
    assert len(view.critical_ops) == 0


def test_slots_are_lanes_and_wide_ops_fill_several() -> None:
    found = problem(
        [op("a", 2), op("b", 2, slots=2), op("c", 1, slots=3)], [device("cpu0", slots=3)]
    )
    where = {"a": ("cpu0", 0.0), "b": ("cpu0", 0.0), "c": ("cpu0", 2.0)}
    view = view_of(found, schedule(found, where))
    assert labels(view) == ["cpu0 slot 0", "cpu0 slot 1", "cpu0 slot 2"]
    assert [lane.slot for lane in view.lanes] == [0, 1, 2]
    assert (view.op_lane.tolist(), view.op_lanes.tolist()) == ([0, 1, 0], [1, 2, 3])
    assert len(view.more_op) == 0


def test_slots_that_are_no_neighbours() -> None:
    found = problem(
        [op("a", 1), op("b", 5), op("c", 1), op("d", 1, slots=2)], [device("cpu0", slots=3)]
    )
    where = {"a": ("cpu0", 0.0), "b": ("cpu0", 0.25), "c": ("cpu0", 0.5), "d": ("cpu0", 2.0)}
    view = view_of(found, schedule(found, where))
    assert (view.op_lane.tolist(), view.op_lanes.tolist()) == ([0, 1, 2, 0], [1, 1, 1, 1])
    assert (view.more_op.tolist(), view.more_lane.tolist(), view.more_lanes.tolist()) == (
        [3],
        [2],
        [1],
    )


def test_an_op_that_takes_no_time_needs_no_slot() -> None:
    found = problem([op("a", 2), op("z", 0)], "cpu0")
    view = view_of(found, schedule(found, {"a": ("cpu0", 0.0), "z": ("cpu0", 1.0)}))
    assert labels(view) == ["cpu0"]
    assert view.facts.get("broken_rules") is None


def test_a_transfer_holds_a_slot_of_a_device_without_copy_engine() -> None:
    found = problem(
        [op("a", 1, output=1), op("b", 1, "a")],
        [device("cpu0"), device("gpu0", copy_engine=False)],
        [link("cpu gpu", 2.0, 1.0)],
    )
    where = {"a": ("cpu0", 0.0), "b": ("gpu0", 4.0)}
    view = view_of(found, schedule(found, where, [("a", "cpu0", "gpu0", 1.0, 4.0, 1)]))
    assert (view.hold_transfer.tolist(), view.hold_lane.tolist()) == ([0], [1])
    assert view.idle.tolist() == [0.0, 1.0]


def test_many_slots_have_lanes_only_where_something_runs() -> None:
    found = problem([op("a", 1), op("b", 1, slots=12)], [device("cpu0", slots=64), device("gpu0")])
    view = view_of(found, schedule(found, {"a": ("cpu0", 0.0), "b": ("cpu0", 0.0)}))
    assert len(view.lanes) == 13 + 1
    narrow = view_of(found, schedule(found, {"a": ("cpu0", 0.0), "b": ("cpu0", 5.0)}))
    assert len(narrow.lanes) == 12 + 1
    alone = problem([op("a", 1)], [device("cpu0", slots=64)])
    assert len(view_of(alone, schedule(alone, {"a": ("cpu0", 0.0)})).lanes) == layout.EMPTY_SLOTS


def fan(devices: int) -> tuple[Problem, Schedule]:
    """One op on each device that feeds an op on every other, all transfers at once."""
    ops = [op(f"a{k}", 1, output=1) for k in range(devices)]
    everyone = " ".join(f"a{k}" for k in range(devices))
    ops += [op(f"b{k}", 1, everyone) for k in range(devices)]
    found = problem(ops, [device(f"gpu{k}") for k in range(devices)], [link("gpu gpu", 1.0, 1.0)])
    where = {f"a{k}": (f"gpu{k}", 0.0) for k in range(devices)}
    where |= {f"b{k}": (f"gpu{k}", 3.0) for k in range(devices)}
    pairs = [(a, b) for a in range(devices) for b in range(devices) if a != b]
    moves = [(f"a{a}", f"gpu{a}", f"gpu{b}", 1.0, 3.0, 1) for a, b in pairs]
    return found, schedule(found, where, moves)


def test_of_many_links_those_that_leave_a_device_share_lanes() -> None:
    few = view_of(*fan(3))
    assert [lane.label for lane in few.lanes if lane.link] == [
        f"gpu{a} → gpu{b}" for a in range(3) for b in range(3) if a != b
    ]
    many = view_of(*fan(6))
    assert many.facts.get("broken_rules") is None
    links = [lane for lane in many.lanes if lane.link]
    assert {lane.label for lane in links} == {f"gpu{k} → any" for k in range(6)}
    assert len(links) <= 6 * layout.LINK_LANES
    assert [many.lanes[k].device for k in many.transfer_lane.tolist()] == [
        f"gpu{d}" for d in many.transfer_source.tolist()
    ]


def test_facts_are_those_of_the_document() -> None:
    found, answer = chain()
    document: dict[str, Any] = {
        "status": "feasible",
        "solver": "x",
        "objective": "toct",
        "value": 12.0,
        "lower_bound": 11,
        "gap": None,
        "runtime_s": "long",
        "seed": 1,
    }
    expected = {
        "status": "feasible",
        "solver": "x",
        "objective": "toct",
        "value": 12.0,
        "lower_bound": 11,
    }
    assert view_of(found, answer, document).facts == expected
    # What was said of another objective says nothing of this one.
    other = view_of(found.with_objective("bottleneck"), answer, document)
    assert other.facts == {"solver": "x", "objective": "bottleneck", "value": 3.0}


def test_a_document_alone() -> None:
    found, answer = chain()
    with_graph = view_of(found, answer)
    document = {
        "schema": "talos-schedule/1",
        "graph": "test",
        "time_unit": "s",
        "solver": "x",
        "metrics": {"idle_time": measure(found, answer).idle_time},
        "ops": [item._asdict() for item in answer.named_ops(found)],
        "transfers": [
            {
                "model": "m",
                "op": "a",
                "from": "cpu0",
                "to": "gpu0",
                "start": 3,
                "end": 9,
                "bytes": 4,
            }
        ],
    }
    view = view_of_document(document)
    for name in ("title", "horizon", "models", "lanes", "op_names", "devices"):
        assert getattr(view, name) == getattr(with_graph, name), name
    for name in ("op_lane", "op_device", "op_start", "op_end", "idle", "transfer_lane"):
        assert getattr(view, name).tolist() == getattr(with_graph, name).tolist(), name
    assert view.facts == {"solver": "x"}
    assert view.memory == ()
    assert len(view.critical_ops) == len(view.critical_transfers) == 0


def test_a_document_that_says_little() -> None:
    row = {"model": "m", "op": "a", "device": "d", "start": 0, "end": 1}
    later = row | {"op": "b", "start": 0.5, "end": 2}
    view = view_of_document({"ops": [row, later]})
    assert labels(view) == ["d slot 0", "d slot 1"]
    assert (view.title, view.time_unit) == ("", "")
    assert np.isnan(view.idle).tolist() == [True]
    assert view.slots.tolist() == [0]


def test_what_overlaps_has_two_lanes_in_a_document_at_a_late_origin_too() -> None:
    row = {"model": "m", "op": "a", "device": "d", "start": 1.7e12, "end": 1.7e12 + 2}
    later = row | {"op": "b", "start": 1.7e12 + 1, "end": 1.7e12 + 3}
    assert labels(view_of_document({"ops": [row, later]})) == ["d slot 0", "d slot 1"]


ROW = {"model": "m", "op": "a", "device": "d", "start": 0, "end": 1}
MOVE = {"model": "m", "op": "a", "from": "d", "to": "e", "start": 0, "end": 1, "bytes": 1}


@pytest.mark.parametrize(
    ("document", "path", "complaint"),
    [
        ({"ops": [], "status": "infeasible"}, "ops", "holds no schedule"),
        ({}, None, "has no 'ops'"),
        ({"schema": COLUMNS}, None, "GRAPH SCHEDULE"),
        ({"ops": "x"}, "ops", "expected a list"),
        ({"ops": [{"model": "m"}]}, "ops[0]", "has no 'op'"),
        ({"ops": [ROW, ROW]}, "ops[1]", "twice"),
        ({"ops": [ROW | {"start": "soon"}]}, "ops[0].start", "expected a number"),
        ({"ops": [ROW | {"start": 2}]}, "ops[0]", "before its start"),
        ({"ops": [ROW], "time_unit": "h"}, "time_unit", "expected one of us, ms, s"),
        (
            {"ops": [ROW], "transfers": [MOVE | {"op": "b"}]},
            "transfers[0].op",
            "has no op 'b'",
        ),
        ({"ops": [ROW], "transfers": [MOVE | {"bytes": -1}]}, "transfers[0].bytes", "at least 0"),
    ],
)
def test_a_broken_document(document: dict[str, Any], path: str | None, complaint: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        view_of_document(document)
    assert caught.value.path == path
    assert complaint in caught.value.message


def test_what_no_chart_can_show() -> None:
    found, answer = chain()
    endless = replace(answer, end=np.array([3.0, np.inf, 11.0]))
    with pytest.raises(ScheduleError, match=r"op 1 runs from 11.0 to inf, expected finite"):
        view_of(found, endless)
    for op_number in (-1, 3):
        moves = replace(answer.transfers, op=np.array([op_number]))
        with pytest.raises(ScheduleError, match=rf"transfer 0 is of op {op_number}, expected one"):
            view_of(found, replace(answer, transfers=moves))


def lanes_held(view: View) -> list[tuple[int, float, float]]:
    """Every bar on every lane of a slot: lane, start, end."""
    pieces = [
        *zip(range(len(view.op_names)), view.op_lane, view.op_lanes, strict=True),
        *zip(view.more_op, view.more_lane, view.more_lanes, strict=True),
    ]
    held = [
        (int(k), float(view.op_start[i]), float(view.op_end[i]))
        for i, first, count in pieces
        for k in range(first, first + count)
    ]
    for row, lane in zip(view.hold_transfer, view.hold_lane, strict=True):
        held.append((int(lane), float(view.transfer_start[row]), float(view.transfer_end[row])))
    return held


@given(placed_problems())
def test_lanes_hold_what_slots_hold(case: tuple[Problem, list[int], list[int]]) -> None:
    found, placement, priority = case
    try:
        answer = simulate(found, np.array(placement), priority)
    except (NoRouteError, MemoryDeadlockError):
        reject()
    view = view_of(found, answer)
    noise = 1e-9 * max(1.0, answer.makespan)
    by_lane = defaultdict(list)
    for lane, start, end in lanes_held(view):
        assert not view.lanes[lane].link
        if end - start > noise:
            by_lane[lane].append((start, end))
    for there in by_lane.values():
        assert all(end <= start + noise for (_, end), (start, _) in pairwise(sorted(there)))
    for d, item in enumerate(found.cluster.devices):
        mine = [k for k, lane in enumerate(view.lanes) if lane.device == item.id and not lane.link]
        assert len(mine) <= item.slots
        assert {int(k) for k in view.op_lane[view.op_device == d]} <= set(mine)
        # What is idle on the lanes is what the metrics call idle.
        ends = [end for lane, _, end in lanes_held(view) if lane in mine]  # also of no length
        last = max(ends, default=0.0)
        busy = sum(end - start for k in mine for start, end in by_lane[k])
        assert view.idle[d] == pytest.approx(max(0.0, last - busy / item.slots), abs=1e-6)
    alive = occupancy.memory_intervals(found, answer)
    weights = occupancy.resident_weights(found, answer.device)
    for d, curve in enumerate(view.memory):
        assert (np.diff(curve.times) > 0).all()
        assert curve.times[0] == 0.0
        assert int(curve.bytes.max()) == int(weights[d]) + alive.trimmed(noise).peak(d)[0]
        assert int(curve.bytes[-1]) == int(weights[d])
    finished = view.op_end[view.critical_ops]
    if len(finished):
        assert (np.diff(finished) >= -noise).all()


def test_a_solved_problem_has_all_of_it() -> None:
    found, _ = chain()
    result = api.solve(found, time_limit=5)
    assert result.schedule is not None
    view = view_of(found, result.schedule, result.to_dict(rows=False))
    assert view.facts["status"] == "optimal"
    assert view.facts["value"] == view.facts["lower_bound"] == result.value
    assert view.idle.tolist() == idle_times(found, result.schedule).tolist()
