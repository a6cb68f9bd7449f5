"""What has to run: ops, and the models they form.

Every class parses what it is given when it is made: sizes and times may be numbers of NumPy's or
texts such as ``4KiB``, and are plain ints and floats from then on. What cannot be read is refused
with the path of the value in the object (`time.gpu`); files know the path to the object.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np

from talos_opt.core import units
from talos_opt.core.column_checks import check_structure
from talos_opt.core.columns import (
    ALL_OUTPUTS,
    NONE,
    PHASES,
    WHOLE_OUTPUT,
    Columns,
    Ints,
    Outputs,
    Texts,
    pointers,
)
from talos_opt.core.errors import GraphError
from talos_opt.core.plain import as_flag, as_mapping, as_objects, as_text, as_word, is_mapping, join

_MEMORY_PARTS = ("weights", "output", "workspace")


#: Gives a frozen object a parsed value.
_set = object.__setattr__


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes that an op needs, in three parts (model.md, "op.memory").

    Parameters
    ----------
    weights : int
        Resident on the op's device for the whole schedule.
    output : int
        The tensor that the op produces, or all of them together.
    workspace : int
        Held only while the op runs.
    """

    weights: int = 0
    output: int = 0
    workspace: int = 0

    def __post_init__(self) -> None:
        for part in _MEMORY_PARTS:
            _set(self, part, units.size(getattr(self, part), part, path=part))


