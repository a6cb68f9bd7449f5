"""Which tensor may travel over which hop, whatever the placement turns out to be."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from talos_opt.core.problem import NO_ROUTE, Problem


@dataclass(frozen=True)
class Tensor:
    """An output of an op and the colocation groups that read it elsewhere.

    Parameters
    ----------
    number : int
        Position in `Arrays.tensor_op`.
    op : int
        Producer.
    group : int
        Its colocation group.
    readers : dict of int to int
        Reading op -> bytes that it names; readers of the producer's own group are left out.
    """

    number: int
    op: int
    group: int
    readers: dict[int, int] = field(default_factory=dict)

    @property
    def uniform(self) -> int | None:
        """The bytes that every reader names, or None if they differ."""
        sizes = set(self.readers.values())
        return sizes.pop() if len(sizes) == 1 else None


def tensors(problem: Problem) -> list[Tensor]:
    """Return the tensors that may have to travel."""
    arrays = problem.arrays
    found: dict[int, Tensor] = {}
    group = arrays.group.tolist()
    maker = arrays.tensor_op.tolist()
    for tensor, reader, size in zip(
        arrays.edge_tensor.tolist(),
        arrays.edge_dst.tolist(),
        arrays.edge_bytes.tolist(),
        strict=True,
    ):
        op = maker[tensor]
        if group[op] == group[reader]:
            continue
        found.setdefault(tensor, Tensor(tensor, op, group[op])).readers[reader] = size
    return list(found.values())


@dataclass(frozen=True)
class Routes:
    """Hops of a cluster and the pairs of devices that each one serves.

    Parameters
    ----------
    pairs : dict of (a, b) to set of (source, target)
        For each hop a -> b, the (producer's device, reader's device) pairs whose route uses it.
    blocked : list of (source, target)
        Pairs without a route.
    """

    pairs: dict[tuple[int, int], set[tuple[int, int]]]
    blocked: list[tuple[int, int]]


def routes(problem: Problem) -> Routes:
    """Return the hops of a problem's cluster."""
    arrays = problem.arrays
    pairs: dict[tuple[int, int], set[tuple[int, int]]] = defaultdict(set)
    blocked = []
    for source in range(arrays.device_count):
        for target in range(arrays.device_count):
            if source == target:
                continue
            if arrays.via[source, target] == NO_ROUTE:
                blocked.append((source, target))
                continue
            for hop in arrays.path(source, target) or ():
                pairs[hop].add((source, target))
    return Routes(dict(pairs), blocked)
