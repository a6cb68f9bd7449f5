"""Tensors of quantised checkpoints, from the shapes of the plain ones.

Formats: bitsandbytes (LLM.int8), the block-wise fp8 of DeepSeek-V3, GPTQ and AWQ, MXFP4.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from talos_opt.core.errors import FormatError
from talos_opt.frameworks.llm.architecture import Fields
from talos_opt.frameworks.llm.checkpoint import BITS
from talos_opt.frameworks.llm.shapes import Shape
from talos_opt.frameworks.llm.tensors import Tensor

_PLAIN = {"float16": "F16", "bfloat16": "BF16", "float32": "F32"}
#: Products that no method touches: what reads tokens, what writes them, and routers.
_KEPT = re.compile(r"(embed|lm_head|wte|(\.|^)(gate|router)\.(weight|layer)|shared_expert_gate)")


def tensors_of(
    shapes: Iterable[Shape], config: Mapping[str, Any], source: str
) -> tuple[Tensor, ...]:
    """Return the tensors of a checkpoint with the types that its config says.

    Parameters
    ----------
    shapes : iterable of (str, tuple of int)
    config : mapping
        Its ``torch_dtype`` (or ``dtype``) and ``quantization_config`` count.
    source : str

    Raises
    ------
    FormatError
        If the type or the way of quantising is unknown.
    """
    inner = config.get("text_config")
    said = config if not isinstance(inner, dict) else {**config, **inner}
    word = str(said.get("dtype") or said.get("torch_dtype") or "bfloat16").rpartition(".")[2]
    if word not in _PLAIN:
        raise FormatError(f"is {word!r}, expected one of {', '.join(_PLAIN)}", source=source,
                          path="torch_dtype")  # fmt: skip
    method = said.get("quantization_config") or {}
    if not isinstance(method, Mapping):
        raise FormatError("is not an object", source=source, path="quantization_config")
    make = _Quantised(_PLAIN[word], method, source)
    return tuple(tensor for shape in shapes for tensor in make.tensors(*shape))


class _Quantised:
    def __init__(self, plain: str, method: Mapping[str, Any], source: str) -> None:
        self._plain, self._said = plain, Fields(method, source)
        self._name = str(method.get("quant_method", "")) if method else ""
        if self._name == "bitsandbytes" and not method.get("load_in_8bit"):
            self._name = "bitsandbytes in 4 bits"
        if self._name not in ("", "bitsandbytes", "fp8", "gptq", "awq", "mxfp4"):
            raise FormatError(
                f"is {self._name!r}, whose tensors are unknown without a file that lists them, "
                "expected bitsandbytes (8 bits), fp8, gptq, awq or mxfp4", source=source,
                path="quantization_config.quant_method",
            )  # fmt: skip
        self._block = self._block_size()
        skip = method.get("modules_to_not_convert") or method.get("llm_int8_skip_modules") or ()
        self._skip = tuple(str(name) for name in skip) if isinstance(skip, list) else ()

    def tensors(self, name: str, shape: tuple[int, ...]) -> Iterator[Tensor]:
        """Yield what a plain tensor becomes."""
        untouched = _KEPT.search(name) or any(skip in name for skip in self._skip)
        if self._name == "mxfp4" and len(shape) == 3 and ".experts." in name:
            yield from self._mxfp4(name, shape)
        elif (
            not self._name
            or self._name == "mxfp4"
            or len(shape) != 2
            or untouched
            or not name.endswith(".weight")
            or "norm" in name
        ):
            yield _plain(name, self._dtype(name), shape)
        elif self._name == "bitsandbytes":
            yield _plain(name, "I8", shape)
            yield _plain(name.replace(".weight", ".SCB"), "F32", shape[:1])
            yield _plain(name.replace(".weight", ".weight_format"), "U8", ())
        elif self._name == "fp8":
            rows, columns = self._block
            yield _plain(name, "F8_E4M3", shape)
            yield _plain(
                f"{name}_scale_inv", "F32", (-(-shape[0] // rows), -(-shape[1] // columns))
            )
        else:
            yield from self._packed(name.removesuffix(".weight"), shape)

    def _block_size(self) -> tuple[int, int]:
        """Return the rows and columns of a block of fp8 that has a scale of its own."""
        said = self._said.get("weight_block_size")
        if said is None:
            return 128, 128
        if not isinstance(said, list) or len(said) != 2:
            raise FormatError(f"is {said!r}, expected rows and columns", source=self._said.source,
                              path="quantization_config.weight_block_size")  # fmt: skip
        rows, columns = (Fields({"weight_block_size": n}, self._said.source) for n in said)
        return rows.number("weight_block_size", least=1), columns.number(
            "weight_block_size", least=1
        )

    def _dtype(self, name: str) -> str:
        return "F32" if name.endswith("e_score_correction_bias") else self._plain

    def _packed(self, stem: str, shape: tuple[int, ...]) -> Iterator[Tensor]:
        out, width = shape
        bits = self._said.number("bits", "w_bit", default=4, least=1, most=32)
        group = self._said.number("group_size", "q_group_size", default=128, least=-1)
        groups = -(-width // group) if group > 0 else 1
        packed = (width * bits // 32, out) if self._name == "gptq" else (width, out * bits // 32)
        yield _plain(f"{stem}.qweight", "I32", packed)
        yield _plain(f"{stem}.qzeros", "I32", (groups, out * bits // 32))
        yield _plain(f"{stem}.scales", "F16", (groups, out))
        if self._name == "gptq":
            yield _plain(f"{stem}.g_idx", "I32", (width,))

    def _mxfp4(self, name: str, shape: tuple[int, ...]) -> Iterator[Tensor]:
        experts, width, out = shape
        yield _plain(f"{name}_blocks", "U8", (experts, out, width // 32, 16))
        yield _plain(f"{name}_scales", "U8", (experts, out, width // 32))


def _plain(name: str, dtype: str, shape: tuple[int, ...]) -> Tensor:
    size = BITS[dtype] // 8
    for axis in shape:
        size *= axis
    return Tensor(name, dtype, shape, size)
