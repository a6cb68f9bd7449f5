"""What contiguous chunks of an order of groups would load a device with."""

from __future__ import annotations

import numpy as np

from talos_opt.kernels.compiling import kernel


@kernel
def chunk_loads(work, moves, out_ptr, out_group, in_ptr, in_tensor, owner, size, room):  # type: ignore[no-untyped-def]
    """Load of one device that holds the groups at positions i..j of an order, all others elsewhere.

    A tensor with a reader outside the chunk goes out once; one from outside that is read inside
    comes in once.

    Parameters
    ----------
    work : (g,) float
        Time of each group, by position; infinite where it may not go.
    moves : (t,) float
        Time of each tensor's transfer in or out; 0 where the device has a copy engine.
    out_ptr, out_group : (t + 1,), int
        Positions of the groups that read each tensor.
    in_ptr, in_tensor : (g + 1,), int
        Tensors that touch the group at each position (made or read there).
    owner : (t,) int
        Position of the group that makes each tensor.
    size : (g,) int
        Bytes of each group, by position.
    room : int
        Bytes of the device.

    Returns
    -------
    (g, g) float
        Entry [i, j]: load of positions i..j inclusive; infinite where it is not possible.
    """
    count = len(work)
    loads = np.full((count, count), np.inf)
    cost = np.zeros(len(moves))
    for i in range(count):
        for t in range(len(moves)):
            cost[t] = 0.0
        compute = held = 0.0
        transfers = 0.0
        for j in range(i, count):
            compute += work[j]
            held += size[j]
            if compute == np.inf or held > room:
                break
            for k in range(in_ptr[j], in_ptr[j + 1]):
                t = in_tensor[k]
                readers = 0
                for r in range(out_ptr[t], out_ptr[t + 1]):
                    if i <= out_group[r] <= j:
                        readers += 1
                made_here = i <= owner[t] <= j
                crosses = readers < out_ptr[t + 1] - out_ptr[t] if made_here else readers > 0
                now = moves[t] if crosses else 0.0
                transfers += now - cost[t]
                cost[t] = now
            loads[i, j] = compute + transfers
    return loads
