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

#: Severity from which the runtime writes messages itself: errors are raised, too.
QUIET = 4

ort.set_default_logger_severity(QUIET)

__all__ = ["QUIET", "ort", "ox"]
