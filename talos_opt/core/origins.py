"""Where in the user's code an op comes from, as its attributes say: ``module`` and ``line``."""

from __future__ import annotations

from typing import NamedTuple

from talos_opt.core.columns import Columns


class Origin(NamedTuple):
    """Where an op comes from.

    Parameters
    ----------
    module : str
        Path of the module that it belongs to, such as ``layers.3.mlp``; empty: unknown.
    line : str
        File and line of code, such as ``net.py:12``; empty: unknown.
    """

    module: str
    line: str

    def __str__(self) -> str:
        return ", ".join(part for part in self if part)

    def known(self) -> dict[str, str]:
        """Return what is known, by name."""
        return {name: value for name, value in self._asdict().items() if value}


def origin_of(columns: Columns, i: int) -> Origin:
    """Return where an op of a graph comes from."""
    attrs = columns.attrs.get(i, {})
    module, line = attrs.get("module"), attrs.get("line")
    return Origin(module if isinstance(module, str) else "", line if isinstance(line, str) else "")
