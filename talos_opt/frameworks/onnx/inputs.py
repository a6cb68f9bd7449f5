"""What a model is run on: the inputs that it declares, in sizes that are known."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.inputs import DTYPES, InputSpec
from talos_opt.frameworks.common.loading import arrays_of
from talos_opt.frameworks.onnx import dtypes
from talos_opt.frameworks.onnx.backend import ox
from talos_opt.frameworks.onnx.graphs import constants_of

_DIM = re.compile(r"\d+")
#: An input as `as_text` states it; the name may have commas and spaces.
_STATED = re.compile(r"(.+?=(?:scalar|\d+(?:x\d+)*):\w+(?::[^, ]+)?)(?:, |$)", re.DOTALL)
#: Whole numbers are drawn from here where nobody says: valid as a mask, an index or an id.
_RANGE = (0, 1)


@dataclass(frozen=True, slots=True)
class Declared:
    """An input as a model declares it.

    Parameters
    ----------
    name : str
    dtype : int
        Element type, as onnx numbers it.
    shape : tuple of int or str or None
        Sizes, names of sizes that are open, None where there is not even a name. None as a whole:
        unknown rank.
    """

    name: str
    dtype: int
    shape: tuple[int | str | None, ...] | None

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.name}: {dtypes.name_of(self.dtype)} of any shape"
        sizes = "x".join("?" if size is None else str(size) for size in self.shape)
        return f"{self.name}: {sizes or 'scalar'}:{dtypes.name_of(self.dtype)}"


def declared_inputs(proto: Any) -> list[Declared]:
    """Return the inputs of a model that have no value of their own.

    Raises
    ------
    InputError
        If one is text or not a tensor.
    """
    own = constants_of(proto.graph)
    return [_declared(value) for value in proto.graph.input if value.name not in own]


def _declared(value: Any) -> Declared:
    if not value.type.HasField("tensor_type"):
        kind = value.type.WhichOneof("value") or "untyped"
        raise InputError(f"input {value.name!r} is of {kind}, expected a tensor")
    tensor = value.type.tensor_type
    if tensor.elem_type == ox.TensorProto.STRING:
        raise InputError(
            f"input {value.name!r} is text, whose ops run on the CPU only: give the part behind "
            "its preprocessing"
        )
    if not tensor.HasField("shape"):
        return Declared(value.name, tensor.elem_type, None)
    return Declared(value.name, tensor.elem_type, tuple(_size(dim) for dim in tensor.shape.dim))


def _size(dim: Any) -> int | str | None:
    if dim.HasField("dim_value") and dim.dim_value > 0:
        return int(dim.dim_value)
    return dim.dim_param or None


def parse_dims(texts: Sequence[str]) -> dict[str, int]:
    """Read NAME=SIZE of each open size.

    Raises
    ------
    InputError
        If one has another form or is given twice.
    """
    found: dict[str, int] = {}
    for text in texts:
        name, equals, size = text.rpartition("=")
        if not (equals and name and _DIM.fullmatch(size)):
            raise InputError(f"size {text!r} is not of the form NAME=SIZE such as batch=8")
        if name in found:
            raise InputError(f"size {name!r} is given twice")
        found[name] = int(size)
    return found


def specs_of(
    declared: Sequence[Declared], given: Sequence[str], dims: Mapping[str, int]
) -> list[InputSpec]:
    """Return what each input looks like, in their order.

    Parameters
    ----------
    declared : sequence of Declared
    given : sequence of str
        ``[NAME=]SHAPE[:DTYPE[:LOW-HIGH]]``; those without names by position.
    dims : mapping of str to int
        Open sizes by name.

    Raises
    ------
    InputError
        If a size stays open, or what is given is not what the model declares.
    """
    known = {value.name: value for value in declared}
    used = {size for value in declared for size in value.shape or () if isinstance(size, str)}
    for name in dims:
        if name not in used:
            open_sizes = f"open sizes are {', '.join(sorted(used))}" if used else "none is open"
            raise InputError(
                f"--dim names {name!r}, which is not an open size of an input: {open_sizes}"
            )
    named: dict[str, InputSpec] = {}
    for k, text in enumerate(given):
        name, _, body = text.rpartition("=")
        if not name:
            if k >= len(declared):
                raise InputError(f"input {k} is given, and the model takes {_takes(declared)}")
            name = declared[k].name
        if name not in known:
            raise InputError(f"the model has no input {name!r}; it takes {_takes(declared)}")
        if name in named:
            raise InputError(f"input {name} is given twice")
        named[name] = _stated(known[name], body)
    sizes = _bound(declared, named, dims)
    return [named.get(value.name) or _default(value, sizes) for value in declared]


def _bound(
    declared: Sequence[Declared], named: Mapping[str, InputSpec], dims: Mapping[str, int]
) -> dict[str, int]:
    """Return open sizes by name: those given, and those of the inputs that were given."""
    found = dict(dims)
    for value in declared:
        if value.name not in named:
            continue
        for size, stated in zip(value.shape or (), named[value.name].shape, strict=False):
            if isinstance(size, str) and found.setdefault(size, stated) != stated:
                raise InputError(
                    f"size {size!r} is {stated} in input {value.name} and {found[size]} elsewhere"
                )
    return found


def _takes(declared: Sequence[Declared]) -> str:
    return ", ".join(map(str, declared)) or "no inputs"


def _stated(value: Declared, body: str) -> InputSpec:
    """Return a given input; its type is the declared one, and whole numbers have a range."""
    shape, *rest = body.split(":")
    expected = dtypes.name_of(value.dtype)
    if rest and rest[0] != expected:
        raise InputError(f"input {value.name} is given as {rest[0]}, and the model takes {value}")
    if "complex" in expected:
        raise InputError(f"input {value.name} is of {expected}, which ONNX Runtime does not take")
    span = rest[1:] or _default_range(expected)
    sizes = shape.split("x")  # a cache may be empty
    filled = "x".join("1" if size == "0" else size for size in sizes)
    spec = InputSpec.parse(":".join([filled, _drawn_as(expected), *span]))
    if spec.low is not None and spec.high is not None and not dtypes.is_float(value.dtype):
        ends = np.array([spec.low, spec.high])
        if not np.array_equal(ends.astype(dtypes.numpy_dtype(value.dtype)).astype(float), ends):
            raise InputError(f"input {value.name}: {span[0]} are not values of {expected}")
    empty = tuple(0 if a == "0" else b for a, b in zip(sizes, spec.shape, strict=False))
    spec = replace(spec, shape=empty, dtype=expected, name=value.name)
    declared = value.shape
    fits = declared is None or len(declared) == len(spec.shape)
    for size, found in zip(declared or (), spec.shape, strict=False):
        fits &= not isinstance(size, int) or size == found
    if not fits:
        raise InputError(f"input {value.name} is given as {shape}, and the model takes {value}")
    return spec


def _drawn_as(dtype: str) -> str:
    """Return the type that values are drawn in, which may be of one that NumPy lacks."""
    if dtype in DTYPES:
        return dtype
    return "float32" if dtypes.is_float(dtypes.code_of(dtype)) else "int64"


def _default_range(dtype: str) -> list[str]:
    return [] if "float" in dtype or dtype == "bool" else [f"{_RANGE[0]}-{_RANGE[1]}"]


def _default(value: Declared, dims: Mapping[str, int]) -> InputSpec:
    if value.shape is None:
        raise InputError(f"input {value.name} has no shape in the model: give it with --input")
    sizes: list[int] = []
    for k, size in enumerate(value.shape):
        found = dims.get(size) if isinstance(size, str) else size
        if found is None:
            way = (
                f"give it with --dim {size}=SIZE"
                if isinstance(size, str)
                else f"it has no name, so give --input {value.name}=SHAPE"
            )
            raise InputError(f"size {k} of input {value} is open: {way}")
        sizes.append(found)
    body = "x".join(map(str, sizes)) or "scalar"
    return _stated(value, body)


def as_text(specs: Sequence[InputSpec]) -> str:
    """Return inputs as profiles state them: what `specs_of` reads, with commas in between."""
    return ", ".join(map(_text, specs))


def split_text(text: str) -> list[str]:
    """Return the inputs that `as_text` has joined, each as `specs_of` reads it."""
    return _STATED.findall(text)


def _text(spec: InputSpec) -> str:
    shape = "x".join(map(str, spec.shape)) or "scalar"
    text = f"{spec.name}={shape}:{spec.dtype}"
    if spec.low is None or spec.high is None:
        return text
    return f"{text}:{_number(spec.low)}-{_number(spec.high)}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def draw(specs: Sequence[InputSpec], seed: int = 0) -> dict[str, np.ndarray]:
    """Return values of inputs by name; the same for the same seed."""
    rng = np.random.default_rng(seed)
    found = {}
    for spec in specs:
        code = dtypes.code_of(spec.dtype)
        drawn = replace(spec, dtype=_drawn_as(spec.dtype)).draw(rng)
        found[str(spec.name)] = drawn.astype(dtypes.numpy_dtype(code))
    return found


def read_arrays(
    declared: Sequence[Declared], source: str
) -> tuple[list[InputSpec], dict[str, np.ndarray]]:
    """Return the inputs that a .npz file or MODULE:CALLABLE holds, and what they look like.

    Raises
    ------
    InputError
        If they are not those that the model declares.
    """
    positional, named = arrays_of(source)
    if len(positional) > len(declared):
        raise InputError(
            f"{source}: {len(positional)} inputs, and the model takes {_takes(declared)}"
        )
    values = {value.name: array for value, array in zip(declared, positional, strict=False)}
    for name, array in named.items():
        if name in values or name not in {value.name for value in declared}:
            raise InputError(f"{source}: {name!r} is not a further input of {_takes(declared)}")
        values[name] = array
    specs = []
    for value in declared:
        if value.name not in values:
            raise InputError(f"{source}: input {value.name} is missing")
        array = values[value.name]
        if dtypes.numpy_dtype(value.dtype) != array.dtype:
            raise InputError(f"{source}: input {value.name} is {array.dtype}; expected {value}")
        specs.append(InputSpec(array.shape, dtypes.name_of(value.dtype), name=value.name))
    return specs, values
