"""What a decoder keeps of the tokens that it has read, from its config.

For decoders of transformers that cannot be run: layer by layer as `frameworks.llm` counts it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from talos_opt.core.errors import FormatError
from talos_opt.frameworks.llm.architecture import Architecture
from talos_opt.frameworks.llm.configs import architecture_of_config
from talos_opt.frameworks.llm.parts import ATTENTION, place_of, role_in_layer
from talos_opt.frameworks.llm.shapes import FAMILIES
from talos_opt.frameworks.torch.blocks import Block
from talos_opt.frameworks.torch.dtypes import dtype_of

if TYPE_CHECKING:
    import torch
    from torch import nn


def configured_bytes(
    module: nn.Module,
    blocks: Sequence[Block],
    length: int,
    batch: int,
    dtype: torch.dtype | None = None,
) -> tuple[int, ...] | None:
    """Return the bytes that each block keeps once so many tokens have been read.

    Parameters
    ----------
    module : nn.Module
        With a `config`, as models of transformers have.
    blocks : sequence of Block
    length, batch : int
        Tokens of each sequence, and sequences.
    dtype : torch.dtype, optional
        Type of what is kept; default: that of most weights. States take 4 bytes a value.

    Returns
    -------
    tuple of int, or None
        None: there is no config of a family that is known, or its layers are not among the blocks.
    """
    architecture = _architecture(module)
    if architecture is None:
        return None
    keepers = _keepers(blocks, len(architecture.layers))
    if keepers is None:
        return None
    import torch

    value_bytes = (dtype or getattr(torch, dtype_of(module))).itemsize
    held = [0] * len(blocks)
    for block, layer in zip(keepers, architecture.layers, strict=True):
        held[block] += layer.cache_bytes(length, batch, value_bytes)
    return tuple(held)


def _architecture(module: nn.Module) -> Architecture | None:
    config: Any = getattr(module, "config", None)
    values = config.to_dict() if hasattr(config, "to_dict") else None
    if not isinstance(values, Mapping):
        return None
    try:
        found = architecture_of_config(values, "config")
    except FormatError:
        return None
    return found if found.name in FAMILIES else None


def _keepers(blocks: Sequence[Block], layers: int) -> list[int] | None:
    """Return the block of each layer that keeps its cache: attention, or the first of the layer."""
    places = [place_of(f"{block.name}.weight") for block in blocks]
    lists: Counter[str] = Counter()
    for block, place in zip(blocks, places, strict=True):
        lists[place.list] += block.parameter_bytes if place.layer >= 0 else 0
    for name, _ in lists.most_common():  # a tower for images or sound is smaller
        found: dict[int, int] = {}
        attends: set[int] = set()
        for k, place in enumerate(places):
            if place.list != name or place.layer < 0:
                continue
            found.setdefault(place.layer, k)
            if place.layer not in attends and role_in_layer(place.rest) == ATTENTION:
                attends.add(place.layer)
                found[place.layer] = k
        if sorted(found) == list(range(layers)):
            return [found[layer] for layer in range(layers)]
    return None
