"""Depth-first order against recursion (longest paths: see tests/solvers/test_large.py)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from talos_opt.core.problem import Problem
from talos_opt.kernels.graphs import depth_first_order
from talos_opt.testing.reference.flat import Flat
from tests.strategies import large_problems, problems


def follow_readers(problem: Problem, sources: list[int]) -> list[int]:
    """Visit ops from their sources, each as soon as the last of its inputs has been."""
    flat = Flat(problem)
    edges = flat.edges
    found: list[int] = []

    def visit(op: int) -> None:
        found.append(op)
        # By tensor, then by number; an op that reads several tensors of another comes once.
        readers = [r for t, r, _ in sorted(flat.reads) if flat.tensors[t][0] == op]
        ready = [
            reader
            for reader in dict.fromkeys(readers)
            if all(a in found for a, b, _ in edges if b == reader)
        ]
        for reader in ready:
            visit(reader)

    for source in sources:
        visit(source)
    return found


@given(st.one_of(problems(max_ops=8), large_problems(max_ops=40)))
def test_depth_first_order_is_that_of_recursion(problem: Problem) -> None:
    arrays = problem.arrays
    order = depth_first_order(arrays.order, arrays.out_ptr, arrays.edge_dst, arrays.in_ptr)
    read = {reader for _, reader, _ in Flat(problem).edges}
    sources = [op for op in arrays.order.tolist() if op not in read]
    assert order.tolist() == follow_readers(problem, sources)
