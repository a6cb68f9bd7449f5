"""Budgets: whichever end comes first, and compiling in nobody's time."""

from __future__ import annotations

import math
import threading

import pytest

from talos_opt.solvers.engine.budget import Budget, Clock


class Hands:
    """A raw clock that the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_the_first_of_all_ends_counts() -> None:
    hands, cancel, found = Hands(), threading.Event(), []
    whole = Budget(Clock(hands), 110.0, (cancel.is_set,))
    part = whole.within(4, lambda: len(found) >= 2)
    longer = part.within(60)
    assert (whole.remaining, part.remaining, longer.remaining) == (10, 4, 4)
    found += [1, 2]
    assert (whole.spent, part.spent, longer.spent) == (False, True, True)
    assert (whole.remaining, part.remaining) == (10, 0)
    found.clear()
    hands.now += 4
    assert (whole.spent, part.spent, longer.spent) == (False, True, True)
    cancel.set()
    assert whole.spent
    assert whole.within(1).spent


def test_without_an_end_it_goes_on() -> None:
    hands = Hands()
    endless = Budget(Clock(hands))
    hands.now += 1e9
    assert not endless.spent
    assert endless.within().remaining == math.inf


def test_what_is_over_may_be_overrun() -> None:
    hands = Hands()
    budget = Budget(Clock(hands)).within(1)
    hands.now += 1.4
    assert (budget.is_over_by(0), budget.is_over_by(0.5)) == (True, False)
    hands.now += 0.1
    assert budget.is_over_by(0.5)


def test_compiling_costs_no_budget_of_the_stack_anything() -> None:
    """16 s inside a share of 3 s cost the share all that it had, and the whole some of it."""
    hands = Hands()
    clock = Clock(hands)
    whole = Budget(clock).within(10)
    stage = whole.within(3)
    step = stage.within(1)
    hands.now += 0.5
    with clock.hold():
        hands.now += 16
        assert (whole.remaining, stage.remaining, step.remaining) == (9.5, 2.5, 0.5)
    assert (whole.remaining, stage.remaining, step.remaining) == (9.5, 2.5, 0.5)
    assert clock.held == 16
    hands.now += 0.5
    assert (whole.spent, stage.spent, step.spent) == (False, False, True)


def test_a_clock_is_held_no_longer_than_allowed() -> None:
    hands = Hands()
    clock = Clock(hands, most_held=20)
    budget = Budget(clock).within(10)
    with clock.hold():
        hands.now += 19
        assert not clock.exhausted
    with clock.hold():
        hands.now += 5
        assert clock.exhausted
        assert budget.remaining == 6
        hands.now += 6
        assert budget.spent
    assert clock.held == 20


def test_holds_at_the_same_time_count_once() -> None:
    hands = Hands()
    clock = Clock(hands)
    with clock.hold():
        hands.now += 1
        with clock.hold():
            hands.now += 1
        hands.now += 1
    assert (clock.held, clock()) == (3, 100)


@pytest.mark.parametrize("threads", [2, 8])
def test_a_clock_never_goes_back_whoever_holds_it(threads: int) -> None:
    clock, failures = Clock(), []
    stop = threading.Event()

    def watch() -> None:
        last = clock()
        while not stop.is_set():
            now = clock()
            if now < last:
                failures.append((last, now))
            last = now

    def hold() -> None:
        while not stop.is_set():
            with clock.hold():
                stop.wait(0.0005)

    workers = [threading.Thread(target=hold) for _ in range(threads)]
    workers.append(threading.Thread(target=watch))
    for worker in workers:
        worker.start()
    stop.wait(0.3)
    stop.set()
    for worker in workers:
        worker.join()
    assert failures == []
