"""Machines that device maps are planned for: GPUs, the host's memory, and a disk.

A device of the catalogue takes the time that a profile's estimate gives each op (`roofline`); of
any other, the speeds that its kernels reach have to be known.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from talos_opt.core.errors import InputError
from talos_opt.core.module_paths import Target
from talos_opt.frameworks.common.catalogue import lookup
from talos_opt.frameworks.common.datasheets import Datasheet
from talos_opt.frameworks.common.roofline import Work, estimate, is_free, stream_s

__all__ = ["CPU", "DISK", "Machine", "Processor", "Target", "catalogued", "device_id"]

CPU = "cpu"
DISK = "disk"


@dataclass(frozen=True)
class Processor:
    """A GPU, or the host's CPU with its memory.

    Parameters
    ----------
    target : int or str
        Index of the GPU, or ``cpu``.
    memory : int, optional
        Bytes that may be filled; None: no limit.
    flops : float
        Per second, as kernels reach them.
    bandwidth : float
        Bytes per second of its memory, as kernels reach them.
    overhead_s : float
        Seconds to launch a kernel.
    sheet : Datasheet, optional
        What estimates go by in place of the three figures above; see `catalogued`.
    dtype : str, optional
        What it computes with; default: what the model does. For estimates by `sheet` alone.
    """

    target: Target
    memory: int | None
    flops: float
    bandwidth: float
    overhead_s: float = 5e-6
    sheet: Datasheet | None = None
    dtype: str | None = None

    def seconds(self, op: Work, dtype: str = "float32") -> float:
        """Return how long an op takes that computes with a data type: launch and roofline."""
        if self.sheet is not None:
            return estimate(op, self.sheet, self.dtype or dtype).raw_s
        if is_free(op):
            return 0.0
        busy = max((op.flops or 0.0) / self.flops, op.moved_bytes / self.bandwidth)
        return self.overhead_s + busy

    def reading_s(self, size: int) -> float:
        """Return the seconds that an op takes longer for reading so many bytes more."""
        return size / self.bandwidth if self.sheet is None else stream_s(size, self.sheet)


@dataclass(frozen=True)
class Machine:
    """Where a model is to run.

    Parameters
    ----------
    processors : tuple of Processor
        GPUs in the order of their indices, and the CPU.
    host_bandwidth : float
        Bytes per second between the host's memory and a GPU.
    peer_bandwidth : float
        Bytes per second between two GPUs.
    disk_bandwidth : float
        Bytes per second from the disk.
    disk : bool
        Whether weights may stay on the disk.
    latency_s : float
        Seconds before a transfer moves its first byte.
    """

    processors: tuple[Processor, ...]
    host_bandwidth: float = 12e9
    peer_bandwidth: float = 12e9
    disk_bandwidth: float = 2e9
    disk: bool = False
    latency_s: float = 10e-6

    def __post_init__(self) -> None:
        targets = [item.target for item in self.processors]
        if CPU not in targets:
            raise InputError(f"the machine has no {CPU!r}, expected one: it holds the inputs")
        for target in targets:
            if targets.count(target) > 1:
                raise InputError(f"the machine has two devices called {target!r}")
            if target != CPU and (not isinstance(target, int) or target < 0):
                raise InputError(f"device {target!r} is neither the index of a GPU nor {CPU!r}")
        rates = [self.host_bandwidth, self.peer_bandwidth, self.disk_bandwidth]
        rates += [x for item in self.processors for x in (item.flops, item.bandwidth)]
        if not all(rate > 0 and math.isfinite(rate) for rate in rates):
            raise InputError("a speed or bandwidth is not a finite number above 0")

    @property
    def gpus(self) -> tuple[int, ...]:
        """Indices of the GPUs, ascending."""
        return tuple(sorted(t for t in (p.target for p in self.processors) if isinstance(t, int)))

    @property
    def targets(self) -> tuple[Target, ...]:
        """All that a device map may name."""
        return (*self.gpus, CPU, *((DISK,) if self.disk else ()))

    def processor(self, target: Target) -> Processor:
        """Return a GPU or the CPU."""
        return next(item for item in self.processors if item.target == target)

    def limit(self, target: Target) -> int | None:
        """Bytes that a device may be filled with; None: no limit."""
        return None if target == DISK else self.processor(target).memory

    def main(self, used: Iterable[Target]) -> Target:
        """Return the device on which accelerate runs what is offloaded, unless it is told."""
        return min((t for t in used if isinstance(t, int)), default=CPU)


def catalogued(
    target: Target, name: str, memory: int | None = None, dtype: str | None = None
) -> Processor:
    """Return a device of the catalogue, which takes the time that profiles estimate for it.

    Parameters
    ----------
    target : int or str
    name : str
        See `talos_opt.frameworks.common.catalogue.names`.
    memory : int, optional
        Bytes that may be filled; default: all that the device has.
    dtype : str, optional
        What it computes with, such as ``tf32``; default: what the model does.

    Raises
    ------
    InputError
        If the catalogue has no such device, or the data type is unknown.
    """
    sheet = lookup(name)
    return Processor(
        target,
        sheet.memory if memory is None else memory,
        sheet.peak_for(dtype or "float32"),
        sheet.bandwidth,
        sheet.launch_s,
        sheet,
        dtype,
    )


def device_id(target: Target) -> str:
    """Return the id that a device has in a problem."""
    return f"gpu{target}" if isinstance(target, int) else target
