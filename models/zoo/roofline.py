"""Times of ops from two published datasheets: no measurement stands behind them.

The roofline model (Williams, Waterman and Patterson 2009) takes an op to be bound either by
arithmetic or by memory traffic. With a fixed cost per op it reads::

    time = overhead + max(flops / (efficiency * peak), traffic / (memory efficiency * bandwidth))

Peak and bandwidth are the datasheets'. Overheads and efficiencies are round numbers assumed here,
so the times of a real machine differ; their order and spread (tiny ops slower on the GPU, large
convolutions 10 to 30 times faster) are what the graphs are for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from models.zoo.ops import Op


@dataclass(frozen=True)
class Datasheet:
    """A device as published, and how much of it is taken to be usable.

    Parameters
    ----------
    kind : str
        The device kind in graph files.
    name : str
        The product.
    peak : float
        Single-precision operations per second.
    bandwidth : float
        Memory bandwidth, bytes per second.
    overhead : float
        Assumed fixed cost of an op, microseconds.
    memory_efficiency : float
        Assumed usable share of the bandwidth.
    efficiency : Mapping of str to float
        Assumed usable share of the peak, per class of work.
    """

    kind: str
    name: str
    peak: float
    bandwidth: float
    overhead: float
    memory_efficiency: float
    efficiency: Mapping[str, float]


# Sources: Intel's product specifications of the Core i9-9900K (8 cores, 3.6 GHz base frequency, two
# channels of DDR4-2666); each core has two 8-wide fused multiply-add units, 32 operations a cycle.
CPU = Datasheet(
    kind="cpu",
    name="Intel Core i9-9900K",
    peak=8 * 3.6e9 * 32,
    bandwidth=41.6e9,
    overhead=2.0,
    memory_efficiency=0.75,
    efficiency={
        "conv": 0.30,
        "conv_1x1": 0.45,
        "conv_grad": 0.25,
        "matmul": 0.60,
        "batch_matmul": 0.35,
        "elementwise": 0.05,
        "pool": 0.01,
        "transcendental": 0.01,
    },
)

# Sources: NVIDIA's Turing architecture whitepaper (2018): 4352 cores, 1545 MHz reference boost
# clock, one fused multiply-add a cycle; 616 GB/s.
GPU = Datasheet(
    kind="gpu",
    name="NVIDIA GeForce RTX 2080 Ti",
    peak=4352 * 1.545e9 * 2,
    bandwidth=616e9,
    overhead=8.0,
    memory_efficiency=0.80,
    efficiency={
        "conv": 0.60,
        "conv_1x1": 0.55,
        "conv_grad": 0.45,
        "matmul": 0.70,
        "batch_matmul": 0.40,
        "elementwise": 0.20,
        "pool": 0.05,
        "transcendental": 0.10,
    },
)

DEVICES = (CPU, GPU)

# PCI Express 3.0 x16 moves 15.75 GB/s each way (PCI-SIG: 16 lanes at 8 GT/s, 128b/130b encoded).
# Assumed: three quarters of that are usable, and a copy takes 12 us to start.
LINK_LATENCY = 12.0
LINK_BANDWIDTH = 12e9

MICROSECONDS = 1e6


def time_us(op: Op, device: Datasheet) -> float:
    """Time of an op on a device, in microseconds, rounded to 0.01.

    An ``Input`` lies in the host's memory to begin with: it costs the CPU its overhead only, and
    any other device a copy over the link.
    """
    if op.work == "input":
        if device is CPU:
            return device.overhead
        return round(LINK_LATENCY + MICROSECONDS * op.output_bytes / LINK_BANDWIDTH, 2)
    arithmetic = op.flops / (device.efficiency[op.work] * device.peak)
    memory = op.traffic / (device.memory_efficiency * device.bandwidth)
    return round(device.overhead + MICROSECONDS * max(arithmetic, memory), 2)


def assumptions() -> str:
    """Say in one paragraph how the times were made, for the description of a file."""
    shares = ", ".join(
        f"{work} {CPU.efficiency[work]:g}/{GPU.efficiency[work]:g}" for work in CPU.efficiency
    )
    memory = f"{CPU.memory_efficiency:g}/{GPU.memory_efficiency:g}"
    copy = f"{LINK_LATENCY:g} us + bytes / {LINK_BANDWIDTH / 1e9:g} GB/s"
    return (
        "Times are computed, not measured: overhead + max(flops / (efficiency * peak),"
        " bytes moved / (memory efficiency * bandwidth)), from the published figures of the"
        f" {_figures(CPU)} and the {_figures(GPU)}. Assumed: overhead {CPU.overhead:g} us per op on"
        f" the CPU and {GPU.overhead:g} us on the GPU; memory efficiency {memory} (CPU/GPU);"
        f" efficiency {shares}. An Input costs the GPU a copy from the host, {copy}."
    )


def _figures(device: Datasheet) -> str:
    peak, bandwidth = device.peak / 1e12, device.bandwidth / 1e9
    return f"{device.name} ({peak:.2f} TFLOP/s fp32, {bandwidth:g} GB/s)"
