"""Devices that are not there: their datasheets, found by the names that people use."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import combinations

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.datasheets import Datasheet, read_datasheets
from talos_opt.frameworks.common.profile import LinkProfile

#: What stands before a catalogue name where devices are listed: ``--devices cpu,estimate:a100``.
PREFIX = "estimate:"

#: Words in the names that drivers and operating systems report, which tell nothing apart.
_FILLERS = re.compile(
    r"\((?:r|tm)\)|\b(?:nvidia|geforce|tesla|quadro|intel|amd|instinct|core|cpu|gpu|processor|"
    r"xeon|epyc|ryzen|gold|platinum|silver|\d+(?:st|nd|rd|th) gen|\d+-core|graphics|vf)\b|@.*$"
)


@cache
def _index() -> Mapping[str, Datasheet]:
    index: dict[str, Datasheet] = {}
    for sheet in read_datasheets():
        for name in (sheet.name, sheet.title, *sheet.aliases):
            for key in (_key(name), _key(_strip(name))):
                assert index.setdefault(key, sheet) is sheet, f"{key!r} names two devices"
    return index


def names() -> tuple[str, ...]:
    """Return the names of all devices in the catalogue, sorted."""
    return tuple(sorted({sheet.name for sheet in _index().values()}))


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9+]", "", name.lower())


def _strip(name: str) -> str:
    """Take out of a name what a driver or an operating system adds to it."""
    return _FILLERS.sub(" ", name.lower())


def identify(name: str) -> Datasheet | None:
    """Return the datasheet of a device as a driver or operating system names it, if it is here.

    ``NVIDIA GeForce RTX 3090``, ``Intel(R) Xeon(R) CPU E5-2620 v4 @ 2.10GHz``.
    """
    index = _index()
    return index.get(_key(name)) or index.get(_key(_strip(name)))


def lookup(name: str) -> Datasheet:
    """Return a datasheet by its name; case, spaces, dashes and the vendor do not matter.

    Raises
    ------
    InputError
        If the catalogue has no such device; names those that are close.
    """
    found = identify(name)
    if found is not None:
        return found
    wanted = _key(_strip(name)) or _key(name)
    keys = _index()
    matches = difflib.get_close_matches(wanted, keys, n=8, cutoff=0.5)
    matches += [key for key in keys if wanted and wanted in key]
    near = list(dict.fromkeys(keys[key].name for key in matches))[:4]
    hint = f"; close to it: {', '.join(near)}" if near else ""
    raise InputError(f"the catalogue has no device {name!r}{hint}; it has: {', '.join(names())}")


def from_spec(spec: str) -> Datasheet | None:
    """Return the datasheet that ``estimate:NAME`` asks for; None for a device that is there.

    Raises
    ------
    InputError
        If the catalogue has no such device.
    """
    return lookup(spec[len(PREFIX) :]) if spec.startswith(PREFIX) else None


def numbered(stem: str, k: int) -> str:
    """Return the id of one of several devices: ``cpu0``; ``h100-0`` where a digit comes before.

    Two of ``l4`` would else be ``l40`` and ``l41``.
    """
    return f"{stem}-{k}" if stem[-1:].isdigit() else f"{stem}{k}"


def device_ids(sheets: Sequence[Datasheet], taken: Iterable[str] = ()) -> dict[str, Datasheet]:
    """Return an id for each of several devices: their names, numbered where one comes twice.

    Parameters
    ----------
    sheets : sequence of Datasheet
    taken : iterable of str
        Ids that other devices have.
    """
    used = set(taken)
    listed = [sheet.name for sheet in sheets]
    ids: dict[str, Datasheet] = {}
    for sheet in sheets:
        several = listed.count(sheet.name) > 1 or sheet.name in used
        number = 0
        name = numbered(sheet.name, number) if several else sheet.name
        while name in ids or name in used:
            number += 1
            name = numbered(sheet.name, number)
        ids[name] = sheet
    return ids


def links(devices: Mapping[str, Datasheet], host: str | None) -> tuple[LinkProfile, ...]:
    """Return how tensors move between catalogue devices and their host.

    Each device has a link to the host. Two of one product with a link of their own (NVLink,
    Infinity Fabric) use it; all other pairs are left to go through the host. Without a host among
    the devices every such pair has a link that costs what both copies would cost.

    Parameters
    ----------
    devices : mapping of str to Datasheet
        By device id. The host may be among them.
    host : str or None
        Id of the device whose memory is the host's.
    """
    found = [_to_host(name, sheet, host) for name, sheet in devices.items() if name != host]
    direct = [link for link in found if link is not None]
    for (a, first), (b, second) in combinations(devices.items(), 2):
        if host in (a, b):
            continue
        if first.name == second.name and first.peer_bandwidth is not None:
            direct.append(
                LinkProfile(a, b, first.host_latency_s, first.peer_bandwidth, estimated=True)
            )
        elif host is None:
            direct.append(_through_host(a, first, b, second))
    return tuple(direct)


def _to_host(name: str, sheet: Datasheet, host: str | None) -> LinkProfile | None:
    if host is None:
        return None
    return LinkProfile(host, name, sheet.host_latency_s, sheet.host_bandwidth, estimated=True)


def _through_host(a: str, first: Datasheet, b: str, second: Datasheet) -> LinkProfile:
    latency = first.host_latency_s + second.host_latency_s
    bandwidth = 1 / (1 / first.host_bandwidth + 1 / second.host_bandwidth)
    return LinkProfile(a, b, latency, bandwidth, estimated=True)
