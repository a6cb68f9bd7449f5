"""Devices that a profile is made for: those that are there, and those of the catalogue."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.catalogue import PREFIX, from_spec

_FORM = "cpu, cuda:0, estimate:a100, 4xcpu or NAME=estimate:a100"
_COUNT = re.compile(r"(\d+)x(.+)")


@dataclass(frozen=True, slots=True)
class Target:
    """A device to profile for.

    Parameters
    ----------
    id : str
    device : torch.device, optional
        None: it is only estimated.
    sheet : str, optional
        Name in the catalogue, of an estimated device.
    """

    id: str
    device: torch.device | None = None
    sheet: str | None = None

    @property
    def kind(self) -> str:
        """Kind of a device that is there."""
        return "cpu" if self.device is None or self.device.type == "cpu" else "gpu"

    @property
    def memory(self) -> int | None:
        """Bytes of memory of a device that is there; None where the system does not tell."""
        if self.device is not None and self.device.type == "cuda":
            return int(torch.cuda.get_device_properties(self.device).total_memory)
        try:
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (AttributeError, ValueError, OSError):
            return None

    @property
    def product(self) -> str:
        """Name of a device that is there, as driver or operating system tell it."""
        if self.device is not None and self.device.type == "cuda":
            return torch.cuda.get_device_name(self.device)
        try:
            text = Path("/proc/cpuinfo").read_text()
        except OSError:
            return platform.processor()
        match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
        return match[1] if match else platform.processor()


def parse_targets(specs: Iterable[str]) -> tuple[Target, ...]:
    """Read devices: ``cpu``, ``cuda:0`` or ``estimate:NAME``.

    Several of one are ``4xcpu``; another id for one is given by ``gpu0=estimate:a100``.

    Raises
    ------
    InputError
        If a device is not there, not in the catalogue, or named twice, or if there is none.
    """
    found: list[Target] = []
    for spec in specs:
        name, equals, rest = spec.rpartition("=")
        match = _COUNT.fullmatch(rest)
        count, what = (int(match[1]), match[2]) if match else (1, rest)
        if not what or (equals and not name) or count < 1:
            raise InputError(f"device {spec!r} is not of the form {_FORM}")
        made = _target(what)
        stem = name or made.id
        for k in range(count):
            found.append(Target(f"{stem}{k}" if match else stem, made.device, made.sheet))
    ids = [target.id for target in found]
    for name in ids:
        if ids.count(name) > 1:
            raise InputError(f"two devices are called {name!r}: name them, as in NAME={name}")
    if not found:
        raise InputError(f"no device is given, expected some of {_FORM}")
    return tuple(found)


def _target(what: str) -> Target:
    sheet = from_spec(what)
    if sheet is not None:
        return Target(sheet.name, sheet=sheet.name)
    try:
        device = torch.device(what)
    except RuntimeError:
        raise InputError(
            f"device {what!r} is unknown, expected {_FORM}; what is not there can be estimated: "
            f"{PREFIX}NAME"
        ) from None
    if device.type == "cpu":
        return Target("cpu", torch.device("cpu"))
    if device.type != "cuda":
        raise InputError(f"device {what!r} cannot be measured, expected cpu or cuda:0")
    index = device.index or 0
    if index >= torch.cuda.device_count():
        raise InputError(
            f"device {what!r} is not there: torch finds {torch.cuda.device_count()} CUDA devices; "
            f"what is not there can be estimated: {PREFIX}NAME"
        )
    return Target(f"cuda:{index}", torch.device("cuda", index))
