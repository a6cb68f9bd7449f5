"""Kernels of the search for orders of small peak memory on one device."""

from __future__ import annotations

import numpy as np

from talos_opt.kernels.compiling import kernel, part
from talos_opt.kernels.sorting import stable_order


@part
def running_bytes(live, made, workspace):  # type: ignore[no-untyped-def]
    """Return the bytes on the device while an op runs, 0 for one that takes no time."""
    if workspace < 0:
        return 0
    return live + made + workspace


@kernel
def narrow_order(edges, readers, size, made, workspace, begin, limit, width, code, noise):  # type: ignore[no-untyped-def]
    """Return an order of ops that never holds more bytes than a limit.

    A beam search over order ideals: of the sets of ops that may be done first, `width` are kept of
    each number of ops, those with the fewest bytes alive. An op that frees as much as it makes,
    within the peak so far, is run at once: no order is the worse for it.

    Parameters
    ----------
    edges : tuple of int arrays
        Pointers (k + 1,) and tensors that the k ops read which are to be ordered, pointers
        (k + 1,) and readers among them of what each makes.
    readers : (p,) int
        Reads to come of each tensor, those after these ops included.
    size : (p,) int
        Bytes of each tensor, alive until its last reader has ended.
    made : (k, 2) int
        Bytes that each op makes, and those of them that anybody reads.
    workspace : (k,) int
        Bytes beside them while an op runs; -1 for an op that takes no time: nothing is held while
        it runs, and what it makes only from then on.
    begin : int
        Bytes alive before.
    limit : int
    width : int
    code : (k,) uint64
        Random numbers that sets of ops are told apart by.
    noise : (k,) int
        Bytes by which each op's sets seem larger: different ones make different searches.

    Returns
    -------
    order : (k,) int
        Empty if none was found.
    peak : int
        Most bytes alive at once.
    """
    in_ptr, in_tensor, out_ptr, out_op = edges
    count, tensors = len(workspace), len(size)
    missing = np.zeros((2, width, count), dtype=np.int32)
    unread = np.zeros((2, width, tensors), dtype=np.int32)
    ready = np.zeros((2, width, count), dtype=np.int32)
    ready_count = np.zeros((2, width), dtype=np.int64)
    live = np.zeros((2, width), dtype=np.int64)
    peak = np.zeros((2, width), dtype=np.int64)
    bias = np.zeros((2, width), dtype=np.int64)
    name = np.zeros((2, width), dtype=np.uint64)
    parent = np.zeros((count, width), dtype=np.int32)
    choice = np.zeros((count, width), dtype=np.int32)
    for e in range(len(out_op)):
        missing[0, 0, out_op[e]] += 1
    for i in range(count):
        if missing[0, 0, i] == 0:
            ready[0, 0, ready_count[0, 0]] = i
            ready_count[0, 0] += 1
    for u in range(tensors):
        unread[0, 0, u] = readers[u]
    live[0, 0] = peak[0, 0] = begin
    states, now = 1, 0
    most = 1
    while most < width * 32:
        most *= 2
    origin = np.empty((2, most), dtype=np.int32)
    bytes_then = np.empty((2, most), dtype=np.int64)
    rank = np.empty(most)
    names = np.empty(most, dtype=np.uint64)
    slots = np.uint64(1)
    while slots < np.uint64(4 * width):
        slots *= np.uint64(2)
    seen = np.zeros(slots, dtype=np.uint64)
    used = np.zeros(slots, dtype=np.int32)
    for step in range(count):
        found = 0
        for s in range(states):
            first = found
            for k in range(ready_count[now, s]):
                i = ready[now, s, k]
                top = running_bytes(live[now, s], made[i, 0], workspace[i])
                if top > limit or found == most:
                    continue
                after = live[now, s] + made[i, 1]
                for e in range(in_ptr[i], in_ptr[i + 1]):
                    if unread[now, s, in_tensor[e]] == 1:
                        after -= size[in_tensor[e]]
                free = after <= live[now, s] and top <= peak[now, s]
                if free:
                    found = first
                origin[0, found], origin[1, found] = s, k
                bytes_then[0, found], bytes_then[1, found] = after, max(top, peak[now, s])
                rank[found] = float(after + bias[now, s] + noise[i])
                names[found] = name[now, s] ^ code[i]
                found += 1
                if free:
                    break
        if found == 0:
            return np.zeros(0, dtype=np.int64), limit
        then, kept = 1 - now, 0
        by = stable_order(rank[:found])
        for position in range(found):
            c = by[position]
            at = np.int64(names[c] & (slots - np.uint64(1)))
            while used[at] == step + 1 and seen[at] != names[c]:
                at = (at + 1) & np.int64(slots - np.uint64(1))
            if used[at] == step + 1:
                continue  # the set is here already
            used[at], seen[at] = step + 1, names[c]
            s, k = origin[0, c], origin[1, c]
            i = ready[now, s, k]
            # Slices compile far slower than loops.
            for j in range(count):
                missing[then, kept, j] = missing[now, s, j]
            for j in range(tensors):
                unread[then, kept, j] = unread[now, s, j]
            waiting = ready_count[now, s]
            for j in range(waiting):
                ready[then, kept, j] = ready[now, s, j]
            waiting -= 1
            ready[then, kept, k] = ready[then, kept, waiting]
            for e in range(in_ptr[i], in_ptr[i + 1]):
                unread[then, kept, in_tensor[e]] -= 1
            for e in range(out_ptr[i], out_ptr[i + 1]):
                reader = out_op[e]
                missing[then, kept, reader] -= 1
                if missing[then, kept, reader] == 0:
                    ready[then, kept, waiting] = reader
                    waiting += 1
            ready_count[then, kept] = waiting
            live[then, kept], peak[then, kept] = bytes_then[0, c], bytes_then[1, c]
            bias[then, kept] = noise[i] + bias[now, s]
            name[then, kept] = names[c]
            parent[step, kept], choice[step, kept] = s, i
            kept += 1
            if kept == width:
                break
        states, now = kept, then
    order = np.empty(count, dtype=np.int64)
    best = 0
    for s in range(states):
        if peak[now, s] < peak[now, best]:
            best = s
    s = best
    for step in range(count - 1, -1, -1):
        order[step] = choice[step, s]
        s = parent[step, s]
    return order, peak[now, best]


@kernel
def memory_profile(in_ptr, in_tensor, readers, size, made, workspace, order, top, after):  # type: ignore[no-untyped-def]
    """Write the bytes alive while each op of an order runs, and after it."""
    unread = readers.copy()
    live = 0
    for k in range(len(order)):
        i = order[k]
        top[k] = running_bytes(live, made[i, 0], workspace[i])
        live += made[i, 1]
        for e in range(in_ptr[i], in_ptr[i + 1]):
            unread[in_tensor[e]] -= 1
            if unread[in_tensor[e]] == 0:
                live -= size[in_tensor[e]]
        after[k] = live
