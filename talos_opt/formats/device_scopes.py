"""Placements as TensorFlow takes them: ``{node: "/device:GPU:0"}``.

Ops of a graph that was profiled from TensorFlow have the names of their nodes as ids.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from itertools import count

from talos_opt.core.errors import InputError
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.formats.target import write_json

#: Devices of the nodes of one model.
Scopes = dict[str, str]

_GPU = re.compile(r"(?:gpu|cuda):?(\d+)")
_CPU = re.compile(r"cpu:?\d*")
#: A device of TensorFlow's, of this process or of a task: /job:worker/task:1/device:GPU:0.
_DEVICE = re.compile(
    r"((?:/(?:job:\w+|replica:\d+|task:\d+))*)(?:/device:|/)?([A-Za-z_]+)(?::(\d+))?"
)


def device_scopes_of(
    problem: Problem, schedule: Schedule, names: Mapping[str, str] | None = None
) -> Scopes | dict[str, Scopes]:
    """Return the device of every node that a schedule places.

    Parameters
    ----------
    problem : Problem
    schedule : Schedule
    names : mapping of str to str, optional
        What TensorFlow calls a device id. Default: see `scope_names`.

    Returns
    -------
    dict
        In the order of the ops; of several models, such a mapping for each by its id, as their
        nodes may have equal names.

    Raises
    ------
    InputError
        If it is unclear what a device that ops are on is called, or a given name is not a device.
    """
    used = set(schedule.device.tolist())
    called = scope_names(problem, names, used)
    found: dict[str, Scopes] = {model: {} for model in problem.graph.model_ids}
    columns = problem.graph.columns
    for i, device in enumerate(schedule.device.tolist()):
        model = columns.model_ids[int(columns.model[i])]
        found[model][columns.ids[i]] = called[device]
    return next(iter(found.values())) if len(found) == 1 else found


def scope_names(
    problem: Problem, names: Mapping[str, str] | None = None, used: set[int] | None = None
) -> dict[int, str]:
    """Return what TensorFlow calls the devices of a cluster, by their numbers.

    CPUs are ``/device:CPU:0`` and on, in the order of the cluster, but for what is named;
    ``gpu1`` and ``cuda:1`` are ``/device:GPU:1``. All others must be named.

    Parameters
    ----------
    problem : Problem
    names : mapping of str to str, optional
        By device id: ``/device:GPU:0``, or ``gpu:0`` and ``cuda:0`` for short.
    used : set of int, optional
        Devices that need a name; default: all.

    Raises
    ------
    InputError
        If a device that needs one has no name, or a given name is not a TensorFlow device.
    """
    given = {device: _given_name(device, name) for device, name in (names or {}).items()}
    free = (f"/device:CPU:{k}" for k in count())
    called: dict[int, str] = {}
    for d, device in enumerate(problem.cluster.devices):
        gpu = numbered_gpu(device.id)
        if device.id in given:
            called[d] = given[device.id]
        elif gpu is not None:
            called[d] = gpu
        elif device.kind == "cpu" or _CPU.fullmatch(device.id):
            called[d] = next(name for name in free if name not in given.values())
        elif used is None or d in used:
            raise InputError(
                f"device {device.id!r} of kind {device.kind!r}: unclear what TensorFlow calls it, "
                f"name it with --map {device.id}=/device:GPU:0"
            )
    return called


def _given_name(device: str, name: str) -> str:
    string = device_string(name)
    if string is None:
        raise InputError(
            f"--map {device}={name}: {name!r} is not a TensorFlow device, expected one such as "
            "/device:GPU:0"
        )
    return string


def device_string(name: str) -> str | None:
    """Return TensorFlow's name of ``gpu:0``, ``cuda:0``, ``cpu`` and the like; None: it is none."""
    match = _DEVICE.fullmatch(name)
    if match is None:
        return None
    kind = match[2].upper()
    return f"{match[1]}/device:{'GPU' if kind == 'CUDA' else kind}:{int(match[3] or 0)}"


def numbered_gpu(device: str) -> str | None:
    """Return TensorFlow's name of ``gpu1``, ``gpu:1`` or ``cuda:1``, GPU 1; None for others."""
    match = _GPU.fullmatch(device)
    return None if match is None else f"/device:GPU:{match[1]}"


def write_device_scopes(scopes: Scopes | dict[str, Scopes], target: str | os.PathLike[str]) -> None:
    """Write device scopes as JSON; ``-``: to standard output.

    Raises
    ------
    FormatError
        If the target cannot be written.
    """
    write_json(scopes, target)
