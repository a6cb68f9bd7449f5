"""The figures of the catalogue, as published; `catalogue` says what they mean.

Peaks of 16 and 8 bits and of tf32 are those of tensor or matrix cores, without sparsity, and with
32-bit accumulation where a vendor publishes both. Peaks of CPUs are published by no datasheet:
they are computed as cores x clock x operations per cycle, which `source` spells out.

Assumed, and the same for all devices of a sort: an op costs 5 us on a GPU (a framework's dispatch
and the kernel's launch) and 2 us on a CPU; a copy reaches three quarters of what PCI Express or
Infinity Fabric can carry one way, four fifths of NVLink, and takes 12 us to start.
"""

from __future__ import annotations

from talos_opt.frameworks.common.catalogue import (
    NETWORK_BANDWIDTH,
    NETWORK_LATENCY_S,
    Datasheet,
)

_TERA = 1e12
_GIB = 2**30
_COPY_LATENCY_S = 12e-6

#: What x16 of each generation carries one way (PCI-SIG: 8, 16, 32 GT/s, 128b/130b), and the share.
_PCIE = {3: 0.75 * 15.75e9, 4: 0.75 * 31.5e9, 5: 0.75 * 63.0e9}


def _gpu(
    name: str,
    title: str,
    peak: dict[str, float],
    gigabytes_per_second: float,
    gib: int,
    *,
    pcie: int,
    source: str,
    peer: float | None = None,
    aliases: tuple[str, ...] = (),
) -> Datasheet:
    """Write a GPU; peaks in TFLOP/s, `peer` in bytes per second as reached."""
    return Datasheet(
        name=name,
        title=title,
        kind="gpu",
        peak={dtype: value * _TERA for dtype, value in peak.items()},
        bandwidth=gigabytes_per_second * 1e9,
        memory=gib * _GIB,
        launch_s=5e-6,
        host_bandwidth=_PCIE[pcie],
        host_latency_s=_COPY_LATENCY_S,
        source=source,
        peer_bandwidth=peer,
        aliases=aliases,
    )


def _cpu(
    name: str,
    title: str,
    fp32: float,
    gigabytes_per_second: float,
    *,
    source: str,
    more: dict[str, float] | None = None,
    aliases: tuple[str, ...] = (),
) -> Datasheet:
    """Write a CPU; peaks in FLOP/s. In fp64 vector units do half of what they do in fp32."""
    return Datasheet(
        name=name,
        title=title,
        kind="cpu",
        peak={"fp64": fp32 / 2, "fp32": fp32, **(more or {})},
        bandwidth=gigabytes_per_second * 1e9,
        memory=None,
        launch_s=2e-6,
        host_bandwidth=NETWORK_BANDWIDTH,
        host_latency_s=NETWORK_LATENCY_S,
        source=source,
        aliases=aliases,
    )


CPUS = (
    _cpu(
        "i9-13900k",
        "Intel Core i9-13900K",
        8 * 5.4e9 * 32 + 16 * 4.3e9 * 16,
        89.6,
        source="Intel product specifications, Core i9-13900K (two channels of DDR5-5600); peak: "
        "8 cores x 5.4 GHz x 32 + 16 cores x 4.3 GHz x 16, the maximum turbo clocks",
        aliases=("13900k",),
    ),
    _cpu(
        "i9-9900k",
        "Intel Core i9-9900K",
        8 * 3.6e9 * 32,
        41.6,
        source="Intel product specifications, Core i9-9900K (two channels of DDR4-2666); peak: "
        "8 cores x 3.6 GHz base clock x 32",
        aliases=("9900k",),
    ),
    _cpu(
        "xeon-8480+",
        "Intel Xeon Platinum 8480+",
        56 * 2.0e9 * 64,
        307.2,
        more={"bf16": 56 * 2.0e9 * 2048, "int8": 56 * 2.0e9 * 4096},
        source="Intel product specifications, Xeon Platinum 8480+ (eight channels of DDR5-4800); "
        "peak: 56 cores x 2.0 GHz base clock x 64 (AVX-512), x 2048 bf16 and x 4096 int8 (AMX)",
        aliases=("xeon-platinum-8480+", "8480+", "xeon-8480"),
    ),
    _cpu(
        "epyc-9654",
        "AMD EPYC 9654",
        96 * 2.4e9 * 32,
        460.8,
        source="AMD EPYC 9004 series data sheet, 9654 (twelve channels of DDR5-4800); peak: "
        "96 cores x 2.4 GHz base clock x 32",
        aliases=("9654",),
    ),
    _cpu(
        "xeon-e5-2620-v4",
        "Intel Xeon E5-2620 v4",
        8 * 2.1e9 * 32,
        68.3,
        source="Intel product specifications, Xeon E5-2620 v4 (four channels of DDR4-2133); peak: "
        "8 cores x 2.1 GHz base clock x 32",
        aliases=("e5-2620-v4", "e5-2620v4"),
    ),
)

