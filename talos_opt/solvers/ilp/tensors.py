"""What may have to travel, and what a group keeps: facts that hold for every placement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from talos_opt.core.problem import Bools, Problem
from talos_opt.solvers.shared.tensors import tensors


@dataclass(frozen=True)
class Tensor:
    """An output of an op that ops of other groups read.

    Parameters
    ----------
    number : int
        Position in `Arrays.tensor_op`.
    op : int
        Producer.
    group : int
        The producer's colocation group.
    sizes : tuple of int
        The distinct bytes that readers name, ascending. A tensor travels in layers: layer k holds
        what a reader of ``sizes[k]`` needs beyond ``sizes[k - 1]``, since the largest size that a
        reader on the destination names is what is sent.
    readers : tuple of (int, int)
        Group of each reader and the layer of its size; the largest where a group reads it twice.
    """

    number: int
    op: int
    group: int
    sizes: tuple[int, ...]
    readers: tuple[tuple[int, int], ...]


def tensors_of(problem: Problem) -> list[Tensor]:
    """Return the tensors that may have to travel."""
    arrays = problem.arrays
    home = arrays.group.tolist()
    same_time = not (arrays.per_byte > 0).any()
    found = []
    for tensor in tensors(problem):
        by_group: dict[int, int] = {}
        for reader, size in tensor.readers.items():
            by_group[home[reader]] = max(by_group.get(home[reader], 0), size)
        sizes = tuple(sorted(set(by_group.values())))
        if same_time:  # one layer will do: no link tells sizes apart
            sizes = sizes[-1:]
        readers = tuple(
            (group, 0 if same_time else sizes.index(size)) for group, size in by_group.items()
        )
        found.append(Tensor(tensor.number, tensor.op, tensor.group, sizes, readers))
    return found


def occupying_transfers(problem: Problem, possible: Bools) -> int:
    """Return how many hops might have to be sequenced on devices without a copy engine.

    Parameters
    ----------
    problem : Problem
    possible : (g, m) bool
        Devices that each group may go to.
    """
    arrays = problem.arrays
    if arrays.copy_engine.all():
        return 0
    targets = np.arange(arrays.device_count)
    count = 0
    for tensor in tensors_of(problem):
        into: set[int] = set()
        for s in np.flatnonzero(possible[tensor.group]).tolist():
            for t in targets[possible[[group for group, _ in tensor.readers]].any(axis=0)].tolist():
                into.update(
                    b
                    for a, b in arrays.path(s, t) or ()
                    if not (arrays.copy_engine[a] and arrays.copy_engine[b])
                    and arrays.transfer_time(a, b, tensor.sizes[-1]) > 0
                )
        count += len(into)
    return count
