"""What a placed module may be called with: the arguments that it was captured with, other values.

Shapes, types and whatever is no tensor are part of a captured graph, so they have to be the same.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import nn

from talos_opt.core.errors import InputError
from talos_opt.frameworks.torch.arguments import Arguments, shape_text

#: Layers that drop values in training.
_DROPOUTS = (
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout,
)  # fmt: skip
#: Names that a message lists at most, and characters of a value.
_LISTED, _BRIEF = 3, 40


class Signature:
    """What a module was captured with.

    Parameters
    ----------
    module : torch.nn.Module
    given : Arguments
        Of the capture.
    """

    def __init__(self, module: nn.Module, given: Arguments) -> None:
        self._signature = inspect.signature(module.forward)
        args, kwargs = given.nested()
        self._leaves = self._named(args, kwargs)
        position = {id(tensor): k for k, tensor in enumerate(given.tensors)}
        self._position = {
            name: position[id(leaf)]
            for name, leaf in self._leaves.items()
            if isinstance(leaf, torch.Tensor)
        }
        self._count = len(given.tensors)

    def tensors(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[torch.Tensor]:
        """Return the tensors of a call, in the order of the captured ones.

        Raises
        ------
        TypeError
            If ``forward`` does not take such arguments.
        InputError
            If they are others than those of the capture.
        """
        found = self._named(args, kwargs)
        for name in {**self._leaves, **found}:
            if name not in found:
                raise InputError(f"input {name} is missing: {_PLACED}")
            if name not in self._leaves:
                raise InputError(f"input {name} was not there: {_PLACED}")
        tensors: dict[int, torch.Tensor] = {}
        for name, leaf in found.items():
            own = self._leaves[name]
            if isinstance(own, torch.Tensor):
                tensors[self._position[name]] = _fitting(name, leaf, own)
            elif not _same(leaf, own):
                raise InputError(
                    f"input {name} is {_brief(leaf)}, expected {_brief(own)}: {_PLACED}"
                )
        return [tensors[k] for k in range(self._count)]

    def _named(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the leaves of arguments by their paths, whether given by position or by name."""
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        pairs: Any = pytree.tree_flatten_with_path(dict(bound.arguments))[0]
        return {f"{path[0].key}{pytree.keystr(path[1:])}": leaf for path, leaf in pairs}


_PLACED = "a placed module takes what it was captured with, and other values of the same shape"


def _fitting(name: str, value: Any, own: torch.Tensor) -> torch.Tensor:
    if not isinstance(value, torch.Tensor):
        raise InputError(f"input {name} is {_brief(value)}, expected a tensor: {_PLACED}")
    if value.shape != own.shape or value.dtype != own.dtype:
        raise InputError(
            f"input {name} is {_described(value)}, expected {_described(own)}: a placed module "
            "takes the shapes and types that it was placed for; profile and solve again for others"
        )
    return value


def laid_out(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Return a tensor whose strides are those that a graph was captured with: itself, or a copy."""
    if value.layout != torch.strided or value.stride() == like.stride():
        return value
    made = torch.empty_like(like, device=value.device)
    return made.copy_(value)


def _described(value: torch.Tensor) -> str:
    return f"{shape_text(value)}:{str(value.dtype).removeprefix('torch.')}"


def _same(value: Any, own: Any) -> bool:
    if value is own:
        return True
    if isinstance(value, torch.Tensor):
        return False
    try:
        return bool(type(value) is type(own) and value == own)
    except Exception:  # what cannot be compared is another one
        return False


def _brief(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor of {_described(value)}"
    text = repr(value)
    return text if len(text) <= _BRIEF else f"a {type(value).__name__}"


def trains_apart(module: nn.Module) -> list[str]:
    """Return the parts that a captured step leaves out of training: those that drop at random."""
    found = []
    for name, part in module.named_modules():
        drops = isinstance(part, _DROPOUTS) and part.p > 0
        drops |= isinstance(part, (nn.RNNBase, nn.MultiheadAttention)) and part.dropout > 0
        if drops:
            found.append(name or type(part).__name__)
    return found


def statistics_of(module: nn.Module) -> list[str]:
    """Return the parts that compute otherwise in training, in a captured step too."""
    return [
        name or type(part).__name__
        for name, part in module.named_modules()
        if isinstance(part, nn.modules.batchnorm._NormBase) and part.track_running_stats
    ]


def slots_of(module: nn.Module) -> dict[str, Callable[[], Any]]:
    """Return what gives the present tensor of each parameter and buffer, by qualified name."""
    slots: dict[str, Callable[[], Any]] = {}
    for path, part in module.named_modules(remove_duplicate=False):
        for held in (vars(part)["_parameters"], vars(part)["_buffers"]):
            for name, value in held.items():
                if value is not None:
                    full = f"{path}.{name}" if path else name
                    slots[full] = _getter(held, name)
    return slots


def _getter(held: Mapping[str, Any], name: str) -> Callable[[], Any]:
    return lambda: held[name]


def some(names: Sequence[str]) -> str:
    """Return names for a message: the first few, and how many more there are."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{', '.join(names[:_LISTED])}{more}"
