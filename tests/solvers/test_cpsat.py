"""CP-SAT's formulation: each constraint family alone, satisfied once and violated once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis import given

from talos_opt.core.cluster import Cluster, Device
from talos_opt.core.feasibility import check
from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.solvers.cpsat import backend
from talos_opt.solvers.cpsat.placement import PlacementFormulation
from talos_opt.solvers.cpsat.sequencing import SequencingFormulation
from talos_opt.solvers.engine.base import is_placement_only
from talos_opt.solvers.shared.grid import make_grid
from talos_opt.solvers.shared.symmetry import identical_devices
from tests.builders import device, fig1, link, op, problem
from tests.naive import brute_force
from tests.solvers.running import devices_of, run_solver
from tests.strategies import problems

cp = backend.load()

#: One byte per unit of time between CPUs and GPUs.
WIRE = (link("cpu gpu", 0.0, 1.0),)


def formulate(problem: Problem, families: Sequence[str]) -> SequencingFormulation:
    """Build only some constraint families, in the order named."""
    formulation = SequencingFormulation(cp, problem, make_grid(problem), math.inf, lambda: False)
    for family in ("assign_groups", *families):
        getattr(formulation, family)()
    return formulation


def accepts(
    problem: Problem,
    families: Sequence[str],
    devices: str,
    starts: Mapping[str, float] | None = None,
    hops: Iterable[tuple[str, str, str, float]] = (),
) -> bool:
    """Tell whether constraint families let a (partial) schedule pass.

    Parameters
    ----------
    devices : str
        ``a:cpu0 b:gpu0``.
    starts : mapping, optional
        Of ops.
    hops : iterable of (op, from, to, start), optional
    """
    formulation = formulate(problem, families)
    model, ticks = formulation.model, formulation.grid.ticks
    ids = problem.device_ids.index
    for item in devices.split():
        name, _, where = item.partition(":")
        literal = formulation.x[int(problem.arrays.group[problem.find_op(name)])][ids(where)]
        if literal is None:
            return False
        model.add(literal == 1)
    for name, start in (starts or {}).items():
        model.add(formulation.start[problem.find_op(name)] == ticks(start))
    for name, source, target, start in hops:
        key = (problem.find_op(name), ids(source), ids(target))
        model.add(formulation.hop_start[key] == ticks(start))
        model.add(formulation.travels[key] == 1)
    return status_of(model) in (cp.OPTIMAL, cp.FEASIBLE)


def status_of(model: object) -> object:
    solver = backend.make_solver(cp)
    solver.parameters.num_workers = 1
    return solver.solve(model)


def optimum(problem: Problem) -> float:
    """Optimum that `cpsat` proves."""
    run, _ = run_solver("cpsat", problem)
    assert run.proven
    return run.value


# ---- placement -----------------------------------------------------------------------------


def test_every_op_sits_on_one_device() -> None:
    one = problem([op("a")])
    assert accepts(one, [], "a:cpu0")
    assert not accepts(one, [], "a:cpu0 a:gpu0")


def test_colocation() -> None:
    together = problem([op("a", colocate="g"), op("b", colocate="g"), op("c")])
    assert accepts(together, [], "a:cpu0 b:cpu0 c:gpu0")
    assert not accepts(together, [], "a:cpu0 b:gpu0")


def test_pins_and_absent_kinds() -> None:
    bound = problem([op("a", devices="gpu0"), op("b", {"cpu": 1})])
    assert accepts(bound, [], "a:gpu0 b:cpu0")
    assert not accepts(bound, [], "a:cpu0")
    assert not accepts(bound, [], "b:gpu0")


def test_symmetry_breaking_opens_identical_devices_in_order() -> None:
    twins = problem([op("a", 3), op("b", 2), op("c", 1)], "gpu0 gpu1 gpu2", [])
    family = ["break_symmetry"]
    assert accepts(twins, family, "a:gpu0 b:gpu1 c:gpu1")
    assert accepts(twins, family, "a:gpu0 b:gpu0 c:gpu1")
    assert not accepts(twins, family, "a:gpu1 b:gpu0")
    assert not accepts(twins, family, "a:gpu0 b:gpu2")


@pytest.mark.parametrize(
    "other",
    [device("gpu1", 8), device("gpu1", slots=2), device("gpu1", copy_engine=False)],
    ids=["memory", "slots", "copy engine"],
)
def test_devices_that_differ_are_not_ordered(other: Device) -> None:
    pair = problem([op("a")], [device("gpu0"), other])
    assert accepts(pair, ["break_symmetry"], "a:gpu1")


def test_devices_with_links_of_their_own_are_not_ordered() -> None:
    links = [link("cpu0 gpu0", 1.0), link("cpu0 gpu1", 2.0), link("gpu0 gpu1", 3.0)]
    trio = problem([op("a"), op("b", 1, "a")], "cpu0 gpu0 gpu1", links)
    assert accepts(trio, ["break_symmetry"], "a:gpu1 b:gpu1")


def test_no_route_between_the_ends_of_an_edge() -> None:
    one_way = problem([op("a"), op("b", 1, "a")], links=[link("cpu0 > gpu0")])
    family = ["forbid_missing_routes"]
    assert accepts(one_way, family, "a:cpu0 b:gpu0")
    assert accepts(one_way, family, "a:gpu0 b:gpu0")
    assert not accepts(one_way, family, "a:gpu0 b:cpu0")


def test_static_memory_counts_weights_outputs_and_the_largest_workspace() -> None:
    ops = [
        op("a", weights=3, output=2, workspace=4),
        op("b", weights=1, output=1, workspace=6),
    ]
    # 3 + 2 + 1 + 1 + max(4, 6) = 13
    enough, short = (problem(ops, [device("cpu0", size), device("gpu0")]) for size in (13, 12))
    family = ["limit_static_memory"]
    assert accepts(enough, family, "a:cpu0 b:cpu0")
    assert not accepts(short, family, "a:cpu0 b:cpu0")
    assert accepts(short, family, "a:cpu0 b:gpu0")


# ---- times of ops --------------------------------------------------------------------------


def test_an_op_lasts_as_long_as_its_device_says() -> None:
    both = problem([op("a", {"cpu": 2, "gpu": 5}), op("b", 1, "a")])
    assert accepts(both, ["time_ops"], "a:cpu0", {"a": 0, "b": 2})
    assert not accepts(both, ["time_ops"], "a:gpu0", {"a": 0, "b": 2})


def test_release() -> None:
    late = problem([op("a")], release={"m": 2.0})
    assert accepts(late, ["time_ops"], "a:cpu0", {"a": 2})
    assert not accepts(late, ["time_ops"], "a:cpu0", {"a": 1})


def test_precedence() -> None:
    chain = problem([op("a", 2), op("b", 1, "a")])
    assert accepts(chain, ["time_ops"], "a:cpu0 b:gpu0", {"a": 0, "b": 2})
    assert not accepts(chain, ["time_ops"], "a:cpu0 b:gpu0", {"a": 0, "b": 1})


def test_a_device_of_one_slot_runs_one_op_at_a_time() -> None:
    two = problem([op("a", 2), op("b", 2)])
    family = ["time_ops", "limit_slots"]
    assert accepts(two, family, "a:cpu0 b:cpu0", {"a": 0, "b": 2})
    assert accepts(two, family, "a:cpu0 b:gpu0", {"a": 0, "b": 0})
    assert not accepts(two, family, "a:cpu0 b:cpu0", {"a": 0, "b": 1})


def test_what_takes_no_time_holds_no_slot() -> None:
    blink = problem([op("a", 2), op("b", 0)])
    assert accepts(blink, ["time_ops", "limit_slots"], "a:cpu0 b:cpu0", {"a": 0, "b": 1})


def test_slot_demands_add_up() -> None:
    ops = [op("a", 2, slots=2), op("b", 2), op("c", 2)]
    three = problem(ops, [device("cpu0", slots=3)])
    family = ["time_ops", "limit_slots"]
    where = "a:cpu0 b:cpu0 c:cpu0"
    assert accepts(three, family, where, {"a": 0, "b": 0, "c": 2})
    assert accepts(three, family, where, {"a": 2, "b": 0, "c": 0})
    assert not accepts(three, family, where, {"a": 0, "b": 0, "c": 1})


# ---- transfers without competition ---------------------------------------------------------

ARRIVALS = ["time_ops", "time_arrivals"]


def test_a_reader_waits_for_its_tensor_on_another_device() -> None:
    far = problem([op("a", 1, output=3), op("b", 1, "a")], links=WIRE)
    assert accepts(far, ARRIVALS, "a:cpu0 b:gpu0", {"a": 0, "b": 4})
    assert not accepts(far, ARRIVALS, "a:cpu0 b:gpu0", {"a": 0, "b": 3})
    assert accepts(far, ARRIVALS, "a:cpu0 b:cpu0", {"a": 0, "b": 1})


def test_an_arrival_depends_on_where_the_tensor_comes_from() -> None:
    links = [link("cpu0 gpu0", 2.0), link("gpu1 gpu0", 5.0), link("cpu0 gpu1", 1.0)]
    far = problem([op("a"), op("b", 1, "a")], "cpu0 gpu0 gpu1", links)
    assert accepts(far, ARRIVALS, "a:cpu0 b:gpu0", {"a": 0, "b": 3})
    assert accepts(far, ARRIVALS, "a:gpu1 b:gpu0", {"a": 0, "b": 6})
    assert not accepts(far, ARRIVALS, "a:gpu1 b:gpu0", {"a": 0, "b": 5})


def test_the_largest_reader_decides_when_a_tensor_arrives() -> None:
    readers = problem([op("a", 1, output=9), op("b", 1, "a:2"), op("c", 1, "a:5")], links=WIRE)
    apart, side = "a:cpu0 b:gpu0 c:cpu0", "a:cpu0 b:gpu0 c:gpu0"
    assert accepts(readers, ARRIVALS, apart, {"a": 0, "b": 3})
    assert not accepts(readers, ARRIVALS, apart, {"a": 0, "b": 2})
    assert accepts(readers, ARRIVALS, side, {"a": 0, "b": 6, "c": 6})
    assert not accepts(readers, ARRIVALS, side, {"a": 0, "b": 3, "c": 6})


def test_a_staged_route_costs_both_legs() -> None:
    links = [link("cpu gpu", 1.0), link("gpu gpu", via="cpu0")]
    far = problem([op("a"), op("b", 1, "a")], "cpu0 gpu0 gpu1", links)
    assert accepts(far, ARRIVALS, "a:gpu0 b:gpu1", {"a": 0, "b": 3})
    assert not accepts(far, ARRIVALS, "a:gpu0 b:gpu1", {"a": 0, "b": 2})


# ---- transfers as activities ---------------------------------------------------------------

HOPS = ["time_ops", "time_hops"]


def test_a_hop_lies_between_producer_and_reader() -> None:
    far = problem([op("a", 1, output=3), op("b", 1, "a")], links=WIRE, contention="serial")
    where, times = "a:cpu0 b:gpu0", {"a": 0.0, "b": 5.0}
    assert accepts(far, HOPS, where, times, [("a", "cpu0", "gpu0", 1)])
    assert accepts(far, HOPS, where, times, [("a", "cpu0", "gpu0", 2)])
    assert not accepts(far, HOPS, where, times, [("a", "cpu0", "gpu0", 0)])
    assert not accepts(far, HOPS, where, times, [("a", "cpu0", "gpu0", 3)])


def test_a_link_carries_one_tensor_at_a_time_only_if_serial() -> None:
    ops = [
        op("a", 1, output=3, devices="cpu0"),
        op("b", 1, output=3, devices="cpu0"),
        op("c", 1, "a b", devices="gpu0"),
    ]
    devices = [device("cpu0", slots=2), device("gpu0")]
    both = [("a", "cpu0", "gpu0", 1.0), ("b", "cpu0", "gpu0", 1.0)]
    in_turn = [("a", "cpu0", "gpu0", 1.0), ("b", "cpu0", "gpu0", 4.0)]
    serial = problem(ops, devices, WIRE, contention="serial")
    assert accepts(serial, [*HOPS, "limit_links"], "", {"c": 7}, in_turn)
    assert not accepts(serial, [*HOPS, "limit_links"], "", {}, both)
    assert optimum(serial) == 8
    assert optimum(problem(ops, devices, WIRE)) == 5


@pytest.mark.parametrize(("duplex", "together"), [("full", True), ("half", False)])
def test_the_directions_of_a_serial_link(duplex: str, together: bool) -> None:
    ops = [
        op("a", 1, output=3, devices="cpu0"),
        op("b", 1, output=3, devices="gpu0"),
        op("c", 1, "a", devices="gpu0"),
        op("d", 1, "b", devices="cpu0"),
    ]
    wire = [link("cpu gpu", 0.0, 1.0, duplex=duplex)]
    both = problem(ops, links=wire, contention="serial", objective="makespan")
    crossing = [("a", "cpu0", "gpu0", 1.0), ("b", "gpu0", "cpu0", 1.0)]
    assert accepts(both, [*HOPS, "limit_links"], "", {}, crossing) is together
    assert optimum(both) == (5 if together else 8)


def test_a_tensor_is_sent_once_to_each_device() -> None:
    readers = [op(name, 1, "a", devices="gpu0") for name in "bcd"]
    shared = problem(
        [op("a", 1, output=4, devices="cpu0"), *readers], links=WIRE, contention="serial"
    )
    # 1 + 4 for one transfer + 3 ops in turn; a transfer for each reader would take 13 and one op
    assert optimum(shared) == 8


def test_a_second_destination_pays_only_the_second_leg() -> None:
    links = [link("npu cpu", 0.0, 1.0), link("cpu gpu", 0.0, 1.0), link("npu gpu", via="cpu0")]
    time = {"npu": 1, "gpu": 1, "cpu": 1}
    staged = problem(
        [
            op("a", time, output=4, devices="npu0"),
            op("b", time, "a", devices="gpu0"),
            op("c", time, "a", devices="gpu1"),
        ],
        "cpu0 npu0 gpu0 gpu1",
        links,
        contention="serial",
        objective="makespan",
    )
    run, _ = run_solver("cpsat", staged)
    assert run.best is not None
    assert run.value == 1 + 4 + 4 + 1  # paid twice, the serial first leg would make it 14
    moves = sorted(
        (item.source, item.target, item.start) for item in run.best.named_transfers(staged)
    )
    assert moves == [("cpu0", "gpu0", 5), ("cpu0", "gpu1", 5), ("npu0", "cpu0", 1)]


def test_an_onward_hop_waits_for_the_first() -> None:
    links = [link("gpu cpu", 0.0, 1.0), link("gpu gpu", via="cpu0")]
    staged = problem(
        [op("a", 1, output=2), op("b", 1, "a")], "cpu0 gpu0 gpu1", links, contention="serial"
    )
    first, where = ("a", "gpu0", "cpu0", 1.0), "a:gpu0 b:gpu1"
    assert accepts(staged, HOPS, where, {"b": 5}, [first, ("a", "cpu0", "gpu1", 3.0)])
    assert not accepts(staged, HOPS, where, {"b": 5}, [first, ("a", "cpu0", "gpu1", 2.0)])


def test_without_a_copy_engine_a_transfer_holds_a_slot() -> None:
    ops = [op("a", 1, output=2, devices="cpu0"), op("b", 1, "a", devices="gpu0"), op("c", 2)]
    where, hop = "c:gpu0", [("a", "cpu0", "gpu0", 1.0)]
    with_engine, without = (
        problem(ops, [device("cpu0"), device("gpu0", copy_engine=engine)], WIRE)
        for engine in (True, False)
    )
    family = [*HOPS, "limit_slots"]
    assert accepts(with_engine, family, where, {"c": 1, "b": 3}, hop)
    assert not accepts(without, family, where, {"c": 1, "b": 3}, hop)
    assert accepts(without, family, where, {"c": 4, "b": 3}, hop)


def test_a_transfer_that_takes_no_time_holds_nothing() -> None:
    ops = [op("a", 1, devices="cpu0"), op("b", 1, "a", devices="gpu0"), op("c", 3)]
    blocked = problem(ops, [device("cpu0"), device("gpu0", copy_engine=False)], WIRE)
    family = [*HOPS, "limit_slots"]
    hop = [("a", "cpu0", "gpu0", 1.0)]
    assert accepts(blocked, family, "c:gpu0", {"c": 0, "b": 3}, hop)


# ---- memory over time ----------------------------------------------------------------------

LIVE = [*HOPS, "limit_live_memory"]


def test_an_output_lives_until_its_last_local_reader_ends() -> None:
    ops = [op("a", 1, output=3), op("b", 2, "a"), op("c", 1, output=3)]
    tight = problem(ops, [device("cpu0", 5, slots=2)], rule="peak")
    where = "a:cpu0 b:cpu0 c:cpu0"
    assert accepts(tight, LIVE, where, {"a": 0, "b": 1, "c": 3})
    assert not accepts(tight, LIVE, where, {"a": 0, "b": 1, "c": 2})


def test_an_output_lives_until_its_last_transfer_ends() -> None:
    ops = [op("a", 1, output=3), op("b", 1, "a", devices="gpu0"), op("c", 1, output=3)]
    tight = problem(ops, [device("cpu0", 5), device("gpu0")], WIRE, rule="peak")
    where, hop = "a:cpu0 c:cpu0", [("a", "cpu0", "gpu0", 2.0)]
    assert accepts(tight, LIVE, where, {"a": 0, "c": 5}, hop)
    assert not accepts(tight, LIVE, where, {"a": 0, "c": 4}, hop)


def test_a_copy_lives_from_its_transfer_until_its_last_reader_ends() -> None:
    ops = [
        op("a", 1, output=3, devices="cpu0"),
        op("b", 2, "a", devices="gpu0"),
        op("c", 1, output=3, devices="gpu0"),
    ]
    tight = problem(ops, [device("cpu0"), device("gpu0", 5)], WIRE, rule="peak")
    hop = [("a", "cpu0", "gpu0", 1.0)]
    assert accepts(tight, LIVE, "", {"c": 0, "b": 4}, hop)
    assert accepts(tight, LIVE, "", {"c": 6, "b": 4}, hop)
    assert not accepts(tight, LIVE, "", {"c": 1, "b": 4}, hop)
    assert not accepts(tight, LIVE, "", {"c": 5, "b": 4}, hop)


def test_a_staged_copy_occupies_the_stage() -> None:
    links = [link("gpu cpu", 0.0, 1.0), link("gpu gpu", via="cpu0")]
    ops = [
        op("a", 1, output=3, devices="gpu0"),
        op("b", 1, "a", devices="gpu1"),
        op("c", 1, output=3, devices="cpu0"),
    ]
    tight = problem(ops, [device("cpu0", 5), device("gpu0"), device("gpu1")], links, rule="peak")
    hops = [("a", "gpu0", "cpu0", 1.0), ("a", "cpu0", "gpu1", 4.0)]
    assert accepts(tight, LIVE, "", {"c": 0}, hops)
    assert accepts(tight, LIVE, "", {"c": 7}, hops)
    assert not accepts(tight, LIVE, "", {"c": 6}, hops)


def test_workspace_lives_while_the_op_runs_and_weights_for_ever() -> None:
    ops = [op("a", 1, workspace=3), op("b", 1, workspace=3), op("c", 1, weights=1)]
    tight = problem(ops, [device("cpu0", 6, slots=2), device("gpu0")], rule="peak")
    assert accepts(tight, LIVE, "a:cpu0 b:cpu0 c:gpu0", {"a": 0, "b": 0})
    assert accepts(tight, LIVE, "a:cpu0 b:cpu0 c:cpu0", {"a": 0, "b": 1})
    assert not accepts(tight, LIVE, "a:cpu0 b:cpu0 c:cpu0", {"a": 0, "b": 0})


def test_a_copy_takes_what_its_largest_reader_there_names() -> None:
    ops = [
        op("a", 1, output=9, devices="cpu0"),
        op("b", 1, "a:2", devices="gpu0"),
        op("c", 1, "a:6", output=0),
    ]
    tight = problem(ops, [device("cpu0"), device("gpu0", 5)], WIRE, rule="peak")
    assert accepts(tight, LIVE, "c:cpu0")
    assert not accepts(tight, LIVE, "c:gpu0")


# ---- objectives ----------------------------------------------------------------------------


@pytest.mark.parametrize(("objective", "value"), [("toct", 9), ("makespan", 4.5)])
def test_fig1(objective: str, value: float) -> None:
    assert optimum(fig1(objective)) == value


def test_weights_decide_who_goes_first() -> None:
    two = {"slow": [op("a", 4)], "fast": [op("b", 3)]}
    assert optimum(problem(two, "gpu0")) == 3 + 7
    assert optimum(problem(two, "gpu0", weight={"slow": 3})) == 3 * 4 + 7
    assert optimum(problem(two, "gpu0", weight={"slow": 0.0})) == 3


BOTTLENECKS = [
    pytest.param(problem([op("a", 2), op("b", 4)], objective="bottleneck"), 4, id="two devices"),
    pytest.param(
        problem([op("a", 2), op("b", 4)], [device("cpu0", slots=2)], objective="bottleneck"),
        3,
        id="divided over slots",
    ),
    pytest.param(
        problem(
            [op("a", 2, slots=2), op("b", 4)], [device("cpu0", slots=2)], objective="bottleneck"
        ),
        4,
        id="times the slots held",
    ),
    pytest.param(
        problem(
            [op("a", 2, output=3, devices="cpu0"), op("b", 2, "a", devices="gpu0")],
            [device("cpu0"), device("gpu0", copy_engine=False)],
            WIRE,
            objective="bottleneck",
        ),
        5,
        id="transfers where there is no copy engine",
    ),
    pytest.param(
        problem(
            [
                op("a", 2, output=3, devices="cpu0"),
                op("b", 2, output=4, devices="cpu0"),
                op("c", 2, "a b", devices="gpu0"),
            ],
            links=WIRE,
            contention="serial",
            objective="bottleneck",
        ),
        7,
        id="a serial link",
    ),
]


@pytest.mark.parametrize(("loaded", "value"), BOTTLENECKS)
def test_bottleneck(loaded: Problem, value: float) -> None:
    assert optimum(loaded) == value
    peak = problem(
        {"m": loaded.ops}, loaded.cluster.devices, loaded.cluster.links, rule="peak",
        objective="bottleneck", contention=loaded.cluster.contention,
    )  # fmt: skip
    limited = Problem(peak.graph, limit_all(peak), peak.objective, peak.memory_rule)
    assert optimum(limited) == value  # the same loads, with times around them


def limit_all(problem: Problem) -> Cluster:
    """The cluster with a memory limit that is never reached, so that liveness is modelled."""
    cluster = problem.cluster
    return replace(cluster, devices=tuple(replace(item, memory=1000) for item in cluster.devices))


def test_the_placement_half_alone_suffices_for_the_bottleneck() -> None:
    static = problem([op("a"), op("b")], [device("cpu0", 9)], objective="bottleneck")
    peak = problem([op("a"), op("b")], [device("cpu0", 9)], objective="bottleneck", rule="peak")
    assert is_placement_only(static)
    assert not is_placement_only(peak)
    formulation = PlacementFormulation(cp, static, make_grid(static), math.inf, lambda: False)
    formulation.build()
    assert status_of(formulation.model) == cp.OPTIMAL


# ---- whole problems ------------------------------------------------------------------------


def test_infeasible_together_says_what_to_relax() -> None:
    ops = [op("a", weights=4), op("b", weights=4), op("c", weights=4)]
    full = problem(ops, [device("cpu0", 7), device("gpu0", 7)])
    run, verdict = run_solver("cpsat", full)
    assert run.best is None
    assert verdict.status is Status.INFEASIBLE
    assert "give a device more memory" in verdict.reason


@given(
    problems(
        max_ops=5, links=False, absent_kinds=False, device_times=False, pins=False, slots=False
    )
)
def test_symmetry_breaking_keeps_the_optimum(drawn: Problem) -> None:
    first = drawn.cluster.devices[0]
    twins = tuple(replace(first, id=f"{first.kind}{d}") for d in range(3))
    same = Problem(
        drawn.graph, replace(drawn.cluster, devices=twins, reference=first.kind),
        drawn.objective, drawn.memory_rule,
    )  # fmt: skip
    assert len(identical_devices(same)) == 1
    expected = brute_force(same)
    run, verdict = run_solver("cpsat", same)
    if expected is None:
        assert verdict.status is Status.INFEASIBLE
    else:
        assert run.value == pytest.approx(expected[0])
        assert run.best is not None
        assert check(same, run.best) == ()


def test_identical_devices_are_used_in_order() -> None:
    free = problem([op("a", 2), op("b", 1)], "gpu0 gpu1", objective="makespan")
    run, _ = run_solver("cpsat", free)
    assert devices_of(run) == {"a": "gpu0", "b": "gpu1"}
