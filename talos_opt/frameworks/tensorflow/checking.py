"""Whether a flat graph computes what its model does, on inputs that capturing never saw.

What Python or NumPy computes while a model is traced becomes a constant of its graph, and looks
right on the inputs that it was traced with. The flat graph runs with the model's own variables,
which are put back to what they were.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.comparing import Value, compare_outputs
from talos_opt.frameworks.common.loading import explain
from talos_opt.frameworks.tensorflow.backend import tf
from talos_opt.frameworks.tensorflow.captured import Captured, Given

#: By how much other floats are smaller than those that were captured with.
_SHRINK = 0.75
#: What may be wrong, by what was captured.
_REASONS = {
    "keras": "what Python or NumPy computes in call becomes a constant of the graph, so compute "
    "with TensorFlow's ops there",
    "tf.function": "what Python or NumPy computes while it is traced becomes a constant of the "
    "graph, so compute with TensorFlow's ops there",
    "SavedModel": "its functions compute something else once they are inlined; export it again "
    "with the TensorFlow that is installed",
}


def check(
    captured: Captured, step: Callable[..., Any], graph_def: Any, inputs: Sequence[np.ndarray]
) -> tuple[str, ...]:
    """Run the model and its flat graph on other inputs, and compare.

    A Keras model runs without a graph, a tf.function and a SavedModel as TensorFlow calls them;
    in training a whole step, whose new weights are compared too.

    Parameters
    ----------
    captured : Captured
    step : callable
        The model, or its training step: a function of tensors.
    graph_def : tf.compat.v1.GraphDef
        The flat graph.
    inputs : sequence of np.ndarray
        That it was captured with; others are made of them.

    Returns
    -------
    tuple of str
        Notes: why nothing was compared, if so. Nothing is said of graphs that draw random numbers
        in each of their runs.

    Raises
    ------
    InputError
        If outputs or variables differ, or the graph does not run.
    """
    other = [tf.constant(other_values(value, k)) for k, value in enumerate(inputs)]
    with _whole_floats():
        return _compare(captured, step, graph_def, other)


@contextlib.contextmanager
def _whole_floats() -> Iterator[None]:
    """Keep GPUs from rounding float32 to TF32, by which two runs may differ."""
    config = tf.config.experimental
    before = config.tensor_float_32_execution_enabled()
    config.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        config.enable_tensor_float_32_execution(before)


def _compare(
    captured: Captured, step: Callable[..., Any], graph_def: Any, other: Sequence[Any]
) -> tuple[str, ...]:
    state = _State(captured.written())
    try:
        expected = state.after(step, other)
    except Exception as error:
        return (
            "the graph was not compared with the model on a second input, on which the model does "
            f"not run: {explain(error)}",
        )
    flat = _as_function(captured, graph_def)
    try:
        found = state.after(flat, other)
    except Exception as error:
        raise InputError(
            f"the graph of the model does not run on a second input: {explain(error)}"
        ) from error
    wrong, equal = compare_outputs(expected, found)
    if equal or not compare_outputs(found, state.after(flat, other))[1]:
        return ()  # or the graph draws random numbers itself: no two runs agree
    raise InputError(
        f"the graph of the model differs from the model by {wrong:.3g} on a second input: "
        f"{_REASONS[captured.by]}"
    )


class _State:
    """The variables that a model writes, as they were."""

    def __init__(self, written: Sequence[Given]) -> None:
        self.written = written

    def after(self, call: Callable[..., Any], inputs: Sequence[Any]) -> list[Value]:
        """Return what a call returns, then the variables behind it; put these back."""
        before = [item.source.numpy() for item in self.written]
        try:
            found = _values(call(*inputs))
            return found + [_value(item.source.numpy()) for item in self.written]
        finally:
            for item, value in zip(self.written, before, strict=True):
                item.source.assign(value)


def _as_function(captured: Captured, graph_def: Any) -> Callable[..., Any]:
    """Return a flat graph as a function of its inputs; variables are those of the model."""
    ends = [op.name for op in captured.function.graph.control_outputs]

    @tf.function(autograph=False)  # type: ignore[untyped-decorator]
    def run(*values: Any) -> Any:
        names = (f"{item.node}:0" for item in captured.given)
        found = tf.graph_util.import_graph_def(
            graph_def,
            input_map=dict(zip(names, values, strict=True)),
            return_elements=[*captured.outputs, *ends],
            name="",
        )
        with tf.control_dependencies(found[len(captured.outputs) :]):
            return [tf.identity(tensor) for tensor in found[: len(captured.outputs)]]

    def call(*inputs: Any) -> Any:
        return run(*(_taken(item, inputs) for item in captured.given))

    return call


def _taken(item: Given, inputs: Sequence[Any]) -> Any:
    """Return what stands for a placeholder: an input, the handle of a variable, or a constant."""
    if item.kind == "input":
        return inputs[item.source]
    return item.source.handle if item.kind == "variable" else item.source


def other_values(value: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return another array of the same shape and type, with values that are as valid.

    Floats are put into another order and made smaller; others are drawn from those that are there.
    """
    rng = np.random.default_rng(seed)
    if not value.size:
        return value
    if np.issubdtype(value.dtype, np.floating):
        return np.asarray(rng.permutation(value.reshape(-1)).reshape(value.shape) * _SHRINK).astype(
            value.dtype
        )
    return np.asarray(rng.choice(value.reshape(-1), value.shape)).astype(value.dtype)


def _values(found: Any) -> list[Value]:
    flat = tf.nest.flatten(found, expand_composites=True)
    return [_value(tensor.numpy()) for tensor in flat if isinstance(tensor, tf.Tensor)]


def _value(array: Any) -> Value:
    name = str(array.dtype)
    return Value(array.astype(np.float32) if name == "bfloat16" else array, name)
