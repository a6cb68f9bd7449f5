"""A placement cut into pieces: parts of a model that run without a break, each on one device."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from talos_opt.core.errors import InputError
from talos_opt.core.topology import order_by_number
from talos_opt.frameworks.onnx.backend import ox
from talos_opt.frameworks.onnx.captured import Captured


@dataclass(frozen=True, slots=True)
class Piece:
    """Ops of one device that run as one session.

    Parameters
    ----------
    name : str
    device : str
    ops : tuple of str
        In their order.
    reads : tuple of str
        Values of other pieces, and inputs of the model.
    makes : tuple of str
        Values that other pieces read or the model returns.
    """

    name: str
    device: str
    ops: tuple[str, ...]
    reads: tuple[str, ...]
    makes: tuple[str, ...]


def cut(
    captured: Captured,
    placement: Mapping[str, str],
    times: Mapping[str, tuple[float, float]] | None = None,
) -> list[Piece]:
    """Return the pieces of a placement, each behind those that it reads.

    By the schedule a piece ends where it would hold up others: before an op that reads what another
    device makes after the piece has begun, and before one that is still running when another device
    wants what the piece has made. Pieces never wait for each other in a circle: what one reads was
    made by one that began before it.

    Parameters
    ----------
    captured : Captured
    placement : mapping of str to str
        Device of every op.
    times : mapping of str to (float, float), optional
        When each op starts and ends; default: one after another, in the order of the graph.
    """
    ops = order_of(captured, {op: start for op, (start, _) in (times or {}).items()})
    when = times or {op: (float(k), k + 1.0) for k, op in enumerate(ops)}
    cutting = _Cutting(captured, ops, placement, when)
    parts: list[_Part] = []
    last: dict[str, _Part] = {}
    for op in ops:
        part = last.get(placement[op])
        if part is None or cutting.ends(part, op):
            part = last[placement[op]] = _Part(placement[op])
            parts.append(part)
        cutting.add(part, op)
    return list(_pieces(captured, parts))


@dataclass
class _Part:
    """Ops of a piece so far; where, and when, another device first wants one of them."""

    device: str
    ops: list[str] = field(default_factory=list)
    wanted_place: float = math.inf
    wanted_time: float = math.inf


class _Cutting:
    """Where a device's ops are parted, as `cut` says.

    Both rules look at the order of the ops too: starts may be equal, or contradict it.
    """

    def __init__(
        self,
        captured: Captured,
        ops: Sequence[str],
        placement: Mapping[str, str],
        when: Mapping[str, tuple[float, float]],
    ) -> None:
        self._place = {op: k for k, op in enumerate(ops)}
        self._start = {op: start for op, (start, _) in when.items()}
        self._end = {op: end for op, (_, end) in when.items()}
        self._slack = 1e-9 * max(self._end.values(), default=0.0)
        self._readers: dict[str, list[str]] = defaultdict(list)
        self._sources: dict[str, list[str]] = defaultdict(list)
        for op in ops:
            for value in captured.reads[op]:
                source = captured.maker.get(value)
                if source is not None and placement[source] != placement[op]:
                    self._readers[source].append(op)
                    self._sources[op].append(source)

    def ends(self, part: _Part, op: str) -> bool:
        """Whether an op cannot go on with what its device has done before."""
        first = part.ops[0]
        late = any(
            self._place[source] > self._place[first]
            or self._end[source] > self._start[first] + self._slack
            for source in self._sources[op]
        )
        held_up = (
            part.wanted_place < self._place[op] or part.wanted_time < self._end[op] - self._slack
        )
        return late or held_up

    def add(self, part: _Part, op: str) -> None:
        """Put an op into a part."""
        part.ops.append(op)
        for reader in self._readers[op]:
            part.wanted_place = min(part.wanted_place, self._place[reader])
            part.wanted_time = min(part.wanted_time, self._start[reader])


def order_of(captured: Captured, start: Mapping[str, float]) -> list[str]:
    """Return the ops by their starts, each behind what it reads even where starts say otherwise."""
    ids = list(captured.nodes)
    ranked = sorted(range(len(ids)), key=lambda k: (start.get(ids[k], 0.0), k))
    number = {ids[k]: rank for rank, k in enumerate(ranked)}
    reads = [
        {number[captured.maker[v]] for v in captured.reads[ids[k]] if v in captured.maker}
        for k in ranked
    ]
    return [ids[ranked[rank]] for rank in order_by_number(reads)]


def _pieces(captured: Captured, parts: Sequence[_Part]) -> Iterator[Piece]:
    part_of = {op: k for k, part in enumerate(parts) for op in part.ops}
    leaving = set(captured.outputs)
    for op, read in captured.reads.items():
        leaving.update(
            value
            for value in read
            if value in captured.maker and part_of[captured.maker[value]] != part_of[op]
        )
    for k, part in enumerate(parts):
        reads: dict[str, None] = {}
        for op in part.ops:
            for value in captured.reads[op]:
                inside = value in captured.maker and part_of[captured.maker[value]] == k
                if not inside and value not in captured.constants:
                    reads[value] = None
        makes = [v for op in part.ops for v in captured.outputs_read[op] if v in leaving]
        yield Piece(f"piece-{k}", part.device, tuple(part.ops), tuple(reads), tuple(makes))


def piece_model(captured: Captured, piece: Piece) -> Any:
    """Return a piece as a model of its own, whose weights stay in the file where they are.

    Raises
    ------
    InputError
        If the type of a value between two pieces is not known.
    """
    made = ox.ModelProto(ir_version=captured.proto.ir_version)
    made.opset_import.extend(captured.proto.opset_import)
    made.graph.name = piece.name
    made.graph.node.extend(captured.nodes[op] for op in piece.ops)
    read = {value for op in piece.ops for value in captured.reads[op]}
    made.graph.initializer.extend(t for t in captured.graph.initializer if t.name in read)
    made.graph.sparse_initializer.extend(
        t for t in captured.graph.sparse_initializer if t.values.name in read
    )
    made.graph.input.extend(_declared(captured, value) for value in piece.reads)
    made.graph.output.extend(_declared(captured, value) for value in piece.makes)
    return made


def _declared(captured: Captured, value: str) -> Any:
    tensor = captured.tensors[value]
    if tensor.is_tensor and not tensor.dtype:
        raise InputError(
            f"{captured.source.path}: the type of {value!r} is not known, so that the model cannot "
            "be cut there"
        )
    return tensor.value_info(value, sized=captured.sized)
