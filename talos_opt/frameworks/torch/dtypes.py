"""What a model computes with: the data type that its times are estimated for."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

_DEFAULT = "float32"


def dtype_of(module: nn.Module) -> str:
    """Return the type that most of a module's floating-point weights have, such as ``float16``."""
    sizes: Counter[str] = Counter()
    for parameter in module.parameters():
        if parameter.is_floating_point():
            sizes[str(parameter.dtype).removeprefix("torch.")] += parameter.numel()
    return sizes.most_common(1)[0][0] if sizes else _DEFAULT
