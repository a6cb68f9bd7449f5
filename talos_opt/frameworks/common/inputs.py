"""Example inputs from the words on a command line: shape, type, and where values come from."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from talos_opt.core.errors import InputError

#: Types that inputs may have, by the names that users type. NumPy has no bfloat16: what is drawn
#: for it is float32, which the framework casts.
DTYPES = (
    "float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool",
)  # fmt: skip
_NUMBER = r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})-({_NUMBER})")
_FORM = "[NAME=]SHAPE[:dtype[:low-high]] such as 8x3x224x224 or ids=1x128:int64:0-30521"
#: A name, and the way into what it holds: ``batch.x``, ``states.0``.
_NAME = re.compile(r"[^\W\d]\w*(?:\.\w+)*")


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
    name : str, optional
        Of the argument that it is given as; ``batch.x`` is the value at ``x`` in a dict called
        ``batch``, ``states.0`` the first in a tuple. None: by position.
    """

    shape: tuple[int, ...]
    dtype: str = "float32"
    low: float | None = None
    high: float | None = None
    name: str | None = None

    @classmethod
    def parse(cls, text: str) -> InputSpec:
        """Read [NAME=]SHAPE[:dtype[:low-high]]; the shape of a scalar is ``scalar``.

        Raises
        ------
        InputError
            If it has another form, or if whole numbers have no range.
        """
        label, equals, body = text.rpartition("=")
        shape_text, *rest = body.split(":")
        if len(rest) > 2 or (equals and not _NAME.fullmatch(label)):
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
        return cls(_shape(text, shape_text), name, low, high, label if equals else None)

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


def nest(named: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return values by name, those with dotted names nested in dicts, and in tuples by number.

    Parameters
    ----------
    named : iterable of (str, Any)

    Raises
    ------
    InputError
        If a name is given twice, is both a value and what holds others, or if the numbers of a
        tuple do not count from 0.
    """
    found: dict[str, Any] = {}
    for name, value in named:
        *way, last = name.split(".")
        inside = found
        for part in way:
            inside = inside.setdefault(part, _Held())
            if not isinstance(inside, _Held):
                raise InputError(f"input {name}: {part} is an input itself, and holds none")
        if last in inside:
            raise InputError(f"input {name} is given twice")
        inside[last] = value
    return {name: _settled(name, value) for name, value in found.items()}


class _Held(dict[str, Any]):
    """Inputs that are nested, told from values that are dicts."""


def _settled(name: str, value: Any) -> Any:
    if not isinstance(value, _Held):
        return value
    inner = {part: _settled(f"{name}.{part}", item) for part, item in value.items()}
    if not any(part.isdecimal() for part in inner):
        return inner
    if set(inner) != {str(k) for k in range(len(inner))}:
        raise InputError(
            f"inputs in {name} are called {', '.join(inner)}: those of a tuple count from 0"
        )
    return tuple(inner[str(k)] for k in range(len(inner)))
