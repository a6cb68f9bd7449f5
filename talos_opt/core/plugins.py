"""What other packages add: entry points in groups of their own.

A package names them in its ``pyproject.toml``; they are found when it is installed and imported
when they are first used. See docs/plugins.md.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from talos_opt.core.errors import ConfigError, TalosError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")

SOLVERS, FORMATS, EXPORTS = "talos_opt.solvers", "talos_opt.formats", "talos_opt.exports"


@cache
def added(group: str) -> Mapping[str, EntryPoint]:
    """Return what installed packages add to a group, by name, in the order of the names."""
    from importlib.metadata import entry_points  # with all that it loads: not at each start

    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=group), key=lambda point: (point.name, point.value)):
        found.setdefault(point.name, point)
    return found


def without(group: str, taken: Collection[str]) -> Mapping[str, EntryPoint]:
    """Return what packages add to a group, but for names that talos_opt itself has given."""
    return {name: point for name, point in added(group).items() if name not in taken}


def load(point: EntryPoint, members: Collection[str] = ()) -> Any:
    """Import what an entry point names.

    Parameters
    ----------
    point : EntryPoint
    members : collection of str
        Attributes that it has to have.

    Raises
    ------
    ConfigError
        Naming the package, if it cannot be imported or lacks something.
    """
    try:
        found = point.load()
    except (Exception, SystemExit) as error:  # a script may end itself as it is imported
        raise ConfigError(
            f"{whose(point)} cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    missing = [name for name in members if not hasattr(found, name)]
    if missing:
        raise ConfigError(f"{whose(point)} has no {missing[0]!r}, expected {', '.join(members)}")
    return found


def call(point: EntryPoint, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call what an entry point names; what it raises by mistake is blamed on its package.

    Raises
    ------
    ConfigError
    """
    try:
        return function(*args, **kwargs)
    except (TalosError, OSError, MemoryError):
        raise
    except Exception as error:
        raise ConfigError(f"{whose(point)} failed: {type(error).__name__}: {error}") from error


def whose(point: EntryPoint) -> str:
    """Return words for an entry point: its name, where it is, and the package that added it."""
    package = f" of package {point.dist.name}" if point.dist is not None else ""
    return f"{point.name!r} ({point.value}{package}, group {point.group})"
