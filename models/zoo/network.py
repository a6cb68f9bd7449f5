"""A network under construction: the list of its ops, and the shapes by which they fit together."""

from __future__ import annotations

from math import prod

from models.zoo.ops import Edge, Op, Shape, nbytes


class Network:
    """A list of ops in topological order.

    Parameters
    ----------
    name : str
        The network's name, for messages.
    batch : int
        Samples per step.
    training : bool
        Whether batch normalisation computes its statistics.

    Attributes
    ----------
    ops : dict of str to Op
        By id, every op after its inputs.
    """

    def __init__(self, name: str, batch: int, *, training: bool = False) -> None:
        self.name = name
        self.batch = batch
        self.training = training
        self.ops: dict[str, Op] = {}

    def shape(self, op: str) -> Shape:
        """Shape of an op's output tensor, batch first."""
        return self.ops[op].shape

    def size(self, op: str) -> int:
        """Numbers in an op's output tensor."""
        return prod(self.ops[op].shape)

    def add(
        self,
        op: str,
        kind: str,
        work: str,
        shape: Shape,
        *inputs: str,
        flops: int = 0,
        macs: int = 0,
        params: int = 0,
        buffers: int = 0,
        workspace: int = 0,
        traffic: int | None = None,
        group: str | None = None,
        after: tuple[str, ...] = (),
    ) -> str:
        """Append an op and return its id.

        Parameters are those of `Op`, except for the following.

        Parameters
        ----------
        kind : str
            The op's type.
        *inputs : str
            Ids of the ops whose whole output it reads.
        flops : int
            Operations beside its multiply-adds, which are added here.
        traffic : int, optional
            By default each input, the weights and the output pass through memory once.
        after : tuple of str
            Ids of ops that only have to end first.
        """
        missing = [name for name in (*inputs, *after) if name not in self.ops]
        if op in self.ops or missing:
            raise ValueError(f"{self.name}: op {op!r} stands twice, or reads unknown {missing}")
        if traffic is None:
            traffic = nbytes(*(self.size(x) for x in inputs), params + buffers, prod(shape))
        edges = tuple(Edge(x) for x in inputs) + tuple(Edge(x, bytes=0) for x in after)
        self.ops[op] = Op(
            id=op,
            type=kind,
            work=work,
            shape=shape,
            inputs=edges,
            flops=2 * macs + flops,
            macs=macs,
            traffic=traffic,
            params=params,
            buffers=buffers,
            workspace=workspace,
            group=group,
        )
        return op
