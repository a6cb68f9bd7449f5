"""Devices that a profile is made for: what torch finds here, and what the catalogue knows."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common import targets
from talos_opt.frameworks.common.catalogue import PREFIX
from talos_opt.frameworks.common.targets import Target

_FORM = "cpu, cuda:0, estimate:a100, 4xcpu or NAME=estimate:a100"


def parse_targets(specs: Iterable[str]) -> tuple[Target, ...]:
    """Read devices: ``cpu``, ``cuda:0`` or ``estimate:NAME``; see `common.targets`.

    Raises
    ------
    InputError
        If a device is not there, not in the catalogue, or named twice, or if there is none.
    """
    return targets.parse_targets(specs, _find, _FORM)


def _find(what: str) -> Target:
    try:
        device = torch.device(what)
    except RuntimeError:
        raise InputError(
            f"device {what!r} is unknown, expected {_FORM}; a device that is not available "
            f"can be estimated: {PREFIX}NAME"
        ) from None
    if device.type == "cpu":
        return targets.host("cpu")
    if device.type != "cuda":
        raise InputError(f"device {what!r} cannot be measured, expected cpu or cuda:0")
    index = device.index or 0
    if index >= torch.cuda.device_count():
        raise InputError(
            f"device {what!r} is not available: torch finds {torch.cuda.device_count()} CUDA "
            f"devices; a device that is not available can be estimated: {PREFIX}NAME"
        )
    name = f"cuda:{index}"
    memory = int(torch.cuda.get_device_properties(index).total_memory)
    return Target(name, name, "gpu", memory, torch.cuda.get_device_name(index))
