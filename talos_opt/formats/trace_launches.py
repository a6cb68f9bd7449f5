"""Which op launched a kernel: what its launch tells, and what ``External id`` claims.

A launch is an event of the host with the kernel's ``correlation``. It lies within the op that made
it, so where there is one, nesting decides: an ``External id`` may be stale, or come twice in a
merged trace. Without a launch, the id is believed unless the kernel ended before that op began.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from talos_opt.formats.trace_events import Slice

#: Microseconds by which the clocks of launches and ops may differ: older profilers write whole
#: ones, and ops and launches are stamped by different clocks.
_SLACK = 20.0
_Thread = tuple[str, str]


@dataclass
class Launched:
    """Kernels, by what launched them.

    Parameters
    ----------
    by_op : dict of int to list of Slice
        By ``id`` of an outermost op.
    by_scope : list of (Slice, list of Slice)
        Launched within a scope, but by none of the ops in it.
    between : list of Slice
        Launched within the trace, by no op.
    outside : list of Slice
        Whose launch the trace does not have.
    doubted : int
        Kernels whose ``External id`` named another op than that around their launch.
    """

    by_op: dict[int, list[Slice]] = field(default_factory=dict)
    by_scope: list[tuple[Slice, list[Slice]]] = field(default_factory=list)
    between: list[Slice] = field(default_factory=list)
    outside: list[Slice] = field(default_factory=list)
    doubted: int = 0


def attribute(
    kernels: Iterable[Slice],
    launches: Iterable[Slice],
    ops: Iterable[Slice],
    outermost: Sequence[Slice],
    scopes: Iterable[Slice] = (),
    *,
    trusted: bool = False,
) -> Launched:
    """Find the op of every kernel.

    Parameters
    ----------
    kernels, launches : iterable of Slice
    ops : iterable of Slice
        All of them, each with its `outer`.
    outermost : sequence of Slice
        By start.
    scopes : iterable of Slice
        What stands around ops.
    trusted : bool
        Whether ids are those that this package gave, and clocks may differ by any amount.
    """
    ids = _Ids(ops, trusted)
    started = _by_correlation(launches)
    threads = _by_thread(outermost)
    around = _by_thread(sorted(scopes, key=lambda item: item.start))
    found = Launched({id(op): [] for op in outermost})
    own: dict[int, tuple[Slice, list[Slice]]] = {}
    for kernel in kernels:
        launch = _launch_of(kernel, started)
        claimed = ids.claimed(kernel, launch)
        op = claimed
        if launch is not None and (launch.pid, launch.tid) in threads:
            op = _around(threads[launch.pid, launch.tid], launch)
            if op is None and claimed is not None and _near(claimed, launch):
                op = claimed
            found.doubted += claimed is not None and claimed is not op
        if op is not None:
            found.by_op[id(op)].append(kernel)
            continue
        scope = None if launch is None else _innermost(around, launch)
        if scope is not None:
            own.setdefault(id(scope), (scope, []))[1].append(kernel)
        else:
            (found.outside if launch is None else found.between).append(kernel)
    found.by_scope = list(own.values())
    return found


def identity(item: Slice, key: str) -> str | None:
    """Return an id in an event's arguments; profilers write 0 or -1 for none."""
    value = item.args.get(key, item.args.get(key.lower()))
    return None if value in (None, 0, -1, "0", "-1", "") else str(value)


class _Ids:
    """Ops by the External id that they have."""

    def __init__(self, ops: Iterable[Slice], trusted: bool) -> None:
        self.trusted = trusted
        self.ops: dict[str, list[Slice]] = defaultdict(list)
        for op in ops:
            key = identity(op, "External id")
            if key is not None:
                self.ops[key].append(op)

    def claimed(self, kernel: Slice, launch: Slice | None) -> Slice | None:
        """Return the outermost op that a kernel, else its launch, names by its id."""
        for item in (kernel, launch):
            if item is None:
                continue
            same = self.ops.get(identity(item, "External id") or "", ())
            # A kernel never ends before the op begins that launched it.
            able = [op for op in same if self.trusted or op.start <= kernel.end]
            if able:
                return max(able, key=lambda op: op.start).outer
        return None


def _by_correlation(launches: Iterable[Slice]) -> dict[str, list[Slice]]:
    found: dict[str, list[Slice]] = defaultdict(list)
    for item in launches:
        key = identity(item, "correlation")
        if key is not None:
            found[key].append(item)
    return found


def _launch_of(kernel: Slice, started: dict[str, list[Slice]]) -> Slice | None:
    """Return the last launch of a kernel's correlation before its end."""
    same = started.get(identity(kernel, "correlation") or "", ())
    able = [item for item in same if item.start <= kernel.end + _SLACK]
    return max(able, key=lambda item: item.start, default=None)


def _by_thread(items: Iterable[Slice]) -> dict[_Thread, list[Slice]]:
    threads: dict[_Thread, list[Slice]] = {}
    for item in items:
        threads.setdefault((item.pid, item.tid), []).append(item)
    return threads


def _around(thread: Sequence[Slice], launch: Slice) -> Slice | None:
    """Return the one of several events, none of which overlap, that holds a launch's beginning."""
    k = bisect_right(thread, launch.start, key=lambda item: item.start) - 1
    return thread[k] if k >= 0 and launch.start <= thread[k].end else None


def _innermost(threads: dict[_Thread, list[Slice]], launch: Slice) -> Slice | None:
    """Return the last event of the launch's thread to begin that holds the launch's beginning."""
    thread = threads.get((launch.pid, launch.tid), [])
    for k in range(bisect_right(thread, launch.start, key=lambda item: item.start) - 1, -1, -1):
        if launch.start <= thread[k].end:
            return thread[k]
    return None


def _near(op: Slice, launch: Slice) -> bool:
    """Whether a launch of the op's thread lies so close to it that clocks may be to blame."""
    if (op.pid, op.tid) != (launch.pid, launch.tid):
        return False
    return op.start - _SLACK <= launch.start <= op.end + _SLACK


def busy(kernels: Iterable[Slice]) -> float:
    """Return the time in which at least one of the kernels ran: two streams may overlap."""
    total, until = 0.0, -math.inf
    for kernel in sorted(kernels, key=lambda item: item.start):
        total += min(kernel.duration, max(0.0, kernel.end - until))
        until = max(until, kernel.end)
    return total
