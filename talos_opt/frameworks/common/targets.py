"""Devices that a profile is made for: those that are there, and those of the catalogue."""

from __future__ import annotations

import dataclasses
import os
import platform
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.catalogue import from_spec, numbered

_COUNT = re.compile(r"(\d+)x(.+)")


@dataclass(frozen=True, slots=True)
class Target:
    """A device to profile for.

    Parameters
    ----------
    id : str
    local : str, optional
        The framework's own name for a device that is there; None: it is only estimated.
    kind : str
    memory : int, optional
        Bytes of a device that is there; None where the system does not tell.
    product : str
        Name of a device that is there, as driver or operating system tell it.
    sheet : str, optional
        Name in the catalogue, of an estimated device.
    """

    id: str
    local: str | None = None
    kind: str = "cpu"
    memory: int | None = None
    product: str = ""
    sheet: str | None = None


def parse_targets(
    specs: Iterable[str], find: Callable[[str], Target], form: str
) -> tuple[Target, ...]:
    """Read devices; a framework knows those that are there.

    Several of one are ``4xcpu``, with the ids of `numbered`; another id for one is given by
    ``gpu0=estimate:a100``.

    Parameters
    ----------
    specs : iterable of str
    find : callable
        Returns the target that a framework's name for a device stands for, or raises InputError.
    form : str
        What is expected, for messages.

    Raises
    ------
    InputError
        If a device is not there, not in the catalogue, named twice or as the kind of another, or
        if there is none.
    """
    found: list[Target] = []
    for spec in specs:
        name, equals, rest = spec.rpartition("=")
        match = _COUNT.fullmatch(rest)
        count, what = (int(match[1]), match[2]) if match else (1, rest)
        if not what or (equals and not name) or count < 1:
            raise InputError(f"device {spec!r} is not of the form {form}")
        sheet = from_spec(what)
        made = Target(sheet.name, None, sheet.kind, sheet=sheet.name) if sheet else find(what)
        stem = name or made.id
        for k in range(count):
            found.append(dataclasses.replace(made, id=numbered(stem, k) if match else stem))
    ids = [target.id for target in found]
    for name in ids:
        if ids.count(name) > 1:
            raise InputError(f"two devices are called {name!r}: name them, as in NAME={name}")
        kin = [target.id for target in found if target.kind == name]
        if any(other != name for other in kin):
            raise InputError(
                f"a device is called {name!r}, as the kind of {', '.join(kin)} is: name it, as in "
                f"{name}0={name}"
            )
    if not found:
        raise InputError(f"no device is given, expected some of {form}")
    return tuple(found)


def host(local: str) -> Target:
    """Return the target for this machine's CPU, by the framework's name for it."""
    return Target("cpu", local, "cpu", host_memory(), host_product())


def host_memory() -> int | None:
    """Bytes of this machine's memory; None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def host_product() -> str:
    """Name of this machine's CPU, as the operating system tells it."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    match = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return match[1] if match else platform.processor()
