"""Measured times for PyTorch's execution traces: from the trace of Kineto, its profiler.

It stands beside the file, under the same name with ``kineto`` in it. An event is that of a node if
it has the node's record number (``Record function id``, or ``External id`` in older ones) and name.
A node without an event gets the median of the events of its name.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from talos_opt.core.errors import FormatError
from talos_opt.formats.chakra_nodes import GPU, Node
from talos_opt.formats.source import Source, open_source, split_suffix
from talos_opt.formats.trace_events import Slice, load_events, slices_of
from talos_opt.formats.trace_rows import KERNELS, OPS, RUNTIME

_NUMBERS = ("Record function id", "External id")
#: Share of the nodes that must have their event by number; else numbers mean something else.
_ENOUGH = 0.5


class _Event(NamedTuple):
    """An op that was measured: microseconds on the CPU, and of the kernels that it launched."""

    name: str
    host: float
    kernels: float

    def time(self, kind: str) -> float:
        """Time on a device; an op that works on a GPU and launched nothing took the host's."""
        return self.kernels if kind == GPU and self.kernels else self.host


def add_times(nodes: Sequence[Node], numbers: Mapping[int, int], source: Source) -> str:
    """Give nodes the times of the Kineto trace beside a file; return a note on how.

    Raises
    ------
    FormatError
        If there is one and it is broken; names it.
    """
    path = find_beside(source)
    if path is None or any(node.time for node in nodes):
        return ""
    file = open_source(path)
    try:
        events = _events(list(slices_of(load_events(file))))
    except FormatError as error:
        raise error.located(source=file.name) from None
    if not events:
        raise FormatError("holds no ops, expected events of category cpu_op", source=file.name)
    exact: dict[int, _Event | None] = {node.id: _match(node, numbers, events) for node in nodes}
    found = sum(event is not None for event in exact.values())
    if found < _ENOUGH * len(nodes):
        exact, found = {}, 0
    alike: dict[str, list[_Event]] = {}
    for event in {id(event): event for event in events.values()}.values():
        alike.setdefault(event.name, []).append(event)
    for node in nodes:
        measured = exact.get(node.id)
        if measured is not None:
            node.time = measured.time(node.kind)
        elif node.name in alike:
            node.time = statistics.median(event.time(node.kind) for event in alike[node.name])
            node.estimated = True
    return f"{found} of {len(nodes)} times by event from {path.name}, others by type"


def find_beside(source: Source) -> Path | None:
    """Return the Kineto trace of a file: NAME.kineto.json, NAME_kineto.json and the like."""
    if source.path is None:
        return None
    wanted = re.compile(re.escape(source.stem) + r"[._-]kineto\w*\.json(\.gz)?", re.IGNORECASE)
    try:
        beside = [path for path in source.folder.iterdir() if wanted.fullmatch(path.name)]
    except OSError:  # a folder whose files may be opened, but not listed
        return None
    return min(beside, key=lambda path: split_suffix(path.name), default=None)


def _match(
    node: Node, numbers: Mapping[int, int], events: Mapping[tuple[str, str], _Event]
) -> _Event | None:
    number = numbers.get(node.id)
    found = (events.get((key, str(number))) for key in _NUMBERS)
    return next((event for event in found if event is not None and event.name == node.name), None)


def _events(slices: Sequence[Slice]) -> dict[tuple[str, str], _Event]:
    """Return the ops of a trace by what they are numbered with."""
    ops = [item for item in slices if item.category in OPS]
    launched: dict[str, float] = {}
    for item in slices:
        if item.category in KERNELS:
            key = str(item.args.get("correlation"))
            launched[key] = launched.get(key, 0.0) + item.duration
    launches = [item for item in slices if item.category in RUNTIME]
    found: dict[tuple[str, str], _Event] = {}
    for op, kernels in _with_kernels(ops, launches, launched):
        event = _Event(op.name, op.duration, kernels)
        for key in _NUMBERS:
            if key in op.args:
                found[key, str(op.args[key])] = event
    return found


def _with_kernels(
    ops: Sequence[Slice], launches: Sequence[Slice], launched: Mapping[str, float]
) -> Iterator[tuple[Slice, float]]:
    """Yield ops with the time of the kernels that they, or what they called, launched.

    A launch is that of the op around it in its thread. The external ids of kernels would say so
    too, but some versions write other numbers there.
    """
    threads: dict[tuple[str, str], list[_Open]] = {}
    marked = [(op, True) for op in ops] + [(launch, False) for launch in launches]
    # Of two that begin together, the op holds the launch, and the longer op the shorter.
    for item, is_op in sorted(marked, key=lambda m: (m[0].start, not m[1], -m[0].end)):
        stack = threads.setdefault((item.pid, item.tid), [])
        while stack and stack[-1].op.end <= item.start:
            yield _closed(stack)
        if is_op:
            stack.append(_Open(item))
        elif stack:
            stack[-1].kernels += launched.get(str(item.args.get("correlation")), 0.0)
    for stack in threads.values():
        while stack:
            yield _closed(stack)


@dataclass(slots=True)
class _Open:
    """An op that has not ended yet, and the time of the kernels it launched so far."""

    op: Slice
    kernels: float = 0.0


def _closed(stack: list[_Open]) -> tuple[Slice, float]:
    """Take the innermost op off a stack; the op around it launched what this one did."""
    inner = stack.pop()
    if stack:
        stack[-1].kernels += inner.kernels
    return inner.op, inner.kernels
