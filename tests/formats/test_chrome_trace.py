"""Schedules as traces: rows, arrows and the event format; and traces read back."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, reject

from talos_opt.core.errors import FormatError
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import MemoryDeadlockError, simulate
from talos_opt.core.transfers import NoRouteError
from talos_opt.formats.chrome_trace import read_trace, trace_lines, write_schedule_trace
from tests.builders import device, link, op, problem, schedule
from tests.strategies import placed_problems

Event = dict[str, Any]


def document(problem_: Problem, schedule_: Schedule) -> dict[str, Any]:
    found = json.loads("\n".join(trace_lines(problem_, schedule_)))
    assert isinstance(found, dict)
    return found


def of_kind(events: list[Event], phase: str, category: str | None = None) -> list[Event]:
    return [
        e
        for e in events
        if e["ph"] == phase and category in (None, str(e.get("cat")).split(",")[0])
    ]


def chain() -> tuple[Problem, Schedule]:
    """Three ops: a on the CPU feeds b and c on the GPU over a link of 2 s + 1 B/s."""
    found = problem(
        [op("a", 3, output=4), op("b", 1, "a"), op("c", 2, "a")],
        links=[link("cpu gpu", 2.0, 1.0)],
    )
    where = {"a": ("cpu0", 0.0), "b": ("gpu0", 11.0), "c": ("gpu0", 9.0)}
    return found, schedule(found, where, [("a", "cpu0", "gpu0", 3.0, 9.0, 4)])


def check_format(events: list[Event]) -> None:
    """Rules of Chrome's trace event format, as far as these traces use it."""
    flows: dict[int, dict[str, Event]] = defaultdict(dict)
    names: set[tuple[Any, ...]] = set()
    for event in events:
        assert event["ph"] in ("X", "M", "s", "f", "C", "i")
        assert isinstance(event["name"], str)
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        assert isinstance(event["ts"], (int, float))
        if event["ph"] == "M":
            assert event["name"] in (
                "process_name",
                "process_sort_index",
                "thread_name",
                "thread_sort_index",
            )
            key = (event["name"], event["pid"], event["tid"])
            assert key not in names
            names.add(key)
        elif event["ph"] == "C":
            assert all(isinstance(value, int) for value in event["args"].values())
            assert ("process_name", event["pid"], 0) in names
        elif event["ph"] == "i":
            assert event["s"] == "t"
            assert ("thread_name", event["pid"], event["tid"]) in names
        elif event["ph"] == "X":
            assert event["dur"] > 0  # nothing is too short for an arrow
            assert isinstance(event["args"], dict)
        else:
            assert event["ph"] not in flows[event["id"]]
            flows[event["id"]][event["ph"]] = event
    bars = of_kind(events, "X")
    for bar in bars:
        assert ("process_name", bar["pid"], 0) in names
        assert ("thread_name", bar["pid"], bar["tid"]) in names
    for ends in flows.values():
        assert set(ends) == {"s", "f"}
        assert ends["f"]["bp"] == "e"
        assert ends["s"]["ts"] <= ends["f"]["ts"]
        assert (ends["s"]["name"], ends["s"]["cat"]) == (ends["f"]["name"], ends["f"]["cat"])
        for end in ends.values():  # binds to a bar
            assert any(
                bar["pid"] == end["pid"]
                and bar["tid"] == end["tid"]
                and bar["ts"] <= end["ts"] <= bar["ts"] + bar["dur"]
                for bar in bars
            )


def check_rows(events: list[Event]) -> None:
    rows: dict[tuple[int, int], list[Event]] = defaultdict(list)
    for bar in of_kind(events, "X"):
        rows[bar["pid"], bar["tid"]].append(bar)
    for bars in rows.values():
        bars.sort(key=lambda bar: (bar["ts"], bar["dur"]))
        for one, two in pairwise(bars):
            end = one["ts"] + one["dur"]
            assert two["ts"] >= end or two["ts"] == pytest.approx(end)


def test_a_small_schedule_bar_by_bar() -> None:
    events = document(*chain())["traceEvents"]
    check_format(events)
    a, c, b = of_kind(events, "X", "op")
    assert (a["ts"], a["dur"], a["pid"], a["tid"]) == (0, 3e6, 1, 1)
    assert (c["ts"], c["dur"], c["pid"], c["tid"]) == (9e6, 2e6, 2, 1)
    assert (b["ts"], b["dur"], b["pid"], b["tid"]) == (11e6, 1e6, 2, 1)
    assert a["name"] == "a"  # one model: its name would only be noise
    assert a["args"] == {
        "model": "m",
        "op": "a",
        "type": "",
        "device": "cpu0",
        "bytes": 4,
        "start": 0.0,
        "end": 3.0,
        "time_unit": "s",
    }
    (move,) = of_kind(events, "X", "transfer")
    assert (move["ts"], move["dur"], move["pid"]) == (3e6, 6e6, 3)
    assert move["args"] | {"from": "cpu0", "to": "gpu0", "bytes": 4} == move["args"]
    titles = {(e["name"], e["pid"], e["tid"]): e["args"].get("name") for e in of_kind(events, "M")}
    assert titles["process_name", 2, 0] == "gpu0 (gpu)"
    assert titles["thread_name", 3, 1] == "cpu0 -> gpu0"


