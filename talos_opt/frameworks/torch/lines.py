"""Which line of the user's code an op of a captured graph comes from."""

from __future__ import annotations

import re

from torch import fx

from talos_opt.frameworks.common.lines import short
from talos_opt.frameworks.common.loading import is_users

_FRAME = re.compile(r'File "([^"]+)", line (\d+)')


def line_of(node: fx.Node) -> str:
    """Return ``file:line`` of the innermost frame of the user's code; empty if unknown.

    Files are named as `short` names them.
    """
    frames = _FRAME.findall(str(node.meta.get("stack_trace") or ""))
    for file, line in reversed(frames):
        if is_users(file):
            return f"{short(file)}:{line}"
    return ""


def at(node: fx.Node) -> str:
    """Return the line in brackets, with a space in front; empty if unknown."""
    line = line_of(node)
    return f" ({line})" if line else ""
