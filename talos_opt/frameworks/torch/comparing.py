"""Whether the outputs of a graph agree with those of the module that it was captured from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

import torch

from talos_opt.frameworks.common import comparing
from talos_opt.frameworks.common.comparing import Value

#: Floating-point types that NumPy has too; the others are compared as float32.
_IN_NUMPY = (torch.float16, torch.float32, torch.float64)


def rounds_to_tf32(devices: Iterable[torch.device]) -> list[str]:
    """Return what computes in TF32 on these devices, if anything does; torch lets cuDNN do so."""
    if not any(device.type == "cuda" for device in devices):
        return []
    asked: dict[str, Any] = {"cuDNN": torch.backends.cudnn, "cuBLAS": torch.backends.cuda.matmul}
    found = []
    for name, backend in asked.items():
        with contextlib.suppress(RuntimeError):  # it was set in a newer way
            if not backend.allow_tf32:
                continue
        found.append(name)
    return found


def compare_outputs(
    expected: Sequence[Any], found: Sequence[Any], *, tf32: bool = False
) -> tuple[float, bool]:
    """Return the largest absolute difference of two lists of outputs, and whether they agree.

    Parameters
    ----------
    expected, found : sequence
    tf32 : bool
        Whether float32 may have been rounded to TF32 on the way.
    """
    pairs = [_value(item, tf32) for item in expected], [_value(item, tf32) for item in found]
    return comparing.compare_outputs(*pairs)


def _value(item: Any, tf32: bool) -> Any:
    if not isinstance(item, torch.Tensor):
        return item
    tensor = item.detach().cpu().resolve_conj().resolve_neg()
    name = str(tensor.dtype).removeprefix("torch.")
    if tensor.is_floating_point() and tensor.dtype not in _IN_NUMPY:
        tensor = tensor.float()
    elif tensor.dtype == torch.complex32:
        tensor = tensor.to(torch.complex64)
    return Value(tensor.numpy(), "tf32" if tf32 and name == "float32" else name)
