"""The table in ``models/README.md``, which stands between two marks."""

from __future__ import annotations

from collections.abc import Iterable

from models.zoo.catalogue import FILES, GraphFile
from models.zoo.ops import Op
from models.zoo.roofline import CPU, GPU, Datasheet, time_us

BEGIN = "<!-- table: made by python -m models.zoo -->\n"
END = "<!-- end of table -->\n"

HEADINGS = (
    "file",
    "models",
    "ops",
    "edges",
    "parameters",
    "bytes (static)",
    "GMACs per sample",
    "batch",
    "all on the CPU",
    "all on one GPU",
    "cluster",
)


def with_table(text: str) -> str:
    """Put a fresh table between the marks of a text."""
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return head + BEGIN + _table() + END + tail


def static_bytes(ops: Iterable[Op]) -> int:
    """Memory that the static rule counts for ops on one device.

    All weights and outputs, and the largest workspace.
    """
    ops = list(ops)
    resident = sum(op.weight_bytes + op.output_bytes for op in ops)
    return resident + max((op.workspace for op in ops), default=0)


def _table() -> str:
    rows: list[tuple[str, ...]] = [HEADINGS, ("---",) * 2 + ("---:",) * 8 + ("---",)]
    rows += map(_row, FILES)
    return "".join("| " + " | ".join(row) + " |\n" for row in rows)


def _row(file: GraphFile) -> tuple[str, ...]:
    networks = [entry.network for entry in file.entries]
    ops = [op for net in networks for op in net.ops.values()]
    macs = sum(sum(op.macs for op in net.ops.values()) / net.batch for net in networks)
    return (
        f"[{file.name}.yaml]({file.name}.yaml)",
        ", ".join(entry.name for entry in file.entries),
        str(len(ops)),
        str(sum(len(op.inputs) for op in ops)),
        f"{sum(op.params for op in ops) / 1e6:.2f} M",
        f"{static_bytes(ops) / 2**30:.2f} GiB",
        f"{macs / 1e9:.2f}",
        ", ".join(str(entry.batch) for entry in file.entries),
        _total_time(ops, CPU),
        _total_time(ops, GPU),
        file.cluster.removeprefix("clusters/"),
    )


def _total_time(ops: list[Op], device: Datasheet) -> str:
    return f"{sum(time_us(op, device) for op in ops) / 1000:.1f} ms"
