"""Devices that are not there: what a published datasheet says, found by the name people use.

Figures stand in `datasheets`, each with its source. What no datasheet says is an assumption, and
called one here: launch overheads, and the share of a link's published rate that a copy reaches.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from types import MappingProxyType

from talos_opt.core.errors import InputError
from talos_opt.frameworks.common.profile import LinkProfile

#: What stands before a catalogue name where devices are listed: ``--devices cpu,estimate:a100``.
PREFIX = "estimate:"

#: Data types that peaks are given for; other names for them, by frameworks or by people.
DTYPES = ("fp64", "fp32", "tf32", "fp16", "bf16", "int8")
_DTYPE_NAMES = {
    "float64": "fp64",
    "double": "fp64",
    "float32": "fp32",
    "float": "fp32",
    "float16": "fp16",
    "half": "fp16",
    "bfloat16": "bf16",
    "uint8": "int8",
}

#: Assumed: two machines are joined by 25 Gbit/s Ethernet, of which a stream moves 2.9 GB/s.
NETWORK_BANDWIDTH = 2.9e9
NETWORK_LATENCY_S = 50e-6

#: Words in the names that drivers and operating systems report, which tell nothing apart.
_FILLERS = re.compile(
    r"\((?:r|tm)\)|\b(?:nvidia|geforce|tesla|quadro|intel|amd|instinct|core|cpu|gpu|processor|"
    r"xeon|epyc|ryzen|gold|platinum|silver|\d+(?:st|nd|rd|th) gen|\d+-core|graphics)\b|@.*$"
)


@dataclass(frozen=True, slots=True)
class Datasheet:
    """A device as its vendor publishes it.

    Parameters
    ----------
    name : str
        As in the catalogue: lower case, no vendor.
    title : str
        The product's full name.
    kind : {'cpu', 'gpu'}
    peak : mapping of str to float
        Operations per second by data type (`DTYPES`), dense: without structured sparsity. A type
        that is absent is not published for the device.
    bandwidth : float
        Memory bandwidth, bytes per second.
    memory : int or None
        Bytes. None: depends on the modules that somebody puts in, as with CPUs.
    launch_s : float
        Assumed fixed cost of an op, in seconds.
    host_bandwidth, host_latency_s : float
        Of a copy to or from the host's memory, one way: bytes per second as assumed to be
        reached, and seconds before the first byte. For a CPU: to another machine.
    peer_bandwidth : float or None
        Bytes per second that a copy between two of these is assumed to reach, one way; None: it
        goes through the host.
    source : str
        The document that the figures are from, and what was computed from them.
    aliases : tuple of str
        Other names.
    """

    name: str
    title: str
    kind: str
    peak: Mapping[str, float]
    bandwidth: float
    memory: int | None
    launch_s: float
    host_bandwidth: float
    host_latency_s: float
    source: str
    peer_bandwidth: float | None = None
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "peak", MappingProxyType(dict(self.peak)))

    def peak_for(self, dtype: str) -> float:
        """Return operations per second for a data type, with what stands in where it is absent.

        tf32 falls back on fp32; 16 bits where they are not published are computed as fp32, and so
        is everything else that the datasheet does not name.

        Raises
        ------
        InputError
            If the data type is unknown.
        """
        return self.peak.get(dtype_name(dtype), self.peak["fp32"])


def dtype_name(dtype: str) -> str:
    """Return the name of a data type as peaks are keyed: ``torch.bfloat16`` is ``bf16``.

    Raises
    ------
    InputError
        If it is unknown.
    """
    text = str(dtype).lower().rpartition(".")[2]
    name = _DTYPE_NAMES.get(text, text)
    if name not in DTYPES:
        raise InputError(f"data type {dtype!r} is unknown, expected one of {', '.join(DTYPES)}")
    return name


@cache
def _index() -> Mapping[str, Datasheet]:
    from talos_opt.frameworks.common.datasheets import DATASHEETS

    index: dict[str, Datasheet] = {}
    for sheet in DATASHEETS:
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
        name = f"{sheet.name}:{number}" if several else sheet.name
        while name in ids or name in used:
            number += 1
            name = f"{sheet.name}:{number}"
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
