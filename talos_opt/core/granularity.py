"""Coarser placements: the ops of a module stay on one device.

Ops say in ``attrs: {module: path}`` which module they belong to; the path of a part begins with
that of the whole and a dot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

from talos_opt.core.bundling import bundled
from talos_opt.core.errors import ConfigError, GraphError
from talos_opt.core.given import require_problem
from talos_opt.core.graph import Model, Op
from talos_opt.core.module_paths import fits, is_view, module_of, prefixes
from talos_opt.core.problem import Problem

_Key = tuple[str, ...]


class Granularity(StrEnum):
    """What is placed as a whole."""

    OP = "op"
    MODULE = "module"


def by_module(problem: Problem, no_split: Sequence[str] = ()) -> Problem:
    """Return the problem in which the ops of a module share a device: ``--granularity module``.

    Modules are those without parts, and those that must not be split. Of what a module with
    parts does between them, only ops that hold weights of its own are kept together.

    Parameters
    ----------
    problem : Problem
    no_split : sequence of str
        Patterns of paths of modules to keep whole, such as ``encoder.layer.*``; ``*`` does not
        reach over a dot.

    Returns
    -------
    Problem
        With more colocation groups; those that there were still hold.

    Raises
    ------
    GraphError
        If no op says which module it belongs to, a pattern fits no module, or the ops of a
        module have no device in common.
    """
    require_problem(problem)
    if isinstance(no_split, str):
        raise ConfigError(f"no_split is {no_split!r}, expected a list: [{no_split!r}]")
    if problem.bundling is not None:
        return bundled(by_module(problem.source, no_split), problem.bundling.bundles)
    paths = [[module_of(op) for op in model.ops] for model in problem.graph.models]
    known = {path for row in paths for path in row if path}
    if not known:
        raise GraphError(
            "no op says which module it belongs to (attrs: {module: path}), "
            "expected that for granularity module"
        )
    modules = {prefix for path in known for prefix in prefixes(path)}
    for pattern in no_split:
        if not any(fits(module, pattern) for module in modules):
            raise GraphError(f"no module is called {pattern!r}, such as {min(known)!r}")
    parents = {"", *(path.rpartition(".")[0] for path in modules)}
    groups = _Groups()
    for model, row in zip(problem.graph.models, paths, strict=True):
        for op, path in zip(model.ops, row, strict=True):
            block = _block(op, path, no_split, parents)
            names: list[_Key] = [] if block is None else [("module", model.id, block)]
            if op.colocate is not None:
                names.append(("group", op.colocate))
            groups.join(names)
    _require_apart(problem, paths, no_split, groups)
    models = tuple(
        _regroup(model, row, no_split, parents, groups)
        for model, row in zip(problem.graph.models, paths, strict=True)
    )
    return replace(
        problem,
        graph=replace(problem.graph, models=models),
        granularity=Granularity.MODULE.value,
        no_split=tuple(no_split),
    )


def _regroup(
    model: Model,
    paths: Sequence[str],
    no_split: Sequence[str],
    parents: set[str],
    groups: _Groups,
) -> Model:
    ops: list[Op] = []
    for op, path in zip(model.ops, paths, strict=True):
        block = _block(op, path, no_split, parents)
        if block is not None:
            ops.append(replace(op, colocate=groups.name(("module", model.id, block))))
        elif op.colocate is not None:
            ops.append(replace(op, colocate=groups.name(("group", op.colocate))))
        else:
            ops.append(op)
    return replace(model, ops=tuple(ops))


def _require_apart(
    problem: Problem, paths: Sequence[Sequence[str]], no_split: Sequence[str], groups: _Groups
) -> None:
    """Refuse blocks that were named and that colocation binds to each other.

    Raises
    ------
    GraphError
    """
    for model, row in zip(problem.graph.models, paths, strict=True):
        first: dict[str, str] = {}
        for path in dict.fromkeys(row):
            block = next((p for p in prefixes(path) if _named(p, no_split)), None)
            if block is None or not groups.has(("module", model.id, block)):
                continue
            other = first.setdefault(groups.name(("module", model.id, block)), block)
            if other != block:
                raise GraphError(
                    f"modules {other!r} and {block!r} have to share a device, as ops of both are "
                    "in one colocation group (tied weights, for example): name what holds them both"
                )


def _named(path: str, patterns: Sequence[str]) -> bool:
    return any(fits(path, pattern) for pattern in patterns)


def _block(op: Op, path: str, no_split: Sequence[str], parents: set[str]) -> str | None:
    """Return the path of what an op must stay with; None: it is free, or a view."""
    if is_view(op):
        return None
    for prefix in prefixes(path):
        if _named(prefix, no_split):
            return prefix
    return None if path in parents and not op.memory.weights else path


class _Groups:
    """Names that mean one group are joined: modules with tied weights, for example."""

    def __init__(self) -> None:
        self._root: dict[_Key, _Key] = {}

    def join(self, keys: Sequence[_Key]) -> None:
        for key in keys:
            self._root.setdefault(key, key)
        for key in keys[1:]:
            a, b = self._find(keys[0]), self._find(key)
            self._root[max(a, b)] = min(a, b)

    def has(self, key: _Key) -> bool:
        """Whether any op has a name."""
        return key in self._root

    def name(self, key: _Key) -> str:
        """Return the name of the group that a name has come to mean.

        A group of the user's may be called like a module of its model: the module's then says so.
        """
        root = self._find(key)
        text = "/".join(root[1:])
        while root[0] == "module" and ("group", text) in self._root:
            text += " (module)"
        return text

    def _find(self, key: _Key) -> _Key:
        while self._root[key] != key:
            key = self._root[key]
        return key