def test_arrows_go_over_the_transfer_to_the_first_reader() -> None:
    events = document(*chain())["traceEvents"]
    tails, heads = of_kind(events, "s"), of_kind(events, "f")
    # a (middle: 1.5 s) -> transfer (6 s) -> c (10 s), which starts before b
    assert [(e["ts"], e["pid"]) for e in tails] == [(1.5e6, 1), (6e6, 3)]
    assert [(e["ts"], e["pid"]) for e in heads] == [(6e6, 3), (10e6, 2)]


def test_two_hops_are_one_chain_of_arrows() -> None:
    found = problem(
        [op("a", 1, output=1), op("b", 1, "a")],
        "gpu0 cpu0 gpu1",
        [link("cpu gpu", 0, 1.0), link("gpu gpu", via="cpu0")],
    )
    where = {"a": ("gpu0", 0.0), "b": ("gpu1", 3.0)}
    hops = [("a", "gpu0", "cpu0", 1.0, 2.0, 1), ("a", "cpu0", "gpu1", 2.0, 3.0, 1)]
    events = document(found, schedule(found, where, hops))["traceEvents"]
    check_format(events)
    assert [e["ts"] for e in of_kind(events, "s")] == [0.5e6, 1.5e6, 2.5e6]
    assert [e["ts"] for e in of_kind(events, "f")] == [1.5e6, 2.5e6, 3.5e6]


def test_a_free_tensor_still_has_an_arrow() -> None:
    found = problem([op("a", 1), op("b", 1, "a")])
    events = document(found, schedule(found, {"a": ("cpu0", 0), "b": ("gpu0", 1)}))["traceEvents"]
    assert [(e["ts"], e["pid"]) for e in of_kind(events, "f")] == [(1.5e6, 2)]


def test_slots_are_rows_and_an_op_may_hold_several() -> None:
    found = problem(
        [op("a", 2, slots=2), op("b", 4), op("c", 1), op("d", 1)], [device("cpu0", slots=3)]
    )
    where = {"a": ("cpu0", 0), "b": ("cpu0", 0), "c": ("cpu0", 2), "d": ("cpu0", 2)}
    events = document(found, schedule(found, where))["traceEvents"]
    check_format(events)
    rows = {e["name"]: e["tid"] for e in of_kind(events, "X")}
    assert rows["a"] != rows["b"]
    assert len({rows["b"], rows["c"], rows["d"]}) == 3
    assert sum(e["name"] == "thread_name" and e["pid"] == 1 for e in events) == 3


def test_transfers_side_by_side_have_rows_of_their_own() -> None:
    found = problem(
        [op("a", 1, output=2), op("b", 1, output=2), op("c", 1, "a b")],
        [device("cpu0", slots=2), device("gpu0")],
        [link("cpu gpu", 0, 1.0)],
    )
    where = {"a": ("cpu0", 0), "b": ("cpu0", 0), "c": ("gpu0", 3)}
    moves = [(name, "cpu0", "gpu0", 1.0, 3.0, 2) for name in "ab"]
    events = document(found, schedule(found, where, moves))["traceEvents"]
    check_format(events)
    check_rows(events)
    titles = [e["args"]["name"] for e in events if e["name"] == "thread_name" and e["pid"] == 3]
    assert titles == ["cpu0 -> gpu0", "cpu0 -> gpu0 (2)"]


@given(placed_problems())
def test_rows_hold_all_of_the_time_and_never_overlap(
    case: tuple[Problem, list[int], list[int]],
) -> None:
    found, placement, priority = case
    try:
        answer = simulate(found, np.array(placement), priority)
    except (NoRouteError, MemoryDeadlockError):
        reject()
    events = document(found, answer)["traceEvents"]
    check_format(events)
    check_rows(events)
    scale = 1e6 / {"us": 1e6, "ms": 1e3, "s": 1.0}[found.graph.time_unit]
    for category, lengths in (
        ("op", answer.end - answer.start),
        ("transfer", answer.transfers.end - answer.transfers.start),
    ):
        bars = of_kind(events, "X", category)
        assert len(bars) == len(lengths)
        drawn = lengths.sum() * scale
        assert sum(bar["dur"] for bar in bars) == pytest.approx(drawn, abs=0.002 * len(bars))


def test_a_trace_of_ours_is_read_back(tmp_path: Path) -> None:
    found, answer = chain()
    path = tmp_path / "trace.json.gz"
    write_schedule_trace(found, answer, path)
    assert gzip.decompress(path.read_bytes()).startswith(b'{"displayTimeUnit"')
    with pytest.raises(FormatError, match=r"ops of 2 processes \(1 'cpu0 \(cpu\)', 2 'gpu0"):
        read_trace(path)
    trace = read_trace(path, process="gpu0")
    assert [(o.name, o.start_us, o.duration_us) for o in trace.ops] == [
        ("c", 9e6, 2e6),
        ("b", 11e6, 1e6),
    ]
    assert read_trace(path, process="1").total_us == 3e6
    with pytest.raises(FormatError, match="no process with ops for 'tpu'"):
        read_trace(path, process="tpu")


