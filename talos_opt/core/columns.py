"""A graph as columns: what a million ops are kept in, without an object for each.

`Graph.columns` gives this view of every graph, `talos_opt.core.column_checks` says what makes
columns a graph.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from talos_opt.core.topology import Topology, build_topology

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: `schedule.json` and the command line name an op MODEL/OP, so a model id must not hold a slash.
SEPARATOR = "/"
#: Value of `Columns.input_bytes` where an edge carries its producer's output.
WHOLE_OUTPUT = -1
#: Value of `Columns.group` and `Columns.pin` where an op has none.
NONE = -1
#: Value of `Columns.input_output` where an op reads all that its producer makes.
ALL_OUTPUTS = -1
#: What an op is part of in a training step; inference has forward ops only.
PHASES = ("forward", "backward", "update")
#: Values of `Columns.phase`: positions there. Rules about stages speak of forward ops.
FORWARD, BACKWARD, UPDATE = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Texts:
    """Many short texts in one long one: text i is ``text[ptr[i]:ptr[i + 1]]``.

    Parameters
    ----------
    text : str
    ptr : (n + 1,) int
        Counted in characters.
    """

    text: str
    ptr: Ints

    @classmethod
    def join(cls, items: Sequence[str]) -> Texts:
        """Put texts together."""
        ptr = np.zeros(len(items) + 1, dtype=np.int64)
        np.cumsum(np.fromiter(map(len, items), np.int64, len(items)), out=ptr[1:])
        return cls("".join(items), ptr)

    def __repr__(self) -> str:
        return f"Texts({len(self)} texts, {len(self.text)} characters)"

    def __len__(self) -> int:
        return len(self.ptr) - 1

    def __getitem__(self, i: int) -> str:
        return self.text[int(self.ptr[i]) : int(self.ptr[i + 1])]

    def slice(self, first: int, last: int) -> list[str]:
        """Return the texts from `first` to before `last`."""
        text = self.text
        return [text[a:b] for a, b in pairwise(self.ptr[first : last + 1].tolist())]


@dataclass(frozen=True, eq=False)
class Outputs:
    """The t output tensors of n ops, where some op names its outputs.

    Parameters
    ----------
    ptr : (n + 1,) int
        Tensors of op i are ``ptr[i]:ptr[i + 1]``; each op has one at least.
    size : (t,) int
        Bytes.
    name : Texts
        Empty for the only output of an op that does not name it.
    """

    ptr: Ints
    size: Ints
    name: Texts

    def __repr__(self) -> str:
        return f"Outputs({len(self.size)} tensors of {len(self.ptr) - 1} ops)"


@dataclass(frozen=True, eq=False)
class Columns:
    """A graph of n ops, k models, e edges; ops numbered model by model in file order.

    Parameters
    ----------
    model_ids : tuple of str
    model_weight, release : (k,) float
    model_ptr : (k + 1,) int
        Ops of model j are ``model_ptr[j]:model_ptr[j + 1]``.
    ids : Texts
        Id of every op.
    time_keys : tuple of str
        Device kinds and ids that op times are given for.
    time : (n, q) float
        In the graph's time unit; nan where an op has no time under that key.
    weights, output, workspace : (n,) int
        Bytes; `output` is that of all output tensors of an op together.
    input_ptr, input_op, input_bytes : (n + 1,), (e,), (e,) int
        Op i reads ``input_op[input_ptr[i]:input_ptr[i + 1]]``, in its own order; the bytes that
        travel, or `WHOLE_OUTPUT`.
    slots : (n,) int
    types, type : tuple of str, (n,) int
        Op types, and which of them each op has.
    groups, group : tuple of str, (n,) int
        Names of colocation groups, and which of them each op is in, or `NONE`.
    pins, pin : tuple of tuple of str, (n,) int
        Sets of devices that ops are pinned to, and which of them holds for each op, or `NONE`.
    attrs : mapping of int to mapping
        Attributes of the ops that have some.
    outputs : Outputs, optional
        Default: every op has one output tensor.
    input_output : (e,) int, optional
        Which output of its producer each input reads, counted from 0, or `ALL_OUTPUTS`; default:
        all.
    phase : (n,) int, optional
        Position of the phase of each op in `PHASES`; default: all are forward.
    split : (n,) bool, optional
        Ops whose work and weights a tensor-parallel bundle shares; default: none.
    """

    model_ids: tuple[str, ...]
    model_weight: Floats
    release: Floats
    model_ptr: Ints
    ids: Texts
    time_keys: tuple[str, ...]
    time: Floats
    weights: Ints
    output: Ints
    workspace: Ints
    input_ptr: Ints
    input_op: Ints
    input_bytes: Ints
    slots: Ints
    types: tuple[str, ...]
    type: Ints
    groups: tuple[str, ...]
    group: Ints
    pins: tuple[tuple[str, ...], ...]
    pin: Ints
    attrs: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    outputs: Outputs | None = None
    input_output: Ints | None = None
    phase: Ints | None = None
    split: Bools | None = None

    def __post_init__(self) -> None:
        more = () if self.outputs is None else (self.outputs.ptr, self.outputs.size)
        for value in (*vars(self).values(), self.ids.ptr, *more):
            if isinstance(value, np.ndarray):
                value.setflags(write=False)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.__post_init__()  # pickling forgets that arrays are read-only

    @property
    def phases(self) -> Ints:
        """Position of the phase of each op in `PHASES`, given or not (n,)."""
        if self.phase is None:
            return np.full(self.op_count, FORWARD, dtype=np.int64)
        return np.asarray(self.phase, dtype=np.int64)

    def __repr__(self) -> str:
        edges = len(self.input_op)
        return f"Columns({len(self.model_ids)} models, {self.op_count} ops, {edges} edges)"

    @property
    def op_count(self) -> int:
        """Number of ops."""
        return len(self.slots)

    @cached_property
    def model(self) -> Ints:
        """Model of each op (n,)."""
        return np.repeat(np.arange(len(self.model_ids)), self.model_ptr[1:] - self.model_ptr[:-1])

    @cached_property
    def reader(self) -> Ints:
        """Op that reads each input (e,)."""
        return np.repeat(np.arange(self.op_count), self.input_ptr[1:] - self.input_ptr[:-1])

    @cached_property
    def topology(self) -> Topology:
        """Edges in both directions, a topological order and levels; `left` ops are on cycles."""
        tensor, place = self.input_op, np.arange(len(self.input_op))
        if self.outputs is not None:
            tensor, place = self._tensors_read(self.outputs)
        size = self.input_bytes[place]
        sizes = np.where(size == WHOLE_OUTPUT, self.tensor_size[tensor], size)
        return build_topology(
            self.op_count, self.input_op[place], self.reader[place], sizes, tensor
        )

    @property
    def tensor_size(self) -> Ints:
        """Bytes of each output tensor (t,); without `outputs`, tensor i is that of op i."""
        return self.output if self.outputs is None else self.outputs.size

    def reads(self, outputs: Outputs) -> tuple[Ints, Ints]:
        """Return the first tensor that each input reads, and the number of edges it stands for.

        An input that reads all outputs of its producer is an edge for each, and one only where
        nothing travels; none if the reader has another input of that producer.
        """
        first = outputs.ptr[self.input_op]
        reads = outputs.ptr[self.input_op + 1] - first
        if self.input_output is not None:
            named = self.input_output != ALL_OUTPUTS
            first = np.where(named, first + self.input_output, first)
            reads = np.where(named, 1, reads)
        waits = (self.input_bytes == 0) & (reads > 1)
        if waits.any():  # who reads an output of the same op has to wait in any case
            ends = self.input_op * self.op_count + self.reader
            reads = np.where(waits, np.where(np.isin(ends, ends[~waits]), 0, 1), reads)
        return first, reads

    def _tensors_read(self, outputs: Outputs) -> tuple[Ints, Ints]:
        """Return the tensor that each edge reads, and the input that it stands for."""
        first, reads = self.reads(outputs)
        place = np.repeat(np.arange(len(reads)), reads)
        within = np.arange(len(place)) - np.repeat(np.cumsum(reads) - reads, reads)
        return first[place] + within, place

    def name(self, i: int) -> str:
        """Return ``MODEL/OP`` of op i."""
        return f"{self.model_ids[self.model_of(i)]}{SEPARATOR}{self.ids[i]}"

    def model_of(self, i: int) -> int:
        """Return the model of op i."""
        return int(np.searchsorted(self.model_ptr, i, "right")) - 1

    def op_path(self, i: int, part: str = "") -> str:
        """Return the JSON path of op i, or of a part of it."""
        j = self.model_of(i)
        path = f"models[{j}].ops[{i - int(self.model_ptr[j])}]"
        return f"{path}.{part}" if part else path

    def names(self) -> Iterator[str]:
        """Yield ``MODEL/OP`` of every op."""
        for model, (first, last) in zip(
            self.model_ids, pairwise(self.model_ptr.tolist()), strict=True
        ):
            lead = model + SEPARATOR
            yield from (lead + name for name in self.ids.slice(first, last))


def pointers(counts: Ints) -> Ints:
    """Return the start of each of several runs of given lengths, and the end of the last."""
    ptr = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=ptr[1:])
    return ptr
