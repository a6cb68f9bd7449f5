"""Whether a captured function computes what its Keras model does, on a second input.

What Python or NumPy computes while a model is traced becomes a constant of its graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.comparing import Value, compare_outputs
from talos_opt.frameworks.tensorflow.backend import tf

#: By how much other floats are smaller than those that were captured with.
_SHRINK = 0.75


def check(call: Callable[..., Any], function: Any, inputs: Sequence[np.ndarray]) -> None:
    """Call a model without a graph, and compare.

    Parameters
    ----------
    call : callable
        The model, a function of tensors; it writes no variables.
    function : tf.types.experimental.ConcreteFunction
        What it was traced to.
    inputs : sequence of np.ndarray
        That it was traced with; others are made of them. A model that does not run on these is
        not checked, nor one whose graph draws random numbers.

    Raises
    ------
    InputError
        If the outputs differ.
    """
    other = [tf.constant(other_values(value, k)) for k, value in enumerate(inputs)]
    try:
        expected = _values(call(*other))
    except Exception:  # not an input that it takes, or not a model that runs without a graph
        return
    found = _values(function(*other))
    error, equal = compare_outputs(expected, found)
    if equal:
        return
    if not compare_outputs(found, _values(function(*other)))[1]:
        return  # the graph draws random numbers itself: no two runs agree
    raise InputError(
        f"the graph of the model differs from the model by {error:.3g} on a second input: what "
        "Python or NumPy computes in call becomes a constant of the graph, so compute with "
        "TensorFlow's ops there"
    )


def other_values(value: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return another array of the same shape and type, with values that are as valid.

    Floats are put into another order and made smaller; others are drawn from those that are there.
    """
    rng = np.random.default_rng(seed)
    if np.issubdtype(value.dtype, np.floating):
        return np.asarray(rng.permutation(value.reshape(-1)).reshape(value.shape) * _SHRINK).astype(
            value.dtype
        )
    return np.asarray(rng.choice(value.reshape(-1), value.shape)).astype(value.dtype)


def _values(found: Any) -> list[Value]:
    arrays = [tensor.numpy() for tensor in tf.nest.flatten(found) if isinstance(tensor, tf.Tensor)]
    return [
        Value(
            array.astype(np.float32) if str(array.dtype) == "bfloat16" else array, str(array.dtype)
        )
        for array in arrays
    ]
