"""Layers of labels against all partial schedules (`undominated`: see tests/solvers/test_dp.py)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from talos_opt.core.problem import Problem
from talos_opt.kernels.labels import extend_layer, undominated
from talos_opt.solvers.bounds.path_memory import PathMemory
from talos_opt.solvers.dp import solver as narrow
from talos_opt.solvers.dp.ideals import Ideal, IdealGraph
from tests.builders import op
from tests.builders import problem as build
from tests.reference.labels import Layout, Partials, Row, minimal
from tests.strategies import problems

#: Labels know neither liveness nor contention; all readers of a tensor name the same bytes.
KNOWN = {
    "outputs": False,
    "objectives": ("toct", "makespan"),
    "peak": False,
    "serial": False,
    "no_copy_engine": False,
    "edge_bytes": False,
}
few = st.one_of(
    problems(max_ops=3, **KNOWN),
    problems(max_ops=4, max_devices=2, **KNOWN),
    problems(min_ops=4, max_ops=4, max_devices=2, max_models=4, **KNOWN),
)
Layer = dict[frozenset[int], set[Row]]


def layers(problem: Problem, upper: float, limit: int = 10**6) -> list[tuple[Layer, float]]:
    """Rows of each ideal, layer by layer, and the least bound among them."""
    facts, graph = narrow.make_facts(problem, PathMemory(problem)), IdealGraph(problem.arrays)
    stop = np.zeros(1, dtype=np.bool_)
    layer = [graph.bottom]
    shape = narrow._shape(graph, layer)
    prices = narrow._priced_work(facts)
    work = np.bincount(facts.model, weights=prices, minlength=len(facts.weight))[None, :]
    rows, row_ptr = narrow._empty_label(facts), np.array([0, 1])
    found = []
    for _ in range(problem.arrays.op_count):
        following, into = graph.above(layer, 10**6)
        wider = narrow._shape(graph, following)
        work = narrow._work_left(facts, prices, work, into)
        steps = narrow._steps(graph, following, into, work)
        labels = extend_layer(rows, row_ptr, steps, shape, wider, facts, float(upper), limit, stop)
        if labels.row_ptr[0] < 0:
            break
        kept: Layer = {}
        for i, ideal in enumerate(following):
            table = labels.rows[labels.row_ptr[i] : labels.row_ptr[i + 1]]
            kept[ended(ideal)] = {in_order(row, ideal, graph, facts) for row in table.tolist()}
            assert len(kept[ended(ideal)]) == len(table), "of equal rows one is kept"
        assert labels.parent.max(initial=0) < max(1, len(rows))
        found.append((kept, float(labels.bound)))
        rows, row_ptr, layer, shape = labels.rows, labels.row_ptr, following, wider
        if len(rows) == 0:
            break
    return found


def ended(ideal: Ideal) -> frozenset[int]:
    return frozenset(i for i in range(ideal.members.bit_length()) if ideal.members >> i & 1)


def in_order(row: list[float], ideal: Ideal, graph: IdealGraph, facts: object) -> Row:
    """A row with its arrivals by the numbers of their ops, and without what pads it."""
    spread = len(facts.delay) > 0  # type: ignore[attr-defined]
    each = facts.time.shape[1] if spread else 1  # type: ignore[attr-defined]
    first = 2 + int(facts.slot_ptr[-1])  # type: ignore[attr-defined]
    parts = {op: row[first + k * each : first + (k + 1) * each] for k, op in enumerate(ideal.front)}
    after = first + each * len(ideal.front)
    rest = len(graph.open_sinks(ideal)) + len(graph.open_groups(ideal))
    rest += 2 * len(facts.capacity)  # type: ignore[attr-defined]
    arrivals = [x for op in sorted(parts) for x in parts[op]]
    return (*row[:first], *arrivals, *row[after : after + rest])


def all_partials(problem: Problem) -> Partials | None:
    """None where some group can go nowhere: the solver says so before it looks at labels."""
    if not problem.arrays.allowed.any(axis=1).all():
        return None
    facts = narrow.make_facts(problem, PathMemory(problem))
    limited = np.flatnonzero(facts.limited >= 0).tolist()
    return Partials(problem, Layout(facts.instant, len(facts.delay) > 0, limited))


@given(few)
def test_labels_are_the_minimal_rows_of_all_partial_schedules(problem: Problem) -> None:
    assume(problem.arrays.allowed.any(axis=1).all())
    check_layers(problem)


@pytest.mark.parametrize("objective", ["toct", "makespan"])
def test_labels_of_more_open_models_than_the_bound_puts_in_order(objective: str) -> None:
    models = {f"m{j}": [op("a", {"cpu": 1 + j % 3, "gpu": 2.5 - j % 2})] for j in range(5)}
    check_layers(build(models, objective=objective, weight={"m3": 3.0}))


def check_layers(problem: Problem) -> None:
    partials = all_partials(problem)
    assert partials is not None
    for kept, bound in layers(problem, math.inf):
        least = math.inf
        for members, rows in kept.items():
            known = partials.best.get(members, {})
            assert rows <= set(known), "no partial schedule leaves that behind"
            # Rows that nothing completes may be dropped; they undercut none that can be completed.
            # Where a tensor cannot go, rows hold infinities, and some are kept in vain.
            expected = minimal(list(known), len(partials.open_groups(members)))
            assert {row for row in rows if max(row) < math.inf} <= expected
            assert {row for row in expected if known[row] < math.inf} <= rows
            least = min([least, *(known[row] for row in rows)])
        assert bound <= least * (1 + 1e-12)


@given(few, st.floats(0.7, 1.6))
def test_no_label_is_dropped_that_can_end_below_the_cut_off(problem: Problem, share: float) -> None:
    partials = all_partials(problem)
    assume(partials is not None)
    everything = frozenset(range(partials.count))
    optimum = min(partials.best.get(everything, {}).values(), default=math.inf)
    upper = 10.0 if optimum == math.inf else optimum * share
    found = layers(problem, upper)
    for kept, _ in found:
        for members, rows in kept.items():
            known = partials.best.get(members, {})
            expected = minimal(list(known), len(partials.open_groups(members)))
            slack = 1e-9 * upper
            assert {row for row in expected if known[row] < upper - slack} <= rows
    if optimum < upper * (1 - 1e-9):
        rows = found[-1][0][everything]
        assert min(row[0] for row in rows) == optimum
    elif len(found) == partials.count:
        assert not any(found[-1][0].values()), "nothing ends below the optimum"


@given(few, st.integers(1, 5))
def test_a_layer_with_too_many_labels_is_given_up(problem: Problem, limit: int) -> None:
    assume(all_partials(problem) is not None)
    sizes = [sum(map(len, kept.values())) for kept, _ in layers(problem, math.inf)]
    found = [sum(map(len, kept.values())) for kept, _ in layers(problem, math.inf, limit)]
    within = next((k for k, size in enumerate(sizes) if size > limit), len(sizes))
    assert found == sizes[:within]


def test_rows_with_infinite_entries_are_compared_both_ways() -> None:
    """A tensor that cannot be sent to some device arrives there at infinity."""
    rows = np.array([[math.inf, 2.0], [math.inf, 1.0]])
    assert undominated(rows, 2, 2, 0, np.zeros(1, dtype=np.bool_)).tolist() == [1]
