"""The best cut of a topological order into contiguous chunks, one a device.

A start for the local search under the bottleneck objective: deep-learning graphs are long and
narrow, and pipelines of contiguous stages come close to the best placements (Tarnawski et al.,
NeurIPS 2020, whose dynamic programme is optimal among contiguous splits).
"""

from __future__ import annotations

import numpy as np

from talos_opt.core.problem import UNLIMITED, Arrays, Floats, Ints, Problem
from talos_opt.solvers.shared.constructive import depth_first_rank
from talos_opt.solvers.shared.symmetry import device_kinds

#: Chunk loads take time and memory that grow with the square of the groups.
MOST_GROUPS = 1500


def contiguous_split(problem: Problem) -> Ints | None:
    """Return the device of every op (n,) for the best contiguous split found, None without one.

    Groups are ordered by where they stand in the flow of the graph. Devices come in classes of
    identical ones; the two that can run most are used. Exact among such splits for tensors that
    pass through a staging device, or go to one reader.
    """
    arrays = problem.arrays
    if not 1 < arrays.group_count <= MOST_GROUPS:
        return None
    order = _group_order(problem)
    classes = _two_classes(problem)
    loads = [_chunk_loads(arrays, order, members[0]) for members in classes]
    if len(classes) == 1:
        classes, loads = [*classes, []], [*loads, np.full_like(loads[0], np.inf)]
    chunks = _split(loads[0], loads[1], len(classes[0]), len(classes[1]))
    if chunks is None:
        return None
    home = np.empty(arrays.group_count, dtype=np.int64)
    free = [list(members) for members in classes]
    for first, last, kind in chunks:
        home[order[first:last]] = free[kind].pop(0)
    return home[arrays.group]


def _group_order(problem: Problem) -> Ints:
    """Groups by where their first real op stands in the flow of the graph.

    An op that takes no time (a weight, a constant) stands where its first reader does: placed by
    its own level, every weight would come first. A backward op follows its group's forward op.
    """
    arrays = problem.arrays
    level = arrays.level.astype(np.float64)
    idle = np.where(np.isfinite(arrays.time), arrays.time, 0.0).max(axis=1) == 0
    for i in arrays.order[::-1].tolist():
        readers = arrays.edge_dst[arrays.out_ptr[i] : arrays.out_ptr[i + 1]]
        if idle[i] and len(readers):
            level[i] = level[readers].min()
    first = np.full(arrays.group_count, np.inf)
    np.minimum.at(first, arrays.group[~idle], level[~idle])
    rest = np.full(arrays.group_count, np.inf)
    np.minimum.at(rest, arrays.group, level)
    first = np.where(np.isfinite(first), first, rest)
    rank = np.full(arrays.group_count, arrays.op_count, dtype=np.int64)
    np.minimum.at(rank, arrays.group, depth_first_rank(problem))
    return np.lexsort((rank, first)).astype(np.int64)


def _two_classes(problem: Problem) -> list[list[int]]:
    """Classes of identical devices, those that are fastest for the whole graph first."""
    arrays = problem.arrays
    time = np.where(np.isfinite(arrays.time), arrays.time, 0.0).sum(axis=0)
    able = np.isfinite(arrays.time).sum(axis=0)

    def rank(members: list[int]) -> tuple[float, float]:
        d = members[0]
        return -float(able[d] * arrays.slots[d]), float(time[d]) / len(members)

    return sorted(device_kinds(arrays), key=rank)[:2]


def _chunk_loads(arrays: Arrays, order: Ints, device: int) -> Floats:
    """Load of a device for every chunk of the order (g, g)."""
    from talos_opt.kernels.chunks import chunk_loads

    position = np.empty(len(order), dtype=np.int64)
    position[order] = np.arange(len(order))
    place = position[arrays.group]
    time = np.where(arrays.allowed[arrays.group, device], arrays.time[:, device], np.inf)
    work = np.zeros(len(order))
    np.add.at(work, place, time * arrays.demand / arrays.slots[device])
    size = np.zeros(len(order), dtype=np.int64)
    np.add.at(size, place, arrays.weights + arrays.output)
    widest = int(arrays.workspace.max(initial=0))
    room = int(arrays.capacity[device])
    read, tensor = np.unique(arrays.edge_tensor, return_inverse=True)
    count, home = len(read), place[arrays.tensor_op[read]]
    reader = place[arrays.edge_dst]
    touches = np.unique(np.concatenate([reader * count + tensor, home * count + np.arange(count)]))
    in_ptr = np.searchsorted(touches // max(1, count), np.arange(len(order) + 1))
    out_ptr = np.searchsorted(tensor, np.arange(count + 1))
    return np.asarray(
        chunk_loads(
            work,
            _move_times(arrays, read, device),
            out_ptr.astype(np.int64),
            reader,
            in_ptr.astype(np.int64),
            touches % max(1, count),
            home,
            size,
            room - widest if room < UNLIMITED else UNLIMITED,
        )
    )


def _move_times(arrays: Arrays, tensors: Ints, device: int) -> Floats:
    """Least time that a tensor's transfer in or out holds a device; 0 with a copy engine."""
    if arrays.copy_engine[device]:
        return np.zeros(len(tensors))
    size = arrays.sent_bytes
    others = [d for d in range(arrays.device_count) if d != device and arrays.via[device, d] == -1]
    if not others:
        return np.zeros(len(tensors))
    latency = arrays.latency[device, others][:, None]
    per_byte = arrays.per_byte[device, others][:, None]
    return np.asarray((latency + per_byte * size[tensors][None, :]).min(axis=0))


def _split(
    first: Floats, second: Floats, firsts: int, seconds: int
) -> list[tuple[int, int, int]] | None:
    """Cut 0..g into chunks for at most so many devices of two classes; least largest load.

    Returns
    -------
    list of (from, to, class)
        None if no cut is possible.
    """
    count = len(first)
    best = np.full((firsts + 1, seconds + 1, count + 1), np.inf)
    best[0, 0, 0] = 0.0
    origin: dict[tuple[int, int], tuple[Ints, Ints]] = {}
    for a in range(firsts + 1):
        for b in range(seconds + 1):
            if a == b == 0:
                continue
            value, start, kind = best[a, b].copy(), np.full(count + 1, -1), np.zeros(count + 1)
            for k, (loads, before) in enumerate(
                ((first, best[a - 1, b] if a else None), (second, best[a, b - 1] if b else None))
            ):
                if before is None:
                    continue
                # Entry [i, j]: the chunk i..j after the best cut of what comes before i.
                worst = np.maximum(before[:count, None], loads)
                chosen = worst.argmin(axis=0)
                reached = worst[chosen, np.arange(count)]
                better = reached < value[1:]
                value[1:][better] = reached[better]
                start[1:][better], kind[1:][better] = chosen[better], k
            best[a, b], origin[a, b] = value, (start, kind.astype(np.int64))
    used = int(best[:, :, count].argmin())
    if not np.isfinite(best[:, :, count].min()):
        return None
    return _walk(origin, *divmod(used, seconds + 1), count)


def _walk(
    origin: dict[tuple[int, int], tuple[Ints, Ints]], a: int, b: int, end: int
) -> list[tuple[int, int, int]]:
    chunks = []
    while end > 0:
        start, kind = origin[a, b]
        first, which = int(start[end]), int(kind[end])
        chunks.append((first, end, which))
        a, b, end = (a - 1, b, first) if which == 0 else (a, b - 1, first)
    return chunks[::-1]
