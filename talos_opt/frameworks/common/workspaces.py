"""Memory that an op holds only while it runs, where nobody has measured it: by its class.

Libraries choose kernels, and with them workspaces, by rules of their own. So these are sizes that
common kernels of a class need, or that libraries set aside; `docs/profiling.md` lists them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from talos_opt.frameworks.common.datasheets import Datasheet
from talos_opt.frameworks.common.op_classes import class_of
from talos_opt.frameworks.common.profile import OpProfile, Profile

#: What PyTorch sets aside for cuBLAS on a device (two buffers of 4 MiB, eight of 16 KiB), and on
#: the generation for which NVIDIA recommends 32 MiB.
BLAS_BYTES = 2 * 4096 * 1024 + 8 * 16 * 1024
HOPPER_BLAS_BYTES = 32 * 2**20
_HOPPER = frozenset(("h100", "h100-pcie", "h200"))
#: Values that a block of a reduction adds up; each block leaves a partial sum.
_BLOCK = 512
#: Bytes of a partial sum, and of what fused attention keeps of each row: float32.
_PARTIAL = 4

_SORT = re.compile(r"sort|topk|kthvalue|median|unique")
_FFT = re.compile(r"fft")
_MATH = re.compile(r"attention_?math")
_REDUCTION = re.compile(
    r"softmax|norm|(^|\.)(sum|mean|var|std|amax|amin|max|min|prod)$|reduce|loss"
)


def workspace_bytes(op: OpProfile, sheet: Datasheet | None = None) -> int:
    """Return the bytes that an op is assumed to hold only while it runs.

    Parameters
    ----------
    op : OpProfile
        Its type, FLOPs, bytes, and `facts`: ``shape`` and ``dtype`` of what it returns.
    sheet : Datasheet, optional
        Of the device; default: a CPU.
    """
    name = op.type.lower().replace("::", ".")
    kind = class_of(op.type)
    shape, itemsize = _shape(op.facts), _itemsize(op.facts)
    if not op.flops and not op.moved_bytes:
        return 0
    if _SORT.search(name) or _FFT.search(name):
        return op.output + op.unread  # a second buffer
    rule = _RULES.get(kind)
    if rule is not None:
        return rule(op, name, shape, itemsize, sheet)
    if _REDUCTION.search(name):
        return _PARTIAL * (op.moved_bytes // max(1, itemsize) // _BLOCK)
    return 0


def _conv(
    op: OpProfile, name: str, shape: Sequence[int], itemsize: int, sheet: Datasheet | None
) -> int:
    """Patches of one sample (im2col): for each place of the output all values that it reads."""
    if len(shape) < 3 or not all(shape):
        return 0
    channels = shape[op.facts.get("channel_axis", 1 if name.startswith("aten.") else -1)]
    products = 2 if class_of(op.type) == "conv_grad" and name.startswith("aten.") else 1
    return int((op.flops or 0) / (2 * products * shape[0] * channels)) * itemsize


def _matmul(
    op: OpProfile, name: str, shape: Sequence[int], itemsize: int, sheet: Datasheet | None
) -> int:
    if sheet is None or sheet.kind != "gpu":
        return 0
    return HOPPER_BLAS_BYTES if sheet.name in _HOPPER else BLAS_BYTES


def _attention(
    op: OpProfile, name: str, shape: Sequence[int], itemsize: int, sheet: Datasheet | None
) -> int:
    """Fused: a number for each row. Else scores, and what softmax makes of them."""
    if not shape or not all(shape):
        return 0
    if _MATH.search(name):
        return 2 * int((op.flops or 0) / (4 * shape[-1])) * itemsize
    rows = 1
    for size in shape[:-1]:
        rows *= size
    return _PARTIAL * rows


_Rule = Callable[[OpProfile, str, Sequence[int], int, Datasheet | None], int]
_RULES: Mapping[str, _Rule] = {
    "conv": _conv,
    "conv_grad": _conv,
    "matmul": _matmul,
    "batch_matmul": _matmul,
    "attention": _attention,
}


def _shape(facts: Mapping[str, Any]) -> Sequence[int]:
    """Return the shape of what an op returns, of the first of several."""
    shape = facts.get("shape") or ()
    if shape and isinstance(shape[0], (list, tuple)):
        shape = shape[0]
    return [int(size or 0) for size in shape if size is None or isinstance(size, int)]


def _itemsize(facts: Mapping[str, Any]) -> int:
    dtype = facts.get("dtype") or ""
    text = dtype if isinstance(dtype, str) else str(dtype[0] if dtype else "")
    digits = re.search(r"\d+", text)
    return max(1, int(digits[0]) // 8) if digits else 1


def with_workspaces(profile: Profile, sheets: Mapping[str, Datasheet]) -> Profile:
    """Return a profile in which ops have workspaces, estimated where nobody measured them.

    A graph has one for all devices, so it is the largest of any: of what was measured, of
    estimates for the devices that are estimated, and for a CPU where an allocator did not tell.

    Parameters
    ----------
    profile : Profile
    sheets : mapping of str to Datasheet
        Of the devices that are estimated, by id.
    """
    measured = any(not device.estimated for device in profile.devices)

    def known(op: OpProfile) -> OpProfile:
        found = [workspace_bytes(op, sheet) for sheet in sheets.values()]
        if measured and op.workspace is None:
            found.append(workspace_bytes(op))
        size = max(found, default=0)
        if op.workspace is not None and op.workspace >= size:
            return op
        return replace(op, workspace=size, workspace_estimated=True)

    return replace(profile, ops=tuple(known(op) for op in profile.ops))
