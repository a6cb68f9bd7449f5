"""Talos' own method: the figures of the paper, the flow, slots, memory."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import assume, given, reject
from hypothesis import strategies as st

import talos_opt
from talos_opt.core.feasibility import check
from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.solvers.shared.constructive import Builder, DeadEndError
from talos_opt.solvers.talos.solver import Arc, Step, _min_cost_flow, augment, place
from tests.builders import device, fig1, link, op, problem
from tests.solvers.running import devices_of, run_solver, starts_of
from tests.strategies import large_problems, problems


class Recorder:
    """What is priced and placed while Talos works."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, watched: Problem) -> None:
        self.names = [item.id for item in watched.ops]
        self.devices = watched.device_ids
        self.placed: list[tuple[str, str, float]] = []
        self.edges: dict[tuple[str, str], Arc] = {}
        original = Step.place

        def record(step: Step, arc: Arc) -> None:
            for one in step.arcs():
                if one.op == arc.op:
                    self.edges[self.names[one.op], self.devices[one.device]] = one
            self.placed.append((self.names[arc.op], self.devices[arc.device], arc.cost))
            original(step, arc)

        monkeypatch.setattr(Step, "place", record)
        place(Builder(watched), 1)

    def cost(self, op: str, device: str) -> float:
        return self.edges[op, device].cost


# ---- the paper's example -------------------------------------------------------------------


def test_fig1_places_the_ops_at_the_costs_of_the_settled_reading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = Recorder(monkeypatch, fig1())
    assert seen.placed == [
        ("op1", "gpu0", 1),
        ("op4", "cpu0", 1.5),
        ("op5", "gpu0", 0.5),
        ("op2", "cpu0", 1.5),
        ("op6", "cpu0", 2.5),
        ("op3", "gpu0", 2),
    ]


def test_fig1_is_solved_to_optimality() -> None:
    run, verdict = run_solver("talos", fig1())
    assert verdict.status is Status.FEASIBLE
    assert run.value == 9
    assert starts_of(run) == {"op1": 0, "op2": 1.5, "op3": 2.5, "op4": 0, "op5": 1, "op6": 2.5}
    assert devices_of(run) == {
        "op1": "gpu0", "op5": "gpu0", "op3": "gpu0", "op4": "cpu0", "op2": "cpu0", "op6": "cpu0",
    }  # fmt: skip


def test_fig4_edges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of op1, op2, op4, op5, op6; op3's printed pair does not follow from Eq. 4."""
    seen = Recorder(monkeypatch, fig1())
    assert seen.cost("op1", "gpu0") == 1
    assert seen.cost("op2", "cpu0") == 1.5
    assert seen.cost("op4", "cpu0") == 1.5
    assert seen.cost("op5", "gpu0") == 0.5
    assert seen.cost("op6", "cpu0") == 2.5
    assert seen.cost("op6", "gpu0") == 4


def test_fig7_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eq. 4's parts as Fig. 7 spells them out; its transfer of 0.1 has no tensor in Fig. 1."""
    seen = Recorder(monkeypatch, fig1())
    op5, op6 = seen.edges["op5", "gpu0"], seen.edges["op6", "cpu0"]
    assert (op5.exec, op5.max_pt) == (1, 1.5)
    assert op6.wait == 0.5


def test_a_transfer_enters_the_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    far = problem(
        [op("a", {"cpu": 1}, output=2), op("b", {"cpu": 5, "gpu": 1}, "a")],
        links=[link("cpu gpu", 0.1, 20.0)],
    )
    seen = Recorder(monkeypatch, far)
    assert seen.edges["b", "gpu0"].comm == pytest.approx(0.2)
    assert seen.cost("b", "gpu0") == pytest.approx(1.2)
    assert seen.cost("b", "cpu0") == 5


