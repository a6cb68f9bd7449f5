"""TensorFlow's names of devices, and which ops they can run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from talos_opt.core.errors import InputError
from talos_opt.formats import device_scopes
from talos_opt.frameworks.common.catalogue import PREFIX
from talos_opt.frameworks.tensorflow.backend import tf
from talos_opt.frameworks.tensorflow.captured import Captured

CPU = "/device:CPU:0"


def device_string(text: str, form: str = "cpu, cpu:1 or gpu:0") -> str:
    """Return TensorFlow's name of ``cpu``, ``cpu:1``, ``gpu:0``, ``cuda:0`` or a longer form.

    Parameters
    ----------
    text : str
    form : str
        What is expected, for messages.

    Raises
    ------
    InputError
        If it names no device.
    """
    found = device_scopes.device_string(text)
    if found is None or not found.startswith(("/device:CPU:", "/device:GPU:")):
        raise InputError(f"device {text!r} is unknown, expected {form}")
    return found


def index_of(string: str) -> int:
    """Return the number of a device among those of its kind."""
    return int(string.rpartition(":")[2])


def is_gpu(string: str) -> bool:
    """Whether a device string is of a GPU."""
    return ":GPU:" in string


def logical_cpus(strings: Iterable[str]) -> int:
    """Return how many logical CPU devices a session needs for some devices; at least one."""
    return 1 + max((index_of(string) for string in strings if not is_gpu(string)), default=0)


def gpu_count() -> int:
    """Return how many GPUs TensorFlow finds."""
    return len(tf.config.list_physical_devices("GPU"))


def require_there(string: str) -> None:
    """Refuse a GPU that is not there.

    Raises
    ------
    InputError
    """
    if is_gpu(string) and index_of(string) >= gpu_count():
        raise InputError(
            f"device {string!r} is not available: TensorFlow finds {gpu_count()} GPUs; a device "
            f"that is not available can be estimated: {PREFIX}NAME"
        )


def device_strings(names: Iterable[str], given: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return TensorFlow's name of each device of a schedule.

    Parameters
    ----------
    names : iterable of str
        As the schedule names them. By default each that starts with ``cpu`` is a logical CPU
        device of its own, in their order; ``gpuN``, ``gpu:N`` and ``cuda:N`` are GPU N.
    given : mapping of str to str, optional
        Instead of the default, such as ``{"host": "cpu:1"}``.

    Raises
    ------
    InputError
        If a device is not there, two are the same one, or none is known for a name.
    """
    chosen = {name: device_string(text) for name, text in (given or {}).items()}
    found: dict[str, str] = {}
    distinct = list(dict.fromkeys(names))
    # cpu10 after cpu9: by number where there is one.
    for name in sorted(distinct, key=_by_number):
        string = chosen.get(name) or _default(name, {*found.values(), *chosen.values()})
        require_there(string)
        if string in found.values():
            other = next(known for known, taken in found.items() if taken == string)
            raise InputError(f"devices {other!r} and {name!r} are both {string}, expected two")
        found[name] = string
    return {name: found[name] for name in distinct}


def _by_number(name: str) -> tuple[str, int]:
    match = re.fullmatch(r"(.*?)(\d*)", name)
    assert match is not None, "any text matches"
    return match[1], int(match[2] or 0)


def _default(name: str, taken: set[str]) -> str:
    if name.startswith("cpu"):
        free = 0
        while f"/device:CPU:{free}" in taken:
            free += 1
        return f"/device:CPU:{free}"
    gpu = device_scopes.numbered_gpu(name)
    if gpu is None:
        raise InputError(f"--map gives no TensorFlow device for {name!r}, such as {name}=cpu:1")
    return gpu


def can_run(captured: Captured, op: str, device: str) -> bool:
    """Whether a device has a kernel for an op of a captured graph."""
    if not is_gpu(device):
        return True
    from tensorflow.python.framework import kernels

    node = captured.folded.nodes[op]
    found = kernels.get_registered_kernels_for_op(node.op).kernel
    return any(kernel.device_type == "GPU" and _takes(kernel, node) for kernel in found)


def _takes(kernel: Any, node: Any) -> bool:
    """Whether a kernel is registered for a node's types."""
    return all(
        constraint.name not in node.attr
        or node.attr[constraint.name].type in constraint.allowed_values.list.type
        for constraint in kernel.constraint
    )
