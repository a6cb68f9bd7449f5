"""Minimum cuts of moments against every set of ops that may have run before an op."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from hypothesis import given

from talos_opt.core.problem import Problem
from talos_opt.kernels.cuts import least_alive
from tests.strategies import problems


def alive_at_least(problem: Problem, op: int) -> int:
    """The least bytes over all sets of ops that may be done while an op runs."""
    arrays = problem.arrays
    edges = np.column_stack([arrays.edge_src, arrays.edge_dst, arrays.edge_tensor]).tolist()
    found = []
    for size in range(arrays.op_count):
        for done in map(set, combinations([i for i in range(arrays.op_count) if i != op], size)):
            if any(b in done and a not in done for a, b, _ in edges):
                continue
            if any(b == op and a not in done for a, b, _ in edges):
                continue
            tensors = {u for a, b, u in edges if a in done and b not in done}
            found.append(sum(int(arrays.tensor_size[u]) for u in tensors))
    return min(found)


@given(problems(max_ops=6))
def test_a_cut_is_the_least_over_all_sets(problem: Problem) -> None:
    arrays = problem.arrays
    inputs = arrays.in_ptr, arrays.edge_tensor[arrays.in_edge]
    readers = arrays.read_ptr, arrays.edge_dst, arrays.tensor_size[arrays.edge_tensor]
    for op in range(arrays.op_count):
        found = least_alive(op, inputs, arrays.tensor_op, arrays.tensor_ptr, readers)
        assert found == alive_at_least(problem, op)
