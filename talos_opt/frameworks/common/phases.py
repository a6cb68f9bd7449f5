"""Which ops of a training step run forwards, and which belong to its gradients and updates."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

Node = TypeVar("Node")


def find_phases(
    reads: Mapping[Node, Collection[Node]], results: Iterable[Node], updates: Collection[Node]
) -> dict[Node, str]:
    """Return the phase of every op of a training step.

    Forward is whatever the loss, the outputs of the model or its new buffers come from; update is
    what writes a new value of a weight; backward is the rest.

    Parameters
    ----------
    reads : mapping of op to collection of op
        Ops whose tensors each one reads.
    results : iterable of op
        Those that make the loss, outputs and new buffers; others than ops are left out.
    updates : collection of op
    """
    forward: set[Node] = set()
    left = [op for op in results if op in reads]
    while left:
        op = left.pop()
        if op not in forward:
            forward.add(op)
            left += [other for other in reads[op] if other in reads]
    return {
        op: "forward" if op in forward else "update" if op in updates else "backward"
        for op in reads
    }
