"""The machines that graph files refer to."""

from __future__ import annotations

from models.zoo.roofline import CPU, GPU, LINK_BANDWIDTH, LINK_LATENCY


def cluster_files() -> dict[str, str]:
    """Text of each cluster file, by its path relative to ``models/``."""
    return {
        "clusters/cpu-gpu.yaml": _cluster(gpus=1, contention="none"),
        "clusters/cpu-2gpu.yaml": _cluster(gpus=2, contention="none"),
        "clusters/cpu-2gpu-serial.yaml": _cluster(gpus=2, contention="serial"),
    }


def _cluster(gpus: int, contention: str) -> str:
    lines = [
        "# Made by `python -m models.zoo`: change the script, not this file.",
        f"# One {CPU.name} and {gpus} x {GPU.name}, 11 GiB each, on PCI Express 3.0 x16.",
        "# Latency is in the time unit of the graph files, us. A GPU keeps a tenth of its memory",
        "# for its context and for fragmentation. The CPU has one slot, as an op uses all cores.",
    ]
    if contention == "serial":
        lines.append("# A link carries one tensor at a time.")
    lines += [
        "reference: cpu",
        f"contention: {contention}",
        "devices:",
        "  - {id: cpu0, kind: cpu, slots: 1, memory: 64GiB}",
    ]
    lines += [
        f"  - {{id: gpu{i}, kind: gpu, slots: 1, memory: 11GiB, memory_fraction: 0.9}}"
        for i in range(gpus)
    ]
    bandwidth = f"{LINK_BANDWIDTH / 1e9:g}GB/s"
    lines += [
        "links:",
        f"  - {{between: [cpu, gpu], latency: {LINK_LATENCY:g}, bandwidth: {bandwidth}}}",
    ]
    if gpus > 1:
        lines.append("  - {between: [gpu, gpu], via: cpu0}  # no NVLink bridge: through the host")
    return "\n".join(lines) + "\n"
