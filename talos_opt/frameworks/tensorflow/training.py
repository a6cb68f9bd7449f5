"""One step of training: which number is minimised, and by what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from talos_opt.core.errors import InputError
from talos_opt.frameworks.tensorflow.backend import tf

#: Step of the plain gradient descent that ends a training graph.
LEARNING_RATE = 1e-3


def training_step(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of the inputs that runs forwards, backwards and updates the weights.

    It returns the loss, then the model's outputs.

    Raises
    ------
    InputError
        While it is traced, if no trainable variable is read, or no output depends on one.
    """

    def step(*inputs: Any) -> Any:
        with tf.GradientTape() as tape:
            outputs = call(*inputs)
            loss = loss_of(outputs)
        trained = tape.watched_variables()
        if not trained:
            raise InputError("the model reads no trainable variable: there is nothing to train")
        gradients = tape.gradient(loss, trained)
        if all(gradient is None for gradient in gradients):
            raise InputError("no output of the model has a gradient: there is nothing to train")
        for variable, gradient in zip(trained, gradients, strict=True):
            if gradient is not None:
                descend(variable, gradient)
        return loss, outputs

    return step


def loss_of(outputs: Any) -> Any:
    """Return what is minimised.

    The output called ``loss``; else the first output of floating-point numbers: itself where it
    is a single number, its mean square otherwise.

    Raises
    ------
    InputError
        If there is none.
    """
    if isinstance(outputs, dict) and "loss" in outputs:
        return tf.reduce_sum(outputs["loss"])
    for value in tf.nest.flatten(outputs):
        if isinstance(value, tf.Tensor) and value.dtype.is_floating:
            if value.shape.num_elements() == 1:
                return tf.reshape(value, ())
            return tf.reduce_mean(tf.square(value))
    raise InputError(
        "no output of the model is a floating-point tensor: there is nothing to minimise"
    )


def descend(variable: Any, gradient: Any) -> None:
    """Take one step of gradient descent; rows that were gathered are updated alone."""
    rate = tf.cast(LEARNING_RATE, variable.dtype)
    if isinstance(gradient, tf.IndexedSlices):
        tf.raw_ops.ResourceScatterSub(
            resource=variable.handle,
            indices=gradient.indices,
            updates=tf.cast(gradient.values, variable.dtype) * rate,
        )
        return
    tf.raw_ops.ResourceApplyGradientDescent(
        var=variable.handle, alpha=rate, delta=tf.cast(gradient, variable.dtype)
    )
