"""Whether what a problem adds up to fits into the numbers that hold it (model.md, "Numbers").

Sums of bytes are 64-bit integers, which wrap, and sums of times are floats, which overflow. Both
are bounded here once, when a problem is made, so that nothing that computes with its arrays has
to think of either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from talos_opt.core import units
from talos_opt.core.errors import GraphError, ScheduleError

if TYPE_CHECKING:
    from talos_opt.core.arrays import Arrays
    from talos_opt.core.cluster import Cluster
    from talos_opt.core.columns import Columns

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

#: Bytes must add up to less: two such sums, or one and the capacity that stands for "no limit",
#: still fit into 64 bits.
BYTES_BELOW = 2**62


def exact_sum(sizes: Ints) -> int:
    """Return the sum of up to 2^31 amounts of at least 0, which does not wrap."""
    return (int((sizes >> 32).sum()) << 32) + int((sizes & 0xFFFFFFFF).sum())


def require_room(columns: Columns, arrays: Arrays, cluster: Cluster) -> None:
    """Refuse a problem whose sums of bytes or times do not fit.

    Raises
    ------
    GraphError
        Names the op, device or model that contributes most.
    """
    _require_bytes(columns, arrays)
    _require_capacity(arrays, cluster)
    hop = _hop_times(columns, arrays, cluster)
    _require_times(columns, arrays, hop)


def require_moved(sizes: Ints, path: str) -> None:
    """Refuse transfers whose bytes add up to too much.

    Raises
    ------
    ScheduleError
    """
    total = exact_sum(sizes)
    if total >= BYTES_BELOW:
        raise ScheduleError(
            f"the transfers add up to {total} bytes, expected less than {BYTES_BELOW} (4 EiB)",
            path=path,
        )


def _require_bytes(columns: Columns, arrays: Arrays) -> None:
    """All that ops hold, and a copy of each tensor, at its largest, for every device."""
    held = columns.weights + columns.output + columns.workspace  # of three times 2^53 at most
    copies = exact_sum(arrays.sent_bytes) * arrays.device_count
    total = exact_sum(held) + copies
    if total < BYTES_BELOW:
        return
    copied = np.add.reduceat(arrays.sent_bytes, arrays.tensor_ptr[:-1])
    i = int(np.argmax(held + copied))
    raise GraphError(
        f"bytes add up to {total} ({units.format_bytes(total)}) over all ops and the copies that "
        f"devices may hold, expected less than {BYTES_BELOW} (4 EiB); op {columns.name(i)} has "
        "the largest share",
        path=columns.op_path(i, "memory" if held[i] else "inputs"),
    )


def _require_capacity(arrays: Arrays, cluster: Cluster) -> None:
    limited = arrays.capacity[arrays.capacity < BYTES_BELOW]
    total = exact_sum(limited)
    if total >= BYTES_BELOW:
        d = int(np.argmax(np.where(arrays.capacity < BYTES_BELOW, arrays.capacity, -1)))
        raise GraphError(
            f"the memory of all devices adds up to {total} bytes, expected less than "
            f"{BYTES_BELOW} (4 EiB); device {cluster.devices[d].id!r} has the largest share: "
            "leave out 'memory' where there is no limit",
            path=f"cluster.devices[{d}].memory",
        )


def _hop_times(columns: Columns, arrays: Arrays, cluster: Cluster) -> Floats:
    """Longest time that a hop of each edge can take (e,)."""
    with np.errstate(over="ignore"):
        slowest = float(arrays.per_byte.max(initial=0.0))
        hop = float(arrays.latency.max(initial=0.0)) + arrays.edge_bytes * slowest
    if not (hop > units.LARGEST).any():
        return np.asarray(hop)
    e = int(np.argmax(hop))
    a, b = np.unravel_index(int(np.argmax(arrays.per_byte)), arrays.per_byte.shape)
    i, size = int(arrays.edge_src[e]), int(arrays.edge_bytes[e])
    raise GraphError(
        f"{size} bytes of op {columns.name(i)} take {hop[e]:g} from {cluster.devices[int(a)].id} "
        f"to {cluster.devices[int(b)].id}, expected at most {units.LARGEST:g}: the link's "
        "bandwidth is too small",
        path="cluster.links",
    )


def _require_times(columns: Columns, arrays: Arrays, hop: Floats) -> None:
    """Everything one after the other, after the latest release; and that times all weights."""
    with np.errstate(over="ignore"):
        longest = np.nanmax(columns.time, axis=1) * columns.slots
        parts = {
            "release": float(arrays.release.max()),
            "time": float(longest.sum()),
            "hops": 2 * float(hop.sum()),  # a stage is two hops
        }
        horizon = sum(parts.values())
        weight = max(1.0, float(arrays.model_weight.sum()))
        total = horizon * weight
    if total <= units.LARGEST:
        return
    if weight > horizon or parts["release"] == max(parts.values()):
        key = "weight" if weight > horizon else "release"
        j = int(np.argmax(arrays.model_weight if key == "weight" else arrays.release))
        path, what = f"models[{j}].{key}", f"the {key} of model {columns.model_ids[j]!r}"
    elif parts["time"] >= parts["hops"]:
        i = int(np.argmax(longest))
        path, what = columns.op_path(i, "time"), f"the time of op {columns.name(i)}"
    else:
        path, what = "cluster.links", "what the links take"
    raise GraphError(
        f"times add up to {horizon:g}, weighted {total:g}, expected at most {units.LARGEST:g}: "
        f"sums must stay finite; {what} has the largest share",
        path=path,
    )
