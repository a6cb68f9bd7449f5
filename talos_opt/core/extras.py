"""Libraries that only some parts need, and how to install them.

The package is on no index, so a message that names its extras would lead nowhere: it names the
libraries. `tests/test_packaging.py` holds the list against ``pyproject.toml``.
"""

from __future__ import annotations

#: What pip installs, by the name of the extra.
EXTRAS = {
    "torch": ("torch>=2.13",),
    "tensorflow": ("tensorflow",),
    "onnx": ("onnx>=1.18", "onnxruntime>=1.23"),
    "plot": ("matplotlib",),
    "frames": ("pandas",),
    "dask": ("dask>=2025.1", "distributed>=2025.1"),
}


def how_to_install(extra: str) -> str:
    """Return the command that installs what a key of `EXTRAS` stands for."""
    quoted = (f"'{name}'" if ">" in name else name for name in EXTRAS[extra])
    return f"pip install {' '.join(quoted)}"
