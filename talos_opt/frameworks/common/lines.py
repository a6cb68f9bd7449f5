"""How lines of a user's code are named in graphs."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path


@cache
def short(file: str) -> str:
    """Return a file's name from the working folder, or from the folder that Python found it in.

    So a graph names the same file wherever it was made.
    """
    path = Path(file)
    places = [Path.cwd(), *(Path(place) for place in sys.path if place)]
    inside = [path.relative_to(place) for place in places if path.is_relative_to(place)]
    return min(inside, key=lambda found: len(found.parts), default=path).as_posix()
