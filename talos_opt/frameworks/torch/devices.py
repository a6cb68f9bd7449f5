"""Which torch device stands for a device of a schedule."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import torch

from talos_opt.core.errors import InputError

_GPU = re.compile(r"(?:gpu|cuda)[:_-]?(\d+)?")


def torch_devices(
    names: Iterable[str], device_map: Mapping[str, str] | None = None
) -> dict[str, torch.device]:
    """Return the torch device of every device of a schedule.

    Parameters
    ----------
    names : iterable of str
    device_map : mapping of str to str, optional
        Texts such as ``cpu`` or ``cuda:1``, by device. Default: ``cpu`` for what begins with
        it, ``cuda:N`` for ``gpuN`` and ``cuda:N``.

    Raises
    ------
    InputError
        If a device is unknown or not there.
    """
    found: dict[str, torch.device] = {}
    for name in dict.fromkeys(names):
        given = (device_map or {}).get(name)
        found[name] = _device(name, given) if given is not None else _default(name)
    return found


def _default(name: str) -> torch.device:
    if name.startswith("cpu"):
        return torch.device("cpu")
    match = _GPU.fullmatch(name)
    if match is None:
        raise InputError(
            f"it is unclear which torch device {name!r} is: name it with --map (in Python, "
            f"device_map), such as {name}=cpu"
        )
    index = int(match[1] or 0)
    if index >= torch.cuda.device_count():
        raise InputError(
            f"device {name!r} would be cuda:{index}, but torch finds "
            f"{torch.cuda.device_count()} CUDA devices here: --map {name}=cpu runs it elsewhere"
        )
    return torch.device("cuda", index)


def _device(name: str, text: str) -> torch.device:
    try:
        device = torch.device(text)
    except RuntimeError:
        raise InputError(
            f"{name} is mapped to {text!r}, which is not a torch device, expected cpu or cuda:N"
        ) from None
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"{name} is mapped to {text!r}, expected cpu or cuda:N")
    if device.type == "cuda":
        device = torch.device("cuda", device.index or 0)
        if (device.index or 0) >= torch.cuda.device_count():
            raise InputError(
                f"{name} is mapped to {text!r}, but torch finds {torch.cuda.device_count()} "
                "CUDA devices here"
            )
        return device
    return torch.device("cpu")
