"""Errors that name an op of a model, put where the file says what became that op."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypedDict

from talos_opt.core.errors import GraphError

_OP = re.compile(r"ops\[(\d+)\]")


class Place(TypedDict, total=False):
    """Where something stands in a file: the path of a value, or a line."""

    path: str | None
    line: int


@contextmanager
def ops_stand_at(place: Callable[[int], Place]) -> Iterator[None]:
    """Let errors raised inside name a place of the file instead of an op.

    Parameters
    ----------
    place : callable
        From an op's position in its model to where it comes from.
    """
    try:
        yield
    except GraphError as error:
        op = _OP.search(error.path or "")
        raise GraphError(error.message, **(place(int(op[1])) if op else {})) from None
