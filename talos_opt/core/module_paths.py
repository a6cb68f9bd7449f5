"""Paths of modules: names with dots in between; the path of a part begins with the whole's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase

from talos_opt.core.errors import GraphError
from talos_opt.core.graph import Op
from talos_opt.core.units import describe

#: What a device map gives a module: the index of a GPU, or ``cpu`` or ``disk``.
Target = int | str


def module_of(op: Op) -> str:
    """Return the path of the module that an op belongs to, the root's where it says none."""
    path = op.attrs.get("module", "")
    return path if isinstance(path, str) else ""


def is_view(op: Op) -> bool:
    """Whether an op says that it is a view: it goes where its base is (``attrs: {view_of: op}``).

    A gradient is often read through a view that belongs to the next module, and would bind the two.
    """
    return op.colocate is not None and "view_of" in op.attrs and op.memory.weights == 0


def also_of(op: Op) -> list[str]:
    """Return the paths of the other modules that an op holds tensors of: tied weights.

    Raises
    ------
    GraphError
        If ``also`` is not a list of paths.
    """
    paths = op.attrs.get("also", [])
    if not isinstance(paths, (list, tuple)) or not all(isinstance(path, str) for path in paths):
        raise GraphError(
            f"attrs.also of op {op.id!r} is {describe(paths)}, expected a list of module paths"
        )
    return list(paths)


def above(path: str) -> Iterator[str]:
    """Yield the paths of the modules around one, innermost first, the root (``""``) last."""
    while path:
        path = path.rpartition(".")[0]
        yield path


def prefixes(path: str) -> Iterator[str]:
    """Yield the paths of the modules around one, outermost first, and its own."""
    parts = path.split(".")
    yield from (".".join(parts[: k + 1]) for k in range(len(parts)))


def fits(path: str, pattern: str) -> bool:
    """Whether a pattern means a path; ``*`` in it does not reach over a dot."""
    parts, wanted = path.split("."), pattern.split(".")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


def merge(entries: Mapping[str, Target]) -> dict[str, Target]:
    """Return a device map with the shortest prefixes under which all entries have one device.

    Parameters
    ----------
    entries : mapping of str to int or str
        By path; that of a module with parts is for tensors that it holds itself.

    Returns
    -------
    dict
        Every entry's device is that of its longest prefix in it; ``{"": device}`` where all
        agree.
    """
    below: dict[str, set[Target]] = {}
    for path, target in entries.items():
        for prefix in (path, *above(path)):
            below.setdefault(prefix, set()).add(target)
    merged: dict[str, Target] = {}
    for path, target in entries.items():
        agreeing = [prefix for prefix in (path, *above(path)) if len(below[prefix]) == 1]
        merged[min(agreeing, key=len, default=path)] = target
    return merged
