"""Tests of frameworks/onnx need onnx and onnxruntime; where one is missing, they are skipped."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

_MISSING = [name for name in ("onnx", "onnxruntime") if not find_spec(name)]

collect_ignore_glob = ["test_*.py", "nets.py"] if _MISSING else []


def pytest_report_header(config: pytest.Config) -> str | None:
    if _MISSING:
        return f"left out, as {' and '.join(_MISSING)} is not installed: tests/frameworks/onnx"
    return None
