"""The one import of onnx and onnxruntime."""

from __future__ import annotations

from typing import Any

import onnx
import onnx.inliner
import onnx.shape_inference
import onnxruntime

#: Untyped here: the two declare types for a part of what they offer.
ox: Any = onnx
ort: Any = onnxruntime

#: The runtime's own messages that say no more than an exception does.
_ERRORS_ONLY = 3

ort.set_default_logger_severity(_ERRORS_ONLY)

__all__ = ["ort", "ox"]
