"""A function as one flat GraphDef: calls are replaced by what they call, control flow stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from talos_opt.frameworks.tensorflow.backend import tf

#: Ops that call a function once and do nothing else.
CALLS = frozenset(("PartitionedCall", "StatefulPartitionedCall"))
#: Ops that run functions as often as values ask for.
CONTROL_FLOW = frozenset(("If", "StatelessIf", "While", "StatelessWhile", "Case", "StatelessCase"))


def flatten(function: Any) -> Any:
    """Return the GraphDef of a concrete function, with calls in it inlined.

    Control flow stays as it is, one node for each: it would otherwise be lowered to nodes that
    cannot be placed one by one. Calls that XLA compiles stay too.

    Parameters
    ----------
    function : tf.types.experimental.ConcreteFunction
    """
    graph_def = function.graph.as_graph_def()
    for node in _all_nodes(graph_def):
        if node.op in CONTROL_FLOW:
            node.attr["_lower_using_switch_merge"].b = False
    if not any(node.op in CALLS and not _compiled(node) for node in graph_def.node):
        return graph_def
    for body in graph_def.library.function:
        # Another implementation of the same layer, for another device, must not be swapped in.
        if "api_implements" in body.attr:
            del body.attr["api_implements"]
    return _inlined(graph_def, function)


def _all_nodes(graph_def: Any) -> list[Any]:
    bodies = (node for body in graph_def.library.function for node in body.node_def)
    return [*graph_def.node, *bodies]


def _compiled(node: Any) -> bool:
    return "_XlaMustCompile" in node.attr and node.attr["_XlaMustCompile"].b


def _inlined(graph_def: Any, function: Any) -> Any:
    """Let TensorFlow's graph optimiser inline calls, and do nothing else."""
    from tensorflow.core.protobuf import config_pb2, meta_graph_pb2
    from tensorflow.python.grappler import tf_optimizer

    meta = tf.compat.v1.train.export_meta_graph(graph_def=graph_def, graph=function.graph)
    meta.collection_def.clear()
    kept = meta_graph_pb2.CollectionDef()
    kept.node_list.value.extend(_ends(function))
    meta.collection_def["train_op"].CopyFrom(kept)
    config = config_pb2.ConfigProto()
    options = config.graph_options.rewrite_options
    options.min_graph_nodes = -1  # small graphs too
    options.optimizers.append("function")
    return tf_optimizer.OptimizeGraph(config, meta)


def _ends(function: Any) -> Sequence[str]:
    """Names of all that must survive: inputs, outputs, and nodes that have side effects."""
    tensors = [tensor.name for tensor in (*function.inputs, *function.outputs)]
    return [*tensors, *(op.name for op in function.graph.control_outputs)]
