"""What would make an infeasible problem feasible: each kind by hand, random ones by enumeration."""

from __future__ import annotations

import math
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from types import ModuleType

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

import talos_opt
from talos_opt import Status
from talos_opt.core.problem import MemoryRule, Problem
from talos_opt.core.relaxations import Relaxation, RelaxationKind, apply_relaxations
from talos_opt.solvers.cpsat import backend
from talos_opt.solvers.engine import isolation
from talos_opt.solvers.infeasibility import diagnosis
from talos_opt.solvers.infeasibility.diagnosis import explain_infeasibility
from tests.builders import device, link, op, problem
from tests.naive import brute_force
from tests.solvers.running import layered
from tests.strategies import problems

Key = tuple[str, str, str]
few = settings(
    max_examples=max(25, settings.default.max_examples // 2),
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)


def told(given: Problem) -> list[str]:
    explanation = explain_infeasibility(given, seconds=60)
    assert explanation is not None
    return [str(item) for item in explanation.single]


# ---- by hand -------------------------------------------------------------------------------


def test_memory_is_short_on_either_device() -> None:
    given = problem([op(name, weights=4) for name in "abc"], [device("cpu0", 7), device("gpu0", 6)])
    assert told(given) == [
        "give cpu0 1 more usable bytes (1 B)",
        "give gpu0 2 more usable bytes (2 B)",
    ]


def test_a_colocation_group_is_too_large_for_every_device() -> None:
    ops = [op("a", weights=4, colocate="g"), op("b", 1, "a", weights=4, colocate="g")]
    given = problem(ops, [device("cpu0", 7), device("gpu0", 5)])
    assert told(given) == [
        "give cpu0 1 more usable bytes (1 B)",
        "give gpu0 3 more usable bytes (3 B)",
        "allow colocation group 'g' on several devices",
    ]


def test_pins_and_a_missing_route() -> None:
    ops = [op("a", devices="cpu0"), op("b", 1, "a", devices="gpu0")]
    assert told(problem(ops, "cpu0 gpu0", [])) == [
        "unpin m/a",
        "unpin m/b",
        "add a link from cpu0 to gpu0",
    ]


def test_a_pin_against_a_colocation_group() -> None:
    ops = [op("a", {"cpu": 1}, colocate="g"), op("b", devices="gpu0", colocate="g")]
    assert told(problem(ops)) == ["allow colocation group 'g' on several devices", "unpin m/b"]


def test_the_largest_workspace_counts_once() -> None:
    ops = [op("a", weights=1, workspace=4), op("b", weights=1, workspace=3)]
    assert told(problem(ops, [device("cpu0", 5)])) == ["give cpu0 1 more usable bytes (1 B)"]


def test_two_changes_where_one_is_not_enough() -> None:
    ops = [
        op("a", weights=5, devices="cpu0"), op("b", weights=4, devices="cpu0"),
        op("c", weights=5, devices="gpu0"), op("d", weights=5, devices="gpu0"),
    ]  # fmt: skip
    given = problem(ops, [device("cpu0", 7), device("gpu0", 7)])
    explanation = explain_infeasibility(given, seconds=60)
    assert explanation is not None
    assert (len(explanation.relaxations), explanation.smallest) == (2, True)
    assert explanation.single == ()
    assert brute_force(apply_relaxations(given, explanation.relaxations)) is not None


def test_bytes_that_share_a_divisor_are_counted_exactly() -> None:
    ops = [op(name, weights=1000) for name in "ab"]
    given = problem(ops, [device("cpu0", 1999)])
    assert told(given) == ["give cpu0 1 more usable bytes (1 B)"]


def test_usable_bytes_where_only_a_part_of_the_memory_is_usable() -> None:
    given = problem([op(name, weights=10) for name in "ab"], [device("cpu0", 37, fraction=0.3)])
    explanation = explain_infeasibility(given, seconds=60)
    assert explanation is not None
    (one,) = explanation.relaxations
    assert one.bytes == 9  # 11 of 37 bytes are usable
    larger = apply_relaxations(given, [one])
    assert larger.cluster.devices[0].usable_memory == 20
    assert brute_force(larger) is not None


def test_memory_over_time_is_short_by_what_an_op_needs_at_once() -> None:
    ops = [op("a", output=4), op("b", output=4), op("c", 1, "a b", workspace=1)]
    given = problem(ops, [device("cpu0", 7)], rule="peak")
    assert told(given) == ["give cpu0 2 more usable bytes (2 B)"]


@pytest.mark.parametrize(("second", "bound", "least"), [([], 10, True), ([3], 7, False)])
def test_what_is_in_memory_in_every_order_is_proven_to_be_needed(
    second: list[int], bound: int, least: bool
) -> None:
    """While c runs, a's output waits for d: with one device nothing less will do."""
    ops = [
        op("a", output=30), op("b", 1, "a", output=20), op("c", 1, "b", output=10),
        op("d", 1, "c a", output=1),
    ]  # fmt: skip
    devices = [device("cpu0", 50), *(device(f"cpu{k + 1}", size) for k, size in enumerate(second))]
    given = problem(ops, devices, [link("cpu cpu")], rule="peak")
    result = talos_opt.solve(given, "cpsat", time_limit=30)
    assert result.explanation is not None
    one = result.explanation.relaxations[0]
    assert (one.name, one.bytes, one.bound, one.least) == ("cpu0", 10, bound, least)
    text = "no less" if least else "at least 7 B are needed"
    assert text in result.summary()
    assert f"all devices is {50 + sum(second)} bytes: short by {bound} bytes" in result.reason


def test_memory_over_time_is_short_for_every_order() -> None:
    """No op alone needs 9 bytes, but a's output waits for b's reader, and b's for a's."""
    ops = [
        op("a", output=4), op("b", output=4), op("c", 1, "a", output=1), op("d", 1, "b", output=1),
        op("e", 1, "a d"), op("f", 1, "b c"),
    ]  # fmt: skip
    given = problem(ops, [device("cpu0", 8)], rule="peak")
    result = talos_opt.solve(given, "cpsat", time_limit=30)
    assert result.status is Status.INFEASIBLE
    assert result.explanation is not None
    (one,) = result.explanation.relaxations
    assert (one.name, one.least) == ("cpu0", False)
    assert result.explanation.smallest
    assert not result.explanation.complete
    enough = talos_opt.solve(apply_relaxations(given, [one]), "cpsat", time_limit=30)
    assert enough.schedule is not None


# ---- random problems -----------------------------------------------------------------------


@st.composite
def scarce(draw: st.DrawFn, **features: object) -> Problem:
    """Draw a problem with as little memory as each op alone needs, or without routes, or both.

    In every other one the first and the last op of each model are in one colocation group.
    """
    given = draw(problems(**features))
    if draw(st.booleans()):
        models = tuple(
            replace(
                model,
                ops=tuple(
                    replace(item, colocate="h") if i in (0, len(model.ops) - 1) else item
                    for i, item in enumerate(model.ops)
                ),
            )
            for model in given.graph.models
        )
        given = replace(given, graph=replace(given.graph, models=models))
    tight, cut = draw(st.sampled_from([(True, False), (True, True), (False, True)]))
    devices, links = given.cluster.devices, given.cluster.links
    if tight:
        memory = [item.memory for item in given.ops]
        most = max(one.weights + one.output + one.workspace for one in memory)
        devices = tuple(replace(d, memory=max(1, most), memory_fraction=1.0) for d in devices)
    if cut:
        links = ()
    return replace(given, cluster=replace(given.cluster, devices=devices, links=links))


@dataclass(frozen=True)
class Broken:
    """Limits that a placement breaks, and the bytes too many on each device."""

    limits: frozenset[Key]
    bytes: dict[str, int]


def placements(given: Problem) -> Iterator[Broken]:
    """Every placement of a problem with the static rule, from its objects alone."""
    devices, ops = given.cluster.devices, given.ops
    names = [f"{model.id}/{item.id}" for model in given.graph.models for item in model.ops]
    position = {name: i for i, name in enumerate(names)}
    edges = [
        (position[f"{model.id}/{read.op}"], position[f"{model.id}/{item.id}"])
        for model in given.graph.models
        for item in model.ops
        for read in item.inputs
    ]
    able = [
        [d for d in devices if {d.id, d.kind} & set(item.time) and item.slots <= d.slots]
        for item in ops
    ]
    for homes in product(*able):
        broken: set[Key] = set()
        groups = defaultdict(set)
        held: dict[str, int] = defaultdict(int)
        work: dict[str, int] = defaultdict(int)
        for item, name, home in zip(ops, names, homes, strict=True):
            if item.devices is not None and not {home.id, home.kind} & set(item.devices):
                broken.add(("pin", name, ""))
            if item.colocate is not None:
                groups[item.colocate].add(home.id)
            held[home.id] += item.memory.weights + item.memory.output
            work[home.id] = max(work[home.id], item.memory.workspace)
        broken |= {("colocation", name, "") for name, ids in groups.items() if len(ids) > 1}
        for a, b in edges:
            pair = homes[a].id, homes[b].id
            if pair[0] != pair[1] and given.cluster.routes[pair] is None:
                broken.add(("route", *pair))
        over = {
            d.id: held[d.id] + work[d.id] - d.usable_memory
            for d in devices
            if d.usable_memory is not None and held[d.id] + work[d.id] > d.usable_memory
        }
        broken |= {("memory", name, "") for name in over}
        yield Broken(frozenset(broken), over)


@few
@given(
    scarce(max_ops=5, min_ops=3, peak=False)
    | scarce(max_ops=5, min_ops=3, peak=False, traffic=True)
)
def test_the_static_rule_by_enumeration(given: Problem) -> None:
    every = list(placements(given))
    fewest = min(len(one.limits) for one in every)
    assume(fewest > 0)
    event(f"limits to relax: {fewest}")
    explanation = explain_infeasibility(given, seconds=60)
    assert explanation is not None
    assert explanation.smallest
    assert len(explanation.relaxations) == fewest
    assert all(item.least for item in explanation.relaxations)
    if fewest > 1:
        least = min(sum(one.bytes.values()) for one in every if len(one.limits) == fewest)
        assert sum(item.bytes for item in explanation.relaxations) == least
    else:
        assert explanation.relaxations == explanation.single[:1]
    assert all(item.bound == item.bytes for item in explanation.relaxations)
    alone: dict[Key, int] = {}
    for one in every:
        if len(one.limits) == 1:
            (key,) = one.limits
            alone[key] = min(alone.get(key, sys.maxsize), sum(one.bytes.values()))
    found = {(item.kind.value, item.name, item.target): item.bytes for item in explanation.single}
    for item in explanation.single:
        event(f"single: {item.kind.value}")
    assert found == alone
    assert explanation.complete == (fewest == 1)


@few
@given(scarce(min_ops=3, max_ops=4, max_inputs=2))
def test_a_change_is_enough_and_less_than_its_bound_is_not(given: Problem) -> None:
    assume(brute_force(given) is None)
    explanation = explain_infeasibility(given, seconds=60)
    assert explanation is not None
    event(f"{given.memory_rule.value}: {len(explanation.relaxations)}")
    assert brute_force(apply_relaxations(given, explanation.relaxations)) is not None
    for item in explanation.single:
        assert brute_force(apply_relaxations(given, [item])) is not None
    for item in explanation.relaxations:
        if item.kind is not RelaxationKind.MEMORY:
            continue
        event(f"{given.memory_rule.value}: {'least' if item.least else 'bound'}")
        less = [
            replace(one, bytes=one.bound - 1) if one == item else one
            for one in explanation.relaxations
        ]
        assert not feasible(given, [one for one in less if one.bytes or one.target or one != item])


def feasible(given: Problem, relaxations: list[Relaxation]) -> bool:
    """Whether there is a schedule; an op that fits nowhere is an error of the problem."""
    try:
        changed = apply_relaxations(given, relaxations)
    except talos_opt.GraphError:
        return False
    return brute_force(changed) is not None


# ---- how it is asked for -------------------------------------------------------------------


def full(**changes: object) -> Problem:
    given = problem([op(n, weights=4) for n in "abc"], [device("cpu0", 7), device("gpu0", 7)])
    return replace(given, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("solver", ["auto", "cpsat", "ilp", "dp", "relax"])
def test_every_solver_that_proves_infeasibility_explains_it(solver: str) -> None:
    given = full(objective="makespan")
    result = talos_opt.solve(given, solver, time_limit=20)
    assert result.status is Status.INFEASIBLE
    assert "To make it feasible: give cpu0 1 more usable bytes (1 B); or give gpu0 1" in (
        result.reason
    )
    document = result.to_dict()
    assert document["relaxations"] == [
        {
            "kind": "memory",
            "device": document["relaxations"][0]["device"],
            "bytes": 1,
            "bytes_at_least": 1,
        }
    ]
    assert [item["device"] for item in document["single_changes"]] == ["cpu0", "gpu0"]
    assert document["relaxations_smallest"]
    assert document["single_changes_complete"]


def test_an_obstacle_is_explained_too() -> None:
    ops = [op("a", weights=4, colocate="g"), op("b", weights=4, colocate="g")]
    result = talos_opt.solve(problem(ops, [device("cpu0", 7)]), "heft")
    assert result.status is Status.INFEASIBLE
    assert "must share one device" in result.reason
    assert "give cpu0 1 more usable bytes" in result.reason


def test_it_can_be_left_out_and_compare_leaves_it_out() -> None:
    plain = talos_opt.solve(full(), "cpsat", explain=False)
    assert (plain.status, plain.explanation) == (Status.INFEASIBLE, None)
    assert "relaxations" not in plain.to_dict()
    (row,) = talos_opt.compare(full(), ["cpsat"]).rows
    assert row.result is not None
    assert (row.result.status, row.result.explanation) == (Status.INFEASIBLE, None)


def test_feasible_results_have_none() -> None:
    result = talos_opt.solve(problem([op("a")]), "heft")
    assert result.explanation is None


def test_a_cancelled_solve_is_not_explained() -> None:
    cancel = threading.Event()
    cancel.set()
    ops = [op("a", weights=4, colocate="g"), op("b", weights=4, colocate="g")]
    result = talos_opt.solve(problem(ops, [device("cpu0", 7)]), "heft", cancel=cancel)
    assert (result.status, result.explanation) == (Status.INFEASIBLE, None)
    assert explain_infeasibility(full(), cancel=cancel) is None


@pytest.mark.notes("no OR-Tools here")
def test_a_failing_backend_leaves_the_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise talos_opt.DependencyError("no OR-Tools here")

    monkeypatch.setattr(diagnosis.backend, "load", fail)
    ops = [op("a", weights=4, colocate="g"), op("b", weights=4, colocate="g")]
    result = talos_opt.solve(problem(ops, [device("cpu0", 7)]), "heft")
    assert result.status is Status.INFEASIBLE
    assert "no OR-Tools here" in result.notes[0]


def test_a_problem_too_large_to_ask_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnosis, "MOST_TERMS", 5)
    assert explain_infeasibility(full()) is None


def test_no_time_is_no_answer() -> None:
    assert explain_infeasibility(layered(100), seconds=0) is None


def test_beside_tensorflow_a_child_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    here = explain_infeasibility(full(), seconds=60)
    monkeypatch.delitem(sys.modules, "ortools.sat.python.cp_model", raising=False)
    monkeypatch.setitem(sys.modules, "tensorflow", ModuleType("tensorflow"))
    assert backend.needs_own_process()
    asked = []
    start = isolation.start_python
    monkeypatch.setattr(
        isolation,
        "start_python",
        lambda *names, **streams: asked.append(start(*names, **streams)) or asked[-1],
    )
    there = explain_infeasibility(full(), seconds=60)
    assert there is not None
    assert here is not None
    assert there.single == here.single
    assert len(asked) == 1
    assert asked[0].poll() is not None


# ---- the changed problem -------------------------------------------------------------------


def test_relaxing_changes_what_it_names_alone() -> None:
    ops = [op("a", weights=4, colocate="g"), op("b", 1, "a", colocate="g", devices="gpu0")]
    given = problem(
        {"m": ops, "n": [op("a", devices="gpu0")]},
        [device("cpu0", 7, fraction=0.5), device("gpu0")],
        [link("cpu gpu")],
        rule="peak",
    )
    changed = apply_relaxations(
        given,
        [
            Relaxation(RelaxationKind.MEMORY, "cpu0", bytes=2),
            Relaxation(RelaxationKind.COLOCATION, "g"),
            Relaxation(RelaxationKind.PIN, "n/a"),
            Relaxation(RelaxationKind.ROUTE, "gpu0", "cpu0"),
        ],
    )
    assert changed.memory_rule is MemoryRule.PEAK
    assert [item.usable_memory for item in changed.cluster.devices] == [5, None]
    assert [item.colocate for item in changed.ops] == [None] * 3
    assert [item.devices for item in changed.ops] == [None, ("gpu0",), None]
    assert changed.cluster.links is not None
    assert changed.cluster.links[-1].one_way
    assert math.isinf(changed.cluster.links[-1].bandwidth)
    assert apply_relaxations(given, []) == given
