"""What a traced step says: when each node ran, on what, with how much memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_NANO = 1e-9


@dataclass(frozen=True, slots=True)
class NodeRun:
    """One run of a node.

    Parameters
    ----------
    start_s, end_s : float
        Of its kernel, in seconds since the first node of the step began.
    output_bytes : mapping of int to int
        Of each of its outputs.
    workspace_bytes : int
        Most bytes that were allocated while it ran, beyond its outputs.
    """

    start_s: float
    end_s: float
    output_bytes: Mapping[int, int]
    workspace_bytes: int


def read_runs(metadata: Any) -> dict[str, NodeRun]:
    """Return the runs of all nodes of a traced step.

    On a GPU a node's time is that of its kernels on the stream, which are listed as a device of
    their own, not of their launch.

    Parameters
    ----------
    metadata : RunMetadata
        Of one step, traced in full.
    """
    devices = metadata.step_stats.dev_stats
    kernels = _kernel_spans(devices)
    rows = [
        (stats.node_name, stats)
        for device in devices
        if "/stream" not in device.device and "/memcpy" not in device.device
        for stats in device.node_stats
    ]
    spans = {name: kernels.get(name) or _span(stats) for name, stats in rows}
    origin = min((start for start, _ in spans.values()), default=0)
    return {
        name: NodeRun(
            (spans[name][0] - origin) * _NANO,
            (spans[name][1] - origin) * _NANO,
            *_memory(stats),
        )
        for name, stats in rows
    }


def _span(stats: Any) -> tuple[int, int]:
    """Start and end of a node's kernel, in nanoseconds."""
    base = stats.all_start_nanos or stats.all_start_micros * 1000
    if stats.op_end_rel_nanos:
        return base + stats.op_start_rel_nanos, base + stats.op_end_rel_nanos
    return base + stats.op_start_rel_micros * 1000, base + stats.op_end_rel_micros * 1000


def _kernel_spans(devices: Any) -> Mapping[str, tuple[int, int]]:
    """Start and end of what each node ran on a GPU's streams."""
    found: dict[str, tuple[int, int]] = {}
    for device in devices:
        if not device.device.endswith("/stream:all"):
            continue
        for stats in device.node_stats:
            # "node:Op" or "node:Op#id=1#", by which the kernel's launch is known.
            name = stats.node_name.partition("#")[0].rpartition(":")[0] or stats.node_name
            start, end = _span(stats)
            before = found.get(name, (start, end))
            found[name] = (min(before[0], start), max(before[1], end))
    return found


def _memory(stats: Any) -> tuple[dict[int, int], int]:
    outputs = {
        int(output.slot): int(output.tensor_description.allocation_description.requested_bytes)
        for output in stats.output
    }
    # Bytes in the allocator's records that no output took: scratch space of the kernel.
    peak = sum(used.peak_bytes for used in stats.memory)
    kept = sum(
        output.tensor_description.allocation_description.allocated_bytes for output in stats.output
    )
    scratch = max(peak - kept, stats.memory_stats.temp_memory_size, 0)
    return outputs, int(scratch if stats.memory or stats.memory_stats.temp_memory_size else 0)


@dataclass(frozen=True, slots=True)
class Send:
    """A tensor that goes from one device to another, as a node of the graphs that they ran.

    Parameters
    ----------
    node : str
        That made it.
    source, target : str
        TensorFlow's full names of the devices.
    control : bool
        It is an empty tensor that stands for a control edge.
    port : int
        Which output of the node it is.
    """

    node: str
    source: str
    target: str
    control: bool = False
    port: int = 0


def read_sends(metadata: Any) -> list[Send]:
    """Return all sends of a step.

    A control edge that crosses devices is sent as the empty tensor of a node that TensorFlow
    adds: ``NODE/ctrl/_1``.

    Parameters
    ----------
    metadata : RunMetadata
        Of a step traced with its partition graphs.
    """
    found: list[Send] = []
    for partition in metadata.partition_graphs:
        for node in partition.node:
            if node.op not in ("_Send", "_HostSend"):
                continue
            name, control, _ = node.input[0].removeprefix("^").partition("/ctrl/_")
            name, _, port = (name, "", "") if control else name.partition(":")
            found.append(
                Send(
                    name,
                    node.attr["send_device"].s.decode(),
                    node.attr["recv_device"].s.decode(),
                    bool(control),
                    int(port or 0),
                )
            )
    return found
