"""Memory over time of a list schedule (peak rule)."""

from __future__ import annotations

import numpy as np

from talos_opt.kernels.compiling import kernel
from talos_opt.kernels.hops import hop_bytes
from talos_opt.kernels.instance import CAPACITY, MAKER, SIZE, WEIGHTS, WORKSPACE
from talos_opt.kernels.sorting import stable_order


@kernel
def peak_overflow(x, times, device):  # type: ignore[no-untyped-def]
    """Bytes by which the peaks of all devices exceed their memory, summed over devices.

    Parameters
    ----------
    x : Instance
    times : Times
        Filled by `list_schedule` for this placement.
    device : (n,) int
    """
    ops, devices = x.time.shape
    tensors = len(x.tensor)
    route, read_ptr, out_op, out_bytes = x.route, x.read_ptr, x.out_op, x.out_bytes
    now = times.clock[0]
    hop_tensor, hop_source, hop_target = times.hop_tensor, times.hop_source, times.hop_target
    hop_start, hop_end = times.hop_start, times.hop_end
    # When each tensor is last needed on each device that it is on.
    last = np.zeros((tensors, devices))
    hops = times.clock[1] - now
    for r in range(tensors):
        last[r, device[x.tensor[r, MAKER]]] = times.end[x.tensor[r, MAKER]]
    for k in range(hops):
        r = hop_tensor[k]
        for d in (hop_source[k], hop_target[k]):
            last[r, d] = max(last[r, d], hop_end[k])
    for r in range(tensors):
        for e in range(read_ptr[r], read_ptr[r + 1]):
            reader = out_op[e]
            last[r, device[reader]] = max(last[r, device[reader]], times.end[reader])
    most = 2 * (ops + tensors + hops)
    when = np.empty(most)
    change = np.empty(most, dtype=np.int64)
    where = np.empty(most, dtype=np.int64)
    # Ends stand before starts, and the sort is stable: what ends makes room for what starts.
    half = most // 2
    count = 0
    held = np.zeros(devices, dtype=np.int64)
    for r in range(tensors):
        op = x.tensor[r, MAKER]
        home = device[op]
        for d in range(devices):
            if d == home:
                begin, size = times.start[op], x.tensor[r, SIZE]
            elif times.sent[r, d] >= now:
                begin = hop_start[times.sent[r, d] - now]
                size = hop_bytes(r, home, d, device, route, read_ptr, out_op, out_bytes)
            else:
                continue
            if last[r, d] > begin and size > 0:
                when[count], change[count], where[count] = last[r, d], -size, d
                when[half + count], change[half + count], where[half + count] = begin, size, d
                count += 1
    for op in range(ops):
        home = device[op]
        held[home] += x.memory[op, WEIGHTS]
        size = x.memory[op, WORKSPACE]
        if size > 0 and times.end[op] > times.start[op]:
            when[count], change[count], where[count] = times.end[op], -size, home
            when[half + count], change[half + count], where[half + count] = (
                times.start[op],
                size,
                home,
            )
            count += 1
    moments = np.concatenate((when[:count], when[half : half + count]))
    changes = np.concatenate((change[:count], change[half : half + count]))
    places = np.concatenate((where[:count], where[half : half + count]))
    peak = held.copy()
    for k in stable_order(moments):
        held[places[k]] += changes[k]
        peak[places[k]] = max(peak[places[k]], held[places[k]])
    total = 0
    for d in range(devices):
        total += max(0, peak[d] - x.device[d, CAPACITY])
    return total
