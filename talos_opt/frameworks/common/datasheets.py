"""What vendors publish of a device, and what is assumed where they publish nothing.

The figures stand in `datasheets.toml`, each with its source. Assumed, and the same for all devices
of a sort: an op costs 5 us on a GPU (a framework's dispatch and the kernel's launch) and 2 us on a
CPU; a copy takes 12 us to start, and reaches three quarters of what PCI Express or Infinity Fabric
can carry one way, four fifths of NVLink.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from talos_opt.core.errors import InputError

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

_COPY_LATENCY_S = 12e-6
_LAUNCH_S = {"cpu": 2e-6, "gpu": 5e-6}
#: What x16 of each generation carries one way (PCI-SIG: 8, 16, 32 GT/s, 128b/130b), and the share.
_PCIE = {3: 0.75 * 15.75e9, 4: 0.75 * 31.5e9, 5: 0.75 * 63.0e9}
#: Share of a link between two of a kind that a copy reaches.
_PEER_SHARES = {"nvlink": 0.8, "fabric": 0.75}
#: Assumed: two machines are joined by 25 Gbit/s Ethernet, of which a stream moves 2.9 GB/s.
NETWORK_BANDWIDTH = 2.9e9
NETWORK_LATENCY_S = 50e-6


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


def read_datasheets() -> Iterator[Datasheet]:
    """Yield every datasheet of the catalogue."""
    path = Path(__file__).with_name("datasheets.toml")
    rows = tomllib.loads(path.read_text(encoding="utf-8"))
    yield from (_cpu(row) for row in rows["cpu"])
    yield from (_gpu(row) for row in rows["gpu"])


def _cpu(row: Mapping[str, Any]) -> Datasheet:
    fp32 = sum(count * ghz * 1e9 * operations for count, ghz, operations in row["cores"])
    clocks = sum(count * ghz * 1e9 for count, ghz, _ in row["cores"])
    more = {dtype: clocks * each for dtype, each in row.get("per_cycle", {}).items()}
    return _datasheet(
        row, "cpu", {"fp64": fp32 / 2, "fp32": fp32} | more, None, NETWORK_BANDWIDTH,
        NETWORK_LATENCY_S, None,
    )  # fmt: skip


def _gpu(row: Mapping[str, Any]) -> Datasheet:
    host = 1e9 * row["host"] if "host" in row else _PCIE[row["pcie"]]
    peers = [share * 1e9 * row[link] for link, share in _PEER_SHARES.items() if link in row]
    return _datasheet(
        row, "gpu", {dtype: value * 1e12 for dtype, value in row["peak"].items()},
        row["memory"] * 2**30, host, _COPY_LATENCY_S, peers[0] if peers else None,
    )  # fmt: skip


def _datasheet(
    row: Mapping[str, Any],
    kind: str,
    peak: Mapping[str, float],
    memory: int | None,
    host_bandwidth: float,
    host_latency_s: float,
    peer_bandwidth: float | None,
) -> Datasheet:
    return Datasheet(
        name=row["name"],
        title=row["title"],
        kind=kind,
        peak=peak,
        bandwidth=row["bandwidth"] * 1e9,
        memory=memory,
        launch_s=1e-6 * row["launch_us"] if "launch_us" in row else _LAUNCH_S[kind],
        host_bandwidth=host_bandwidth,
        host_latency_s=host_latency_s,
        source=row["source"],
        peer_bandwidth=peer_bandwidth,
        aliases=tuple(row.get("aliases", ())),
    )