def test_the_queue_of_other_models_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    two = problem({"m": [op("a", 3)], "n": [op("b", 4)]}, "gpu0")
    seen = Recorder(monkeypatch, two)
    assert seen.edges["b", "gpu0"].wait == 3
    assert seen.edges["b", "gpu0"].max_pt == 0, "maxPt is of the same model alone"


def test_an_op_off_the_longest_path_costs_its_slack(monkeypatch: pytest.MonkeyPatch) -> None:
    fork = problem([op("long", {"cpu": 4}), op("short", {"gpu": 5})])
    seen = Recorder(monkeypatch, fork)
    assert seen.placed == [("long", "cpu0", 4), ("short", "gpu0", 1)]
    twin = problem([op("a", {"cpu": 4}), op("b", {"gpu": 4})])
    assert Recorder(monkeypatch, twin).placed[1][2] == 0


def test_ties_go_to_the_shorter_op_then_to_the_first() -> None:
    builder = Builder(problem([op("a", 2), op("b", 2)], "cpu0 gpu0"))
    arc = Step(builder, [0, 1]).cheapest()
    assert (arc.op, arc.device) == (0, 0)


# ---- the batch option ----------------------------------------------------------------------


@pytest.mark.parametrize(("batch", "value"), [(1, 9), (2, 11.5), (6, 11.5)])
def test_a_batch_shares_one_pricing(batch: int, value: float) -> None:
    assert run_solver("talos", fig1(), batch=batch)[0].value == value


@pytest.mark.parametrize(
    "options",
    [{"batch": 0}, {"tv": -1.0}, {"sv_low": 0.0}, {"sv_low": 1.5}, {"sv_high": 0.9}],
)
def test_bad_options_are_named(options: dict[str, float]) -> None:
    with pytest.raises(talos_opt.ConfigError, match=next(iter(options))):
        talos_opt.solve(fig1(), "talos", options={"talos": options})


# ---- the flow ------------------------------------------------------------------------------


@given(large_problems(min_ops=5, max_ops=25, slots=False))
def test_one_augmentation_is_the_cheapest_arc(drawn: Problem) -> None:
    """The shortcut of batch 1 takes the path that the flow solver takes."""
    builder = Builder(drawn)
    try:
        for level in range(int(drawn.arrays.level.max()) + 1):
            ops = [i for i in range(drawn.arrays.op_count) if drawn.arrays.level[i] == level]
            step = Step(builder, ops)
            while step.left:
                arc = step.cheapest()
                assert augment(builder, step.arcs(), 1) == [arc]
                step.place(arc)
    except DeadEndError:
        reject()


@given(problems(max_ops=5, max_inputs=0, pins=False, colocation=False), st.integers(1, 5))
def test_a_batch_is_a_flow_of_least_cost(drawn: Problem, units: int) -> None:
    """Against every way to send so many ops to devices that pass as many as they have slots."""
    builder = Builder(drawn)
    try:
        arcs = Step(builder, list(range(drawn.arrays.op_count))).arcs()
    except DeadEndError:
        reject()
    narrow = [arc for arc in arcs if builder.demand[arc.op] == 1]
    assume(narrow)
    flow = _min_cost_flow(builder, sorted(narrow, key=lambda arc: arc.cost), units)
    sent = {arc.op: arc.device for arc in flow}
    assert len(sent) == len(flow)
    for d, slots in enumerate(drawn.arrays.slots.tolist()):
        assert list(sent.values()).count(d) <= slots
    assert (len(flow), sum(arc.cost for arc in flow)) == pytest.approx(
        best_assignment(narrow, drawn.arrays.slots.tolist(), units)
    )


def best_assignment(arcs: list[Arc], slots: list[int], units: int) -> tuple[int, float]:
    """Most ops, at most `units`, and the least cost of sending so many."""
    by_op: dict[int, list[Arc | None]] = {}
    for arc in arcs:
        by_op.setdefault(arc.op, [None]).append(arc)
    best: dict[int, float] = {}
    for choice in product(*by_op.values()):
        used = [arc for arc in choice if arc is not None]
        held = [sum(arc.device == d for arc in used) for d in range(len(slots))]
        if len(used) <= units and all(a <= b for a, b in zip(held, slots, strict=True)):
            cost = sum(arc.cost for arc in used)
            best[len(used)] = min(cost, best.get(len(used), cost))
    most = max(best)
    return most, best[most]


