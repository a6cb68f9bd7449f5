"""`check` under every shift and scale: what is feasible stays so, what is broken stays broken."""

from __future__ import annotations

import functools
import random
from dataclasses import replace

import numpy as np
import pytest

from talos_opt.core.feasibility import check
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule, Transfers
from talos_opt.testing.awkward import awkward, has_enough_digits
from talos_opt.testing.drawing import draw_problem
from tests.builders import device, op, problem, schedule
from tests.mutations import mutate, relax
from tests.naive import best_schedule, naive_check
from tests.reference.changes import FACTORS, POWERS, SHIFTS, moved, room_for_digits, scaled, shifted

#: Factor of all times, then what all releases are put off by.
MOVES = [
    *((1.0, by) for by in SHIFTS),
    *((2.0**power, 0.0) for power in POWERS),
    *((factor, 0.0) for factor in FACTORS),
    (2.0**-20, 1e3),
    (1e9, 1_764_153_000_000_000.0),
]


@functools.cache
def cases() -> tuple[tuple[Problem, tuple[Schedule, ...]], ...]:
    """Problems with optimal schedules, single mutations of them, and what ignores some limits."""
    found = []
    for seed in range(60):
        rng = random.Random(seed)
        given = draw_problem(rng, rng.choice((2, 3, 4)))
        if given is None:
            continue
        best, loose = best_schedule(given), best_schedule(relax(given, rng))
        answers = [answer for answer in (best, loose) if answer is not None]
        if best is not None:
            answers += [mutate(best, given, rng) for _ in range(12)]
        found.append((given, tuple(answers)))
    return tuple(found)


def rules(given: Problem, answer: Schedule) -> set[str]:
    """Rules that `check` says are broken."""
    return {item.rule for item in check(given, answer)}


def naive_rules(given: Problem, answer: Schedule) -> set[str]:
    """Rules that the independent checker says are broken."""
    return {line.split(":")[0] for line in naive_check(given, answer)}


def agree(given: Problem, answer: Schedule) -> bool:
    """Whether both checkers see the same."""
    found, naive = rules(given, answer), naive_rules(given, answer)
    if "placement" in found:  # nothing else is looked at; an op too large for its device is one
        return bool(naive & {"placement", "memory"})
    if "transfer" in found:  # how much memory a transfer fills that should not be is open
        return found - {"memory"} == naive - {"memory"}
    return found == naive


def test_there_are_both_kinds_and_every_rule_is_broken() -> None:
    broken = [naive_rules(given, answer) for given, answers in cases() for answer in answers]
    assert sum(not found for found in broken) > 40
    assert set.union(*broken) == {
        "placement", "duration", "release", "transfer", "precedence", "slots", "link", "memory",
    }  # fmt: skip


@pytest.mark.parametrize(("factor", "by"), MOVES)
def test_the_rules_broken_are_the_same_under_shift_and_scale(factor: float, by: float) -> None:
    for given, answers in cases():
        grown = scaled(given, factor)
        power = 2.0 ** room_for_digits(grown, by)
        changed = shifted(scaled(grown, power), by)
        for answer in answers:
            first = rules(given, answer)
            assert agree(given, answer)
            there = moved(moved(answer, factor, 0.0), power, by)
            assert rules(changed, there) == first


@pytest.mark.parametrize("seed", range(40))
def test_awkward_schedules_are_judged_as_an_independent_checker_does(seed: int) -> None:
    """Optimal ones are accepted; single changes by a part of an op's length are judged alike."""
    rng = random.Random(seed)
    drawn = draw_problem(rng, rng.choice((2, 3, 4)))
    given = None if drawn is None else awkward(drawn, rng)
    if given is None or not has_enough_digits(given):
        return
    best = best_schedule(given)
    if best is None:
        return
    assert naive_check(given, best) == []
    assert check(given, best) == ()
    for _ in range(20):
        bad = shaken(best, rng)
        assert agree(given, bad)


def shaken(answer: Schedule, rng: random.Random) -> Schedule:
    """Move an op or a transfer, or an end of one, by a part of its own length."""
    share = rng.choice((-1.0, -0.5, -0.01, 0.01, 0.5, 1.0))
    begin, finish = rng.choice(((1, 1), (1, 0), (0, 1)))
    rows = list(answer.transfers.rows())
    if rows and rng.random() < 0.5:
        k = rng.randrange(len(rows))
        step = share * (rows[k].end - rows[k].start)
        rows[k] = rows[k]._replace(
            start=rows[k].start + begin * step, end=rows[k].end + finish * step
        )
        return replace(answer, transfers=Transfers.from_rows(rows))
    i = rng.randrange(len(answer.start))
    step = share * (answer.end[i] - answer.start[i])
    start, end = answer.start.copy(), answer.end.copy()
    start[i] += begin * step
    end[i] += finish * step
    return replace(answer, start=start, end=end)


# ---- by hand -------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", [1e-9, 1e-6, 1.0, 1e6])
def test_ops_at_once_on_one_slot_are_seen_at_every_scale(unit: float) -> None:
    ops = [op(name, unit) for name in "abcde"]
    given = problem(ops, "gpu0")
    at_once = schedule(given, dict.fromkeys("abcde", ("gpu0", 0.0)))
    assert {item.rule for item in check(given, at_once)} == {"slots"}
    in_turn = schedule(given, {name: ("gpu0", k * unit) for k, name in enumerate("abcde")})
    assert check(given, in_turn) == ()


def test_short_ops_at_once_are_seen_beside_an_op_of_a_day() -> None:
    kernels = [op(name, 80e-6) for name in "abcde"]
    given = problem([*kernels, op("day", 86_400.0)], "gpu0 gpu1")
    where = dict.fromkeys("abcde", ("gpu0", 0.0)) | {"day": ("gpu1", 0.0)}
    assert {item.rule for item in check(given, schedule(given, where))} == {"slots"}


@pytest.mark.parametrize("release", [0.0, *SHIFTS])
def test_an_op_beside_its_own_input_is_seen_however_late(release: float) -> None:
    given = problem(
        {"m": [op("a", 100.0), op("b", 100.0, "a")]},
        [device("cpu0", slots=2), device("gpu0")],
        release={"m": release},
    )
    beside = schedule(given, {"a": ("cpu0", release), "b": ("cpu0", release)})
    assert {item.rule for item in check(given, beside)} == {"precedence"}
    behind = schedule(given, {"a": ("cpu0", release), "b": ("cpu0", release + 100)})
    assert check(given, behind) == ()
    early = schedule(given, {"a": ("cpu0", release - 50), "b": ("cpu0", release + 100)})
    assert {item.rule for item in check(given, early)} == {"release"}


def test_rounding_breaks_no_rule() -> None:
    """A tenth, three times, is not three tenths; a chain of such sums is still feasible."""
    count = 200
    ops = [op("a0", 0.1)] + [op(f"a{k}", 0.1, f"a{k - 1}") for k in range(1, count)]
    for release in (0.0, 1_764_153_000.1):
        given = problem({"m": ops}, "gpu0", release={"m": release})
        starts = [release]
        for _ in range(count - 1):
            starts.append(starts[-1] + 0.1)
        answer = schedule(given, {f"a{k}": ("gpu0", start) for k, start in enumerate(starts)})
        assert check(given, answer) == ()
        exact = np.array([release + k * 0.1 for k in range(count)])
        once = replace(answer, start=exact, end=exact + 0.1)
        assert check(given, once) == ()
