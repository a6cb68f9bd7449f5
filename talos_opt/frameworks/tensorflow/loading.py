"""Models and example inputs, from the words on a command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.inputs import InputSpec
from talos_opt.frameworks.common.loading import arrays_of, explain, resolve
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
    model: Model, specs: Sequence[InputSpec | str], seed: int = 0, source: str | None = None
) -> tuple[np.ndarray, ...]:
    """Return example inputs of a model.

    Without specs they have the shapes that the model declares, with 1 for open dimensions.

    Parameters
    ----------
    model : Model
    specs : sequence of InputSpec or str
        Those without names by position, before those with names.
    seed : int
    source : str, optional
        Instead of them: a .npz file, or MODULE:CALLABLE; either holds or returns an array, a
        tuple or list (by position) or a dict (by name).

    Raises
    ------
    InputError
        If there are no specs and the model declares nothing, or whole numbers, whose range it
        does not tell; if a name is none of the model's; if it takes text.
    """
    text = [spec for spec in model.signature or () if spec.dtype == tf.string]
    if text:
        raise InputError(
            f"the model takes text, whose ops cannot be put on another device: {model.takes()}; "
            "give the part behind its preprocessing, as a function or a signature of its own"
        )
    if source is not None:
        if specs:
            raise InputError("--input and --inputs cannot be combined: give one of them")
        return _in_order(model, *arrays_of(source))
    parsed = [InputSpec.parse(spec) if isinstance(spec, str) else spec for spec in specs]
    if not parsed:
        parsed = _declared(model)
    rng = np.random.default_rng(seed)
    drawn = [(spec.name, spec.draw(rng)) for spec in parsed]
    named: dict[str, np.ndarray] = {}
    for name, value in drawn:
        if name in named:
            raise InputError(f"input {name} is given twice")
        if name is not None:
            named[name] = value
    return _in_order(model, [value for name, value in drawn if name is None], named)


def _in_order(
    model: Model, positional: Sequence[np.ndarray], named: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, ...]:
    """Return inputs by position, those by name in the places of the model's names."""
    if not named:
        return tuple(positional)
    if not model.names:
        raise InputError(
            f"the model does not tell the names of its inputs, so {next(iter(named))} has no "
            "place: give inputs by position"
        )
    left = dict(enumerate(positional))
    for name, value in named.items():
        if name not in model.names:
            raise InputError(f"the model has no input {name!r}; it takes {model.takes()}")
        place = model.names.index(name)
        if place in left:
            raise InputError(f"input {name} is given twice: it is number {place} by position")
        left[place] = value
    missing = [name for place, name in enumerate(model.names) if place not in left]
    if missing:
        raise InputError(f"input {missing[0]} is missing; the model takes {model.takes()}")
    return tuple(left[place] for place in range(len(model.names)))


def _declared(model: Model) -> list[InputSpec]:
    if model.signature is None:
        raise InputError("the model does not state its inputs' shapes: give each with --input")
    found: list[InputSpec] = []
    for k, spec in enumerate(model.signature):
        if spec.shape.rank is None or not spec.dtype.is_floating:
            raise InputError(
                f"input {k} of the model has no range or no shape: give each with --input, such "
                f"as --input 1x128:int64:0-30521; it takes {model.takes()}"
            )
        sizes = tuple(1 if size is None else int(size) for size in spec.shape.as_list())
        found.append(InputSpec(sizes, spec.dtype.name))
    return found