# ---- slots and memory ----------------------------------------------------------------------


def test_an_op_of_several_slots_is_not_split() -> None:
    devices = [device("cpu0", slots=2), device("gpu0")]
    ops = [op("wide", {"cpu": 1}, slots=2), op("a", {"cpu": 2}), op("b", {"cpu": 2})]
    builder = Builder(problem(ops, devices))
    arcs = Step(builder, [0, 1, 2]).arcs()
    assert [arc.op for arc in augment(builder, arcs, 3)] == [0], "the cheapest, so it goes alone"
    run, _ = run_solver("talos", problem(ops, devices), batch=3)
    assert starts_of(run) == {"wide": 0, "a": 1, "b": 1}


def test_a_wide_op_that_is_not_the_cheapest_waits() -> None:
    devices = [device("cpu0", slots=2)]
    ops = [op("wide", 3, slots=2), op("a", 1), op("b", 1)]
    builder = Builder(problem(ops, devices))
    arcs = Step(builder, [0, 1, 2]).arcs()
    assert sorted(arc.op for arc in augment(builder, arcs, 3)) == [1, 2]
    run, _ = run_solver("talos", problem(ops, devices), batch=3)
    assert starts_of(run) == {"wide": 1, "a": 0, "b": 0}


def test_a_full_device_takes_no_more() -> None:
    ops = [op(name, {"cpu": 5, "gpu": 1}, weights=4) for name in "abc"]
    tight = problem(ops, [device("cpu0"), device("gpu0", 8)])
    run, _ = run_solver("talos", tight)
    assert sorted(devices_of(run).values()) == ["cpu0", "gpu0", "gpu0"]
    filled, _ = run_solver("talos", tight, batch=3)  # filled up within one batch
    assert filled.best is not None
    assert check(tight, filled.best) == ()


def test_without_room_the_reason_names_op_device_and_bytes() -> None:
    ops = [op(name, 1, weights=4) for name in "abc"]
    _, verdict = run_solver("talos", problem(ops, [device("cpu0", 5), device("gpu0", 7)]))
    assert verdict.status is Status.UNKNOWN
    for part in ("m/c", "cpu0 is short by 3 bytes", "gpu0 is short by 1 bytes"):
        assert part in verdict.reason


def test_a_group_binds_its_other_members() -> None:
    ops = [
        op("a", {"cpu": 3, "gpu": 1}, colocate="g"),
        op("b", {"cpu": 1, "gpu": 9}, colocate="g"),
    ]
    run, _ = run_solver("talos", problem(ops))
    assert len(set(devices_of(run).values())) == 1


def test_readers_of_other_bytes_find_the_tensor_there() -> None:
    """A tensor is sent once: the second reader pays no transfer of its own."""
    readers = problem(
        [
            op("a", {"cpu": 1}, output=9),
            op("b", {"gpu": 1}, "a:1"),
            op("c", {"gpu": 1}, "a:8"),
        ],
        links=[link("cpu gpu", 0.0, 1.0)],
    )
    builder = Builder(readers)
    first = Step(builder, [0])
    first.place(first.cheapest())
    step = Step(builder, [1, 2])
    assert [arc.comm for arc in step.arcs()] == [1, 8]
    step.place(step.cheapest())
    assert [arc.comm for arc in step.arcs()] == [1]


@given(large_problems(max_ops=40), st.sampled_from([1, 3]))
def test_schedules_are_feasible(drawn: Problem, batch: int) -> None:
    run, verdict = run_solver("talos", drawn, batch=batch)
    if run.best is None:
        assert verdict.reason
    else:
        assert check(drawn, run.best) == ()
