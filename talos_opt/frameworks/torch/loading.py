"""From the words on a command line to a module and its example inputs."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.inputs import InputSpec
from talos_opt.frameworks.common.loading import resolve


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
