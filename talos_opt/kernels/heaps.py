"""Binary heaps of ops inside kernels, in arrays that their callers own."""

from __future__ import annotations

from talos_opt.kernels.compiling import part


@part
def push(keys, ops, count, key, op):  # type: ignore[no-untyped-def]
    """Put an op on the binary heap ``ops[:count]``, smallest key first."""
    at = count
    while at > 0:
        above = (at - 1) >> 1
        if keys[above] <= key:
            break
        keys[at], ops[at] = keys[above], ops[above]
        at = above
    keys[at], ops[at] = key, op


@part
def pop(keys, ops, count):  # type: ignore[no-untyped-def]
    """Take the op with the smallest key off a heap, and return it."""
    top = ops[0]
    count -= 1
    key, op = keys[count], ops[count]
    at = 0
    while True:
        child = 2 * at + 1
        if child >= count:
            break
        if child + 1 < count and keys[child + 1] < keys[child]:
            child += 1
        if key <= keys[child]:
            break
        keys[at], ops[at] = keys[child], ops[child]
        at = child
    keys[at], ops[at] = key, op
    return top
