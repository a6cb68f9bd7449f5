"""A tensor as a file lists it."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of a model.

    Parameters
    ----------
    name : str
        The file's own.
    dtype : str
        The file's own word for its type: ``BF16``, ``Q4_K``.
    shape : tuple of int
        As in the file: GGUF lists the axis that is contiguous first, safetensors last.
    bytes : int
        That it takes in the file.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int

    @property
    def values(self) -> int:
        """Number of values."""
        return prod(self.shape)
