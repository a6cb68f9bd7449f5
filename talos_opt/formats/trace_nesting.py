"""Which events of a thread hold which: outermost ops, and scopes that only stand around ops."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator

from talos_opt.core.errors import FormatError
from talos_opt.formats.trace_events import Slice

#: Microseconds by which neighbours may seem to overlap: profilers write whole nanoseconds, and a
#: clock that counts from 1970 or from the machine's start leaves a float few digits below those.
_GRAIN = 2e-3
#: Nodes of the backward pass have no namespace and are ops all the same.
_BACKWARD = re.compile(r"\w*Backward\d*")
#: What PyTorch's engine puts around the operators of the backward pass.
_ENGINE = re.compile(r"autograd::engine::.*|torch::autograd::\w+|\w*Backward\d*")


def outermost(ops: Iterable[Slice]) -> Iterator[Slice]:
    """Yield the ops that no other of their thread holds, by start; note in each its outermost.

    Raises
    ------
    FormatError
        If one begins within another and ends after it.
    """
    for op, holders in _nested(ops):
        op.outer = holders[0] if holders else op
        if op.outer is op:
            yield op


def scopes_among(ops: Iterable[Slice], *, apart: bool = False) -> list[Slice]:
    """Return the events that stand around operators and are none themselves.

    PyTorch's operators have a namespace (``aten::add``). What has none and holds some is what a
    user, a compiler or a wrapper of modules put around them: counted as an op, it would swallow
    them all.

    Parameters
    ----------
    ops : iterable of Slice
    apart : bool
        Whether what the engine of the backward pass puts around operators is a scope as well.

    Raises
    ------
    FormatError
        If one begins within another and ends after it.
    """
    found: dict[int, Slice] = {}
    for op, holders in _nested(ops):
        if "::" not in op.name or _ENGINE.fullmatch(op.name):
            continue
        for holder in holders:
            plain = "::" not in holder.name and not _BACKWARD.fullmatch(holder.name)
            if plain or (apart and _ENGINE.fullmatch(holder.name)):
                found[id(holder)] = holder
    return list(found.values())


def _nested(ops: Iterable[Slice]) -> Iterator[tuple[Slice, list[Slice]]]:
    """Yield each op by start, with those of its thread that hold it, the outermost first."""
    stacks: dict[tuple[str, str], list[Slice]] = {}
    for op in sorted(ops, key=lambda item: (item.start, -item.end)):
        stack = stacks.setdefault((op.pid, op.tid), [])
        while stack and not _holds(stack[-1], op):
            stack.pop()
        yield op, stack
        stack.append(op)


def _holds(holder: Slice, op: Slice) -> bool:
    """Whether an op lies within another that began no later, up to the clock's grain."""
    noise = math.ulp(holder.end)
    grain = _GRAIN + 2 * noise
    if op.start >= holder.end - 2 * noise:
        return False
    if op.end <= holder.end + grain:
        return True
    if op.start >= holder.end - grain:
        return False
    raise FormatError(
        f"{op} overlaps {holder} of the same thread, expected one within the other or after it",
        path=op.where,
    )
