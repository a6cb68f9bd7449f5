"""Element types: their names, and the bytes that they take."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from talos_opt.frameworks.onnx.backend import ox

#: Bits of an element, by the name that onnx has for its type; text has no size of its own.
BITS = {
    "FLOAT": 32, "DOUBLE": 64, "FLOAT16": 16, "BFLOAT16": 16, "INT64": 64, "INT32": 32,
    "INT16": 16, "INT8": 8, "INT4": 4, "INT2": 2, "UINT64": 64, "UINT32": 32, "UINT16": 16,
    "UINT8": 8, "UINT4": 4, "UINT2": 2, "BOOL": 8, "COMPLEX64": 64, "COMPLEX128": 128,
    "FLOAT8E4M3FN": 8, "FLOAT8E4M3FNUZ": 8, "FLOAT8E5M2": 8, "FLOAT8E5M2FNUZ": 8,
    "FLOAT8E8M0": 8, "FLOAT4E2M1": 4,
}  # fmt: skip
#: Names of the rest of the package, where they are not onnx's in lower case.
_NAMES = {"FLOAT": "float32", "DOUBLE": "float64"}
#: What a profile of the runtime appends to types of which several elements share a byte: int4x2.
_PACKED = re.compile(r"(?<=\d)x[24]$")
#: What NumPy says of types that another package has registered with it.
_REGISTERED = 2
#: The other way round: names in a profile of the runtime, too.
_CODES = {"float": "FLOAT", "float32": "FLOAT", "double": "DOUBLE", "float64": "DOUBLE"}


def name_of(code: int) -> str:
    """Return the name of an element type: ``float32``, ``int4``."""
    known = str(ox.TensorProto.DataType.Name(code))
    return _NAMES.get(known, known.lower())


def code_of(name: str) -> int:
    """Return onnx's number of an element type, by a name as `name_of` or a profile has it."""
    text = _PACKED.sub("", name.removeprefix("tensor(").removesuffix(")"))
    return int(ox.TensorProto.DataType.Value(_CODES.get(text, text.upper())))


def is_known(code: int) -> bool:
    """Whether a number is that of an element type, of text included."""
    return code != ox.TensorProto.UNDEFINED and code in ox.TensorProto.DataType.values()


def is_narrow(code: int) -> bool:
    """Whether elements are of a type that NumPy lacks."""
    return numpy_dtype(code).isbuiltin == _REGISTERED


def widened(array: np.ndarray) -> np.ndarray:
    """Return an array of a type that NumPy lacks as float32, which holds all of its values."""
    return array.astype(np.float32) if array.dtype.isbuiltin == _REGISTERED else array


def is_float(code: int) -> bool:
    """Whether elements are floating-point numbers of any width."""
    return "float" in name_of(code) or code == ox.TensorProto.DOUBLE


def nbytes(code: int, shape: Sequence[int]) -> int:
    """Return the bytes of a tensor; two elements of 4 bits share a byte. Text counts as none."""
    bits = BITS.get(ox.TensorProto.DataType.Name(code), 0)
    return math.ceil(math.prod(shape) * bits / 8)


def numpy_dtype(code: int) -> np.dtype:
    """Return NumPy's type for an element type; for those that it lacks, ml_dtypes'."""
    found: np.dtype = np.dtype(ox.helper.tensor_dtype_to_np_dtype(code))
    return found
