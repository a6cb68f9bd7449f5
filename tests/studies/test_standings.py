"""What a portfolio takes as known: only what the checker lets through."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos_opt import api
from talos_opt.core.errors import InfeasibleScheduleError, RefutedProofError
from talos_opt.core.metrics import objective_value
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.formats.graph_writer import document_of
from talos_opt.studies.chains import relaxes
from talos_opt.studies.portfolios.news import News, pack_schedule, unpack_schedule
from talos_opt.studies.portfolios.standings import Standings
from talos_opt.testing.reference.brute import best_schedule
from tests.cli.process import FIG1
from tests.strategies import problems


@pytest.fixture(scope="module")
def fig1() -> tuple[Problem, Schedule, Schedule]:
    """The problem, an optimal schedule, and one that is not."""
    problem = api.read(FIG1)
    best = api.solve(problem, "dp").schedule
    worse = api.solve(problem, "single").schedule
    assert best is not None
    assert worse is not None
    return problem, best, worse


def test_the_best_schedule_and_the_best_bound_are_combined(
    fig1: tuple[Problem, Schedule, Schedule],
) -> None:
    problem, best, worse = fig1
    known = Standings(problem)
    assert known.offer(worse, "a", 1.0)
    assert known.raise_bound(9.0, "b", 2.0)
    assert not known.proven
    assert not known.raise_bound(8.0, "c", 2.5)
    assert known.offer(unpack_schedule(pack_schedule(best)), "c", 3.0)
    assert not known.offer(worse, "a", 4.0)
    assert (known.value, known.bound, known.gap) == (9.0, 9.0, 0.0)
    assert known.proven
    assert [event.solver for event in known.history] == ["a", "b", "c"]


def test_claims_that_cannot_be_are_refused(fig1: tuple[Problem, Schedule, Schedule]) -> None:
    problem, best, worse = fig1
    known = Standings(problem)
    shifted = replace(best, start=np.asarray(best.start) * 0.5, end=np.asarray(best.end) * 0.5)
    with pytest.raises(InfeasibleScheduleError):
        known.offer(shifted, "a", 1.0)
    assert known.schedule is None
    known.offer(worse, "a", 1.0)
    with pytest.raises(RefutedProofError, match="after news of b"):
        known.raise_bound(1e3, "b", 2.0)
    with pytest.raises(RefutedProofError, match="but there is one"):
        known.refute("no memory", "b")
    other = Standings(problem)
    other.refute("no memory", "b")
    assert other.proven
    with pytest.raises(RefutedProofError, match="no memory"):
        other.offer(best, "a", 1.0)


def test_news_that_waits_is_one() -> None:
    assert News(3.0, b"a").then(News(2.0)) == News(3.0, b"a")
    assert News(3.0, b"a").then(News(4.0, b"b")) == News(4.0, b"b")


@given(problems(max_ops=4), st.sampled_from([2, 3, 10]), st.integers(0, 3))
def test_a_bound_for_more_memory_holds_for_less(drawn: Problem, factor: int, which: int) -> None:
    devices = list(drawn.cluster.devices)
    k = which % len(devices)
    memory = devices[k].memory
    devices[k] = replace(devices[k], memory=None if memory is None else memory * factor)
    wide = replace(drawn, cluster=replace(drawn.cluster, devices=tuple(devices)))
    assert relaxes(document_of(wide), document_of(drawn))
    assert relaxes(document_of(drawn), document_of(wide)) == (devices[k].memory == memory)
    most, least = best_schedule(drawn), best_schedule(wide)
    if most is not None:
        assert least is not None
        allowed = 1e-9 * abs(objective_value(drawn, most))
        assert objective_value(wide, least) <= objective_value(drawn, most) + allowed
