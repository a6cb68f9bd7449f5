"""What can be captured, seen alike: something to call with tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from talos_opt.core.errors import InputError
from talos_opt.frameworks.tensorflow.backend import tf


@dataclass(frozen=True)
class Model:
    """A model, whatever it was made with.

    Parameters
    ----------
    name : str
    by : {'keras', 'tf.function', 'SavedModel'}
    call : callable
        Given whether it is trained, returns a function of the input tensors.
    signature : tuple of tf.TensorSpec, optional
        Inputs that it declares, by position; dimensions may be open.
    owner : object
        The model itself: variables live as long as it does.
    names : tuple of str
        Of its inputs, by position; empty: it does not say.
    """

    name: str
    by: str
    call: Callable[[bool], Callable[..., Any]]
    signature: tuple[Any, ...] | None
    owner: Any
    names: tuple[str, ...] = ()

    def takes(self) -> str:
        """Return its inputs as text, such as ``ids: int32[?, 128], mask: float32[?]``."""
        if self.signature is None:
            return "inputs that it does not declare"
        names = self.names or tuple(map(str, range(len(self.signature))))
        pairs = zip(names, self.signature, strict=True)
        return ", ".join(f"{name}: {_spec_text(spec)}" for name, spec in pairs)


def _spec_text(spec: Any) -> str:
    if spec.shape.rank is None:
        return f"{spec.dtype.name} of any shape"
    sizes = ("?" if size is None else str(size) for size in spec.shape.as_list())
    return f"{spec.dtype.name}[{', '.join(sizes)}]"


def as_model(made: Any, name: str | None = None) -> Model:
    """Return a Keras model, a tf.function, a concrete function or a SavedModel as a `Model`.

    Raises
    ------
    InputError
        If it is something else, or a SavedModel without a signature.
    """
    if isinstance(made, tf.keras.Model):
        return _keras(made, name)
    if isinstance(made, tf.types.experimental.PolymorphicFunction):
        return _function(made, name)
    if isinstance(made, tf.types.experimental.ConcreteFunction):
        return _signature(made, name or "function", "tf.function", made)
    if hasattr(made, "signatures"):
        return _saved(made, name)
    if isinstance(made, tf.Module) and callable(made):
        return _module(made, name)
    raise InputError(
        f"a {type(made).__name__} is not a model, expected a Keras model, a tf.function, a "
        "tf.Module that can be called, or a SavedModel"
    )


def _keras(made: Any, name: str | None) -> Model:
    # Sequential and functional models know their inputs; of subclasses only `call` does.
    functional = bool(getattr(made, "inputs", None))
    nested = getattr(made, "_inputs_struct", None)

    def call(training: bool) -> Callable[..., Any]:
        def run(*inputs: Any) -> Any:
            if not functional:
                return made(*inputs, training=training)
            if isinstance(nested, dict):  # as flattened: keys in their order
                given = tf.nest.pack_sequence_as(nested, list(inputs))
                return made(given, training=training)
            return made(inputs[0] if len(inputs) == 1 else list(inputs), training=training)

        return run

    signature: tuple[Any, ...] | None = None
    names: tuple[str, ...] = ()
    if functional:
        signature = tuple(tf.TensorSpec(t.shape, tf.as_dtype(t.dtype), t.name) for t in made.inputs)
        names = tuple(str(t.name) for t in made.inputs)
        if isinstance(nested, dict) and len(nested) == len(names):
            names = tuple(map(str, sorted(nested)))
    return Model(name or made.name, "keras", call, signature, made, names)


def _function(made: Any, name: str | None) -> Model:
    signature = getattr(made, "input_signature", None)
    return Model(
        name or str(getattr(made, "__name__", "function")),
        "tf.function",
        lambda training: made,
        None if signature is None else tuple(signature),
        made,
    )


def _module(made: Any, name: str | None) -> Model:
    return Model(name or str(made.name), "tf.function", lambda training: made, None, made)


def _saved(made: Any, name: str | None) -> Model:
    key = "serving_default"
    if key not in made.signatures:
        known = ", ".join(made.signatures) or "none"
        raise InputError(f"the SavedModel has no signature {key!r}, only: {known}")
    return _signature(made.signatures[key], name or "saved_model", "SavedModel", made)


def _signature(function: Any, name: str, by: str, owner: Any) -> Model:
    positional, named = function.structured_input_signature
    # A loaded signature has them in any order, another one in every process.
    named = dict(sorted(named.items()))
    specs = (*tf.nest.flatten(positional), *named.values())

    def call(training: bool) -> Callable[..., Any]:
        def run(*inputs: Any) -> Any:
            args = inputs[: len(specs) - len(named)]
            return function(*args, **dict(zip(named, inputs[len(args) :], strict=True)))

        return run

    names = tuple(spec.name or str(k) for k, spec in enumerate(specs[: len(specs) - len(named)]))
    return Model(name, by, call, specs, owner, (*names, *named))
