"""What one member of a bundle holds: the memory of ops where it depends on the device.

Everywhere else an op needs the same bytes on every device. On a bundle the memory rule looks at
one member: a data bundle divides tensors and workspaces by its size, a tensor bundle the weights
of the ops that are split.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from talos_opt.core.bundles import BundleMode
from talos_opt.core.cluster import Cluster
from talos_opt.core.columns import Columns
from talos_opt.core.sums import sum_by

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Division:
    """By how much each device divides what is placed there.

    Parameters
    ----------
    split : (n,) bool
        Ops whose weights a tensor bundle divides.
    weights : (m,) int
        By what each device divides their weights.
    tensors : (m,) int
        By what it divides tensors, received copies and workspaces.
    """

    split: Bools
    weights: Ints
    tensors: Ints

    def weights_of(self, op: Ints, size: Ints, device: Ints) -> Ints:
        """Bytes that one member holds of the weights of ops on devices, rounded up."""
        return _shared(size, np.where(self.split[op], self.weights[device], 1))

    def bytes_of(self, size: Ints, device: Ints) -> Ints:
        """Bytes that one member holds of tensors or workspaces on devices, rounded up."""
        return _shared(size, self.tensors[device])


def member_needs(
    columns: Columns, division: Division, time: Floats, *, static_memory: bool
) -> Ints:
    """Return the bytes that an op alone needs on each device, or on one member of it (n, m).

    Parameters
    ----------
    columns : Columns
    division : Division
    time : (n, m) float
        Under the rule ``peak``, an op that takes no time holds its weights only.
    static_memory : bool
        Whether the rule is ``static``.
    """
    ops, needs = np.arange(columns.op_count), []
    for d in range(time.shape[1]):
        weights = division.weights_of(ops, columns.weights, np.full(columns.op_count, d))
        rest = _divided(columns, int(division.tensors[d]))
        needs.append(weights + np.where(static_memory | (time[:, d] > 0), rest, 0))
    return np.column_stack(needs)


def fits_bundle(columns: Columns, cluster: Cluster, runs: Bools, capacity: Ints) -> Bools:
    """Return the ops that fit some bundle of devices which can run them, each alone (n,).

    Parameters
    ----------
    columns : Columns
    cluster : Cluster
        Its rules say what may be bundled.
    runs : (n, m) bool
        Devices that can run each op, whatever its bytes.
    capacity : (m,) int
    """
    split = np.zeros(columns.op_count, dtype=bool) if columns.split is None else columns.split
    found = np.zeros(columns.op_count, dtype=bool)
    for kind, rule in cluster.bundles.rules:
        own = [d for d, device in enumerate(cluster.devices) if device.kind == kind]
        for size in rule.sizes_up_to(len(own)):
            for mode in rule.modes:
                tensor = mode is BundleMode.TENSOR
                weights = _shared(columns.weights, np.where(split & tensor, size, 1))
                need = weights + _divided(columns, 1 if tensor else size)
                found |= (runs[:, own] & (need[:, None] <= capacity[own])).any(axis=1)
    return found


def _divided(columns: Columns, parts: int) -> Ints:
    """Bytes of outputs and workspace of each op, each tensor divided into parts (n,)."""
    output = _shared(columns.output, parts)
    if parts > 1 and columns.outputs is not None:
        maker = np.repeat(np.arange(columns.op_count), np.diff(columns.outputs.ptr))
        output = sum_by(maker, _shared(columns.outputs.size, parts), columns.op_count)
    return output + _shared(columns.workspace, parts)


def _shared(size: Ints, parts: Any) -> Ints:
    return np.asarray(-(-size // parts), dtype=np.int64)
