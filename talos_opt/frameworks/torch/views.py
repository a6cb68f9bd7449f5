"""The views of a captured model, and what has to stay alive for them: see `common.keeping`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import fx

from talos_opt.frameworks.common import keeping
from talos_opt.frameworks.torch.captured import Captured
from talos_opt.frameworks.torch.costs import Cost, Evaluator
from talos_opt.frameworks.torch.tensors import made_by, tensors_read

#: Outputs that whoever runs the model keeps; gradients and new weights are used up by the step.
_STAYS = ("user_output", "loss")


class Views:
    """The views of a captured model.

    Parameters
    ----------
    captured : Captured
    costs : mapping of torch.fx.Node to Cost, optional
        Of every call, where they are known already.
    """

    def __init__(self, captured: Captured, costs: Mapping[fx.Node, Cost] | None = None) -> None:
        nodes = captured.ops()
        if costs is None:
            evaluator = Evaluator()
            costs = {node: evaluator.cost(node) for node in nodes}
        self._captured = captured
        self._bases = {
            node: base
            for node in nodes
            if (base := _argument(node, costs[node].alias_of)) is not None
        }
        (returned,) = captured.graph_module.graph.output_node().args
        outputs = zip(captured.outputs, pytree.tree_leaves(returned), strict=True)
        self._kept = keeping.kept_alive(
            {node: tensors_read(node) for node in nodes},
            {node: made_by(base) for node, base in self._bases.items()},
            [
                made_by(node)
                for spec, node in outputs
                if isinstance(node, fx.Node) and spec.kind in _STAYS
            ],
        )

    def base(self, node: fx.Node) -> fx.Node | None:
        """Return the argument whose memory a call's output is in; None: it has memory of its own.

        The argument may be a view itself, or a pick.
        """
        return self._bases.get(node)

    def kept(self, node: fx.Node) -> list[tuple[str, str]]:
        """Return what a call keeps alive: ids of calls, with the names of their tensors.

        In a graph these are inputs of no bytes; nothing is sent for them.
        """
        return [
            (self._captured.op_id(tensor[0]), self._captured.tensors.of(tensor[0])[tensor[1]])
            for tensor in self._kept.get(node, ())
        ]


def _argument(node: fx.Node, position: int | None) -> fx.Node | None:
    """Return which node is a call's tensor of this number."""
    if position is None:
        return None
    sources = [n for n in pytree.tree_leaves((node.args, dict(node.kwargs))) if _is_tensor(n)]
    return sources[position] if position < len(sources) else None


def _is_tensor(value: Any) -> bool:
    """Whether an argument is a node that stands for a tensor, or for several."""
    return isinstance(value, fx.Node) and any(
        isinstance(leaf, torch.Tensor) for leaf in pytree.tree_leaves(value.meta.get("val"))
    )
