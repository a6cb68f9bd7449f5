"""Which line of the user's code an op of a captured graph comes from."""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path

from torch import fx

from talos_opt.frameworks.common.loading import is_users

_FRAME = re.compile(r'File "([^"]+)", line (\d+)')


def line_of(node: fx.Node) -> str:
    """Return ``file:line`` of the innermost frame of the user's code; empty if unknown.

    Files are named from the working folder, or from the folder that Python found them in, so that
    a graph names the same file wherever it was made.
    """
    frames = _FRAME.findall(str(node.meta.get("stack_trace") or ""))
    for file, line in reversed(frames):
        if is_users(file):
            return f"{_short(file)}:{line}"
    return ""


def at(node: fx.Node) -> str:
    """Return the line in brackets, with a space in front; empty if unknown."""
    line = line_of(node)
    return f" ({line})" if line else ""


@cache
def _short(file: str) -> str:
    path = Path(file)
    places = [Path.cwd(), *(Path(place) for place in sys.path if place)]
    inside = [path.relative_to(place) for place in places if path.is_relative_to(place)]
    return min(inside, key=lambda found: len(found.parts), default=path).as_posix()
