"""Models and example inputs, from the words on a command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.inputs import InputSpec
from talos_opt.frameworks.common.loading import explain, resolve
from talos_opt.frameworks.tensorflow.backend import tf
from talos_opt.frameworks.tensorflow.models import Model, as_model

_SUFFIXES = (".keras", ".h5")


def load_model(target: str, seed: int = 0) -> Model:
    """Return the model that a path or MODULE:CALLABLE names.

    Names of layers are numbered from the start again and random numbers are seeded, so that the
    same words give the same graph and weights in every process.

    Parameters
    ----------
    target : str
        Folder of a SavedModel, a ``.keras`` or ``.h5`` file, or MODULE:CALLABLE: a model, a
        tf.function, or a callable without arguments that returns one.
    seed : int

    Raises
    ------
    InputError
        If there is no such thing, if loading it raises, or if it is no model.
    """
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(seed)
    path = Path(target)
    if path.suffix in _SUFFIXES and ":" not in target:
        return _load(path, tf.keras.models.load_model, target)
    if path.is_dir():
        if not any((path / name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt")):
            raise InputError(f"{target}: the folder holds no saved_model.pb")
        return _load(path, tf.saved_model.load, target)
    if ":" not in target:
        raise InputError(
            f"{target!r} is neither a SavedModel's folder nor an existing .keras file, and not of "
            "the form MODULE:CALLABLE or ./file.py:CALLABLE"
        )
    found = resolve(target)
    if not callable(found.value) or _is_model(found.value):
        return _named(found.value, target)
    return _named(found.call(), target)


def _is_model(made: Any) -> bool:
    """Whether something that can be called is a model itself, not a maker of one."""
    kinds = (
        tf.Module,
        tf.types.experimental.PolymorphicFunction,
        tf.types.experimental.ConcreteFunction,
    )
    return isinstance(made, (*kinds, tf.keras.Model))


def _load(path: Path, load: Any, target: str) -> Model:
    if not path.exists():
        raise InputError(f"{target}: there is no such file")
    try:
        made = load(str(path))
    except Exception as error:
        raise InputError(f"{target}: loading it raised {explain(error)}") from error
    return _named(made, target, path.stem)


def _named(made: Any, target: str, name: str | None = None) -> Model:
    try:
        return as_model(made, name or target.rpartition(":")[2])
    except InputError as error:
        raise InputError(f"{target}: {error}") from error


def example_inputs(
    model: Model, specs: Sequence[InputSpec | str], seed: int = 0
) -> tuple[np.ndarray, ...]:
    """Return example inputs of a model.

    Without specs they have the shapes that the model declares, with 1 for open dimensions.

    Raises
    ------
    InputError
        If there are no specs and the model declares nothing, or whole numbers, whose range it
        does not tell.
    """
    parsed = [InputSpec.parse(spec) if isinstance(spec, str) else spec for spec in specs]
    if not parsed:
        parsed = _declared(model)
    rng = np.random.default_rng(seed)
    return tuple(spec.draw(rng) for spec in parsed)


def _declared(model: Model) -> list[InputSpec]:
    if model.signature is None:
        raise InputError("the model does not state its inputs' shapes: give each with --input")
    found: list[InputSpec] = []
    for k, spec in enumerate(model.signature):
        if spec.shape.rank is None or not spec.dtype.is_floating:
            raise InputError(
                f"input {k} of the model is {spec.dtype.name}{spec.shape}: give each with --input, "
                "such as --input 1x128:int64:0-30521"
            )
        sizes = tuple(1 if size is None else int(size) for size in spec.shape.as_list())
        found.append(InputSpec(sizes, spec.dtype.name))
    return found