_A100 = {"fp64": 9.7, "fp32": 19.5, "tf32": 156, "fp16": 312, "bf16": 312, "int8": 624}
_H100 = {"fp64": 34, "fp32": 67, "tf32": 494.7, "fp16": 989.4, "bf16": 989.4, "int8": 1978.9}

GPUS = (
    _gpu(
        "rtx-2080-ti",
        "NVIDIA GeForce RTX 2080 Ti",
        {"fp32": 13.4, "fp16": 53.8, "int8": 215.2},
        616,
        11,
        pcie=3,
        source="NVIDIA Turing GPU architecture whitepaper, reference clocks",
        aliases=("2080-ti",),
    ),
    _gpu(
        "rtx-3090",
        "NVIDIA GeForce RTX 3090",
        {"fp32": 35.6, "tf32": 35.6, "fp16": 71, "bf16": 71, "int8": 284},
        936,
        24,
        pcie=4,
        source="NVIDIA Ampere GA102 GPU architecture whitepaper",
        aliases=("3090",),
    ),
    _gpu(
        "rtx-4090",
        "NVIDIA GeForce RTX 4090",
        {"fp32": 82.6, "tf32": 82.6, "fp16": 165.2, "bf16": 165.2, "int8": 660.6},
        1008,
        24,
        pcie=4,
        source="NVIDIA Ada GPU architecture whitepaper",
        aliases=("4090",),
    ),
    _gpu(
        "v100",
        "NVIDIA V100 SXM2 32 GB",
        {"fp64": 7.8, "fp32": 15.7, "fp16": 125},
        900,
        32,
        pcie=3,
        peer=0.8 * 150e9,
        source="NVIDIA V100 datasheet, SXM2 (NVLink: 300 GB/s both ways)",
        aliases=("v100-sxm2", "v100-32gb", "v100-sxm2-32gb"),
    ),
    _gpu(
        "v100-16gb",
        "NVIDIA V100 SXM2 16 GB",
        {"fp64": 7.8, "fp32": 15.7, "fp16": 125},
        900,
        16,
        pcie=3,
        peer=0.8 * 150e9,
        source="NVIDIA V100 datasheet, SXM2 (NVLink: 300 GB/s both ways)",
        aliases=("v100-sxm2-16gb",),
    ),
    _gpu(
        "t4",
        "NVIDIA T4",
        {"fp32": 8.1, "fp16": 65, "int8": 130},
        300,
        16,
        pcie=3,
        source="NVIDIA T4 datasheet (memory bandwidth: more than 300 GB/s)",
    ),
    _gpu(
        "l4",
        "NVIDIA L4",
        {"fp32": 30.3, "tf32": 60, "fp16": 121, "bf16": 121, "int8": 242.5},
        300,
        24,
        pcie=4,
        source="NVIDIA L4 datasheet (tensor figures halved: published with sparsity)",
    ),
    _gpu(
        "a10",
        "NVIDIA A10",
        {"fp32": 31.2, "tf32": 62.5, "fp16": 125, "bf16": 125, "int8": 250},
        600,
        24,
        pcie=4,
        source="NVIDIA A10 datasheet",
    ),
    _gpu(
        "a100",
        "NVIDIA A100 SXM 40 GB",
        _A100,
        1555,
        40,
        pcie=4,
        peer=0.8 * 300e9,
        source="NVIDIA A100 datasheet, SXM 40 GB (NVLink: 600 GB/s both ways)",
        aliases=("a100-40gb", "a100-sxm", "a100-sxm4-40gb", "a100-sxm-40gb"),
    ),
    _gpu(
        "a100-80gb",
        "NVIDIA A100 SXM 80 GB",
        _A100,
        2039,
        80,
        pcie=4,
        peer=0.8 * 300e9,
        source="NVIDIA A100 datasheet, SXM 80 GB (NVLink: 600 GB/s both ways)",
        aliases=("a100-80", "a100-sxm4-80gb", "a100-sxm-80gb"),
    ),
    _gpu(
        "a100-80gb-pcie",
        "NVIDIA A100 PCIe 80 GB",
        _A100,
        1935,
        80,
        pcie=4,
        source="NVIDIA A100 datasheet, PCIe 80 GB, without an NVLink bridge",
        aliases=("a100-pcie-80gb", "a100-80gb-pci-e"),
    ),
    _gpu(
        "h100",
        "NVIDIA H100 SXM 80 GB",
        _H100,
        3350,
        80,
        pcie=5,
        peer=0.8 * 450e9,
        source="NVIDIA H100 datasheet, SXM (NVLink: 900 GB/s both ways); dense tensor figures "
        "of the H100 architecture whitepaper",
        aliases=("h100-sxm", "h100-sxm5", "h100-80gb", "h100-80gb-hbm3", "h100-sxm-80gb"),
    ),
    _gpu(
        "h100-pcie",
        "NVIDIA H100 PCIe 80 GB",
        {"fp64": 26, "fp32": 51, "tf32": 378, "fp16": 756.5, "bf16": 756.5, "int8": 1513},
        2000,
        80,
        pcie=5,
        source="NVIDIA H100 datasheet, PCIe, without an NVLink bridge (tensor figures halved: "
        "published with sparsity)",
        aliases=("h100-pcie-80gb",),
    ),
    _gpu(
        "h200",
        "NVIDIA H200 SXM 141 GB",
        _H100,
        4800,
        141,
        pcie=5,
        peer=0.8 * 450e9,
        source="NVIDIA H200 datasheet, SXM (NVLink: 900 GB/s both ways); compute as the H100 SXM",
        aliases=("h200-sxm", "h200-141gb"),
    ),
    _gpu(
        "l40s",
        "NVIDIA L40S",
        {"fp32": 91.6, "tf32": 183, "fp16": 362.05, "bf16": 362.05, "int8": 733},
        864,
        48,
        pcie=4,
        source="NVIDIA L40S datasheet",
    ),
    _gpu(
        "mi300x",
        "AMD Instinct MI300X",
        {
            "fp64": 81.7,
            "fp32": 163.4,
            "tf32": 653.7,
            "fp16": 1307.4,
            "bf16": 1307.4,
            "int8": 2614.9,
        },
        5300,
        192,
        pcie=5,
        peer=0.75 * 64e9,
        source="AMD Instinct MI300X data sheet (Infinity Fabric: seven links of 128 GB/s both "
        "ways, one to each peer)",
    ),
)

#: The GPU of a module whose memory its CPU shares: a copy to it is one within that memory, which
#: reads and writes. Dense figures are half of the published sparse ones.
JETSON = Datasheet(
    name="jetson-agx-orin",
    title="NVIDIA Jetson AGX Orin 64 GB",
    kind="gpu",
    peak={"fp32": 5.3e12, "fp16": 42.5e12, "int8": 85e12},
    bandwidth=204.8e9,
    memory=64 * _GIB,
    launch_s=10e-6,
    host_bandwidth=0.75 * 204.8e9 / 2,
    host_latency_s=_COPY_LATENCY_S,
    source="NVIDIA Jetson AGX Orin series technical brief, 64 GB (GPU alone: 5.3 TFLOPS fp32, 170 "
    "TOPS int8 with sparsity, halved; fp16 computed as half of int8, as on all of its "
    "architecture). Assumed: its slower CPU takes 10 us to launch an op",
    aliases=("jetson-orin", "orin", "agx-orin"),
)

DATASHEETS = (*CPUS, *GPUS, JETSON)
