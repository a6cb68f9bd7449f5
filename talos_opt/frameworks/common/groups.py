"""Which ops have to share a device."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

Op = TypeVar("Op", bound=Hashable)

#: What nobody changes is kept on every device that reads it, up to this many bytes: a mask that
#: every layer reads should not tie all layers to one device.
REPLICATED_BYTES = 64 * 1024


class Groups(Generic[Op]):
    """Disjoint sets of ops.

    Parameters
    ----------
    ops : iterable
        All of them, in their order; each is a set of its own at first.
    """

    def __init__(self, ops: Iterable[Op]) -> None:
        self._order = {op: k for k, op in enumerate(ops)}
        self._parent = {op: op for op in self._order}

    def _find(self, op: Op) -> Op:
        while self._parent[op] != op:
            self._parent[op] = self._parent[self._parent[op]]
            op = self._parent[op]
        return op

    def join(self, *ops: Op) -> None:
        """Put ops, with those in their sets, into one."""
        heads = sorted({self._find(op) for op in ops}, key=self._order.__getitem__)
        for head in heads[1:]:
            self._parent[head] = heads[0]

    def leaders(self) -> dict[Op, Op]:
        """Return the first op of its set for every op that is not alone."""
        found: dict[Op, list[Op]] = defaultdict(list)
        for op in self._order:
            found[self._find(op)].append(op)
        return {op: ops[0] for ops in found.values() if len(ops) > 1 for op in ops}
