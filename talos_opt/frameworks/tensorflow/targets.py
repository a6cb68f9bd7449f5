"""Devices that a profile is made for: what TensorFlow finds here, and what the catalogue knows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common import targets
from talos_opt.frameworks.common.targets import Target
from talos_opt.frameworks.tensorflow.backend import tf
from talos_opt.frameworks.tensorflow.devices import (
    CPU,
    device_string,
    index_of,
    is_gpu,
    require_there,
)

_FORM = "cpu, gpu:0, estimate:a100, 4xcpu or NAME=estimate:a100"


def parse_targets(specs: Iterable[str], logical_devices: int | None = None) -> tuple[Target, ...]:
    """Read devices: ``cpu``, ``gpu:0`` or ``estimate:NAME``; see `common.targets`.

    Parameters
    ----------
    specs : iterable of str
    logical_devices : int, optional
        Devices that the CPU is split into: ``cpu`` then stands for ``cpu0``, ``cpu1``, ...

    Raises
    ------
    InputError
        If a device is not there, not in the catalogue, or named twice, or if there is none.
    """
    given = list(specs)
    if logical_devices is not None:
        if "cpu" not in given:
            raise InputError(
                f"--logical-devices splits the CPU, but the devices are {', '.join(given)}: "
                "name cpu among them"
            )
        given = [f"{logical_devices}xcpu" if spec == "cpu" else spec for spec in given]
    return targets.parse_targets(given, _find, _FORM)


def strings_of(found: Sequence[Target]) -> dict[str, str]:
    """Return TensorFlow's name of each device that is there; CPUs are logical ones in turn."""
    strings: dict[str, str] = {}
    cpus = 0
    for target in found:
        if target.local is None:
            continue
        strings[target.id] = target.local
        if not is_gpu(target.local):
            strings[target.id] = f"/device:CPU:{cpus}"
            cpus += 1
    return strings


def _find(text: str) -> Target:
    string = device_string(text, _FORM)
    require_there(string)
    if not is_gpu(string):
        if index_of(string):
            raise InputError(f"device {text!r}: logical CPU devices are asked for as 2xcpu")
        return targets.host(CPU)
    return Target(f"gpu:{index_of(string)}", string, "gpu", _memory(string), _product(string))


def _memory(string: str) -> int | None:
    """Bytes of a GPU that TensorFlow would use; None where it does not tell."""
    from tensorflow.python.client import device_lib

    here = device_lib.list_local_devices()
    return next((int(d.memory_limit) for d in here if string in f"/{d.name.lstrip('/')}"), None)


def _product(string: str) -> str:
    """Name of a GPU, as its driver tells it."""
    device = tf.config.list_physical_devices("GPU")[index_of(string)]
    return str(tf.config.experimental.get_device_details(device).get("device_name", ""))
