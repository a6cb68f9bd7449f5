"""The problem and its array view, against the flat view that the references use."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.core.errors import GraphError, InputError
from talos_opt.core.problem import NO_ROUTE, UNLIMITED, MemoryRule, Objective, Problem
from talos_opt.testing.reference.flat import Flat
from tests.builders import device, fig1, link, op, problem
from tests.strategies import large_problems, problems

anything = st.one_of(problems(max_ops=7), large_problems(max_ops=30))


# ---- the array view ------------------------------------------------------------------------


@given(anything)
def test_arrays_hold_what_the_files_say(given: Problem) -> None:
    arrays, flat, devices = given.arrays, Flat(given), given.cluster.devices
    assert arrays.op_count == len(flat.ops) == given.graph.op_count
    assert arrays.device_count == len(devices)
    assert list(given.names) == flat.names
    assert arrays.model.tolist() == flat.model
    assert arrays.release[arrays.model].tolist() == flat.release
    assert arrays.model_weight.tolist() == [model.weight for model in given.graph.models]
    assert arrays.demand.tolist() == [item.slots for item in flat.ops]
    assert arrays.slots.tolist() == [item.slots for item in devices]
    assert arrays.copy_engine.tolist() == [item.copy_engine for item in devices]
    for name in ("weights", "output", "workspace"):
        assert getattr(arrays, name).tolist() == [getattr(i.memory, name) for i in flat.ops]
    for d, item in enumerate(devices):
        limit = item.usable_memory
        assert arrays.capacity[d] == (UNLIMITED if limit is None else limit)


@given(anything)
def test_times_are_infinite_where_an_op_cannot_run(given: Problem) -> None:
    flat, static = Flat(given), given.memory_rule is MemoryRule.STATIC
    for i, item in enumerate(flat.ops):
        memory = item.memory
        for d, target in enumerate(given.cluster.devices):
            time = flat.time(i, d)
            holds = static or bool(time)  # under liveness, no time holds nothing but weights
            need = memory.weights + (memory.output + memory.workspace if holds else 0)
            limit = math.inf if target.usable_memory is None else target.usable_memory
            fits = time is not None and need <= limit
            assert given.arrays.time[i, d] == (time if fits else math.inf)


@given(anything)
def test_edges_are_sorted_and_can_be_walked_both_ways(given: Problem) -> None:
    arrays, reads = given.arrays, sorted(Flat(given).reads)
    columns = (arrays.edge_tensor, arrays.edge_dst, arrays.edge_bytes)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == reads
    made = [(op, size) for op, _, size in Flat(given).tensors]
    assert list(zip(arrays.tensor_op.tolist(), arrays.tensor_size.tolist(), strict=True)) == made
    edges = [(made[tensor][0], reader, size) for tensor, reader, size in reads]
    assert arrays.edge_src.tolist() == [source for source, _, _ in edges]
    for r in range(arrays.tensor_count):
        reading = range(arrays.read_ptr[r], arrays.read_ptr[r + 1])
        assert [reads[e] for e in reading] == [read for read in reads if read[0] == r]
    for i in range(arrays.op_count):
        outgoing = range(arrays.out_ptr[i], arrays.out_ptr[i + 1])
        assert [edges[e] for e in outgoing] == [edge for edge in edges if edge[0] == i]
        incoming = arrays.in_edge[arrays.in_ptr[i] : arrays.in_ptr[i + 1]].tolist()
        assert [edges[e] for e in incoming] == [edge for edge in edges if edge[1] == i]


@given(anything)
def test_order_and_level_follow_the_edges(given: Problem) -> None:
    arrays, edges = given.arrays, Flat(given).edges
    assert sorted(arrays.order.tolist()) == list(range(arrays.op_count))
    rank = {op: k for k, op in enumerate(arrays.order.tolist())}
    for source, reader, _ in edges:
        assert rank[source] < rank[reader]
    for i, level in enumerate(arrays.level.tolist()):
        before = [arrays.level[source] for source, reader, _ in edges if reader == i]
        assert level == max(before, default=-1) + 1


@given(anything)
def test_groups(given: Problem) -> None:
    arrays, ops = given.arrays, given.ops
    for i, a in enumerate(ops):
        for j, b in enumerate(ops):
            together = i == j or (a.colocate is not None and a.colocate == b.colocate)
            assert (arrays.group[i] == arrays.group[j]) == together
    members = arrays.members
    assert len(members) == arrays.group_count
    for group, rows in enumerate(members):
        assert rows.tolist() == [i for i in range(len(ops)) if arrays.group[i] == group]
        able = np.isfinite(arrays.time[rows]).all(axis=0)
        assert arrays.allowed[group].tolist() == able.tolist()


@given(anything)
def test_transfer_times(given: Problem) -> None:
    flat, arrays = Flat(given), given.arrays
    for a in range(arrays.device_count):
        for b in range(arrays.device_count):
            if a != b and arrays.path(a, b) == ((a, b),):
                for size in (0, 1, 7):
                    assert arrays.transfer_time(a, b, size) == flat.hop_time(a, b, size)
        assert arrays.path(a, a) == ()


def test_bandwidth_is_in_bytes_per_second_whatever_the_time_unit() -> None:
    from dataclasses import replace

    given = problem([op("a")], links=[link("cpu gpu", 1, 1000)])
    for unit, time in (("s", 3.0), ("ms", 2001.0), ("us", 2_000_001.0)):
        other = replace(given, graph=replace(given.graph, time_unit=unit))
        assert other.arrays.transfer_time(0, 1, 2000) == time


def test_no_route_is_no_path() -> None:
    given = problem([op("a")], links=[])
    assert given.arrays.path(0, 1) is None
    assert given.arrays.via[0, 1] == NO_ROUTE


def test_arrays_are_read_only() -> None:
    columns = {k: v for k, v in vars(fig1().arrays).items() if k != "division"}
    for name, column in columns.items():
        with pytest.raises(ValueError, match="read-only"):
            column[...] = 0
        assert not column.flags.writeable, name


# ---- names, objectives, reference ----------------------------------------------------------


def test_ops_are_found_by_name() -> None:
    given = problem({"m1": [op("a"), op("b")], "m2": [op("a")]})
    assert [given.find_op(name) for name in ("m1/a", "m2/a", "b")] == [0, 2, 1]
    with pytest.raises(InputError, match=r"'a' names 2 ops \(m1/a, m2/a\), expected MODEL/OP"):
        given.find_op("a")
    with pytest.raises(InputError, match="no op is called 'c'"):
        given.find_op("c")


def test_objectives_and_rules_may_be_text() -> None:
    given = Problem(fig1().graph, fig1().cluster, "makespan", "peak")  # type: ignore[arg-type]
    assert given.objective is Objective.MAKESPAN
    assert given.memory_rule is MemoryRule.PEAK
    assert given.with_objective("toct").objective is Objective.TOCT
    assert given.with_objective("makespan") is given
    for bad in ({"objective": "speed"}, {"memory_rule": "none"}):
        with pytest.raises(GraphError, match=r"is '(speed|none)', expected one of"):
            Problem(fig1().graph, fig1().cluster, **bad)  # type: ignore[arg-type]


def test_reference_times_are_those_alone_on_the_first_reference_device() -> None:
    given = problem(
        {"m1": [op("a", {"cpu": 2, "cpu1": 9}), op("b", {"cpu": 3})], "m2": [op("c", {"gpu": 1})]},
        "gpu0 cpu0 cpu1",
    )
    assert given.reference_device == 1
    assert given.reference_times.tolist() == [5, math.inf]


def test_problems_travel_between_processes() -> None:
    given = pickle.loads(pickle.dumps(fig1()))
    assert given == fig1()
    assert (given.arrays.time == fig1().arrays.time).all()


# ---- what cannot be ------------------------------------------------------------------------

IMPOSSIBLE: list[tuple[Callable[[], Problem], str]] = [
    (
        lambda: problem([op("a"), op("b", devices="tpu")]),
        r"models\[0\].ops\[1\].devices\[0\]: op m/b is pinned to 'tpu', expected a device of cpu0",
    ),
    (
        lambda: problem([op("a", {"tpu": 1})]),
        r"models\[0\].ops\[0\].time: op m/a can run on no device: it has times for tpu",
    ),
    (
        lambda: problem({"m1": [op("a")], "m2": [op("b", {"cpu": 1}, devices="gpu")]}),
        r"models\[1\].ops\[0\].time: op m2/b can run on no device: .* pinned to gpu",
    ),
    (lambda: problem([op("a", slots=2)]), r"needs 2 slot\(s\)"),
    (
        lambda: problem([op("a", weights=3, output=2, workspace=1)], [device("gpu0", 5)]),
        r"ops\[0\].memory: op m/a needs 6 B \(6 bytes\), more than any device that can run it "
        r"has \(gpu0 5 B\)",
    ),
    (
        lambda: problem([op("a", weights=6, devices="gpu")], [device("cpu0"), device("gpu0", 5)]),
        r"op m/a needs 6 B .*\(gpu0 5 B\)",
    ),
]


@pytest.mark.parametrize(("build", "complaint"), IMPOSSIBLE)
def test_ops_that_can_run_nowhere(build: Callable[[], Problem], complaint: str) -> None:
    with pytest.raises(GraphError, match=complaint):
        build()


def test_an_op_of_no_time_needs_room_for_its_weights_only_under_the_peak_rule() -> None:
    ops = [op("a", {"cpu": 0, "gpu": 1}, weights=1, output=4)]
    devices = [device("cpu0", 3), device("gpu0")]
    assert problem(ops, devices, rule="peak").arrays.time.tolist() == [[0, 1]]
    assert problem(ops, devices, rule="static").arrays.time.tolist() == [[math.inf, 1]]
