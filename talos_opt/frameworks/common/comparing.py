"""Whether the outputs of two runs agree, as far as their types let one expect."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Outputs agree within a share of the value and a share of the largest value of their tensor.
TOLERANCE = {"float64": 1e-9, "float32": 1e-4, "float16": 2e-2, "tf32": 2e-2, "bfloat16": 5e-2}
_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor that a model returned, as NumPy has it.

    Parameters
    ----------
    array : np.ndarray
        A tensor of a floating-point type that NumPy lacks, such as bfloat16, as float32.
    dtype : str
        The framework's name for its type.
    """

    array: np.ndarray
    dtype: str


def compare_outputs(expected: Sequence[Any], found: Sequence[Any]) -> tuple[float, bool]:
    """Return the largest absolute difference of two lists of outputs, and whether they agree.

    Parameters
    ----------
    expected, found : sequence
        `Value` for tensors; anything else has to be equal and of one type.
    """
    error, equal = 0.0, len(expected) == len(found)
    for a, b in zip(expected, found, strict=False):
        if not isinstance(a, Value) or not isinstance(b, Value):
            equal &= type(a) is type(b) and bool(a == b)
            continue
        if a.array.shape != b.array.shape or a.dtype != b.dtype:
            error, equal = math.inf, False
            continue
        difference, within = _compare(a.array, b.array, a.dtype)
        error, equal = max(error, difference), equal and within
    return error, equal


def _compare(a: np.ndarray, b: np.ndarray, dtype: str) -> tuple[float, bool]:
    if a.size == 0:
        return 0.0, True
    if a.dtype.kind == "c":
        return float(np.abs(a - b).max()), bool(np.allclose(a, b, rtol=1e-5, atol=1e-8))
    if a.dtype.kind in "iub":
        return float(np.abs(a.astype(float) - b.astype(float)).max()), bool(np.array_equal(a, b))
    if a.dtype.kind != "f":  # text
        return (0.0, True) if np.array_equal(a, b) else (math.inf, False)
    share = TOLERANCE.get(dtype, _TOLERANCE)
    a, b = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(a) & np.isfinite(b)
    same = bool(np.array_equal(a[~finite], b[~finite], equal_nan=True))
    if not finite.any():
        return (0.0 if same else math.inf), same
    gap = np.abs(a[finite] - b[finite])
    allowed = share * np.abs(a[finite]) + 0.1 * share * max(1.0, float(np.abs(a[finite]).max()))
    return float(gap.max()), same and bool((gap <= allowed).all())
