"""A format and an export with mistakes in them."""

from __future__ import annotations

from typing import Any

summary, suffixes = "careless", (".careless",)


def recognises(source: Any) -> bool:
    """Whether it reads a file."""
    return bool(source.suffix == ".careless")


def read_problem(source: Any, **given: Any) -> Any:
    """Fail, or return nothing."""
    return {"nothing\n": None}[source.text]


def write(*args: Any) -> Any:
    """Return what cannot be counted."""
    return 3
