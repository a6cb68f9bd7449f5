"""A config held against tensors that files list: which layers attend, and with how many heads."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from talos_opt.core.errors import FormatError
from talos_opt.frameworks.llm.architecture import NONE, STATE, Architecture, Layer
from talos_opt.frameworks.llm.parts import ATTENTION, Place, place_of, role_in_layer
from talos_opt.frameworks.llm.shapes import FAMILIES
from talos_opt.frameworks.llm.tensors import Tensor

#: What makes keys, values, and latents with their rotary part; fused products are not read.
_KEEPING = re.compile(r"\.(k_proj|v_proj|kv_a_proj_with_mqa)\.weight$")
#: Types of which a row is one value of a key: packed ones have other shapes.
_PLAIN = frozenset(("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "I8"))


class _Found(NamedTuple):
    """What the tensors of a layer say: values kept for each token, and whether it attends."""

    values: int | None
    attends: bool


def main_list(tensors: Sequence[Tensor], places: Sequence[Place]) -> str:
    """Return the path of the list of layers: that which holds most bytes."""
    held: dict[str, int] = defaultdict(int)
    for tensor, place in zip(tensors, places, strict=True):
        if place.layer >= 0:
            held[place.list] += tensor.bytes
    return max(held, key=held.__getitem__) if held else ""


def agreed(tensors: Sequence[Tensor], architecture: Architecture, source: str) -> Architecture:
    """Return the architecture of a config, held against the tensors of its files.

    Parameters
    ----------
    tensors : sequence of Tensor
    architecture : Architecture
        From the config.
    source : str
        The file of the tensors, for messages.

    Returns
    -------
    Architecture
        Of a type that is not known, with the keys and values that the tensors make, and a note.

    Raises
    ------
    FormatError
        If they contradict a config of a type that is known.
    """
    layers = list(architecture.layers)
    mended: list[int] = []
    for k, found in _of_layers(tensors).items():
        if k >= len(layers):
            continue  # it predicts further tokens
        complaint = _complaint(layers[k], found)
        if not complaint:
            continue
        if architecture.name in FAMILIES:
            raise FormatError(f"layer {k} {complaint}", source=source)
        if found.values is not None and layers[k].attention not in (NONE, STATE):
            layers[k] = replace(layers[k], kv_values=found.values)
            mended.append(k)
    if not mended:
        return architecture
    note = (f"keys and values of {len(mended)} layers are as large as their tensors make them, not "
            "as the config says")  # fmt: skip
    return replace(architecture, layers=tuple(layers), notes=(*architecture.notes, note))


def _complaint(layer: Layer, found: _Found) -> str:
    """Say what a layer has that its config does not, or return nothing."""
    if layer.attention == STATE:
        return ""
    if layer.attention == NONE:
        return "has keys and values, expected none as the config says" if found.values else ""
    if layer.kv_values and not found.attends:
        return "has no attention, expected one as the config says"
    if layer.kv_values and found.values not in (None, layer.kv_values):
        return (f"has {found.values} values of keys and values for each token, expected "
                f"{layer.kv_values} as the config says")  # fmt: skip
    return ""


def _of_layers(tensors: Sequence[Tensor]) -> dict[int, _Found]:
    places = [place_of(tensor.name) for tensor in tensors]
    main = main_list(tensors, places)
    values: dict[int, list[int | None]] = defaultdict(list)
    attends: dict[int, bool] = defaultdict(bool)
    for tensor, place in zip(tensors, places, strict=True):
        if not main or place.list != main:
            continue
        product = len(tensor.shape) > 1 or tensor.dtype not in _PLAIN
        attends[place.layer] |= product and role_in_layer(place.rest) == ATTENTION
        if _KEEPING.search(tensor.name):
            plain = tensor.dtype in _PLAIN and len(tensor.shape) == 2
            values[place.layer].append(tensor.shape[0] if plain else None)
    found = {}
    for k, does in attends.items():
        known = [size for size in values[k] if size is not None]
        whole = bool(known) and len(known) == len(values[k])
        found[k] = _Found(sum(known) if whole else None, does)
    return found
