"""Each rule of `check` alone: a tiny schedule that keeps it and one that breaks it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from talos_opt.core.feasibility import LIMIT, check
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule, Transfers
from tests.builders import device, fig1, link, op, problem, schedule
from tests.naive import naive_check

Ops = Mapping[str, tuple[str, float]]
Move = tuple[str, str, str, float, float, int]


def complaints(
    given: Problem, ops: Ops, moves: tuple[Move, ...] | list[Move] = ()
) -> dict[str, str]:
    """Rules broken, each with its (last) message; the naive checker must see the same rules."""
    answer = schedule(given, ops, moves)
    found = check(given, answer)
    naive = {line.split(":")[0] for line in naive_check(given, answer)}
    assert {item.rule for item in found} == naive
    return {item.rule: item.message for item in found}


def test_the_optimum_of_fig1_is_feasible() -> None:
    ops = {"op1": ("gpu0", 0), "op5": ("gpu0", 1), "op3": ("gpu0", 2.5)}
    ops |= {"op4": ("cpu0", 0), "op2": ("cpu0", 1.5), "op6": ("cpu0", 2.5)}
    assert complaints(fig1(), ops) == {}


# ---- placement and duration ----------------------------------------------------------------


def test_an_op_runs_only_where_it_has_a_time() -> None:
    given = problem([op("a", {"gpu": 1})])
    assert complaints(given, {"a": ("gpu0", 0)}) == {}
    assert "m/a cannot run on cpu0" in complaints(given, {"a": ("cpu0", 0)})["placement"]


@pytest.mark.parametrize("pin", ["gpu0", "gpu", "gpu1 gpu0"])
def test_a_pinned_op_runs_only_where_it_is_pinned(pin: str) -> None:
    given = problem([op("a", devices=pin)], "cpu0 gpu0 gpu1")
    assert complaints(given, {"a": ("gpu0", 0)}) == {}
    assert "m/a cannot run on cpu0" in complaints(given, {"a": ("cpu0", 0)})["placement"]


def test_an_op_that_needs_two_slots_does_not_run_on_one() -> None:
    given = problem([op("a", slots=2)], [device("cpu0"), device("gpu0", slots=2)])
    assert complaints(given, {"a": ("gpu0", 0)}) == {}
    assert "m/a cannot run on cpu0" in complaints(given, {"a": ("cpu0", 0)})["placement"]


def test_a_device_that_does_not_exist() -> None:
    given = problem([op("a")])
    good = schedule(given, {"a": ("cpu0", 0)})
    for number in (-1, 2):
        bad = replace(good, device=np.array([number]))
        assert [str(item) for item in check(given, bad)] == ["placement: m/a is on no device"]
        assert naive_check(given, bad)


def test_an_op_takes_its_time_on_the_device_where_it_runs() -> None:
    given = problem([op("a", {"cpu": 5, "gpu": 1, "gpu1": 2})], "cpu0 gpu0 gpu1")
    good = schedule(given, {"a": ("gpu1", 3)})
    assert good.end.tolist() == [5.0]
    assert check(given, good) == ()
    for end in (4.0, 8.0):
        bad = replace(good, end=np.array([end]))
        (found,) = check(given, bad)
        assert found.rule == "duration"
        assert found.message == f"m/a runs {end - 3:.0f} on gpu1, where it takes 2"
        assert naive_check(given, bad)


@pytest.mark.parametrize("moment", [np.nan, np.inf])
def test_times_are_finite(moment: float) -> None:
    given = problem([op("a")])
    bad = replace(schedule(given, {"a": ("cpu0", 0)}), start=np.array([moment]))
    (found,) = check(given, bad)
    assert found.message.startswith(f"m/a runs from {moment} to")


def test_a_schedule_of_another_problem() -> None:
    answer = schedule(problem([op("a")]), {"a": ("cpu0", 0)})
    (found,) = check(problem([op("a"), op("b")]), answer)
    assert found.message == "the schedule has 1 ops, the problem has 2"


# ---- release and colocation ----------------------------------------------------------------


def test_no_op_starts_before_the_release_of_its_model() -> None:
    given = problem({"m1": [op("a")], "m2": [op("b")]}, release={"m2": 2})
    assert complaints(given, {"a": ("cpu0", 0), "b": ("gpu0", 2)}) == {}
    found = complaints(given, {"a": ("cpu0", 0), "b": ("gpu0", 1.5)})
    assert found == {"release": "m2/b starts at 1.5, released at 2"}


def test_no_op_starts_before_time_zero() -> None:
    found = complaints(problem([op("a")]), {"a": ("cpu0", -1)})
    assert found == {"release": "m/a starts at -1, released at 0"}


def test_a_colocation_group_shares_one_device_across_models() -> None:
    ops = {"m1": [op("a", colocate="g"), op("x")], "m2": [op("b", colocate="g")]}
    given = problem(ops)
    assert complaints(given, {"a": ("gpu0", 0), "x": ("cpu0", 0), "b": ("gpu0", 1)}) == {}
    found = complaints(given, {"a": ("gpu0", 0), "x": ("cpu0", 0), "b": ("cpu0", 1)})
    assert found == {"colocation": "m2/b is on cpu0, but m1/a of its group is on gpu0"}


# ---- transfers -----------------------------------------------------------------------------

#: Five bytes over a link of latency 1 and 2 bytes per time unit take 3.5.
WIRE = [link("cpu gpu", 1, 2)]


def chain() -> Problem:
    return problem([op("a", 1, output=5), op("b", 1, "a")], links=WIRE)


APART = {"a": ("cpu0", 0), "b": ("gpu0", 4.5)}


def test_a_tensor_travels_for_latency_plus_bytes_over_bandwidth() -> None:
    assert complaints(chain(), APART, [("a", "cpu0", "gpu0", 1, 4.5, 5)]) == {}
    found = complaints(chain(), APART, [("a", "cpu0", "gpu0", 1, 4, 5)])
    assert found == {"transfer": "m/a from cpu0 to gpu0 takes 3, the link needs 3.5"}


def test_ops_on_one_device_need_no_transfer() -> None:
    assert complaints(chain(), {"a": ("cpu0", 0), "b": ("cpu0", 1)}) == {}
    found = complaints(
        chain(), {"a": ("cpu0", 0), "b": ("cpu0", 1)}, [("a", "cpu0", "gpu0", 1, 4.5, 5)]
    )
    assert found == {"transfer": "m/a from cpu0 to gpu0 is not needed by any reader"}


def test_a_missing_transfer() -> None:
    found = complaints(chain(), APART)
    assert found == {"transfer": "m/a from cpu0 to gpu0 is missing (5 bytes, 3.5 long)"}


def test_a_transfer_that_is_known_to_be_nothing_need_not_be_listed() -> None:
    given = problem([op("a"), op("b", 1, "a")], links=[link("cpu gpu", 0, 2)])
    ops = {"a": ("cpu0", 0), "b": ("gpu0", 1)}
    assert complaints(given, ops) == {}
    assert complaints(given, ops, [("a", "cpu0", "gpu0", 1, 1, 0)]) == {}
    assert "precedence" in complaints(given, ops | {"b": ("gpu0", 0.5)})
    # With a latency, or with bytes, it is something.
    given = problem([op("a"), op("b", 1, "a")], links=[link("cpu gpu", 1)])
    assert "transfer" in complaints(given, ops | {"b": ("gpu0", 2)})
    given = problem([op("a", output=1), op("b", 1, "a")])
    assert "transfer" in complaints(given, ops)


def test_a_transfer_starts_when_its_tensor_is_there() -> None:
    found = complaints(chain(), APART, [("a", "cpu0", "gpu0", 0.5, 4, 5)])
    assert found == {"transfer": "m/a from cpu0 to gpu0 starts at 0.5, the tensor is there at 1"}


def test_an_op_starts_when_its_inputs_are_on_its_device() -> None:
    found = complaints(chain(), APART, [("a", "cpu0", "gpu0", 2, 5.5, 5)])
    assert found == {"precedence": "m/b starts at 4.5, its input m/a is on its device at 5.5"}
    found = complaints(chain(), {"a": ("cpu0", 0), "b": ("cpu0", 0.5)})
    assert found["precedence"] == "m/b starts at 0.5, its input m/a is on its device at 1"


def test_the_bytes_sent_are_the_largest_that_a_reader_there_names() -> None:
    given = problem(
        [op("a", 1, output=9), op("b", 1, "a:2"), op("c", 1, "a:4")], links=[link("cpu gpu", 0, 2)]
    )
    ops = {"a": ("cpu0", 0), "b": ("gpu0", 3), "c": ("gpu0", 4)}
    assert complaints(given, ops, [("a", "cpu0", "gpu0", 1, 3, 4)]) == {}
    found = complaints(given, ops, [("a", "cpu0", "gpu0", 1, 3, 2)])
    assert found == {"transfer": "m/a from cpu0 to gpu0 carries 2 bytes, its readers need 4"}


def test_a_tensor_is_sent_once_to_each_device() -> None:
    given = problem(
        [op("a", 1, output=2), op("b", 1, "a"), op("c", 1, "a")],
        "cpu0 gpu0 gpu1",
        [link("cpu gpu", 0, 2)],
    )
    both = {"a": ("cpu0", 0), "b": ("gpu0", 2), "c": ("gpu0", 3)}
    assert complaints(given, both, [("a", "cpu0", "gpu0", 1, 2, 2)]) == {}
    twice: list[Move] = [("a", "cpu0", "gpu0", 1, 2, 2), ("a", "cpu0", "gpu0", 2, 3, 2)]
    assert complaints(given, both, twice) == {
        "transfer": "m/a from cpu0 to gpu0 is sent more than once"
    }
    apart = {"a": ("cpu0", 0), "b": ("gpu0", 2), "c": ("gpu1", 2)}
    moves: list[Move] = [("a", "cpu0", "gpu0", 1, 2, 2), ("a", "cpu0", "gpu1", 1, 2, 2)]
    assert complaints(given, apart, moves) == {}
    assert "is missing" in complaints(given, apart, moves[:1])["transfer"]


def test_devices_without_a_route_exchange_nothing() -> None:
    given = problem([op("a"), op("b", 1, "a")], "gpu0 gpu1", [])
    assert complaints(given, {"a": ("gpu0", 0), "b": ("gpu0", 1)}) == {}
    found = complaints(given, {"a": ("gpu0", 0), "b": ("gpu1", 9)})
    assert found == {"transfer": "m/a from gpu0 to gpu1: there is no route between the devices"}


def test_a_link_of_one_direction() -> None:
    given = problem([op("a"), op("b", 1, "a")], "gpu0 gpu1", [link("gpu0 > gpu1", 1)])
    ops = {"a": ("gpu0", 0), "b": ("gpu1", 2)}
    assert complaints(given, ops, [("a", "gpu0", "gpu1", 1, 2, 0)]) == {}
    back = {"a": ("gpu1", 0), "b": ("gpu0", 2)}
    assert "no route" in complaints(given, back)["transfer"]


# ---- staging -------------------------------------------------------------------------------


def staged() -> Problem:
    """Op a on gpu0 has readers on two other GPUs, all reached through the host."""
    return problem(
        [op("a", 1, output=2), op("b", 1, "a"), op("c", 1, "a:4")],
        "gpu0 cpu0 gpu1 gpu2",  # the stage is not device 0
        [link("cpu gpu", 1, 2), link("gpu gpu", via="cpu0")],
    )


STAGED_OPS = {"a": ("gpu0", 0), "b": ("gpu1", 6), "c": ("gpu2", 7)}
STAGED_MOVES: list[Move] = [
    ("a", "gpu0", "cpu0", 1, 4, 4),  # the most that either reader asks for, once
    ("a", "cpu0", "gpu1", 4, 6, 2),
    ("a", "cpu0", "gpu2", 4, 7, 4),
]


def test_a_tensor_is_staged_once_and_forwarded_to_each_reader() -> None:
    assert complaints(staged(), STAGED_OPS, STAGED_MOVES) == {}


def test_a_reader_on_the_stage_shares_the_first_leg() -> None:
    ops = STAGED_OPS | {"b": ("cpu0", 4)}
    assert complaints(staged(), ops, [STAGED_MOVES[0], STAGED_MOVES[2]]) == {}


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_no_leg_may_be_missing(lost: int) -> None:
    moves = [move for k, move in enumerate(STAGED_MOVES) if k != lost]
    assert "is missing" in complaints(staged(), STAGED_OPS, moves)["transfer"]


def test_the_second_leg_waits_for_the_first() -> None:
    moves = [STAGED_MOVES[0], ("a", "cpu0", "gpu1", 3.5, 5.5, 2), STAGED_MOVES[2]]
    assert complaints(staged(), STAGED_OPS, moves) == {
        "transfer": "m/a from cpu0 to gpu1 starts at 3.5, the tensor is there at 4"
    }


def test_a_direct_transfer_does_not_replace_a_staged_one() -> None:
    moves = [STAGED_MOVES[0], ("a", "gpu0", "gpu1", 1, 3, 2), STAGED_MOVES[2]]
    found = [str(item) for item in check(staged(), schedule(staged(), STAGED_OPS, moves))]
    assert found == [
        "transfer: m/a from gpu0 to gpu1 is not needed by any reader",
        "transfer: m/a from cpu0 to gpu1 is missing (2 bytes, 2 long)",
    ]


# ---- slots and copy engines ----------------------------------------------------------------


def test_a_device_runs_one_op_per_slot() -> None:
    given = problem([op("a", 2), op("b", 2), op("c", 2)], [device("cpu0", slots=2)])
    two = {"a": ("cpu0", 0), "b": ("cpu0", 0), "c": ("cpu0", 2)}
    assert complaints(given, two) == {}
    found = complaints(given, two | {"c": ("cpu0", 1.5)})
    assert found == {"slots": "cpu0 has 2 slot(s), 3 are in use at 1.5 (m/a, m/b, m/c)"}


def test_demands_add_up() -> None:
    given = problem([op("a", 2, slots=2), op("b", 2, slots=2)], [device("cpu0", slots=3)])
    assert complaints(given, {"a": ("cpu0", 0), "b": ("cpu0", 2)}) == {}
    found = complaints(given, {"a": ("cpu0", 0), "b": ("cpu0", 1)})
    assert found == {"slots": "cpu0 has 3 slot(s), 4 are in use at 1 (m/a, m/b)"}


def test_what_takes_no_time_holds_no_slot() -> None:
    given = problem([op("a", 2), op("b", 0)], "cpu0")
    assert complaints(given, {"a": ("cpu0", 0), "b": ("cpu0", 1)}) == {}


def sending(*, engine: bool, slots: int = 1) -> Problem:
    """Tensor a travels from 1 to 3; op x runs beside it on one of the two devices."""
    return problem(
        [op("a", 1, output=4), op("b", 1, "a"), op("x", 1)],
        [device("cpu0", copy_engine=engine, slots=slots), device("gpu0")],
        [link("cpu gpu", 0, 2)],
    )


BUSY = {"a": ("cpu0", 0), "b": ("gpu0", 3), "x": ("cpu0", 1.5)}
SEND: list[Move] = [("a", "cpu0", "gpu0", 1, 3, 4)]


def test_a_transfer_overlaps_with_compute_where_there_is_a_copy_engine() -> None:
    assert complaints(sending(engine=True), BUSY, SEND) == {}


def test_a_transfer_occupies_a_device_without_a_copy_engine() -> None:
    assert complaints(sending(engine=False), BUSY | {"x": ("cpu0", 3)}, SEND) == {}
    found = complaints(sending(engine=False), BUSY, SEND)
    assert found == {
        "slots": "cpu0 has 1 slot(s), 2 are in use at 1.5 (m/x, m/a from cpu0 to gpu0)"
    }
    incoming = {"a": ("gpu0", 0), "b": ("cpu0", 3), "x": ("cpu0", 2.5)}
    found = complaints(sending(engine=False), incoming, [("a", "gpu0", "cpu0", 1, 3, 4)])
    assert "slots" in found
    other = {"a": ("cpu0", 0), "b": ("gpu0", 3), "x": ("gpu0", 1.5)}
    assert complaints(sending(engine=False), other, SEND) == {}


def test_a_transfer_holds_one_slot_of_several() -> None:
    assert complaints(sending(engine=False, slots=2), BUSY, SEND) == {}


# ---- links ---------------------------------------------------------------------------------


def crossing(contention: str, duplex: str = "full") -> Problem:
    """Tensors a and b leave cpu0, tensor c leaves gpu0, two time units each."""
    return problem(
        [op(name, 1, output=4) for name in "abc"] + [op(f"r{name}", 1, name) for name in "abc"],
        [device("cpu0", slots=3), device("gpu0", slots=3)],
        [link("cpu gpu", 0, 2, duplex=duplex)],
        contention=contention,
    )


def cross(b: float, c: float) -> tuple[Ops, list[Move]]:
    ops = {"a": ("cpu0", 0), "b": ("cpu0", 0), "c": ("gpu0", 0)}
    ops |= {"ra": ("gpu0", 3), "rb": ("gpu0", b + 2), "rc": ("cpu0", c + 2)}
    return ops, [
        ("a", "cpu0", "gpu0", 1, 3, 4),
        ("b", "cpu0", "gpu0", b, b + 2, 4),
        ("c", "gpu0", "cpu0", c, c + 2, 4),
    ]


def test_links_carry_any_number_of_tensors_without_contention() -> None:
    assert complaints(crossing("none"), *cross(1, 1)) == {}


def test_a_serial_link_carries_one_tensor_at_a_time_in_each_direction() -> None:
    assert complaints(crossing("serial"), *cross(3, 1)) == {}
    found = complaints(crossing("serial"), *cross(2, 1))
    assert found == {
        "link": "cpu0 - gpu0 carries 2 tensors at 2, one is allowed "
        "(m/a from cpu0 to gpu0, m/b from cpu0 to gpu0)"
    }


def test_half_duplex_shares_the_link_between_directions() -> None:
    assert complaints(crossing("serial", "half"), *cross(3, 5)) == {}
    found = complaints(crossing("serial", "half"), *cross(3, 1))
    assert found == {
        "link": "cpu0 - gpu0 carries 2 tensors at 1, one is allowed "
        "(m/a from cpu0 to gpu0, m/c from gpu0 to cpu0)"
    }


@pytest.mark.parametrize("names", [("cpu0", "gpu0"), ("gpu0", "cpu0")])
def test_a_half_duplex_link_shares_nothing_with_a_full_one(names: tuple[str, str]) -> None:
    a, b = names
    there, back = link(f"{a} > {b}", 0, 2, duplex="half"), link(f"{b} > {a}", 0, 2)
    given = crossing("serial")
    given = replace(given, cluster=replace(given.cluster, links=(there, back)))
    assert complaints(given, *cross(3, 1)) == {}


# ---- memory --------------------------------------------------------------------------------


def test_static_memory_is_weights_outputs_and_the_largest_workspace() -> None:
    ops = [op("a", weights=3, output=2, workspace=4), op("b", weights=1, output=1, workspace=3)]
    at = {"a": ("gpu0", 0), "b": ("gpu0", 9)}
    assert complaints(problem(ops, [device("gpu0", 11)]), at) == {}
    found = complaints(problem(ops, [device("gpu0", 10)]), at)
    assert found == {"memory": "gpu0 has 10 bytes, 11 are placed there: 1 too many (1 B)"}


def test_only_the_usable_share_of_memory_counts() -> None:
    ops = [op("a", weights=3), op("b", weights=3)]
    at = {"a": ("gpu0", 0), "b": ("gpu0", 1)}
    assert complaints(problem(ops, [device("gpu0", 12, fraction=0.5)]), at) == {}
    found = complaints(problem(ops, [device("gpu0", 10, fraction=0.5)]), at)
    assert found == {"memory": "gpu0 has 5 bytes, 6 are placed there: 1 too many (1 B)"}


def peak(limit: int, ops: list[tuple[str, float]]) -> dict[str, str]:
    """A chain a, b, c of outputs 4, 2 and 1 with workspaces of 1 on a device of limited memory."""
    given = problem(
        [
            op("a", 1, output=4, workspace=1, weights=1),
            op("b", 1, "a", output=2, workspace=1, weights=1),
            op("c", 1, "b", output=1, workspace=1, weights=1),
        ],
        [device("gpu0", limit)],
        rule="peak",
    )
    return complaints(given, dict(zip("abc", ops, strict=True)))


def test_peak_memory_counts_what_is_alive() -> None:
    """While b runs: all weights (3), its input (4), its output (2), its workspace (1)."""
    at = [("gpu0", 0.0), ("gpu0", 1.0), ("gpu0", 2.0)]
    assert peak(10, at) == {}
    assert peak(9, at) == {"memory": "gpu0 has 9 bytes, 10 are alive at 1: 1 too many (1 B)"}


def alive(limit: int, x: float, *, local_reader: float | None = None) -> dict[str, str]:
    """An output of 4 on gpu0, read on cpu0 after a transfer from 3 to 5; x holds 2 from `x` on."""
    ops = [op("a", 1, output=4), op("b", 1, "a"), op("x", 2, workspace=2)]
    at = {"a": ("gpu0", 0), "b": ("cpu0", 5), "x": ("gpu0", x)}
    if local_reader is not None:
        ops.append(op("r", 1, "a"))
        at["r"] = ("gpu0", local_reader)
    given = problem(
        ops, [device("cpu0"), device("gpu0", limit)], [link("cpu gpu", 0, 2)], rule="peak"
    )
    return complaints(given, at, [("a", "gpu0", "cpu0", 3, 5, 4)])


def test_an_output_lives_until_its_last_transfer_ends() -> None:
    assert alive(4, 5) == {}
    assert alive(5, 4.5) == {"memory": "gpu0 has 5 bytes, 6 are alive at 4.5: 1 too many (1 B)"}


def test_an_output_lives_until_its_last_local_reader_ends() -> None:
    assert alive(4, 7, local_reader=6) == {}
    assert alive(5, 5, local_reader=7) == {
        "memory": "gpu0 has 5 bytes, 6 are alive at 5: 1 too many (1 B)"
    }


def received(limit: int, x: float, *, second: float = 4) -> dict[str, str]:
    """Four bytes travel to gpu0 from 1 to 3 and are read there until `second` + 1."""
    given = problem(
        [op("a", 1, output=9), op("b", 1, "a:4"), op("c", 1, "a:1"), op("x", 1, workspace=2)],
        [device("cpu0"), device("gpu0", limit)],
        [link("cpu gpu", 0, 2)],
        rule="peak",
    )
    at = {"a": ("cpu0", 0), "b": ("gpu0", 3), "c": ("gpu0", second), "x": ("gpu0", x)}
    return complaints(given, at, [("a", "cpu0", "gpu0", 1, 3, 4)])


def test_a_received_tensor_lives_from_its_transfers_start() -> None:
    assert received(4, 0) == {}
    assert received(5, 0.5) == {"memory": "gpu0 has 5 bytes, 6 are alive at 1: 1 too many (1 B)"}


def test_a_received_tensor_lives_until_its_last_reader_ends() -> None:
    assert received(4, 5) == {}
    assert received(5, 5, second=6) == {
        "memory": "gpu0 has 5 bytes, 6 are alive at 5: 1 too many (1 B)"
    }


@pytest.mark.parametrize(("x", "fits"), [(0.5, True), (1.5, False), (6.5, False), (7.0, True)])
def test_a_staged_tensor_lives_until_it_is_forwarded(x: float, fits: bool) -> None:
    """It is on cpu0 from 1 to 7; gpu0 and gpu2 have no limit."""
    ops = [*(item for item in staged().ops), op("x", 0.5, workspace=2)]
    given = problem(
        ops,
        [device("gpu0"), device("cpu0", 5), device("gpu1"), device("gpu2")],
        [link("cpu gpu", 1, 2), link("gpu gpu", via="cpu0")],
        rule="peak",
    )
    found = complaints(given, STAGED_OPS | {"x": ("cpu0", x)}, STAGED_MOVES)
    assert ("memory" not in found) == fits


def test_what_takes_no_time_holds_no_memory_under_the_peak_rule() -> None:
    given = problem([op("a", 0, output=9, workspace=9)], [device("cpu0", 1)], rule="peak")
    assert complaints(given, {"a": ("cpu0", 0)}) == {}
    given = problem([op("a", 0, output=9), op("b", 1, "a")], [device("cpu0", 1)], rule="peak")
    assert "9 are alive at 0" in complaints(given, {"a": ("cpu0", 0), "b": ("cpu0", 0)})["memory"]


# ---- the list of complaints ----------------------------------------------------------------


def test_times_closer_than_the_tolerance_are_equal() -> None:
    given = problem([op("a", 1), op("b", 1, "a")], "cpu0")
    close: Schedule = schedule(given, {"a": ("cpu0", 0), "b": ("cpu0", 1 - 2**-52)})
    assert check(given, close) == ()
    assert {item.rule for item in check(given, close, tolerance=0.0)} == {"precedence", "slots"}
    apart = schedule(given, {"a": ("cpu0", 0), "b": ("cpu0", 1 - 1e-12)})
    assert {item.rule for item in check(given, apart)} == {"precedence", "slots"}


def test_every_broken_rule_is_listed() -> None:
    given = problem(
        [op("a", colocate="g", weights=9), op("b", 1, "a", colocate="g")],
        [device("cpu0", 9), device("gpu0", 0)],
        release={"m": 1},
    )
    found = complaints(given, {"a": ("cpu0", 0), "b": ("gpu0", 0.5)})
    assert set(found) == {"release", "colocation", "precedence"}


def test_a_rule_broken_everywhere_is_listed_so_often_and_no_more() -> None:
    count = 3 * LIMIT
    given = problem([op(f"op{i}", 1) for i in range(count)], "cpu0")
    answer = schedule(given, {f"op{i}": ("cpu0", -count + i) for i in range(count)})
    found = check(given, answer)
    assert len(found) == LIMIT
    assert {item.rule for item in found} == {"release"}


# ---- what has no shape ---------------------------------------------------------------------


def pair_with(**columns: object) -> tuple[Problem, Schedule]:
    """Two ops on two devices with the transfer between them, some columns of it replaced."""
    given = problem([op("a", 1, output=2), op("b", 1, "a")], "cpu0 gpu0", [link("cpu gpu", 1)])
    good = schedule(given, {"a": ("cpu0", 0), "b": ("gpu0", 2)}, [("a", "cpu0", "gpu0", 1, 2, 2)])
    assert check(given, good) == ()
    moves = replace(good.transfers, **{k: np.array([v]) for k, v in columns.items()})
    return given, replace(good, transfers=moves)


@pytest.mark.parametrize(
    "columns",
    [
        {"op": -1}, {"op": 2}, {"source": -1}, {"source": 2}, {"target": -1}, {"target": 2},
        {"start": np.nan}, {"start": -np.inf}, {"end": np.inf}, {"end": np.nan},
    ],
)  # fmt: skip
def test_a_transfer_of_nothing_is_named_and_nothing_else_is_looked_at(
    columns: dict[str, float],
) -> None:
    given, broken = pair_with(**columns)
    assert [str(item) for item in check(given, broken)] == [
        "transfer: transfer 0 has an unknown op or device, or no time"
    ]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_schedule_of_other_ops_is_only_that(count: int) -> None:
    given, _ = pair_with()
    times = np.zeros(count)
    none = Transfers.from_rows([])
    answer = Schedule(np.zeros(count, dtype=np.int64), times, times, none)
    assert [str(item) for item in check(given, answer)] == [
        f"placement: the schedule has {count} ops, the problem has 2"
    ]


@pytest.mark.parametrize("device", [-1, 1])
def test_an_op_on_no_device_of_a_single_one(device: int) -> None:
    given = problem([op("a", 1)], "cpu0")
    nowhere = Schedule(np.array([device]), np.zeros(1), np.ones(1), Transfers.from_rows([]))
    assert [str(item) for item in check(given, nowhere)] == ["placement: m/a is on no device"]


def test_an_op_without_a_time_in_the_schedule() -> None:
    given = problem([op("a", 1)], "cpu0")
    for start, end in ((np.nan, 1.0), (0.0, np.inf)):
        answer = Schedule(
            np.zeros(1, dtype=np.int64), np.array([start]), np.array([end]), Transfers.from_rows([])
        )
        assert {item.rule for item in check(given, answer)} == {"duration"}


# ---- short activities at late times --------------------------------------------------------

#: At this time floats are STEP apart; activities take eight steps, so two may be lost to rounding.
LATE, STEP = 2.0**30, 2.0**-22
SHORT = 8 * STEP


@pytest.mark.parametrize(("early", "fits"), [(2, True), (3, False)])
def test_a_short_op_is_waited_for_at_late_times(early: int, fits: bool) -> None:
    given = problem([op("a", SHORT), op("b", SHORT, "a")], "cpu0 gpu0", release={"m": LATE})
    ops = {"a": ("cpu0", LATE), "b": ("cpu0", LATE + SHORT - early * STEP)}
    found = check(given, schedule(given, ops))
    assert ({item.rule for item in found} == set()) == fits


@pytest.mark.parametrize(("early", "fits"), [(2, True), (3, False)])
def test_a_short_transfer_waits_for_its_tensor_at_late_times(early: int, fits: bool) -> None:
    given = problem(
        [op("a", SHORT, output=8), op("b", SHORT, "a")],
        "cpu0 gpu0",
        [link("cpu gpu", 0, 1 / STEP)],
        release={"m": LATE},
    )
    there = LATE + SHORT - early * STEP
    moves = [("a", "cpu0", "gpu0", there, there + SHORT, 8)]
    answer = schedule(given, {"a": ("cpu0", LATE), "b": ("gpu0", there + SHORT)}, moves)
    assert ({item.rule for item in check(given, answer)} == set()) == fits


def test_who_holds_a_slot_is_named_and_nobody_else() -> None:
    """Not what ended at that moment, and not what moves elsewhere."""
    given = problem(
        [op("o", 1), op("a", 1, output=2), op("b", 1), op("c", 1, "a")],
        [device("cpu0", copy_engine=False), device("gpu0"), device("gpu1")],
        [link("cpu gpu", 1), link("gpu gpu", 1)],
    )
    ops = {"o": ("cpu0", 0), "b": ("cpu0", 1), "a": ("gpu0", 0), "c": ("gpu1", 2)}
    moves: list[Move] = [("a", "gpu0", "gpu1", 1, 2, 2)]
    assert complaints(given, ops, moves) == {}
    found = complaints(given, ops | {"b": ("cpu0", 0.5)}, moves)
    assert found == {"slots": "cpu0 has 1 slot(s), 2 are in use at 0.5 (m/o, m/b)"}
