"""The one data class of the zoo: an op with its sizes and its work, but no times yet."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

BYTES_PER_NUMBER = 4
"""Everything is fp32 or int32."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Edge:
    """An input of an op.

    Parameters
    ----------
    op : str
        The id of the op that produces the tensor.
    bytes : int, optional
        What travels, where that is not the whole tensor; 0 orders two ops without moving data.
    """

    op: str
    bytes: int | None = None


@dataclass(frozen=True)
class Op:
    """One operator of a network.

    Parameters
    ----------
    id : str
        Unique in its network.
    type : str
        The operator's name, such as ``Conv2D``.
    work : str
        The class of work, a key of the efficiency table in `models.zoo.roofline`.
    shape : tuple of int
        The shape of the output tensor, batch first.
    inputs : tuple of Edge
        The tensors that the op reads.
    flops : int
        Floating-point operations; a multiply-add counts as two.
    macs : int
        Multiply-adds of convolutions and matrix products, the figure that papers publish.
    traffic : int
        Bytes read and written, each tensor and each weight once per pass over it.
    params : int
        Trainable numbers that the op keeps.
    buffers : int
        Other numbers that it keeps: running statistics, the optimiser's state.
    workspace : int
        Scratch bytes while the op runs.
    group : str, optional
        The colocation group, for ops that share weights.
    """

    id: str
    type: str
    work: str
    shape: Shape
    inputs: tuple[Edge, ...] = ()
    flops: int = 0
    macs: int = 0
    traffic: int = 0
    params: int = 0
    buffers: int = 0
    workspace: int = 0
    group: str | None = None

    @property
    def output_bytes(self) -> int:
        """Bytes of the output tensor."""
        return nbytes(prod(self.shape))

    @property
    def weight_bytes(self) -> int:
        """Bytes that stay on the op's device for the whole schedule."""
        return nbytes(self.params + self.buffers)


def nbytes(*numbers: int) -> int:
    """Bytes of that many fp32 numbers in all.

    Examples
    --------
    >>> nbytes(10, 2)
    48
    """
    return BYTES_PER_NUMBER * sum(numbers)
