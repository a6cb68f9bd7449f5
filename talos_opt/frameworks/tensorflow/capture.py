"""Capture a Keras model, a tf.function or a SavedModel as a flat graph of ops."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.loading import explain
from talos_opt.frameworks.tensorflow.backend import tf
from talos_opt.frameworks.tensorflow.captured import Captured, Given
from talos_opt.frameworks.tensorflow.checking import check
from talos_opt.frameworks.tensorflow.flattening import flatten
from talos_opt.frameworks.tensorflow.folding import fold
from talos_opt.frameworks.tensorflow.models import Model
from talos_opt.frameworks.tensorflow.training import training_step

MODES = ("inference", "training")
_CALLS = ("PartitionedCall", "StatefulPartitionedCall")


def capture(model: Model, inputs: Sequence[np.ndarray], mode: str = "inference") -> Captured:
    """Capture a model with example inputs.

    Parameters
    ----------
    model : Model
        As `models.as_model` or `loading.load_model` return it.
    inputs : sequence of np.ndarray
        Example inputs by position; their shapes and types are those of the graph.
    mode : {'inference', 'training'}
        Training: forwards, backwards and a step of plain gradient descent.

    Raises
    ------
    InputError
        If the model does not take the inputs, nothing in it can be trained, it keeps something
        that no variable holds, such as a table, or its graph differs from it.
    """
    if mode not in MODES:
        raise InputError(f"mode is {mode!r}, expected one of {', '.join(MODES)}")
    if model.signature is not None and len(inputs) != len(model.signature):
        raise InputError(
            f"inputs given: {len(inputs)}; the model takes {len(model.signature)}: {model.takes()}"
        )
    specs = [tf.TensorSpec(value.shape, tf.as_dtype(value.dtype)) for value in inputs]
    call = model.call(mode == "training")
    step = training_step(call) if mode == "training" else call
    function = _trace(step, specs, model)
    given = _given(function, len(inputs), model)
    graph_def = flatten(function)
    resources = [item.node for item in given if item.kind == "variable"]
    try:
        folded = fold(
            graph_def,
            resources,
            [tensor.op.name for tensor in function.outputs],
            [op.name for op in function.graph.control_outputs],
        )
    except ValueError as error:
        raise InputError(f"the model's graph cannot be placed: {error}") from error
    if not folded.ops:
        raise InputError("the model computes nothing: its graph has no ops")
    graph = _import(graph_def, given)
    outputs = tuple(tensor.name for tensor in function.outputs)
    captured = Captured(folded, graph, given, outputs, function, mode, model.by)
    return dataclasses.replace(captured, notes=check(captured, step, graph_def, inputs))


def _trace(call: Callable[..., Any], specs: Sequence[Any], model: Model) -> Any:
    try:
        return tf.function(call, autograph=False).get_concrete_function(*specs)
    except InputError:
        raise
    except Exception as error:
        shapes = ", ".join(f"{spec.dtype.name}{spec.shape.as_list()}" for spec in specs)
        taken = "" if model.signature is None else f"; it takes {model.takes()}"
        raise InputError(
            f"the model cannot be captured with the inputs ({shapes}): {explain(error)}{taken}"
        ) from error


def _import(graph_def: Any, given: Sequence[Given]) -> Any:
    """Return the graph with the shapes that follow from its inputs and variables."""
    graph = tf.Graph()
    with graph.as_default():
        handles = {
            f"{item.node}:0": tf.raw_ops.VarHandleOp(
                dtype=item.dtype, shape=item.source.shape, shared_name=item.node
            )
            for item in given
            if item.kind == "variable"
        }
        tf.graph_util.import_graph_def(graph_def, input_map=handles, name="")
    return graph


def _given(function: Any, inputs: int, model: Model) -> tuple[Given, ...]:
    """Return what the function's placeholders stand for."""
    captures = list(function.graph.captures)
    own = function.inputs[: len(function.inputs) - len(captures)]
    if len(own) != inputs:
        raise InputError(f"the model takes {len(own)} tensors, {inputs} inputs are given")
    found = [Given(t.op.name, "input", t.dtype, k) for k, t in enumerate(own)]
    # By identity: a handle is a tensor, which compares elementwise.
    variables = {id(variable.handle): variable for variable in function.graph.variables}
    for outer, inner in captures:
        name = inner.op.name
        if inner.dtype != tf.resource:
            found.append(Given(name, "constant", inner.dtype, outer))
            continue
        variable = variables.get(id(outer))
        if variable is None:
            taken = "" if model.signature is None else f"; it takes {model.takes()}"
            raise InputError(
                f"{_reader(function, inner)}: reads a resource that is not a variable (a table, "
                "say), which cannot be put on another device: give the part of the model behind "
                f"it, as a function or a signature of its own{taken}"
            )
        found.append(Given(name, "variable", variable.dtype, variable))
    return tuple(found)


def _reader(function: Any, handle: Any) -> str:
    """Return the ops that read a resource; of a call, those of its kind inside it."""
    found = [op.name for op in handle.consumers()]
    if all(op.type in _CALLS for op in handle.consumers()):
        library = function.graph.as_graph_def().library.function
        inside = {node.op for inner in library for node in inner.node_def if "Table" in node.op}
        found = sorted(inside) or found
    return ", ".join(found[:3])