def test_float_noise_in_a_schedule_is_no_overlap() -> None:
    found = problem([op("a", 0.1 + 0.2), op("b", 0.1)], "cpu0")
    answer = schedule(found, {"a": ("cpu0", 0.0), "b": ("cpu0", 0.3)})  # 0.1 + 0.2 > 0.3
    events = document(found, answer)["traceEvents"]
    check_rows(events)
    assert {e["tid"] for e in of_kind(events, "X")} == {1}


@pytest.mark.parametrize(("origin", "long"), [(0.0, 1.0), (1.7e12, 1.0), (0.0, 8.64e10)])
def test_what_overlaps_is_drawn_side_by_side_at_any_scale(origin: float, long: float) -> None:
    """At 1.7e12, or beside an op of a day, bars were cut to nothing and put one after another."""
    devices = [device("gpu0", slots=2)]
    ops = [op("a", 150.0), op("b", 100.0), op("c", 50.0), op("d", long)]
    found = problem(ops, devices, release={"m": origin})
    starts = {"a": 0.0, "b": 0.0, "c": 100.0, "d": 150.0}
    answer = schedule(found, {name: ("gpu0", origin + at) for name, at in starts.items()})
    events = document(found, answer)["traceEvents"]
    check_rows(events)
    bars = {e["name"]: e for e in of_kind(events, "X")}
    assert bars["a"]["tid"] != bars["b"]["tid"]
    for k, name in enumerate("abcd"):
        assert bars[name]["dur"] == pytest.approx(1e6 * [150.0, 100.0, 50.0, long][k], rel=1e-3)
        assert bars[name]["ts"] == 1e6 * (origin + starts[name])


def test_names_of_any_kind_are_valid_json() -> None:
    found = problem({'m"1\n': [op("ö", 1)], "m2": [op("p", 1)]}, "cpu0")
    first, second = found.names
    events = document(found, schedule(found, {first: ("cpu0", 0), second: ("cpu0", 1)}))
    assert [e["name"] for e in of_kind(events["traceEvents"], "X")] == [first, second]


def test_memory_is_a_counter_of_each_device() -> None:
    events = document(*chain())["traceEvents"]
    held = [(e["pid"], e["ts"], e["args"]["held"]) for e in of_kind(events, "C")]
    # a's 4 bytes are alive on the CPU until they are sent, and on the GPU until b has read them.
    assert held == [(1, 0.0, 4), (1, 9e6, 0), (2, 0.0, 0), (2, 3e6, 4), (2, 12e6, 0)]


def test_models_are_categories_and_have_marks() -> None:
    found = problem(
        {"one": [op("a", 3)], "two, too": [op("b", 1)]}, "cpu0", release={"two, too": 0.5}
    )
    first, second = found.names
    answer = schedule(found, {first: ("cpu0", 0), second: ("cpu0", 3)})
    events = document(found, answer)["traceEvents"]
    assert [e["cat"] for e in of_kind(events, "X")] == ["op,model one", "op,model two  too"]
    assert {e["name"]: e["ts"] for e in of_kind(events, "i")} == {
        "one released": 0.0,
        "one done": 3e6,
        "two, too released": 0.5e6,
        "two, too done": 4e6,
    }


def test_the_critical_path_is_a_row() -> None:
    found, answer = chain()
    text = "\n".join(trace_lines(found, answer, [(0, -1), (0, 0), (2, -1), (1, -1)]))
    events = json.loads(text)["traceEvents"]
    check_format(events)
    check_rows(events)
    path = of_kind(events, "X", "critical")
    assert [(e["name"], e["ts"], e["dur"]) for e in path] == [
        ("a (cpu0)", 0.0, 3e6),
        ("a (cpu0 -> gpu0)", 3e6, 6e6),
        ("c (gpu0)", 9e6, 2e6),
        ("b (gpu0)", 11e6, 1e6),
    ]


def test_arrows_of_ops_without_length_meet_a_bar_of_their_own() -> None:
    """Viewers cut times to whole nanoseconds, and a bar ends before what follows it."""
    found = problem([op("a", 0), op("b", 1), op("c", 1, "a"), op("d", 0, "b")])
    where = {"a": ("cpu0", 0.0105e-6), "b": ("cpu0", 0.0105e-6), "c": ("gpu0", 1), "d": ("gpu0", 2)}
    events = document(found, schedule(found, where))["traceEvents"]
    check_format(events)
    bars = {(e["pid"], e["tid"], e["name"]): e for e in of_kind(events, "X")}
    for end in of_kind(events, "s") + of_kind(events, "f"):
        moment = int(end["ts"] * 1000)
        around = [
            name
            for (*row, name), bar in bars.items()
            if row == [end["pid"], end["tid"]]
            and int(bar["ts"] * 1000) <= moment < int(bar["ts"] * 1000) + int(bar["dur"] * 1000)
        ]
        reader = {"a": "c", "b": "d"}[end["name"]]
        assert around == [end["name"] if end["ph"] == "s" else reader]
