"""Who reads what of whom in a traced model: from an execution trace, from TensorFlow, or in a row.

A trace of torch.profiler holds times and no data flow: which tensor an op reads is not in it. An
execution trace of the same model has it, and TensorFlow's timelines name the nodes whose outputs a
node reads. Without either, ops can only be taken one after the other, as they ran; that is an
assumption, and made only where the user asks for it.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from talos_opt.analysis.alignment import match
from talos_opt.core.errors import InputError
from talos_opt.core.topology import order_by_number
from talos_opt.formats.chakra import flow_nodes
from talos_opt.formats.chakra_nodes import Node
from talos_opt.formats.source import open_source
from talos_opt.frameworks.common.profile import OpProfile, Read

#: How the flow that is one op after the other is asked for.
SEQUENCE = "sequence"


class Event(Protocol):
    """An op of a trace."""

    @property
    def name(self) -> str:
        """Name by which ops are aligned."""

    @property
    def type(self) -> str:
        """Operator type."""

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the nodes whose outputs it reads."""

    @property
    def read_bytes(self) -> tuple[int, ...]:
        """Bytes of the tensors that it reads."""


@dataclass(frozen=True)
class Flow:
    """The ops of a model, without times.

    Parameters
    ----------
    names : tuple of str
        Under which each op is found in traces.
    ops : tuple of OpProfile
        Producers before their readers.
    origin : str
        Where the edges are from.
    notes : tuple of str
        What is not known.
    """

    names: tuple[str, ...]
    ops: tuple[OpProfile, ...]
    origin: str
    notes: tuple[str, ...] = ()


def from_execution_trace(path: str | os.PathLike[str]) -> Flow:
    """Return the ops of an execution trace: tensors with their bytes, weights, FLOPs.

    Raises
    ------
    InputError
        If it is not one, or is broken; names the file.
    """
    source = open_source(path)
    nodes, step = flow_nodes(source)
    known = {node.id: node for node in nodes}
    ids = dict(zip(known, _ids(node.name for node in nodes), strict=True))
    missing = sum(number not in known for node in nodes for number in node.reads)
    ops = tuple(_from_node(node, known, ids) for node in nodes)
    notes = []
    if missing:
        notes.append(f"{missing} dependencies on ops outside of the step are left out")
    origin = f"{source.name}, {step}" if step else source.name
    return Flow(tuple(node.name for node in nodes), ops, origin, tuple(notes))


def _from_node(node: Node, known: Mapping[int, Node], ids: Mapping[int, str]) -> OpProfile:
    several = len(node.writes) > 1
    flops, moved = node.attrs.get("flops"), node.attrs.get("moved_bytes")
    return OpProfile(
        ids[node.id],
        node.name,
        inputs=tuple(
            read
            for number, tensors in node.reads.items()
            if number in known
            for read in _reads(ids[number], known[number].writes, tensors)
        ),
        flops=float(flops) if isinstance(flops, (int, float)) else None,
        moved_bytes=int(moved) if isinstance(moved, (int, float)) else 0,
        weights=node.weights,
        output=sum(node.writes.values()),
        outputs={str(storage): size for storage, size in node.writes.items()} if several else {},
        facts={"node": node.id},
    )


def _reads(op: str, made: Mapping[int, int], tensors: Mapping[int, int] | None) -> Iterator[Read]:
    """Yield what is read of an op: all that it makes, some tensors, or nothing (`tensors` empty).

    A view may be smaller than its tensor, and an expanded one larger: then all travels.
    """
    read = made if tensors is None else tensors
    if not read:
        yield Read(op, 0)
    for storage, size in read.items():
        whole = made.get(storage, size)
        yield Read(op, min(size, whole), str(storage) if len(made) > 1 else "")


def from_nodes(runs: Sequence[Sequence[Event]]) -> Flow | None:
    """Return the ops of TensorFlow's timelines, which name the nodes that each reads.

    Parameters
    ----------
    runs : sequence of sequence of Event
        The ops of each trace, by start.

    Returns
    -------
    Flow or None
        None if no op of any trace names another one.

    Raises
    ------
    InputError
        If the traces contradict each other: an op would wait for itself.
    """
    if not any(event.reads for run in runs for event in run):
        return None
    rows, places = merge(runs)
    reads: list[dict[int, None]] = [{} for _ in rows]
    for run, place in zip(runs, places, strict=True):
        last: dict[str, int] = {}
        for event, at in zip(run, place, strict=True):
            for name in event.reads:  # of a node that ran several times, the last
                if name in last and last[name] != at:
                    reads[at][last[name]] = None
            last[event.name] = at
    order = _sorted(reads)
    ids = _ids(rows[i].name for i in order)
    by_row = dict(zip(order, ids, strict=True))
    ops = tuple(
        OpProfile(by_row[i], rows[i].type, tuple(Read(by_row[j], 0) for j in reads[i]))
        for i in order
    )
    names = tuple(rows[i].name for i in order)
    note = "the traces do not say how large tensors are: they travel as if they had 0 bytes"
    return Flow(names, ops, "the inputs that the timelines name", (note,))


