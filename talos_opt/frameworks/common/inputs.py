"""Example inputs from the words on a command line: shape, type, and where values come from."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from talos_opt.core.errors import InputError

#: Types that inputs may have, by the names that users type. NumPy has no bfloat16: what is drawn
#: for it is float32, which the framework casts.
DTYPES = (
    "float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool",
)  # fmt: skip
_NUMBER = r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})-({_NUMBER})")
_FORM = "SHAPE[:dtype[:low-high]] such as 8x3x224x224 or 1x128:int64:0-30521"


@dataclass(frozen=True, slots=True)
class InputSpec:
    """An example input: what it looks like, and from where its values are drawn.

    Parameters
    ----------
    shape : tuple of int
    dtype : str
        One of `DTYPES`.
    low, high : float, optional
        Both ends belong to the range. None: normally distributed floats, or either truth value.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    low: float | None = None
    high: float | None = None

    @classmethod
    def parse(cls, text: str) -> InputSpec:
        """Read SHAPE[:dtype[:low-high]]; the shape of a scalar is ``scalar``.

        Raises
        ------
        InputError
            If it has another form, or if whole numbers have no range.
        """
        shape_text, *rest = text.split(":")
        if len(rest) > 2:
            raise InputError(f"input {text!r} is not of the form {_FORM}")
        name = rest[0] if rest else "float32"
        if name not in DTYPES:
            raise InputError(
                f"input {text!r}: dtype {name!r} is unknown, expected one of {', '.join(DTYPES)}"
            )
        low, high = _range(text, rest[1]) if len(rest) == 2 else (None, None)
        if low is None and not _is_float(name) and name != "bool":
            raise InputError(f"input {text!r}: {name} needs a range, such as :{name}:0-30521")
        if low is not None and not _is_float(name):
            _require_whole(text, name, (low, high or 0.0))
        return cls(_shape(text, shape_text), name, low, high)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Return an array of random values; the same for the same state of the generator."""
        if _is_float(self.dtype):
            if self.low is None or self.high is None:
                made = rng.standard_normal(self.shape)
            else:
                made = self.low + (self.high - self.low) * rng.random(self.shape)
            kind = "float32" if self.dtype == "bfloat16" else self.dtype
            return np.asarray(made).astype(kind)
        low = 0 if self.low is None else int(self.low)
        high = 1 if self.high is None else int(self.high)
        whole = rng.integers(low, high, self.shape, dtype=np.int64, endpoint=True)
        return np.asarray(whole).astype(self.dtype)


def _is_float(name: str) -> bool:
    return "float" in name


def _shape(text: str, shape: str) -> tuple[int, ...]:
    if shape == "scalar":
        return ()
    parts = shape.split("x")
    if not all(part.isdecimal() for part in parts):
        raise InputError(f"input {text!r} is not of the form {_FORM}")
    if any(int(part) == 0 for part in parts):
        raise InputError(f"input {text!r} has no elements")
    return tuple(int(part) for part in parts)


def _range(text: str, span: str) -> tuple[float, float]:
    match = _RANGE.fullmatch(span)
    if match is None:
        raise InputError(f"input {text!r}: {span!r} is not a range such as 0-30521")
    low, high = float(match[1]), float(match[2])
    if low > high:
        raise InputError(f"input {text!r}: the range ends below its start")
    return low, high


def _require_whole(text: str, name: str, ends: tuple[float, float]) -> None:
    least, most = (0, 1) if name == "bool" else _limits(name)
    for end in ends:
        if end != int(end) or not least <= end <= most:
            raise InputError(f"input {text!r}: {end:g} is not a value of {name}")


def _limits(name: str) -> tuple[int, int]:
    info = np.iinfo(name)
    return int(info.min), int(info.max)
