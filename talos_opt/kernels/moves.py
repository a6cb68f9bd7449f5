"""Neighbourhoods of a placement: connected bundles of colocation groups change device."""

from __future__ import annotations

import numpy as np

from talos_opt.kernels.compiling import kernel, part
from talos_opt.kernels.instance import CAPACITY

#: Most groups in one bundle.
LARGEST = 48


@kernel
def next_random(state):  # type: ignore[no-untyped-def]
    """Return a float in [0, 1) and advance the generator (splitmix64, Steele et al. 2014)."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return float(z >> np.uint64(11)) / 9007199254740992.0


@part
def below(state, limit):  # type: ignore[no-untyped-def]
    """Return a random whole number below a limit."""
    return int(next_random(state) * limit)


@kernel
def grow_bundle(x, state, home, seed, wanted, same, mark, stamp, bundle):  # type: ignore[no-untyped-def]
    """Collect up to `wanted` groups around a seed, breadth first; return how many.

    Where the neighbours run out, now and then a stranger on the same device joins.

    Parameters
    ----------
    home : (g,) int
        Device of each group.
    same : bool
        Whether to stay on the seed's device.
    mark : (g,) int
        Groups already taken carry `stamp`.
    bundle : (>= wanted,) int, filled
    """
    near_ptr, near = x.near_ptr, x.near
    bundle[0] = seed
    mark[seed] = stamp
    count, scan = 1, 0
    while scan < count and count < wanted:
        group = bundle[scan]
        first, last = near_ptr[group], near_ptr[group + 1]
        shift = below(state, last - first) if last > first else 0
        for k in range(last - first):
            other = near[first + (k + shift) % (last - first)]
            if mark[other] != stamp and (not same or home[other] == home[seed]):
                mark[other] = stamp
                bundle[count] = other
                count += 1
                if count == wanted:
                    break
        scan += 1
        if scan == count and count < wanted:  # no neighbour is left: any other group will do
            other = below(state, len(home))
            if mark[other] != stamp and home[other] == home[seed]:
                mark[other] = stamp
                bundle[count] = other
                count += 1
    return count


@part
def pick_target(x, state, home, bundle, count, allowed):  # type: ignore[no-untyped-def]
    """Choose a device for a bundle: mostly that of a neighbour, sometimes any; -1 if none."""
    devices = len(x.device)
    for _ in range(4):
        if next_random(state) < 0.85:
            group = bundle[below(state, count)]
            first, last = x.near_ptr[group], x.near_ptr[group + 1]
            if last == first:
                target = below(state, devices)
            else:
                target = home[x.near[first + below(state, last - first)]]
        else:
            target = below(state, devices)
        if target != home[bundle[0]] and allowed[bundle[0], target]:
            return target
    return -1


@part
def shift_bundle(x, home, held, widest, bundle, first, last, target, allowed, old):  # type: ignore[no-untyped-def]
    """Move those of ``bundle[first:last]`` to a device that may go there.

    They come to stand in ``bundle[first:end]``, their former devices in `old`; `end` is returned.
    Memory held is kept up to date; `widest` only grows (see `refit`).
    """
    size = x.group
    moved = first
    for k in range(first, last):
        group = bundle[k]
        if home[group] != target and allowed[group, target]:
            bundle[k], bundle[moved] = bundle[moved], group
            old[moved] = home[group]
            held[home[group]] -= size[group, 0]
            held[target] += size[group, 0]
            widest[target] = max(widest[target], size[group, 1])
            home[group] = target
            moved += 1
    return moved


@part
def restore_bundle(x, home, held, bundle, old, moved):  # type: ignore[no-untyped-def]
    """Take the last `shift_bundle` back."""
    size = x.group
    for k in range(moved - 1, -1, -1):
        group = bundle[k]
        held[home[group]] -= size[group, 0]
        held[old[k]] += size[group, 0]
        home[group] = old[k]


@part
def refit(x, home, widest, d):  # type: ignore[no-untyped-def]
    """Recompute the largest workspace on a device."""
    size = x.group
    widest[d] = 0
    for group in range(len(home)):
        if home[group] == d and size[group, 1] > widest[d]:
            widest[d] = size[group, 1]


@part
def overflow(x, held, widest):  # type: ignore[no-untyped-def]
    """Bytes by which devices exceed their memory under the static rule, over all devices."""
    device = x.device
    total = 0
    for d in range(len(held)):
        total += max(0, held[d] + widest[d] - device[d, CAPACITY])
    return total
