"""What has to run: ops, the models they form, and the graph of all models.

All classes are frozen and validated on construction; errors carry the JSON path of the value
(`models[1].ops[3].time.gpu`), which a file reader turns into a line.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from talos_opt.core import units
from talos_opt.core.errors import GraphError

if TYPE_CHECKING:
    import networkx as nx

    from talos_opt.core.columns import Columns

#: `schedule.json` and the command line name an op MODEL/OP, so a model id must not hold a slash.
SEPARATOR = "/"

_MEMORY_PARTS = ("weights", "output", "workspace")


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that an op needs, in three parts (model.md, "op.memory").

    Parameters
    ----------
    weights : int
        Resident on the op's device for the whole schedule.
    output : int
        The tensor that the op produces.
    workspace : int
        Held only while the op runs.
    """

    weights: int = 0
    output: int = 0
    workspace: int = 0


@dataclass(frozen=True, slots=True)
class Input:
    """An edge of the DAG: the op whose output is read.

    Parameters
    ----------
    op : str
        Id of the producing op, in the same model.
    bytes : int, optional
        Bytes that travel where producer and reader sit on different devices; default: the
        producer's ``memory.output``.
    """

    op: str
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Op:
    """One operator of a model.

    Parameters
    ----------
    id : str
        Unique within its model.
    time : mapping of str to float
        Time in the graph's time unit, keyed by device kind or device id (the id wins). A kind
        that is absent cannot run the op.
    memory : Memory
    inputs : tuple of Input
    type : str
        Operator type (Conv2D, MatMul, ...), free text.
    colocate : str, optional
        Ops of one model or of several with the same group name share one device.
    devices : tuple of str, optional
        Device ids or kinds that the op is pinned to.
    slots : int
        Units of the device that the op holds while it runs.
    attrs : mapping
        Facts that the solver ignores and keeps (shape, flops, estimated, ...).
    """

    id: str
    time: Mapping[str, float]
    memory: Memory = Memory()
    inputs: tuple[Input, ...] = ()
    type: str = ""
    colocate: str | None = None
    devices: tuple[str, ...] | None = None
    slots: int = 1
    attrs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Model:
    """One DL model: a DAG of ops with a priority and a release time.

    Parameters
    ----------
    id : str
    ops : tuple of Op
        In any order; edges must not form a cycle.
    weight : float
        Weight w_j in TOCT, at least 0.
    release : float
        No op starts before it; in the graph's time unit.

    Raises
    ------
    GraphError
        On a duplicate id, an unknown input, an op reading itself, or a cycle.
    """

    id: str
    ops: tuple[Op, ...]
    weight: float = 1.0
    release: float = 0.0

    def __post_init__(self) -> None:
        if SEPARATOR in self.id or not self.id:
            raise GraphError(f"model id {self.id!r} must be non-empty and hold no '/'", path="id")
        units.magnitude(self.weight, "weight", path="weight")
        units.magnitude(self.release, "release", path="release")
        if not self.ops:
            raise GraphError(f"model {self.id!r} has no ops, expected at least one", path="ops")
        self._check_numbers()
        self._check_inputs()
        self._check_acyclic()

    def __repr__(self) -> str:
        return (
            f"Model({self.id!r}: {len(self.ops)} ops, weight={self.weight:g}, "
            f"release={self.release:g})"
        )

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Position of each op id in `ops`."""
        return {op.id: i for i, op in enumerate(self.ops)}

    def _check_numbers(self) -> None:
        """Readers check what they read; this guards graphs that are built in code."""
        for i, op in enumerate(self.ops):
            for name, time in op.time.items():
                if not _is_number(time, Real):
                    raise GraphError(
                        f"time of op {op.id!r} is {units.describe(time)}, "
                        "expected a finite number of at least 0",
                        path=f"ops[{i}].time.{name}",
                    )
                if time and not units.SMALLEST <= float(time) <= units.LARGEST:
                    raise GraphError(
                        f"time of op {op.id!r} is {units.describe(time)}, expected 0 or a number "
                        f"from {units.SMALLEST:g} to {units.LARGEST:g}: sums must stay finite",
                        path=f"ops[{i}].time.{name}",
                    )
            sizes = [(part, getattr(op.memory, part)) for part in _MEMORY_PARTS]
            sizes += [(f"bytes of input {edge.op!r}", edge.bytes or 0) for edge in op.inputs]
            for what, size in sizes:
                if not _is_number(size, Integral, units.MAX_BYTES):
                    raise GraphError(
                        f"{what} of op {op.id!r} is {units.describe(size)}, "
                        f"expected a whole number of bytes, at most {units.MAX_BYTES}",
                        path=f"ops[{i}].{'inputs' if ' ' in what else 'memory.' + what}",
                    )
            if not _is_number(op.slots, Integral, units.MOST_SLOTS) or op.slots < 1:
                raise GraphError(
                    f"slots of op {op.id!r} is {units.describe(op.slots)}, "
                    "expected a whole number of at least 1",
                    path=f"ops[{i}].slots",
                )

    def _check_inputs(self) -> None:
        seen: dict[str, int] = {}
        for i, op in enumerate(self.ops):
            if op.id in seen:
                raise GraphError(
                    f"op id {op.id!r} is used twice in model {self.id!r} "
                    f"(first as ops[{seen[op.id]}]), expected unique ids",
                    path=f"ops[{i}].id",
                )
            seen[op.id] = i
        for i, op in enumerate(self.ops):
            read: set[str] = set()
            for k, edge in enumerate(op.inputs):
                if edge.op not in seen:
                    raise GraphError(
                        f"op {op.id!r} reads {edge.op!r}, which model {self.id!r} does not have",
                        path=f"ops[{i}].inputs[{k}]",
                    )
                if edge.op in read:
                    raise GraphError(
                        f"op {op.id!r} lists input {edge.op!r} twice",
                        path=f"ops[{i}].inputs[{k}]",
                    )
                read.add(edge.op)

    def _check_acyclic(self) -> None:
        """Kahn's algorithm; what is left over contains a cycle, which is then walked and named."""
        index = self.index
        missing = [len(op.inputs) for op in self.ops]
        readers: list[list[int]] = [[] for _ in self.ops]
        for i, op in enumerate(self.ops):
            for edge in op.inputs:
                readers[index[edge.op]].append(i)
        ready = [i for i, count in enumerate(missing) if count == 0]
        done = 0
        while ready:
            done += 1
            for reader in readers[ready.pop()]:
                missing[reader] -= 1
                if missing[reader] == 0:
                    ready.append(reader)
        if done < len(self.ops):
            start = next(i for i, count in enumerate(missing) if count > 0)
            cycle = self._walk_cycle(start, missing)
            raise GraphError(
                f"model {self.id!r} has a cycle: {' -> '.join(cycle)}, expected a DAG",
                path=f"ops[{index[cycle[0]]}].inputs",
            )

    def _walk_cycle(self, start: int, missing: Sequence[int]) -> list[str]:
        trail: list[int] = []
        position: dict[int, int] = {}
        here = start
        while here not in position:
            position[here] = len(trail)
            trail.append(here)
            here = next(
                self.index[edge.op]
                for edge in self.ops[here].inputs
                if missing[self.index[edge.op]] > 0
            )
        cycle = [self.ops[i].id for i in reversed(trail[position[here] :])]
        return [*cycle, cycle[0]]


