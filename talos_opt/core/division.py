"""What one member of a bundle holds: the memory of ops where it depends on the device.

Everywhere else an op needs the same bytes on every device. On a bundle the memory rule looks at
one member: a data bundle divides tensors and workspaces by its size, a tensor bundle the weights
of the ops that are split.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Division:
    """By how much each device divides what is placed there.

    Parameters
    ----------
    split : (n,) bool
        Ops whose weights a tensor bundle divides.
    weights : (m,) int
        By what each device divides their weights.
    tensors : (m,) int
        By what it divides tensors, received copies and workspaces.
    """

    split: Bools
    weights: Ints
    tensors: Ints

    def weights_of(self, op: Ints, size: Ints, device: Ints) -> Ints:
        """Bytes that one member holds of the weights of ops on devices, rounded up."""
        return _shared(size, np.where(self.split[op], self.weights[device], 1))

    def bytes_of(self, size: Ints, device: Ints) -> Ints:
        """Bytes that one member holds of tensors or workspaces on devices, rounded up."""
        return _shared(size, self.tensors[device])

    @property
    def same_everywhere(self) -> bool:
        """Whether all devices divide alike."""
        same = bool((self.tensors == self.tensors[0]).all())
        return same and (not self.split.any() or bool((self.weights == self.weights[0]).all()))


def _shared(size: Ints, parts: Any) -> Ints:
    return np.asarray(-(-size // parts), dtype=np.int64)