@dataclass(frozen=True, slots=True)
class Input:
    """An edge of the DAG: the op whose output is read, and which one.

    Parameters
    ----------
    op : str
        Id of the producing op, in the same model.
    bytes : int, optional
        Bytes that travel where producer and reader sit on different devices; default: those of
        the tensor.
    output : str, optional
        Which of the producer's `Op.outputs`; default: all of them.
    """

    op: str
    bytes: int | None = None
    output: str | None = None

    def __post_init__(self) -> None:
        _set(self, "op", as_word(self.op, "op", "op"))
        if self.output is not None:
            _set(self, "output", as_word(self.output, "output", "output"))
        if self.bytes is not None:
            _set(self, "bytes", units.size(self.bytes, "bytes", path="bytes"))


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
        Device ids or kinds that the op is pinned to; one alone may be given as text.
    slots : int
        Units of the device that the op holds while it runs.
    attrs : mapping
        Facts that the solver ignores and keeps (shape, flops, estimated, ...).
    outputs : mapping of str to int
        Bytes of each output tensor, by name, where the op has several or names the one it has.
        ``memory.output`` is their sum, and need not be given then.
    phase : {'forward', 'backward', 'update'}
        What it is part of in a training step. Rules about stages speak of forward ops.
    split : bool
        Whether the members of a tensor-parallel bundle share its work and its weights.

    Raises
    ------
    GraphError
        On a value of the wrong type or out of range.
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
    outputs: Mapping[str, int] = field(default_factory=dict)
    phase: str = PHASES[0]
    split: bool = False

    def __post_init__(self) -> None:
        _set(self, "id", as_word(self.id, "id", "id"))
        _set(self, "time", self._times())
        if not isinstance(self.memory, Memory):
            raise self._error("memory", "a Memory")
        if self.outputs or not is_mapping(self.outputs):
            _set(self, "outputs", self._tensors())
            _set(self, "memory", self._with_output(sum(self.outputs.values())))
        _set(self, "inputs", as_objects(self.inputs, Input, "inputs"))
        _set(self, "type", as_text(self.type, "type", "type"))
        if self.colocate is not None:
            _set(self, "colocate", as_word(self.colocate, "colocate", "colocate"))
        if self.devices is not None:
            _set(self, "devices", self._pins())
        _set(self, "slots", units.positive_int(self.slots, "slots", path="slots"))
        as_mapping(self.attrs, "attrs", "attrs")
        if not isinstance(self.phase, str) or self.phase not in PHASES:
            raise self._error("phase", f"one of {', '.join(PHASES)}")
        _set(self, "split", as_flag(self.split, "split", "split"))

    def _times(self) -> dict[str, float]:
        expected = "a mapping from device kind or id to a number, such as {cpu: 5, gpu: 1}"
        return self._amounts("time", "time", "a device of time", expected, units.magnitude)

    def _tensors(self) -> dict[str, int]:
        expected = "a mapping from name to bytes, such as {logits: 4MiB}"
        return self._amounts("outputs", "output", "an output", expected, units.size)

    def _amounts(
        self, key: str, what: str, entry: str, expected: str, read: Callable[..., Any]
    ) -> dict[str, Any]:
        """Parse a mapping from names to amounts."""
        given = getattr(self, key)
        if not is_mapping(given):
            raise self._error(key, expected)
        what = f"{what} of op {self.id!r}"
        try:
            return {
                as_word(name, entry, ""): read(amount, what, path=name)
                for name, amount in given.items()
            }
        except GraphError as error:
            raise GraphError(error.message, path=join(key, error.path)) from None

    def _with_output(self, total: int) -> Memory:
        if self.memory.output not in (0, total):
            raise GraphError(
                f"memory.output of op {self.id!r} is {self.memory.output}, its outputs add up to "
                f"{total}, expected one or the other",
                path="memory.output",
            )
        return replace(self.memory, output=units.size(total, "outputs", path="outputs"))

    def _pins(self) -> tuple[str, ...]:
        names = (self.devices,) if isinstance(self.devices, str) else self.devices
        if not isinstance(names, Iterable):
            raise self._error("devices", "names of devices")
        pins = tuple(as_word(name, "a device", f"devices[{k}]") for k, name in enumerate(names))
        if not pins:
            raise self._error("devices", "at least one device")
        return pins

    def _error(self, what: str, expected: str) -> GraphError:
        found = units.describe(getattr(self, what))
        return GraphError(f"{what} of op {self.id!r} is {found}, expected {expected}", path=what)


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
        _set(self, "id", as_text(self.id, "model id", "id"))
        _set(self, "ops", as_objects(self.ops, Op, "ops"))
        for key in ("weight", "release"):
            _set(self, key, units.magnitude(getattr(self, key), key, path=key))
        try:
            check_structure(columns_of((self,)))
        except GraphError as error:
            path = error.path and error.path.removeprefix("models[0].")
            raise GraphError(error.message, path=path) from None

    def __repr__(self) -> str:
        return (
            f"Model({self.id!r}: {len(self.ops)} ops, weight={self.weight:g}, "
            f"release={self.release:g})"
        )

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Position of each op id in `ops`."""
        return {op.id: i for i, op in enumerate(self.ops)}


def columns_of(models: Sequence[Model]) -> Columns:
    """Return the columns of models that are given as objects."""
    ops = [op for model in models for op in model.ops]
    count = len(ops)
    sizes = np.array([len(model.ops) for model in models], dtype=np.int64)
    keys = {
        key: q for q, key in enumerate(dict.fromkeys(chain.from_iterable(op.time for op in ops)))
    }
    time = np.full((count, len(keys)), np.nan)
    for i, op in enumerate(ops):
        for key, value in op.time.items():
            time[i, keys[key]] = value
    types, kind = _encode([op.type for op in ops])
    groups, group = _encode([op.colocate for op in ops])
    pins, pin = _encode([op.devices for op in ops])
    memory = np.array(
        [(op.memory.weights, op.memory.output, op.memory.workspace) for op in ops], dtype=np.int64
    ).reshape(-1, 3)
    named = any(op.outputs for op in ops)
    inputs = _inputs(models, ops)
    if not named:
        del inputs["input_output"]
    return Columns(
        model_ids=tuple(model.id for model in models),
        model_weight=np.array([model.weight for model in models]),
        release=np.array([model.release for model in models]),
        model_ptr=pointers(sizes),
        ids=Texts.join([op.id for op in ops]),
        time_keys=tuple(keys),
        time=time,
        weights=memory[:, 0].copy(),
        output=memory[:, 1].copy(),
        workspace=memory[:, 2].copy(),
        **inputs,
        slots=np.array([op.slots for op in ops], dtype=np.int64),
        types=types,
        type=kind,
        groups=groups,
        group=group,
        pins=pins,
        pin=pin,
        attrs={i: op.attrs for i, op in enumerate(ops) if op.attrs},
        outputs=_outputs(ops) if named else None,
        phase=_phases(ops),
        split=np.array([op.split for op in ops]) if any(op.split for op in ops) else None,
    )


def _phases(ops: Sequence[Op]) -> Ints | None:
    """Phases of all ops, None where all are forward."""
    if all(op.phase == PHASES[0] for op in ops):
        return None
    return np.array([PHASES.index(op.phase) for op in ops], dtype=np.int64)


def _outputs(ops: Sequence[Op]) -> Outputs:
    """Tensors of all ops, of which some are named."""
    rows = [op.outputs or {"": op.memory.output} for op in ops]
    return Outputs(
        pointers(np.array([len(row) for row in rows], dtype=np.int64)),
        np.array([size for row in rows for size in row.values()], dtype=np.int64),
        Texts.join([name for row in rows for name in row]),
    )


def _inputs(models: Sequence[Model], ops: Sequence[Op]) -> dict[str, Ints]:
    producer: list[int] = []
    size: list[int] = []
    output: list[int] = []
    offset = 0
    for j, model in enumerate(models):
        index = model.index
        for op in model.ops:
            for edge in op.inputs:
                source = index.get(edge.op)
                if source is None and len(index) == len(model.ops):
                    raise GraphError(
                        f"op {op.id!r} reads {edge.op!r}, which model {model.id!r} does not have",
                        path=f"models[{j}].ops[{index[op.id]}].inputs[{op.inputs.index(edge)}]",
                    )
                number = source or 0  # ids used twice are for the checks
                producer.append(offset + number)
                output.append(_output_read(model, number, op, edge, f"models[{j}]"))
                size.append(WHOLE_OUTPUT if edge.bytes is None else edge.bytes)
        offset += len(model.ops)
    return {
        "input_ptr": pointers(np.array([len(op.inputs) for op in ops], dtype=np.int64)),
        "input_op": np.array(producer, dtype=np.int64),
        "input_bytes": np.array(size, dtype=np.int64),
        "input_output": np.array(output, dtype=np.int64),
    }


def _output_read(model: Model, source: int, reader: Op, edge: Input, path: str) -> int:
    """Position of the output that an input names among its producer's, or `ALL_OUTPUTS`."""
    outputs = model.ops[source].outputs
    if edge.output is None and (not edge.bytes or len(outputs) < 2):
        return ALL_OUTPUTS
    if edge.output is not None and edge.output in outputs:
        return list(outputs).index(edge.output)
    names = ", ".join(outputs)
    if edge.output is None:
        wrong = (
            f"names bytes of {edge.op!r}, but not which output: expected 'output: ' one of {names}"
        )
    else:
        known = (
            f"expected one of {names}" if names else f"expected none: {edge.op!r} names no outputs"
        )
        wrong = f"reads output {edge.output!r} of {edge.op!r}, {known}"
    place = f"{path}.ops[{model.index[reader.id]}].inputs[{reader.inputs.index(edge)}]"
    raise GraphError(f"op {reader.id!r} {wrong}", path=place)


def _encode(values: Sequence[Any]) -> tuple[tuple[Any, ...], Ints]:
    """Return the distinct values in order of appearance, and which one each is (None: `NONE`)."""
    number: dict[Any, int] = {}
    code = [NONE if v is None else number.setdefault(v, len(number)) for v in values]
    return tuple(number), np.array(code, dtype=np.int64)
