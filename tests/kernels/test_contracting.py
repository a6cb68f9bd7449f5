"""Merging by levels: what comes out has no cycle, keeps the limits, and is counted right."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from talos_opt.core.problem import Problem
from talos_opt.core.topology import build_topology
from talos_opt.kernels.contracting import gather
from talos_opt.solvers.coarse.coarsening import Caps, _singles
from tests.strategies import large_problems, problems


@given(
    st.one_of(problems(max_ops=8), large_problems(max_ops=40)),
    st.sampled_from([1, 3]),
    st.booleans(),
    st.booleans(),
)
def test_one_round(problem: Problem, packs: int, across: bool, reverse: bool) -> None:
    arrays = problem.arrays
    edges = (arrays.edge_src, arrays.edge_dst)[:: -1 if reverse else 1]
    graph = build_topology(arrays.op_count, *edges, arrays.edge_bytes)
    x = _singles(arrays, Caps(packs, memory=0.5))
    time, alone = x.time.copy(), x.busy.copy()
    most = float(x.busy.sum()) / packs
    limits = np.array([most, 2 * most, 1.5, across])
    producers = graph.edge_src[graph.in_edge]
    owner = gather(graph.order, graph.level, graph.in_ptr, producers, x, limits)
    assert np.array_equal(owner[owner], owner)
    source, target = owner[edges[0]], owner[edges[1]]
    keys = np.unique(np.stack([source, target])[:, source != target], axis=1)
    merged = build_topology(arrays.op_count, keys[0], keys[1], keys[0])
    assert len(merged.order) == arrays.op_count, "there is a cycle"
    for pack in np.unique(owner).tolist():
        members = np.flatnonzero(owner == pack)
        together = time[members].sum(axis=0)
        assert np.allclose(x.time[pack], together)
        assert len(set(x.kind[members].tolist())) == 1
        if len(members) > 1:
            assert together.min() <= most * (1 + 1e-9)
        if not across:
            assert len(set(arrays.group[members].tolist())) == 1
    roots = np.flatnonzero(x.root == np.arange(len(x.root)))
    assert np.isclose(x.busy[roots].sum(), alone.sum())
