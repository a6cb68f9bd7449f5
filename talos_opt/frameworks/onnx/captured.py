"""What capturing a model yields: one flat graph with ids, types and sizes, in a folder."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from talos_opt.frameworks.common.inputs import InputSpec
from talos_opt.frameworks.common.keeping import kept_alive
from talos_opt.frameworks.common.running import CapturedOp
from talos_opt.frameworks.onnx.backend import ox
from talos_opt.frameworks.onnx.devices import CPU, Provider
from talos_opt.frameworks.onnx.events import NodeEvent
from talos_opt.frameworks.onnx.graphs import (
    constants_of,
    nodes_of,
    outputs_of,
    reads_of,
    subgraphs,
    type_of,
)
from talos_opt.frameworks.onnx.inputs import as_text
from talos_opt.frameworks.onnx.reading import Source
from talos_opt.frameworks.onnx.sessions import session_of
from talos_opt.frameworks.onnx.shapes import Tensor

#: Ops whose output is their first input in another shape: the runtime makes no copy.
_VIEWS = frozenset(("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity", "Dropout"))


class Scratch:
    """A folder that goes when nobody holds this object any more, or with the process."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="talos-opt-"))
        weakref.finalize(self, shutil.rmtree, self.path, ignore_errors=True)


@dataclass(frozen=True)
class Captured:
    """A model as one flat graph.

    Parameters
    ----------
    source : Source
    proto : onnx.ModelProto
        Every node has a name, which is its op's id; producers come before their readers.
    folder : Path
        Where external data of `proto` lie.
    specs : tuple of InputSpec
        Of the inputs, in their order.
    level : str
        How far the runtime has optimised it.
    tensors : mapping of str to Tensor
        What is known of every value.
    notes : tuple of str
    seen : tuple of NodeEvent
        What every node did when the model was run once, those of subgraphs too; may be empty.
    scratch : Scratch, optional
        Folder for files of sessions, and of `proto` where the runtime has optimised it.
    """

    source: Source
    proto: Any
    folder: Path
    specs: tuple[InputSpec, ...]
    level: str
    tensors: Mapping[str, Tensor]
    notes: tuple[str, ...] = ()
    seen: tuple[NodeEvent, ...] = ()
    scratch: Scratch | None = field(default=None, repr=False)

    @property
    def graph(self) -> Any:
        """The outermost graph."""
        return self.proto.graph

    @property
    def name(self) -> str:
        """Name of the model: that of its file."""
        return self.source.path.stem

    @property
    def inputs_text(self) -> str:
        """Inputs as profiles state them."""
        return as_text(self.specs)

    def session(self, options: Any = None, provider: Provider = CPU, part: Any = None) -> Any:
        """Return a session of the graph, or of a part of it as a model of its own.

        Parameters
        ----------
        options : onnxruntime.SessionOptions, optional
            Default: those of `sessions.options_of`.
        provider : Provider
        part : onnx.ModelProto, optional
        """
        made = self.proto if part is None else part
        return session_of(
            made, options, folder=self.folder, provider=provider, name=self.source.path
        )

    def watch(self, options: Any, name: str) -> None:
        """Let a session write the runtime's profile, by this name, to the scratch folder."""
        options.enable_profiling = True
        assert self.scratch is not None, "nothing was to run"
        options.profile_file_prefix = str(self.scratch.path / name)

    @cached_property
    def sized(self) -> bool:
        """Whether all inputs have their sizes in the graph."""
        dims = [dim for value in self.graph.input for dim in value.type.tensor_type.shape.dim]
        return all(dim.HasField("dim_value") for dim in dims)

    @cached_property
    def nodes(self) -> dict[str, Any]:
        """Nodes by op id."""
        return {node.name: node for node in self.graph.node}

    @cached_property
    def maker(self) -> dict[str, str]:
        """Op that makes a value, by the value's name."""
        return {name: op for op, node in self.nodes.items() for name in outputs_of(node)}

    @cached_property
    def constants(self) -> dict[str, int]:
        """Bytes of weights by name."""
        return constants_of(self.graph)

    def constant(self, value: str) -> np.ndarray:
        """Return a weight's value, from whatever file it is in."""
        tensor = next(t for t in self.graph.initializer if t.name == value)
        found: np.ndarray = ox.numpy_helper.to_array(tensor, base_dir=str(self.folder))
        return found

    @cached_property
    def outputs(self) -> list[str]:
        """Values that the model returns."""
        return [value.name for value in self.graph.output]

    @cached_property
    def reads(self) -> dict[str, list[str]]:
        """Values that each op reads: of other ops, weights, and inputs of the model."""
        return {op: reads_of(node) for op, node in self.nodes.items()}

    @cached_property
    def outputs_read(self) -> dict[str, list[str]]:
        """Values of each op that another one reads or the model returns."""
        wanted = {value for read in self.reads.values() for value in read} | {*self.outputs}
        return {
            op: [name for name in outputs_of(node) if name in wanted]
            for op, node in self.nodes.items()
        }

    def output_name(self, value: str) -> str:
        """Return what a graph calls a value: its name, nothing if its op has no other."""
        return value if len(self.outputs_read[self.maker[value]]) > 1 else ""

    def base(self, op: str) -> str | None:
        """Return the value that a view is of; None of what is not a view of an op's value."""
        node = self.nodes[op]
        if node.op_type not in _VIEWS or node.domain not in ("", "ai.onnx"):
            return None
        made, first = self.outputs_read[op], node.input[0]
        return first if first in self.maker and made == [node.output[0]] else None

    @cached_property
    def kept(self) -> dict[str, list[str]]:
        """Values that have to stay until an op has run, though it does not read them itself."""
        reads = {
            op: [(self.maker[v], v) for v in read if v in self.maker]
            for op, read in self.reads.items()
        }
        bases = {op: (self.maker[v], v) for op in self.nodes if (v := self.base(op)) is not None}
        returned = [(self.maker[v], v) for v in self.outputs if v in self.maker]
        held = kept_alive(reads, bases, returned)
        return {op: [value for _, value in found] for op, found in held.items()}

    def ops(self) -> list[CapturedOp]:
        """Return the ops as runs see them."""
        return [
            CapturedOp(
                op,
                type_of(node),
                [self.named(value) for value in self.reads[op] if value in self.maker],
                self.outputs_read[op] if len(self.outputs_read[op]) > 1 else (),
                [self.named(value) for value in self.kept.get(op, ())],
            )
            for op, node in self.nodes.items()
        ]

    def named(self, value: str) -> tuple[str, str]:
        """Return the op that makes a value, and what it calls it."""
        return self.maker[value], self.output_name(value)

    def inner(self) -> dict[str, str]:
        """Return the op of the outermost graph that holds a node of a subgraph, by its name."""
        return {
            node.name: op
            for op, holder in self.nodes.items()
            for graph in subgraphs(holder)
            for node in nodes_of(graph)
        }