@dataclass(frozen=True)
class Graph:
    """One or more models that share a cluster.

    Parameters
    ----------
    name : str
    models : sequence of Model
        A tuple; or `ColumnarModels`, which build a model when it is asked for.
    time_unit : {'us', 'ms', 's'}
        Unit of every time in the graph and in what is reported for it.
    known : mapping
        Known optima or best values, keyed by objective, with their ``source``.
    description : str
        Free text, e.g. how the numbers were made.

    Raises
    ------
    GraphError
        On an unknown unit, no models, or a duplicate model id.
    """

    name: str
    models: Sequence[Model]
    time_unit: str = "us"
    known: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""

    def __post_init__(self) -> None:
        if self.time_unit not in units.PER_SECOND:
            raise GraphError(
                f"time_unit is {self.time_unit!r}, expected one of us, ms, s", path="time_unit"
            )
        if not self.models:
            raise GraphError("the graph has no models, expected at least one", path="models")
        seen: set[str] = set()
        for j, name in enumerate(self.model_ids):
            if name in seen:
                raise GraphError(
                    f"model id {name!r} is used twice, expected unique ids",
                    path=f"models[{j}].id",
                )
            seen.add(name)

    def __repr__(self) -> str:
        count = self.op_count
        return f"Graph({self.name!r}: {len(self.model_ids)} models, {count} ops, {self.time_unit})"

    @cached_property
    def columns(self) -> Columns:
        """The graph as columns, from which the arrays of a problem are built."""
        from talos_opt.core.columns import ColumnarModels, columns_of

        if isinstance(self.models, ColumnarModels):
            return self.models.columns
        return columns_of(self.models)

    @cached_property
    def model_ids(self) -> tuple[str, ...]:
        """Ids of the models."""
        from talos_opt.core.columns import ColumnarModels

        if isinstance(self.models, ColumnarModels):
            return self.models.columns.model_ids
        return tuple(model.id for model in self.models)

    @property
    def op_count(self) -> int:
        """Number of ops over all models."""
        return self.columns.op_count

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the ops and edges; see `talos_opt.core.fingerprint`."""
        from talos_opt.core.fingerprint import fingerprint

        columns = self.columns
        return fingerprint(list(columns.names()), columns.input_op, columns.reader)

    def to_networkx(self) -> nx.DiGraph[Any]:
        """Return the graph as a `networkx.DiGraph`; see `talos_opt.core.networkx_bridge`."""
        from talos_opt.core.networkx_bridge import to_networkx

        return to_networkx(self)

    @classmethod
    def from_networkx(cls, source: nx.DiGraph[Any], *, name: str | None = None) -> Graph:
        """Build a graph from a `networkx.DiGraph`; see `talos_opt.core.networkx_bridge`."""
        from talos_opt.core.networkx_bridge import from_networkx

        return from_networkx(source, name=name)


def _is_number(value: object, kind: type, most: float = math.inf) -> bool:
    """Tell whether a value is a finite number from 0 to `most`; numpy's count, booleans do not."""
    if not isinstance(value, kind) or isinstance(value, bool):
        return False
    return bool(0 <= value < math.inf and value <= most)  # type: ignore[operator]
