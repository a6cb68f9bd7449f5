"""Packing: which ops merge, that packs stay convex, and that their members stay together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from talos_opt.analysis.packing import packing_speedups
from talos_opt.core.feasibility import check
from talos_opt.core.problem import Problem
from talos_opt.core.result import Status
from talos_opt.solvers.shared.packing import Packed, pack
from tests.builders import device, fig1, op, problem
from tests.solvers.running import run_solver
from tests.strategies import large_problems


def chain(*times: tuple[float, float], **each: int) -> Problem:
    """A chain of ops with (cpu, gpu) times."""
    return problem(
        [
            op(f"op{i}", {"cpu": cpu, "gpu": gpu}, f"op{i - 1}" if i else "", **each)
            for i, (cpu, gpu) in enumerate(times)
        ]
    )


def packs(packed: Packed) -> list[tuple[int, ...]]:
    return sorted(packed.packs)


# ---- the rule ------------------------------------------------------------------------------


def test_similar_speedups_merge() -> None:
    line = chain((4, 2), (4, 1), (4, 4), (4, 4.5))  # speedups 2, 4, 1, 0.89
    assert packs(pack(line, 0.5, 2.0, 100)) == [(0, 1, 2), (3,)]
    assert packs(pack(line, 0.6, 2.0, 100)) == [(0, 1), (2, 3)]
    assert packs(pack(line, 0.5, 1.9, 100)) == [(0,), (1,), (2, 3)]
    assert packs(pack(line, 1.0, 1.0, 100)) == [(0,), (1,), (2,), (3,)]


def test_the_speedup_is_held_against_the_first_op_not_the_last() -> None:
    drift = chain((4, 4), (4, 2.5), (4, 1.5))  # 1, 1.6, 2.67: each within twice the one before
    assert packs(pack(drift, 0.5, 2.0, 100)) == [(0, 1), (2,)]


def test_tv_limits_the_time_on_the_reference() -> None:
    line = chain((3, 3), (3, 3), (3, 3))
    assert packs(pack(line, 0.5, 2.0, 9)) == [(0, 1, 2)]
    assert packs(pack(line, 0.5, 2.0, 8.9)) == [(0, 1), (2,)]
    assert packs(pack(line, 0.5, 2.0, 5)) == [(0,), (1,), (2,)]


def test_only_ops_for_the_same_devices_slots_and_group_merge() -> None:
    def merged(*ops: object) -> bool:
        built = problem(list(ops), [device("cpu0", slots=2), device("gpu0")])  # type: ignore[arg-type]
        return len(pack(built, 0.5, 2.0, 100).packs) == 1

    assert merged(op("a", 1), op("b", 1, "a"))
    assert not merged(op("a", {"cpu": 1}), op("b", 1, "a"))
    assert not merged(op("a", 1, devices="gpu0"), op("b", 1, "a"))
    assert not merged(op("a", {"cpu": 1}), op("b", {"cpu": 1}, "a", slots=2))
    assert not merged(op("a", 1, colocate="g"), op("b", 1, "a"))
    assert merged(op("a", 1, colocate="g"), op("b", 1, "a", colocate="g"))


def test_a_pack_fits_into_some_device() -> None:
    ops = [op(f"op{i}", 1, f"op{i - 1}" if i else "", weights=3) for i in range(4)]
    tight = problem(ops, [device("cpu0", 6), device("gpu0", 7)])
    assert packs(pack(tight, 0.5, 2.0, 100)) == [(0, 1), (2, 3)]
    work = [op(f"op{i}", 1, f"op{i - 1}" if i else "", workspace=5, output=1) for i in range(4)]
    assert packs(pack(problem(work, [device("cpu0", 7)]), 0.5, 2.0, 100)) == [(0, 1), (2, 3)]


def test_speedups_are_those_of_the_best_other_kind() -> None:
    mixed = problem(
        [op("a", {"cpu": 6, "gpu": 3, "npu": 2}), op("b", {"cpu": 6}), op("c", {"gpu": 2})],
        "cpu0 gpu0 npu0",
    )
    assert packing_speedups(mixed).tolist() == [3, 1, 1]


# ---- convexity -----------------------------------------------------------------------------


def test_a_diamond_does_not_close_around_an_op_outside() -> None:
    """a -> b -> d and a -> d, where b is unlike the others: a and d must not merge."""
    diamond = problem(
        [
            op("a", {"cpu": 2, "gpu": 1}),
            op("b", {"cpu": 1, "gpu": 9}, "a"),
            op("d", {"cpu": 2, "gpu": 1}, "a b"),
        ]
    )
    assert packs(pack(diamond, 0.5, 2.0, 100)) == [(0,), (1,), (2,)]


@given(large_problems(max_ops=40), st.sampled_from([2.0, 6.0, 50.0]))
def test_packs_are_convex_and_keep_the_rule(drawn: Problem, tv: float) -> None:
    packed = pack(drawn, 0.5, 2.0, tv)
    arrays = drawn.arrays
    assert sorted(i for members in packed.packs for i in members) == list(range(arrays.op_count))
    after = descendants(drawn)
    position = {i: k for k, i in enumerate(arrays.order.tolist())}
    speedup = packing_speedups(drawn)
    alone = arrays.time[:, drawn.reference_device]
    alone = np.where(np.isfinite(alone), alone, arrays.time.min(axis=1))
    for members in packed.packs:
        inside = set(members)
        assert list(members) == sorted(members, key=position.__getitem__)
        for i in range(arrays.op_count):
            if i not in inside:  # no path leaves a pack and comes back
                assert not (after[i] & inside and any(i in after[k] for k in inside))
        if len(members) > 1:
            assert alone[list(members)].sum() <= tv + 1e-9
            ratio = speedup[list(members)] / speedup[members[0]]
            assert (ratio >= 0.5).all()
            assert (ratio <= 2.0).all()


def descendants(drawn: Problem) -> list[set[int]]:
    arrays = drawn.arrays
    after: list[set[int]] = [set() for _ in range(arrays.op_count)]
    for i in reversed(arrays.order.tolist()):
        for k in arrays.edge_dst[arrays.out_ptr[i] : arrays.out_ptr[i + 1]].tolist():
            after[i] |= {k} | after[k]
    return after


@given(large_problems(max_ops=40, edge_bytes=False))
def test_nothing_gets_lost_in_packing(drawn: Problem) -> None:
    arrays, packed = drawn.arrays, pack(drawn, 0.5, 2.0, 6.0)
    smaller = packed.problem.arrays
    for k, members in enumerate(packed.packs):
        group = list(members)
        assert smaller.time[k] == pytest.approx(arrays.time[group].sum(axis=0))
        assert smaller.weights[k] == arrays.weights[group].sum()
        assert smaller.output[k] == arrays.output[group].sum()
        assert smaller.workspace[k] == arrays.workspace[group].max()
        assert set(smaller.model[[k]]) == set(arrays.model[group])
    home = {i: k for k, members in enumerate(packed.packs) for i in members}
    crossing = {
        (home[a], home[b])
        for a, b in zip(arrays.edge_src.tolist(), arrays.edge_dst.tolist(), strict=True)
        if home[a] != home[b]
    }
    kept = set(zip(smaller.edge_src.tolist(), smaller.edge_dst.tolist(), strict=True))
    assert kept == crossing


def test_the_bytes_between_packs_are_those_of_all_tensors() -> None:
    """Two ops of a pack feed one op outside; one of them feeds two, which counts once."""
    ops = [
        op("a", 1, output=3),
        op("b", 1, "a", output=5),
        op("c", {"cpu": 1, "gpu": 9}, "a b"),
        op("d", {"cpu": 1, "gpu": 9}, "b c"),
    ]
    packed = pack(problem(ops), 0.5, 2.0, 100)
    assert packs(packed) == [(0, 1), (2, 3)]
    assert packed.problem.arrays.edge_bytes.tolist() == [8]


# ---- as an option of talos -----------------------------------------------------------------


def test_tv_zero_packs_nothing() -> None:
    plain, off = (run_solver("talos", fig1(), **options)[0] for options in ({}, {"tv": 0.0}))
    assert plain.value == off.value == 9


def test_packed_it_places_packs_as_a_whole() -> None:
    line = chain((4, 2), (4, 1), (4, 4), (4, 4.5))
    run, _ = run_solver("talos", line, tv=100.0, sv_low=0.6)
    assert run.best is not None
    device_of = run.best.device.tolist()
    assert device_of[0] == device_of[1]
    assert device_of[2] == device_of[3]


@given(large_problems(max_ops=40, slots=False, zero_times=False), st.sampled_from([3.0, 12.0]))
def test_members_stand_back_to_back(drawn: Problem, tv: float) -> None:
    """On a device of one slot nothing else runs between two members of a pack."""
    run, verdict = run_solver("talos", drawn, tv=tv)
    if run.best is None:
        assert verdict.status is Status.UNKNOWN
        assert verdict.reason
    assume(run.best is not None)
    assert check(drawn, run.best) == ()
    order = np.argsort(run.best.start, kind="stable")
    for members in pack(drawn, 0.5, 2.0, tv).packs:
        here = run.best.device[members[0]]
        assert set(run.best.device[list(members)].tolist()) == {here}
        queue = [int(i) for i in order if run.best.device[i] == here]
        first = min(queue.index(i) for i in members)
        assert queue[first : first + len(members)] == list(members)
