"""What capturing a model yields: a flat GraphDef, what it is given, and what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from talos_opt.frameworks.common.keeping import kept_alive
from talos_opt.frameworks.tensorflow.backend import tf
from talos_opt.frameworks.tensorflow.folding import Folded, node_of, port_of

#: Outputs that share the memory of the first input.
_VIEWS = frozenset(
    (
        "Reshape", "Squeeze", "ExpandDims", "Identity", "StopGradient", "PreventGradient",
        "Bitcast", "Snapshot",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Given:
    """A value that the graph is given.

    Parameters
    ----------
    node : str
        Of its placeholder.
    kind : {'input', 'variable', 'constant'}
        Constants are tensors that the function closes over.
    dtype : tf.DType
        Of the value; the placeholder of a variable is a resource.
    source : int or tf.Variable or tf.Tensor
        Position among the inputs, or what holds the value.
    """

    node: str
    kind: str
    dtype: Any
    source: Any = field(compare=False, repr=False)

    @property
    def bytes(self) -> int:
        """Bytes of a variable or constant."""
        if self.kind == "input":
            return 0
        return int(np.prod(self.source.shape.as_list(), dtype=np.int64)) * int(self.dtype.size)


@dataclass(frozen=True)
class Captured:
    """A model as a flat graph; made by `capture`.

    Parameters
    ----------
    folded : Folded
        Its nodes: ops, and what is folded into their readers.
    graph : tf.Graph
        The same graph, imported, which knows the shapes.
    given : tuple of Given
    outputs : tuple of str
        Tensors that the function returns (``node:0``), those of nested structures in order.
    function : tf.types.experimental.ConcreteFunction
        What was captured.
    mode : {'inference', 'training'}
    by : str
        What it was captured from.
    notes : tuple of str
        What its user should know of how it was captured.
    """

    folded: Folded
    graph: Any
    given: tuple[Given, ...]
    outputs: tuple[str, ...]
    function: Any
    mode: str
    by: str
    notes: tuple[str, ...] = ()

    def op_ids(self) -> tuple[str, ...]:
        """Return the ids of the ops, producers before their readers: names of their nodes."""
        return self.folded.ops

    def reads(self, op: str) -> list[tuple[str, int]]:
        """Return the ops that an op reads, with which output; -1: it only waits for it."""
        found: list[tuple[str, int]] = []
        for name, ports in self.folded.producers(op).items():
            found += [(name, port) for port in sorted(ports - {-1} or ports)]
        return found

    def base(self, op: str) -> str | None:
        """Return what a view is a view of: an op, or a source; None for other ops."""
        inputs = self.folded.inputs[op]
        return node_of(inputs[0]) if self.folded.nodes[op].op in _VIEWS and inputs else None

    def kept(self, op: str) -> list[tuple[str, str]]:
        """Return what an op keeps alive: ids of ops, with the names of their tensors.

        In a graph these are inputs of no bytes; see `common.keeping`.
        """
        return [(name, self.output_name(name, port)) for name, port in self._kept.get(op, ())]

    @cached_property
    def _kept(self) -> dict[str, list[tuple[str, int]]]:
        read = {op: [item for item in self.reads(op) if item[1] >= 0] for op in self.op_ids()}
        views = [op for op in self.op_ids() if self.base(op) is not None]
        first = {op: self.folded.inputs[op][0] for op in views}
        return kept_alive(
            read,
            {op: (node_of(text), port_of(text)) for op, text in first.items()},
            [(node_of(text), port_of(text)) for text in self.outputs],
        )

    @cached_property
    def outputs_read(self) -> dict[str, dict[int, str]]:
        """Names of the outputs of every op that other ops read or the graph returns.

        The only output of an op that is read has none.
        """
        ports: dict[str, set[int]] = {op: set() for op in self.op_ids()}
        for op in self.op_ids():
            for name, port in self.reads(op):
                if port >= 0:
                    ports[name].add(port)
        for tensor in self.outputs:
            if node_of(tensor) in ports:
                ports[node_of(tensor)].add(port_of(tensor))
        return {
            op: {port: str(port) if len(found) > 1 else "" for port in sorted(found)}
            for op, found in ports.items()
        }

    def output_name(self, op: str, port: int) -> str:
        """Return the name of an output; who only waits for an op, waits for the first of them."""
        names = self.outputs_read[op]
        return names.get(port) or next(iter(names.values()), "")

    def variables(self) -> tuple[Given, ...]:
        """Return what is given by variables."""
        return tuple(given for given in self.given if given.kind == "variable")

    def written(self) -> tuple[Given, ...]:
        """Return the variables that the graph may change."""
        return tuple(given for given in self.variables() if given.node in self.folded.written)

    @cached_property
    def by_node(self) -> dict[str, Given]:
        """What is given, by its placeholder."""
        return {given.node: given for given in self.given}

    def values(self, inputs: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        """Return the value of everything that is given, by its placeholder.

        Raises
        ------
        ValueError
            If the number of inputs is wrong.
        """
        expected = sum(given.kind == "input" for given in self.given)
        if len(inputs) != expected:
            raise ValueError(f"{len(inputs)} inputs given, the model was captured with {expected}")
        return {
            given.node: inputs[given.source] if given.kind == "input" else given.source.numpy()
            for given in self.given
        }

    def reference(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return what the model itself computes: its outputs, then its variables after the step.

        The variables are left as they were. Inference returns no variables, unless the model
        writes some.
        """
        written = self.written()
        before = [given.source.numpy() for given in written]
        given = [tf.constant(value) for value in inputs]
        try:
            found = tf.nest.flatten(self.function(*given))
            outputs = [value.numpy() for value in found if isinstance(value, tf.Tensor)]
            return outputs + [item.source.numpy() for item in written]
        finally:
            for item, value in zip(written, before, strict=True):
                item.source.assign(value)


def shapes_of(inputs: Sequence[np.ndarray]) -> str:
    """Return shapes and types of inputs, as profiles state them."""
    return ", ".join(
        f"{'x'.join(map(str, value.shape)) or 'scalar'}:{value.dtype}" for value in inputs
    )
