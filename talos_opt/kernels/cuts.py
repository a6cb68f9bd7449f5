"""Kernel of the bound on moments: the least bytes alive while an op runs, as a minimum cut.

The argument is in docs/bounds.md, "Moments"; the algorithm is Dinic's (1970).
"""

from __future__ import annotations

import numpy as np

from talos_opt.kernels.compiling import kernel, part

SOURCE, SINK = 0, 1
FREE, DONE, TO_COME = 0, 1, 2


@kernel
def least_alive(op, inputs, maker, tensor_ptr, readers):  # type: ignore[no-untyped-def]
    """Return the least bytes of tensors alive while an op runs, over all orders.

    What is done by then is a set of ops that contains the op's ancestors, neither the op nor a
    descendant, and with each op all that it reads. A tensor is alive if its maker is done and one
    of its readers is not.

    Parameters
    ----------
    op : int
        One of n.
    inputs : tuple of int arrays
        Pointers (n + 1,), and tensors that each op reads (e,).
    maker : (t,) int
        Op that makes each tensor.
    tensor_ptr : (n + 1,) int
        An op's tensors are ``tensor_ptr[i]:tensor_ptr[i + 1]``.
    readers : tuple of int arrays
        Pointers (t + 1,), readers of each tensor (e,), and the bytes of it that each needs (e,).

    Returns
    -------
    int
    """
    in_ptr, in_tensor = inputs
    out_ptr, out_op, out_bytes = readers
    state = mark(op, in_ptr, in_tensor, maker, tensor_ptr, out_ptr, out_op)
    count, tensors = len(state), len(maker)
    node = np.full(count, -1, dtype=np.int64)
    nodes = 2
    for i in range(count):
        if state[i] == FREE:
            node[i] = nodes
            nodes += 1
    first = np.full(nodes + tensors, -1, dtype=np.int64)
    most = 2 * (tensors + 2 * len(in_tensor))
    to, after = np.empty(most, dtype=np.int64), np.empty(most, dtype=np.int64)
    left = np.empty(most, dtype=np.int64)
    endless = np.int64(2**62)
    arcs, alive = 0, 0
    for u in range(tensors):
        if state[maker[u]] == TO_COME:
            continue
        held, least, free = 0, endless, False
        for k in range(out_ptr[u], out_ptr[u + 1]):
            if state[out_op[k]] == TO_COME:
                held = max(held, out_bytes[k])
            elif state[out_op[k]] == FREE:
                free = True
                least = min(least, out_bytes[k])
        begin = SOURCE if state[maker[u]] == DONE else node[maker[u]]
        if held > 0 and begin == SOURCE:
            alive += held
        elif held > 0:
            arcs = join(first, to, after, left, arcs, begin, SINK, held)
        elif free:
            arcs = join(first, to, after, left, arcs, begin, nodes, least)
            for k in range(out_ptr[u], out_ptr[u + 1]):
                if state[out_op[k]] == FREE:
                    arcs = join(first, to, after, left, arcs, nodes, node[out_op[k]], endless)
            nodes += 1
        if begin != SOURCE:  # who is done has done all that it reads
            for k in range(out_ptr[u], out_ptr[u + 1]):
                if state[out_op[k]] == FREE:
                    arcs = join(first, to, after, left, arcs, node[out_op[k]], begin, endless)
    return alive + most_flow(first[:nodes], to, after, left)


@part
def mark(op, in_ptr, in_tensor, maker, tensor_ptr, out_ptr, out_op):  # type: ignore[no-untyped-def]
    """Return which ops are done when one runs, which are to come, and which may be either (n,)."""
    state = np.full(len(in_ptr) - 1, FREE, dtype=np.int64)
    stack = np.empty(len(state), dtype=np.int64)
    state[op], stack[0], height = DONE, op, 1
    while height:
        height -= 1
        i = stack[height]
        for k in range(in_ptr[i], in_ptr[i + 1]):
            before = maker[in_tensor[k]]
            if state[before] == FREE:
                state[before] = DONE
                stack[height] = before
                height += 1
    state[op], stack[0], height = TO_COME, op, 1
    while height:
        height -= 1
        i = stack[height]
        for k in range(out_ptr[tensor_ptr[i]], out_ptr[tensor_ptr[i + 1]]):
            if state[out_op[k]] == FREE:
                state[out_op[k]] = TO_COME
                stack[height] = out_op[k]
                height += 1
    return state


@part
def join(first, to, after, left, arcs, a, b, room):  # type: ignore[no-untyped-def]
    """Add an arc and its reverse; return how many arcs there are."""
    to[arcs], left[arcs], after[arcs], first[a] = b, room, first[a], arcs
    to[arcs + 1], left[arcs + 1], after[arcs + 1], first[b] = a, 0, first[b], arcs + 1
    return arcs + 2


@part
def most_flow(first, to, after, left):  # type: ignore[no-untyped-def]
    """Return the largest flow from the source to the sink; what is left of arcs is changed."""
    nodes = len(first)
    level, queue = np.empty(nodes, dtype=np.int64), np.empty(nodes, dtype=np.int64)
    turn, path = np.empty(nodes, dtype=np.int64), np.empty(nodes, dtype=np.int64)
    total = 0
    while True:
        level[:] = -1
        level[SOURCE], queue[0], head, tail = 0, SOURCE, 0, 1
        while head < tail and level[SINK] < 0:
            i = queue[head]
            head += 1
            arc = first[i]
            while arc >= 0:
                if left[arc] > 0 and level[to[arc]] < 0:
                    level[to[arc]] = level[i] + 1
                    queue[tail] = to[arc]
                    tail += 1
                arc = after[arc]
        if level[SINK] < 0:
            return total
        turn[:] = first
        i, height = SOURCE, 0
        while True:
            if i == SINK:
                step = left[path[0]]
                for k in range(1, height):
                    step = min(step, left[path[k]])
                total += step
                back = height
                for k in range(height - 1, -1, -1):
                    left[path[k]] -= step
                    left[path[k] ^ 1] += step
                    if left[path[k]] == 0:
                        back = k
                height = back
                i = to[path[height] ^ 1]
                continue
            arc = turn[i]
            while arc >= 0 and not (left[arc] > 0 and level[to[arc]] == level[i] + 1):
                arc = after[arc]
            turn[i] = arc
            if arc >= 0:
                path[height] = arc
                height += 1
                i = to[arc]
            elif i == SOURCE:
                break
            else:  # a dead end
                level[i] = -1
                height -= 1
                i = to[path[height] ^ 1]
