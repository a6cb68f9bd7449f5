"""What a module is called with: tensors in a row, and how they nest in its arguments."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import nn

from talos_opt.core.errors import InputError

#: Parts of parts of an argument that are looked into for tensors.
_DEPTH = 4


@dataclass(frozen=True)
class Arguments:
    """Arguments of a module, by position and by name; made by `arguments`.

    Parameters
    ----------
    tensors : tuple of torch.Tensor
        In the order in which they stand in the arguments: by position, then by name.
    names : tuple of str
        How errors call them: ``0``, ``input_ids``, ``batch['mask']``.
    leaves : tuple
        All values, tensors and others, in the same order.
    spec : torch.utils._pytree.TreeSpec
        How they nest in (args, kwargs).
    redraw : callable, optional
        Returns other tensors of the same shapes and types that the model takes as well; others
        for each number from 1 on that it may be given.
    """

    tensors: tuple[torch.Tensor, ...]
    names: tuple[str, ...] = field(compare=False)
    leaves: tuple[Any, ...] = field(compare=False, repr=False)
    spec: Any = field(compare=False, repr=False)
    redraw: Callable[..., Sequence[torch.Tensor]] | None = field(
        default=None, compare=False, repr=False
    )

    def replace(self, tensors: Sequence[torch.Tensor]) -> Arguments:
        """Return the same arguments with other tensors.

        Raises
        ------
        ValueError
            If their number is another one.
        """
        if len(tensors) != len(self.tensors):
            raise ValueError(
                f"{len(tensors)} inputs given, the model was captured with {len(self.tensors)}"
            )
        left = iter(tensors)
        leaves = tuple(next(left) if _is_tensor(leaf) else leaf for leaf in self.leaves)
        return dataclasses.replace(self, tensors=tuple(tensors), leaves=leaves)

    def nested(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments by position and those by name."""
        args, kwargs = pytree.tree_unflatten(list(self.leaves), self.spec)
        return tuple(args), dict(kwargs)

    def call(self, module: nn.Module) -> Any:
        """Call a module with them."""
        args, kwargs = self.nested()
        return module(*args, **kwargs)

    def describe(self, *, types: bool = True) -> str:
        """Return shapes, and types if asked for, those given by name with it."""
        parts = []
        for name, value in zip(self.names, self.tensors, strict=True):
            text = shape_text(value)
            if types:
                text += f":{str(value.dtype).removeprefix('torch.')}"
            parts.append(text if name.isdecimal() else f"{name}={text}")
        return ", ".join(parts)


def arguments(
    inputs: torch.Tensor | Sequence[Any] | Mapping[str, Any] | Arguments,
    kwargs: Mapping[str, Any] | None = None,
    redraw: Callable[..., Sequence[torch.Tensor]] | None = None,
) -> Arguments:
    """Return what a module is to be called with.

    Parameters
    ----------
    inputs : torch.Tensor, sequence, mapping or Arguments
        The only argument, or those by position or by name; each may nest tensors and other values.
    kwargs : mapping of str to Any, optional
        Further arguments, by name. A tensor that is given twice is copied: it is two inputs.
    redraw : callable, optional
        See `Arguments`.

    Raises
    ------
    InputError
        If an argument is an object that hides tensors, such as a cache of transformers.
    """
    if isinstance(inputs, Arguments):
        return inputs
    if _is_tensor(inputs):
        inputs = (inputs,)
    named = dict(inputs) if isinstance(inputs, Mapping) else {}
    args = () if isinstance(inputs, Mapping) else tuple(inputs)
    pairs, spec = pytree.tree_flatten_with_path((args, {**named, **(kwargs or {})}))
    for path, leaf in pairs:
        if not _is_tensor(leaf) and _holds_tensor(leaf):
            raise InputError(
                f"input {_name(path)} is a {type(leaf).__name__}, whose tensors would become "
                "constants: register it with torch.utils._pytree.register_pytree_node, or wrap the "
                "model in a module that takes its tensors and makes it"
            )
    pairs = _apart(pairs)
    found = [(_name(path), leaf) for path, leaf in pairs if _is_tensor(leaf)]
    return Arguments(
        tuple(leaf for _, leaf in found),
        tuple(name for name, _ in found),
        tuple(leaf for _, leaf in pairs),
        spec,
        redraw,
    )


def _apart(pairs: Sequence[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Return leaves in which no tensor comes twice: who gives one for two inputs means two inputs.

    torch.export would take them for one, and a graph of it would leave out the other.
    """
    seen: set[int] = set()
    found = []
    for path, leaf in pairs:
        if _is_tensor(leaf):
            again = id(leaf) in seen
            seen.add(id(leaf))
            found.append((path, leaf.detach().clone() if again else leaf))
        else:
            found.append((path, leaf))
    return found


def is_meta(module: nn.Module, given: Arguments) -> bool:
    """Whether a module or its inputs have no memory: some of it is on the meta device."""
    every = (*given.tensors, *module.parameters(), *module.buffers())
    return any(tensor.is_meta for tensor in every)


def shape_text(value: torch.Tensor) -> str:
    """Return a shape as ``--input`` takes it."""
    return "x".join(map(str, value.shape)) or "scalar"


def _is_tensor(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor)


def _holds_tensor(value: Any, depth: int = 0) -> bool:
    """Whether an object has tensors among its attributes, or among those of its parts."""
    if _is_tensor(value):
        return True
    if depth > _DEPTH or isinstance(value, (type, nn.Module)):
        return False
    if isinstance(value, Mapping):
        parts: Iterable[Any] = value.values()
    elif isinstance(value, (list, tuple)):
        parts = value
    else:
        parts = getattr(value, "__dict__", {}).values()
    return any(_holds_tensor(part, depth + 1) for part in parts)


def _name(path: Sequence[Any]) -> str:
    """Return the name of an argument and the way into it."""
    _, first, *rest = path
    head = first.key if hasattr(first, "key") else first.idx
    return f"{head}{pytree.keystr(tuple(rest))}"