def in_sequence(runs: Sequence[Sequence[Event]]) -> Flow:
    """Return the ops of traces one after the other: each reads the one before it.

    What travels is taken to be the first tensor that an op reads: in PyTorch what a layer works
    on, before its weights.

    Parameters
    ----------
    runs : sequence of sequence of Event
        The ops of each trace, by start.
    """
    rows, places = merge(runs)
    sizes = [0] * len(rows)
    moved = [0] * len(rows)
    for run, place in zip(runs, places, strict=True):
        for event, at in zip(run, place, strict=True):
            if event.read_bytes:
                # A lookup has its table first, and what it looks up behind.
                which = min("embedding" in event.type, len(event.read_bytes) - 1)
                sizes[at] = max(sizes[at], event.read_bytes[which])
                moved[at] = max(moved[at], sum(event.read_bytes))
    ids = _ids(row.name for row in rows)
    ops = []
    for k, row in enumerate(rows):
        following = sizes[k + 1] if k + 1 < len(rows) else 0
        inputs = (Read(ids[k - 1], sizes[k]),) if k else ()
        ops.append(OpProfile(ids[k], row.type, inputs, moved_bytes=moved[k], output=following))
    notes = ["each op is taken to read the one before it: branches are not seen"]
    unknown = sum(size == 0 for size in sizes[1:])
    if unknown:
        notes.append(
            f"what {unknown} of {len(rows)} ops read has no known size: it travels as if it had 0 "
            "bytes (torch.profiler needs record_shapes=True)"
        )
    names = tuple(row.name for row in rows)
    return Flow(names, tuple(ops), "the order of the traces", tuple(notes))


def merge(runs: Sequence[Sequence[Event]]) -> tuple[list[Event], list[list[int]]]:
    """Return the ops of several traces as one sequence, and where each op of each trace stands.

    Those that only a later trace has stand behind what they follow there.
    """
    rows: list[Event] = list(runs[0])
    places = [list(range(len(rows)))]
    for run in runs[1:]:
        pairs = match(
            [row.name for row in rows],
            [event.name for event in run],
            [1.0] * len(rows),
            [1.0] * len(run),
        )
        taken = {j: i for i, j in pairs}
        behind: dict[int, list[int]] = {}
        last = -1
        for j in range(len(run)):
            if j in taken:
                last = taken[j]
            else:
                behind.setdefault(last, []).append(j)
        merged: list[tuple[int | None, int | None]] = [(None, j) for j in behind.get(-1, ())]
        for i in range(len(rows)):
            merged.append((i, None))
            merged += [(None, j) for j in behind.get(i, ())]
        old = {i: k for k, (i, _) in enumerate(merged) if i is not None}
        new = {j: k for k, (_, j) in enumerate(merged) if j is not None}
        rows = [rows[i] if i is not None else run[j or 0] for i, j in merged]
        places = [[old[i] for i in place] for place in places]
        places.append([old[taken[j]] if j in taken else new[j] for j in range(len(run))])
    return rows, places


def _sorted(reads: Sequence[Mapping[int, None]]) -> list[int]:
    """Return ops so that each stands behind what it reads, else in their order."""
    order = order_by_number(reads)
    if len(order) < len(reads):
        raise InputError(
            "the traces contradict each other: by the inputs that they name together, an op waits "
            "for itself; expected traces of one model"
        )
    return order


def _ids(names: Iterable[str]) -> list[str]:
    """Return an id for each op: its name without a namespace, numbered where it comes again."""
    used: set[str] = set()
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        stem = re.sub(r"[^\w./-]+", "_", name.rpartition("::")[2].strip()) or "op"
        key = stem
        while key in used:
            seen[stem] += 1
            key = f"{stem}_{seen[stem]}"
        used.add(key)
        found.append(key)
    return found
