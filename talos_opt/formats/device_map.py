"""Device maps as accelerate and transformers take them: ``{module path: device}``.

Written from a schedule whose ops say in ``attrs: {module: path}`` which module they belong to.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from talos_opt.core.errors import InputError
from talos_opt.core.module_paths import Target, above, also_of, is_view, merge, module_of
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.formats.target import write_json

_NUMBERED = re.compile(r"(?:cuda:?|gpu|xpu|npu|mps)[:_-]?(\d+)")


def device_map_of(
    problem: Problem, schedule: Schedule, names: Mapping[str, Target] | None = None
) -> dict[str, Target]:
    """Return the device map that a schedule stands for.

    Parameters
    ----------
    problem : Problem
        One model whose ops say which module they belong to.
    schedule : Schedule
    names : mapping of str to int or str, optional
        What accelerate calls a device id. Default: see `target_of`.

    Returns
    -------
    dict
        In the order of the ops; shortest prefixes under which all agree.

    Raises
    ------
    InputError
        If there are several models, ops say no modules, a module's ops are on several
        devices, or ``also`` is not a list of paths.
    """
    if len(problem.graph.model_ids) != 1:
        raise InputError(
            f"graph {problem.graph.name!r} holds {len(problem.graph.model_ids)} models, "
            "expected one: a device map is of one model"
        )
    targets = [target_of(device.id, device.kind, names) for device in problem.cluster.devices]
    if not any(module_of(op) or op.type == "block" for op in problem.ops):
        raise InputError(
            f"no op of graph {problem.graph.name!r} says which module it belongs to "
            "(attrs: {module: path}), which a device map is made of"
        )
    placed: dict[str, tuple[str, Target]] = {}
    parents = _parents(problem)
    for op, device in zip(problem.ops, schedule.device.tolist(), strict=True):
        path = module_of(op)
        if is_view(op) or (path in parents and not op.memory.weights):
            continue  # what a module with parts does between them has nothing to place
        target = targets[device]
        for name in (path, *also_of(op)):
            before = placed.setdefault(name, (op.id, target))
            if before[1] != target:
                raise InputError(
                    f"module {name!r} is split: op {before[0]!r} is on {before[1]!r}, op "
                    f"{op.id!r} on {target!r}; solve with --granularity module keeps it together"
                )
    return merge({name: target for name, (_, target) in placed.items()})


def _parents(problem: Problem) -> frozenset[str]:
    """Paths of modules that other ops' modules are parts of; the root is one in any case."""
    return frozenset(path for op in problem.ops for path in ("", *above(module_of(op))))


def target_of(device: str, kind: str, names: Mapping[str, Target] | None = None) -> Target:
    """Return what accelerate calls a device.

    Parameters
    ----------
    device, kind : str
    names : mapping, optional
        By device id; what it holds is taken as it is.

    Raises
    ------
    InputError
        If neither id nor kind tells.
    """
    if names and device in names:
        return names[device]
    numbered = _NUMBERED.fullmatch(device)
    if numbered:
        return int(numbered[1])
    for word in ("cpu", "disk"):
        if kind == word or device == word:
            return word
    raise InputError(
        f"device {device!r} of kind {kind!r}: unclear what a device map calls it, "
        f"name it with --map {device}=0"
    )


def write_device_map(device_map: Mapping[str, Target], target: str | os.PathLike[str]) -> None:
    """Write a device map as JSON; ``-``: to standard output.

    Raises
    ------
    FormatError
        If the target cannot be written.
    """
    write_json(device_map, target)
