"""Capture by running: ops are recorded as tensors pass, forwards and backwards.

With real tensors, where torch.export gives up; with fake ones, to add a backward pass to what it
exported. (What torch.export itself offers for that is marked unstable, takes ops apart, and
refuses weights that are tied or that no gradient reaches.)
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
import torch.utils._pytree as pytree
from torch import fx, nn
from torch.fx.experimental.proxy_tensor import make_fx

from talos_opt.frameworks.torch.arguments import Arguments
from talos_opt.frameworks.torch.control import fold_control_flow
from talos_opt.frameworks.torch.origins import follow
from talos_opt.frameworks.torch.signature import Output, Placeholder
from talos_opt.frameworks.torch.training import LEARNING_RATE, loss_index, loss_of, minimised

#: Graph, its placeholders, its outputs, and how the module's own outputs nest.
Found: TypeAlias = tuple[fx.GraphModule, tuple[Placeholder, ...], tuple[Output, ...]]

#: Keys of what a graph knows of itself: how the module's outputs nest, and which of them is
#: minimised; of a node: that it is the gradient of that output.
OUT_SPEC, MINIMISED, SEED = "out_spec", "minimised", "seed"


@dataclass
class Call:
    """A model as a function of all tensors that it reads; remembers what it returned.

    Parameters
    ----------
    run : callable
        Tensors in the order of the placeholders -> flat outputs, and how they nest.
    training : bool
    origins : mapping of int to mapping
        What is known of the steps that autograd records meanwhile; see `origins.follow`.
    """

    run: Callable[..., tuple[Sequence[Any], Any]]
    training: bool
    origins: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    out_spec: Any = None
    count: int = 0
    reached: list[int] = field(default_factory=list)
    minimised: int | None = None

    def __call__(self, *values: torch.Tensor) -> list[Any]:
        """Return the flat outputs; in training loss, outputs, and the gradients that there are.

        The last one is then the gradient of the output that is minimised.
        """
        leaves, self.out_spec = self.run(*values)
        self.count = len(leaves)
        if not self.training:
            return list(leaves)
        named = loss_index(self.out_spec, self.count)
        self.minimised = minimised(leaves, named)
        loss = loss_of(leaves, named)
        follow(loss, self.origins)
        sources = [k for k, value in enumerate(values) if value.requires_grad]
        wanted = [*(values[k] for k in sources), leaves[self.minimised]]
        *found, seed = torch.autograd.grad(loss, wanted, allow_unused=True)
        gradients = {k: g for k, g in zip(sources, found, strict=True) if g is not None}
        self.reached = list(gradients)
        plain = (leaf.detach() if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves)
        return [loss.detach(), *plain, *gradients.values(), seed]

    def outputs(self, placeholders: Sequence[Placeholder]) -> tuple[Output, ...]:
        """Return what the call returned."""
        user = tuple(Output("user_output", k) for k in range(self.count))
        if not self.training:
            return user
        gradients = (Output("gradient", placeholders[k].target) for k in self.reached)
        return (Output("loss", 0), *user, *gradients)


def trace(module: nn.Module, given: Arguments, mode: str) -> Found:
    """Capture a module by tracing it with fx on real tensors.

    torch.export needs to know of every op what it does to shapes; this only needs it to run.
    """
    named = {
        **{name: ("parameter", p) for name, p in module.named_parameters()},
        **{name: ("buffer", b) for name, b in module.named_buffers()},
    }
    names = list(named)

    def run(*values: torch.Tensor) -> tuple[Sequence[Any], Any]:
        weights = dict(zip(names, values, strict=False))
        args, kwargs = given.replace(values[len(names) :]).nested()
        return pytree.tree_flatten(torch.func.functional_call(module, weights, args, kwargs))

    placeholders = tuple(
        Placeholder(f"{kind[0]}_{name.replace('.', '_')}", kind, name, tensor)
        for name, (kind, tensor) in named.items()
    ) + tuple(Placeholder(f"input_{k}", "input", k, value) for k, value in enumerate(given.tensors))
    # In-place ops must not reach the module's own tensors.
    flat = [p.value.detach().clone() for p in placeholders if p.value is not None]
    if mode == "training":
        for copy, (kind, own) in zip(flat, named.values(), strict=False):
            copy.requires_grad_(kind == "parameter" and own.requires_grad)
    return trace_call(Call(run, mode == "training"), flat, placeholders)


def trace_call(
    call: Call, values: Sequence[torch.Tensor], placeholders: tuple[Placeholder, ...]
) -> Found:
    """Record a call, and make its in-place ops return new values instead.

    Parameters
    ----------
    call : Call
    values : sequence of torch.Tensor
        One for each placeholder, real or fake; those that require a gradient get one.
    placeholders : tuple of Placeholder
    """
    with fx.traceback.preserve_node_meta():
        mutating = make_fx(call, tracing_mode="real", record_stack_traces=True)(*values)

        def again(*flat: torch.Tensor) -> Any:
            return fx.Interpreter(mutating).run(*flat)

        # Gradients first: functionalised tensors have none.
        graph_module = make_fx(torch.func.functionalize(again), tracing_mode="real")(
            *(value.detach() for value in values)
        )
    for node, placeholder in zip(
        graph_module.graph.find_nodes(op="placeholder"), placeholders, strict=True
    ):
        node.name = node.target = placeholder.name
    fold_control_flow(graph_module)
    graph_module.meta[OUT_SPEC] = call.out_spec
    if call.training:
        graph_module.meta[MINIMISED] = call.minimised
        _take_seed(graph_module, call)
    outputs = (
        *call.outputs(placeholders),
        *_take_copies(graph_module, placeholders),
        *_take_statistics(graph_module, placeholders),
    )
    placeholders = _lift_constants(graph_module, placeholders)
    if call.training:
        outputs = _add_descent(graph_module, placeholders, outputs)
    graph_module.graph.eliminate_dead_code()
    graph_module.graph.lint()
    graph_module.recompile()
    return graph_module, placeholders, outputs


def _targets(
    graph_module: fx.GraphModule, placeholders: tuple[Placeholder, ...]
) -> dict[Any, str | int]:
    nodes = graph_module.graph.find_nodes(op="placeholder")
    return dict(zip(nodes, (p.target for p in placeholders), strict=True))


def _returned(graph_module: fx.GraphModule) -> list[Any]:
    return list(pytree.tree_leaves(graph_module.graph.output_node().args[0]))


def _return(graph_module: fx.GraphModule, values: list[Any]) -> None:
    graph_module.graph.output_node().args = (tuple(values),)


def _take_seed(graph_module: fx.GraphModule, call: Call) -> None:
    """Mark the gradient of the output that is minimised; it is no output of the graph."""
    values = _returned(graph_module)
    position = 1 + call.count + len(call.reached)
    seed = values.pop(position)
    if isinstance(seed, fx.Node):
        seed.meta[SEED] = True
    _return(graph_module, values)


def _take_copies(
    graph_module: fx.GraphModule, placeholders: tuple[Placeholder, ...]
) -> list[Output]:
    """Turn the copies back into inputs, by which functionalize ends, into outputs."""
    targets = _targets(graph_module, placeholders)
    values = _returned(graph_module)
    found: list[Output] = []
    for node in graph_module.graph.find_nodes(
        op="call_function", target=torch.ops.aten.copy_.default
    ):
        if node.args[0] in targets:
            values.append(node.args[1])
            found.append(Output("mutation", targets[node.args[0]]))
            node.replace_all_uses_with(node.args[1])
            graph_module.graph.erase_node(node)
    _return(graph_module, values)
    return found


def _take_statistics(
    graph_module: fx.GraphModule, placeholders: tuple[Placeholder, ...]
) -> list[Output]:
    """Let batch normalisation return its running statistics, which it changes unannounced."""
    aten = torch.ops.aten
    graph = graph_module.graph
    targets = _targets(graph_module, placeholders)
    values = _returned(graph_module)
    found: list[Output] = []
    for node in graph.find_nodes(op="call_function", target=aten.native_batch_norm.default):
        running, trains = node.args[3:5], node.args[5]
        if not trains or any(source not in targets for source in running):
            continue
        node.target = aten._native_batch_norm_legit_functional.default
        node.meta["val"] = (*node.meta["val"], *(source.meta["val"] for source in running))
        for position, source in reversed(list(enumerate(running, start=3))):
            with graph.inserting_after(node):
                picked = graph.call_function(operator.getitem, (node, position))
            picked.meta = {**node.meta, "val": source.meta["val"]}
            values.append(picked)
            found.append(Output("mutation", targets[source]))
    _return(graph_module, values)
    return found


def _lift_constants(
    graph_module: fx.GraphModule, placeholders: tuple[Placeholder, ...]
) -> tuple[Placeholder, ...]:
    """Hand in as placeholders what the trace keeps as attributes of its own."""
    graph = graph_module.graph
    last = graph.find_nodes(op="placeholder")[-1]
    found = list(placeholders)
    for node in graph.find_nodes(op="get_attr"):
        value = getattr(graph_module, str(node.target))
        with graph.inserting_after(last):
            lifted = graph.placeholder(f"c_{str(node.target).strip('_')}")
        lifted.meta.update(node.meta)
        lifted.meta.setdefault("val", value.to("meta"))
        node.replace_all_uses_with(lifted)
        graph.erase_node(node)
        found.append(Placeholder(lifted.name, "constant", lifted.name, value))
        last = lifted
    return tuple(found)


def _add_descent(
    graph_module: fx.GraphModule,
    placeholders: tuple[Placeholder, ...],
    outputs: tuple[Output, ...],
) -> tuple[Output, ...]:
    """Add a step of plain gradient descent for every gradient; return the outputs with it."""
    graph = graph_module.graph
    weights = {target: node for node, target in _targets(graph_module, placeholders).items()}
    values = _returned(graph_module)
    # A parameter that the model changes itself is stepped from its new value.
    changed = {
        spec.target: value
        for spec, value in zip(outputs, values, strict=True)
        if spec.kind == "mutation"
    }
    updates: list[Output] = []
    for spec, gradient in zip(outputs, tuple(values), strict=True):
        if spec.kind != "gradient":
            continue
        weight = weights[spec.target]
        with graph.inserting_before(graph.output_node()):
            node = graph.create_node(
                "call_function",
                torch.ops.aten.add.Tensor,
                (changed.get(spec.target, weight), gradient),
                {"alpha": -LEARNING_RATE},
                name=f"sgd_{weight.name}",
            )
        node.meta["val"] = weight.meta["val"]
        values.append(node)
        updates.append(Output("update", spec.target))
    _return(graph_module, values)
    return (*outputs, *updates)
