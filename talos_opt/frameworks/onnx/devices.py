"""Execution providers of ONNX Runtime, and which of them stands for a device."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common import targets
from talos_opt.frameworks.common.catalogue import PREFIX
from talos_opt.frameworks.common.targets import Target
from talos_opt.frameworks.onnx.backend import ort

_FORM = "cpu, cuda:0, estimate:a100, 4xcpu or NAME=estimate:a100"
_DEVICE = re.compile(r"([a-z]+)(?::(\d+))?")
_GPU = re.compile(r"(?:gpu|cuda)[:_-]?(\d+)?")

#: Providers that run node by node, so that their profiles have a time for each; with the runtime's
#: name for the memory that they compute in. Others compile whole parts of a graph.
PROVIDERS = {
    "cpu": ("CPUExecutionProvider", "cpu"),
    "cuda": ("CUDAExecutionProvider", "cuda"),
    "dml": ("DmlExecutionProvider", "dml"),
}


@dataclass(frozen=True, slots=True)
class Provider:
    """An execution provider on a device.

    Parameters
    ----------
    kind : str
        A key of `PROVIDERS`.
    index : int
        Number of the device among those of its kind.
    """

    kind: str
    index: int = 0

    def __str__(self) -> str:
        return self.kind if self.kind == "cpu" else f"{self.kind}:{self.index}"

    @property
    def name(self) -> str:
        """The runtime's name of the provider."""
        return PROVIDERS[self.kind][0]

    @property
    def memory(self) -> str:
        """The runtime's name of the memory that it computes in."""
        return PROVIDERS[self.kind][1]

    @property
    def is_cpu(self) -> bool:
        """Whether it computes in the host's memory."""
        return self.kind == "cpu"

    def chain(self) -> list[Any]:
        """Return what a session is given: it, then the CPU for ops that it lacks."""
        if self.is_cpu:
            return [self.name]
        return [(self.name, {"device_id": str(self.index)}), PROVIDERS["cpu"][0]]


CPU = Provider("cpu")


def provider_of(text: str) -> Provider:
    """Return the provider that ``cpu`` or ``cuda:1`` names.

    Raises
    ------
    InputError
        If there is no such provider, or it is not part of the runtime that is installed.
    """
    match = _DEVICE.fullmatch(text)
    if match is None or match[1] not in PROVIDERS:
        raise InputError(f"device {text!r} is unknown, expected {_FORM}")
    found = Provider(match[1], int(match[2] or 0))
    if found.is_cpu and found.index:
        raise InputError(f"device {text!r}: several on the CPU are asked for as 2xcpu")
    if found.name not in ort.get_available_providers():
        raise InputError(
            f"device {text!r} is not available: ONNX Runtime {ort.__version__} has no {found.name} "
            f"here; a device that is not available can be estimated: {PREFIX}NAME"
        )
    return found


def parse_targets(specs: Iterable[str]) -> tuple[Target, ...]:
    """Read devices: ``cpu``, ``cuda:0`` or ``estimate:NAME``; see `common.targets`."""
    return targets.parse_targets(specs, _find, _FORM)


def _find(text: str) -> Target:
    found = provider_of(text)
    return targets.host("cpu") if found.is_cpu else Target(str(found), str(found), "gpu")


def providers_of(
    names: Iterable[str], given: Mapping[str, str] | None = None
) -> dict[str, Provider]:
    """Return the provider of each device of a schedule.

    Parameters
    ----------
    names : iterable of str
        As the schedule names them. By default what begins with ``cpu`` is a session of its own on
        the CPU, ``gpuN`` and ``cuda:N`` are CUDA device N.
    given : mapping of str to str, optional
        Instead of the default, such as ``{"gpu0": "cpu"}``.

    Raises
    ------
    InputError
        If a device is not there, or it is unclear which one is meant.
    """
    return {
        name: provider_of((given or {}).get(name) or _default(name))
        for name in dict.fromkeys(names)
    }


def _default(name: str) -> str:
    if name.startswith("cpu"):
        return "cpu"
    match = _GPU.fullmatch(name)
    if match is None or PROVIDERS["cuda"][0] not in ort.get_available_providers():
        raise InputError(
            f"it is unclear which device of this machine {name!r} is: name it with --map, such as "
            f"{name}=cpu"
        )
    return f"cuda:{int(match[1] or 0)}"
