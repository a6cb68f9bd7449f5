"""Guards against library versions that are known to break (docs/decisions/0002)."""

from __future__ import annotations

from importlib import metadata

from talos_opt.core.errors import DependencyError

_HIGHSPY_BELOW = (1, 15)


def require_compatible_highspy() -> None:
    """Refuse highspy 1.15 or newer, which cannot share a process with OR-Tools.

    Both ship ``libhighs.so.1``: whichever is imported second fails, and ``import pulp`` itself
    imports highspy. Only package metadata is read, nothing is imported.

    Raises
    ------
    DependencyError
    """
    try:
        found = metadata.version("highspy")
    except metadata.PackageNotFoundError:
        return
    parts = found.split(".")
    numbers = tuple(int(part) if part.isdigit() else 0 for part in parts[:2])
    if numbers >= _HIGHSPY_BELOW:
        raise DependencyError(
            f"highspy {found} cannot share a process with OR-Tools, expected >=1.12,<1.14; "
            "run: pip install 'highspy>=1.12,<1.14'"
        )
