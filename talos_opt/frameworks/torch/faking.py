"""Stand-ins for tensors of the meta device, so that a capture is that of the CPU.

Which kernels a call becomes hangs on the device that it is captured on: attention and recurrent
layers are taken apart on the meta device. Fake tensors say that they are on the CPU, and have no
memory either. So a model without memory has the ops of one that is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv

from talos_opt.frameworks.torch.arguments import Arguments, is_meta
from talos_opt.frameworks.torch.tracing import Found


@contextmanager
def on_cpu(
    module: nn.Module, given: Arguments
) -> Iterator[tuple[Arguments, Callable[[Found], Found]]]:
    """Let what a module and its inputs have on the meta device be on the CPU for a while.

    Yields
    ------
    fakes : Arguments
        To call the module with.
    back : callable
        Returns what was found with them, for the tensors that were given.
    """
    if not is_meta(module, given):
        yield given, lambda found: found
        return
    fakes = _Fakes()

    def back(found: Found) -> Found:
        graph_module, placeholders, outputs = found
        originals = tuple(replace(p, value=fakes.original(p.value)) for p in placeholders)
        return graph_module, originals, outputs

    with _standing_in(module, fakes):
        yield given.replace([fakes.of(value) for value in given.tensors]), back


class _Fakes:
    """Fake tensors on the CPU, one for each tensor of the meta device."""

    def __init__(self) -> None:
        # torch.export asks for all of this, or else makes a mode of its own, which refuses ours.
        self._mode = FakeTensorMode(
            shape_env=ShapeEnv(tracked_fakes=[]), allow_non_fake_inputs=True, export=True
        )
        self._made: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self._back: dict[int, torch.Tensor] = {}

    def of(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return what stands in for a tensor: itself if it is not on the meta device."""
        if not tensor.is_meta:
            return tensor
        if id(tensor) not in self._made:
            with self._mode:
                fake = torch.empty_strided(
                    tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cpu"
                )
            if isinstance(tensor, nn.Parameter):
                fake = nn.Parameter(fake, tensor.requires_grad)
            self._made[id(tensor)] = tensor, fake
            self._back[id(fake)] = tensor
        return self._made[id(tensor)][1]

    def original(self, value: torch.Tensor | None) -> torch.Tensor | None:
        """Return what a tensor stands in for: itself if it is not one of these."""
        return self._back.get(id(value), value)


@contextmanager
def _standing_in(module: nn.Module, fakes: _Fakes) -> Iterator[None]:
    """Let fake tensors stand in for all tensors that the parts of a module hold by a name."""
    held = [
        (values, name, value)
        for part in module.modules()
        for values in (vars(part)["_parameters"], vars(part)["_buffers"], vars(part))
        for name, value in values.items()
        if isinstance(value, torch.Tensor) and value.is_meta
    ]
    try:
        for values, name, value in held:
            values[name] = fakes.of(value)
        yield
    finally:
        for values, name, value in held:
            values[name] = value
