"""What capturing a model yields: a flat graph of calls, and what its ends stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import torch
import torch.utils._pytree as pytree
from torch import fx, nn

from talos_opt.core.errors import InputError
from talos_opt.frameworks.torch.arguments import Arguments, arguments
from talos_opt.frameworks.torch.signature import Output, Placeholder
from talos_opt.frameworks.torch.tensors import Tensors, is_pick, tensors_read
from talos_opt.frameworks.torch.training import restored, training_step

#: The only argument, or all by position, by name, or both; or their tensors in a row.
Inputs: TypeAlias = torch.Tensor | Sequence[Any] | Mapping[str, Any] | Arguments


@dataclass(frozen=True)
class Captured:
    """A model as a graph of calls; made by `capture`.

    Parameters
    ----------
    graph_module : torch.fx.GraphModule
        Placeholders, call_function nodes and one output; without in-place ops, so that values
        depend on nothing but the edges.
    placeholders : tuple of Placeholder
        In the order of the graph's.
    outputs : tuple of Output
        In the order of the graph's.
    mode : {'inference', 'training'}
    module : torch.nn.Module
        The captured module itself, in the mode that it was captured in.
    tied : tuple of frozenset of str
        Parameters and buffers that are one tensor, by their qualified names.
    arguments : Arguments
        What it was captured with.
    by : {'export', 'strict export', 'fx'}
        What captured it; see `capture`.
    other : tuple of torch.Tensor, optional
        Other inputs, on which the graph and the module agree; None: it was not checked.
    notes : tuple of str
        What its user should know.
    """

    graph_module: fx.GraphModule
    placeholders: tuple[Placeholder, ...]
    outputs: tuple[Output, ...]
    mode: str
    module: nn.Module
    tied: tuple[frozenset[str], ...]
    arguments: Arguments
    by: str = "export"
    other: tuple[torch.Tensor, ...] | None = None
    notes: tuple[str, ...] = ()

    def ops(self) -> list[fx.Node]:
        """Return the calls, producers before their readers.

        Picks of one result out of several are not among them: see `tensors`.
        """
        nodes = self.graph_module.graph.nodes
        return [node for node in nodes if node.op == "call_function" and not is_pick(node)]

    @cached_property
    def tensors(self) -> Tensors:
        """The tensors that the calls make."""
        return Tensors(self.graph_module.graph)

    def reads(self, node: fx.Node) -> list[tuple[str, str]]:
        """Return the ids of the calls that a call reads, each with the name of the tensor."""
        return [
            (self.op_id(tensor.node), self.tensors.name(tensor))
            for tensor in tensors_read(node)
            if tensor.node.op == "call_function"
        ]

    def op_id(self, node: fx.Node) -> str:
        """Return the id of a call; the same whenever the model is captured again."""
        return node.name

    def flat_values(self, inputs: Inputs) -> list[torch.Tensor]:
        """Return a tensor for every placeholder, weights from the module.

        Raises
        ------
        ValueError
            If the number of inputs is wrong.
        """
        given = self.given(inputs).tensors
        return [
            given[int(p.target)] if p.kind == "input" else _present(p) for p in self.placeholders
        ]

    def given(self, inputs: Inputs) -> Arguments:
        """Return arguments that nest as the captured ones do.

        Parameters
        ----------
        inputs : sequence, mapping or Arguments
            As `capture` takes them, those by name in any order, or their tensors in a row.

        Raises
        ------
        ValueError
            If the number of tensors is another one.
        InputError
            If they have other names.
        """
        own, found = self.arguments, arguments(inputs)
        by_name = dict(zip(found.names, found.tensors, strict=True))
        if by_name.keys() == set(own.names):
            return own.replace([by_name[name] for name in own.names])
        if isinstance(inputs, Sequence) and len(found.tensors) == len(inputs):
            return own.replace(found.tensors)
        raise InputError(
            f"the inputs are {', '.join(found.names)}; "
            f"the model was captured with {', '.join(own.names)}"
        )

    def reference(self, inputs: Inputs) -> list[Any]:
        """Return what the plain module computes for every output of the graph.

        The module is left as it was: neither buffers nor weights change.
        """
        if self.mode == "inference":
            return self._plain(self.given(inputs))
        return training_step(self.module, self.given(inputs), self.outputs)

    def _plain(self, inputs: Arguments) -> list[Any]:
        given = inputs.replace([value.clone() for value in inputs.tensors])
        with torch.no_grad(), restored(self.module, self.outputs) as now:
            leaves = pytree.tree_leaves(given.call(self.module))
            after = now()
        found: list[Any] = []
        for spec in self.outputs:
            if spec.kind == "user_output":
                found.append(leaves[int(spec.target)])
            else:
                source: Any = after if isinstance(spec.target, str) else given.tensors
                found.append(source[spec.target])
        return found


def _present(placeholder: Placeholder) -> torch.Tensor:
    if placeholder.value is None:
        raise ValueError(f"placeholder {placeholder.name} has no value")
    return placeholder.value.detach()
