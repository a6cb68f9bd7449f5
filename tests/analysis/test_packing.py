"""Ops left after packing, by hand and against a slow twin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.analysis.packing import (
    PAPER,
    pack_owners,
    packing_speedups,
    packing_table,
    paper_settings,
)
from talos_opt.core.problem import Problem
from talos_opt.solvers.shared.packing import pack
from tests import builders, strategies
from tests.builders import op


def test_by_hand() -> None:
    problem = builders.problem(
        {
            "m": [
                op("a", {"cpu": 4, "gpu": 2}),
                op("b", {"cpu": 3, "gpu": 1}, "a"),  # 1.5 times a's speedup
                op("c", {"cpu": 1, "gpu": 2}, "b"),  # a quarter of it
            ],
            "n": [op("d", {"cpu": 4, "gpu": 2})],
        }
    )
    assert pack_owners(problem, 0.5, 2, 7).tolist() == [0, 0, 2, 3]
    rows = packing_table(problem, [(0.5, 2, 7), (0.5, 2, 6), (0.25, 4, 8), (0.8, 1.25, 8)])
    assert [row.left for row in rows] == [(2, 1), (3, 1), (1, 1), (3, 1)]
    assert (rows[1].sv_low, rows[1].sv_high, rows[1].tv) == (0.5, 2, 6)


def test_progress_names_each_setting() -> None:
    seen: list[tuple[float, float, float]] = []
    settings = paper_settings("us")
    packing_table(builders.fig1(), settings, progress=seen.append)
    assert seen == list(settings)
    assert [tv for _, _, tv in settings] == [1000 * tv for _, _, tv in PAPER]


def slow_owners(problem: Problem, low: float, high: float, tv: float) -> list[int]:
    """The same rule with a list of members for each pack, looked at anew for each op."""
    arrays, speedup = problem.arrays, packing_speedups(problem)
    time = arrays.time[:, problem.reference_device]
    time = np.where(np.isfinite(time), time, arrays.time.min(axis=1))
    edges = list(zip(arrays.edge_src.tolist(), arrays.edge_dst.tolist(), strict=True))
    owner = list(range(arrays.op_count))
    for i in arrays.order.tolist():
        into = sorted({owner[a] for a, b in edges if b == i})
        for home in into:
            pack_ = [k for k, own in enumerate(owner) if own == home]
            out = [b for a, b in edges if a in pack_ and b not in pack_]
            alone = len(into) == 1 or out == [i] * len(out)
            similar = low * speedup[home] <= speedup[i] <= high * speedup[home]
            short = sum(time[k] for k in pack_) + time[i] <= tv
            if alone and similar and short and may_join(problem, pack_, i):
                owner[i] = home
                break
    return owner


def may_join(problem: Problem, pack_: list[int], i: int) -> bool:
    arrays, first = problem.arrays, pack_[0]
    homes, both = np.isfinite(arrays.time[first]), [*pack_, i]
    need = (arrays.weights[both] + arrays.output[both]).sum() + arrays.workspace[both].max()
    return bool(
        problem.ops[first].colocate == problem.ops[i].colocate
        and arrays.demand[first] == arrays.demand[i]
        and np.array_equal(homes, np.isfinite(arrays.time[i]))
        and need <= arrays.capacity[homes].max()
    )


@given(
    strategies.problems(max_ops=9),
    st.sampled_from([(0.5, 2.0), (0.01, 100.0), (1.0, 1.0)]),
    # No sum of times is near these: both codes add up in their own order.
    st.sampled_from([0.53, 3.07, 10.11, 1e9]),
)
def test_against_its_slow_twin_and_the_solver(
    problem: Problem, range_: tuple[float, float], tv: float
) -> None:
    owners = pack_owners(problem, *range_, tv)
    assert owners.tolist() == slow_owners(problem, *range_, tv)
    packed = pack(problem, *range_, tv)
    (row,) = packing_table(problem, [(*range_, tv)])
    assert row.left == tuple(len(model.ops) for model in packed.problem.graph.models)


@pytest.mark.parametrize("name", ["a", "b"])
def test_groups_and_pins_keep_ops_apart(name: str) -> None:
    ops = [op("a"), op("b", inputs="a")]
    apart = [
        op(item.id, inputs=" ".join(edge.op for edge in item.inputs), devices="cpu")
        if item.id == name
        else item
        for item in ops
    ]
    assert len(set(pack_owners(builders.problem(ops), 0.5, 2, 9).tolist())) == 1
    assert len(set(pack_owners(builders.problem(apart), 0.5, 2, 9).tolist())) == 2
