"""From the words on a command line to a module and its example inputs."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.inputs import InputSpec, nest
from talos_opt.frameworks.common.loading import explain, resolve
from talos_opt.frameworks.torch.arguments import Arguments, arguments

#: Files of tensors, by how they end.
_SAVED = (".pt", ".pth")


def make_inputs(
    specs: Sequence[InputSpec | str], device: str | torch.device = "cpu", seed: int = 0
) -> tuple[torch.Tensor, ...]:
    """Return example inputs, drawn on the host so that they are the same for every device.

    Parameters
    ----------
    specs : sequence of InputSpec or str
        Specs, or their texts.
    device : str or torch.device
    seed : int

    Returns
    -------
    tuple of torch.Tensor
        On the meta device without values.
    """
    rng = np.random.default_rng(seed)
    parsed = [InputSpec.parse(spec) if isinstance(spec, str) else spec for spec in specs]
    return tuple(_make(spec, rng, torch.device(device)) for spec in parsed)


def make_arguments(
    specs: Sequence[InputSpec | str] = (),
    source: str | None = None,
    device: str | torch.device = "cpu",
    seed: int = 0,
) -> Arguments:
    """Return the arguments of a model that a command line describes.

    Parameters
    ----------
    specs : sequence of InputSpec or str
        Those without names are given by position; see `InputSpec`.
    source : str, optional
        Instead of them: a file that torch.save wrote, or MODULE:CALLABLE. Either holds or returns
        a tensor, a tuple or list (by position), a dict (by name), or a pair of a tuple and a dict.
    device : str or torch.device
    seed : int

    Raises
    ------
    InputError
        If there is no such file or callable, it holds something else, or both are given.
    """
    if source is None:
        parsed = [InputSpec.parse(spec) if isinstance(spec, str) else spec for spec in specs]

        def draw(seed: int) -> Arguments:
            made = list(zip(parsed, make_inputs(parsed, device, seed), strict=True))
            named = nest((spec.name, value) for spec, value in made if spec.name is not None)
            return arguments([value for spec, value in made if spec.name is None], named)

        first = draw(seed)
        return dataclasses.replace(first, redraw=lambda k=1: draw(seed + k).tensors)
    if specs:
        raise InputError("--input and --inputs cannot be combined: give one of them")
    if Path(source).suffix == ".npz":
        raise InputError(
            f"{source}: PyTorch's inputs are a .pt file of torch.save or MODULE:CALLABLE, and a "
            ".npz file is TensorFlow's; numpy.load, torch.from_numpy and torch.save convert it"
        )
    made = _saved(source) if Path(source).suffix in _SAVED else resolve(source).call()
    args, kwargs = _split(made, source)
    found = arguments(args, kwargs)
    if not found.tensors:
        raise InputError(f"{source}: there is no tensor among the inputs")
    return found.replace([value.detach().to(device) for value in found.tensors])


def _saved(file: str) -> Any:
    if not Path(file).is_file():
        raise InputError(f"there is no file {file}")
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(
            f"{file} is not a file of tensors as torch.save writes it, in tuples, lists and "
            f"dicts: {explain(error)}"
        ) from error


def _split(made: Any, source: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return arguments by position and by name."""
    if isinstance(made, torch.Tensor):
        return (made,), {}
    if isinstance(made, dict) and all(isinstance(name, str) for name in made):
        return (), dict(made)
    if isinstance(made, (tuple, list)):
        if len(made) == 2 and isinstance(made[0], (tuple, list)) and isinstance(made[1], dict):
            return tuple(made[0]), dict(made[1])
        return tuple(made), {}
    raise InputError(
        f"{source}: the inputs are a {type(made).__name__}, expected a tensor, a tuple of what is "
        "given by position, a dict of what is given by name, or a pair of both"
    )


def _make(spec: InputSpec, rng: np.random.Generator, device: torch.device) -> torch.Tensor:
    dtype: torch.dtype = getattr(torch, spec.dtype)
    if device.type == "meta":
        return torch.empty(spec.shape, dtype=dtype, device=device)
    return torch.from_numpy(spec.draw(rng)).to(dtype=dtype, device=device)


def load_callable(target: str, device: str | torch.device | None = None) -> nn.Module:
    """Return the module that MODULE:CALLABLE names or makes.

    Parameters
    ----------
    target : str
        Importable module, or path of a Python file, and the name of a module instance or of a
        callable without arguments that returns one.
    device : str or torch.device, optional
        What the callable makes is made there: on ``meta`` it takes no memory.

    Raises
    ------
    InputError
        If there is no such thing, if it raises, or if it makes something else.
    """
    found = resolve(target)
    if isinstance(found.value, nn.Module):
        return found.value.to(device) if device is not None else found.value
    with torch.device(device) if device is not None else contextlib.nullcontext():
        made = found.call()
    if not isinstance(made, nn.Module):
        raise InputError(
            f"{target}: {found.name}() returned a {type(made).__name__}, expected a torch.nn.Module"
        )
    return made
