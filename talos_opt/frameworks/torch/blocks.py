"""The blocks of a module: what a device map may place on one device each.

A block is a module that must not be split, a module without children, or a tensor that a module
with children holds itself. Tensors that several blocks share (tied weights) join these in a group.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from talos_opt.core.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class Block:
    """What stays together on a device.

    Parameters
    ----------
    name : str
        Path of the module, or of the tensor where a module with children holds it itself.
    parameter_bytes, buffer_bytes : int
        Of all its tensors, shared ones included: what is copied if it is offloaded.
    owned_bytes : int
        The same without tensors that an earlier block has: what it adds to a device's memory.
    group : str, optional
        Blocks with tensors in common share a device.
    also : tuple of str
        Modules without tensors (dropout, activations) that follow it.
    """

    name: str
    parameter_bytes: int
    buffer_bytes: int
    owned_bytes: int
    group: str | None = None
    also: tuple[str, ...] = ()

    @property
    def tensor_bytes(self) -> int:
        """Parameters and buffers."""
        return self.parameter_bytes + self.buffer_bytes


def find_blocks(
    module: nn.Module,
    no_split: Iterable[str] | None = None,
    dtype: torch.dtype | None = None,
) -> tuple[Block, ...]:
    """Return the blocks of a module in the order of their definition.

    Parameters
    ----------
    module : nn.Module
        On any device, meta included.
    no_split : iterable of str, optional
        Class names of modules that must not be split; default: what a transformers model names
        itself.
    dtype : torch.dtype, optional
        Type that floating point tensors will be loaded as, where that is smaller.

    Raises
    ------
    InputError
        If the module holds no tensor at all.
    """
    whole = frozenset(_default_no_split(module) if no_split is None else no_split)
    blocks: list[Block] = []
    owners: dict[int, int] = {}
    parts: list[tuple[int, int]] = []
    loose: list[str] = []
    for name, tensors in _walk("", module, whole):
        if not tensors:
            if not blocks:
                loose.append(name)
                continue
            blocks[-1] = replace(blocks[-1], also=(*blocks[-1].also, name))
            continue
        here, owned, sizes = len(blocks), 0, [0, 0]
        for tensor, buffer in tensors:
            size = _size(tensor, dtype)
            sizes[buffer] += size
            if id(tensor) in owners:
                parts.append((owners[id(tensor)], here))
            else:
                owners[id(tensor)] = here
                owned += size
        blocks.append(Block(name, sizes[0], sizes[1], owned))
    if not blocks:
        raise InputError("the module has neither parameters nor buffers: nothing to place")
    blocks[0] = replace(blocks[0], also=(*loose, *blocks[0].also))
    return _join(blocks, parts)


def _default_no_split(module: nn.Module) -> Iterable[str]:
    """What transformers models list as classes that must stay whole, submodels included."""
    found: set[str] = set()
    for part in module.modules():
        found.update(getattr(part, "_no_split_modules", None) or ())
    return found


_Tensors = list[tuple["torch.Tensor", bool]]


def _walk(path: str, module: nn.Module, whole: frozenset[str]) -> Iterator[tuple[str, _Tensors]]:
    """Yield name and tensors (with whether each is a buffer) of every block."""
    if type(module).__name__ in whole or next(module.children(), None) is None:
        yield path, [(tensor, buffer) for _, tensor, buffer in _tensors(module, True)]
        return
    lead = f"{path}." if path else ""
    for name, tensor, buffer in _tensors(module, False):
        yield f"{lead}{name}", [(tensor, buffer)]
    # Not named_children: it leaves out a module that has been seen under another name.
    for name, child in module._modules.items():
        if child is not None:
            yield from _walk(f"{lead}{name}", child, whole)


def _tensors(module: nn.Module, recurse: bool) -> Iterator[tuple[str, torch.Tensor, bool]]:
    for name, parameter in module.named_parameters(recurse=recurse):
        yield name, parameter, False
    for name, buffer in module.named_buffers(recurse=recurse):
        yield name, buffer, True


def _size(tensor: torch.Tensor, dtype: torch.dtype | None) -> int:
    each = tensor.element_size()
    if dtype is not None and tensor.is_floating_point():
        each = min(each, dtype.itemsize)
    return tensor.numel() * each


def _join(blocks: list[Block], parts: list[tuple[int, int]]) -> tuple[Block, ...]:
    """Give blocks that share tensors, over however many steps, one group."""
    root = list(range(len(blocks)))

    def find(i: int) -> int:
        while root[i] != i:
            i = root[i]
        return i

    for a, b in parts:
        a, b = find(a), find(b)
        root[max(a, b)] = min(a, b)
    shared = {find(i) for pair in parts for i in pair if find(pair[0]) != pair[1]}
    return tuple(
        replace(block, group=f"tied:{blocks[find(i)].name}") if find(i) in shared else block
        for i, block in enumerate(blocks)
    )
