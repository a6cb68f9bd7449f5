"""Devices that can be swapped without changing anything."""

from __future__ import annotations

import numpy as np

from talos_opt.core.problem import Arrays, Ints, Problem, StageRule


def identical_devices(problem: Problem) -> list[list[int]]:
    """Return classes of two or more devices whose members are interchangeable.

    Two devices are interchangeable if swapping them is an automorphism of the whole input: same
    times for every op (pins show there), memory, slots and copy engine, and links that look the
    same from both. Swaps generate all permutations of a class. Where stages follow the order of
    the devices, none are; nor is a device that anything which has started is about.
    """
    if problem.stages.rule is StageRule.ORDERED:
        return []
    classes = device_kinds(problem.arrays)
    if problem.frozen is not None:
        touches = problem.frozen.touches
        classes = [[d for d in members if not touches(d)] for members in classes]
    return [members for members in classes if len(members) > 1]


def device_kinds(arrays: Arrays) -> list[list[int]]:
    """Return all devices by kind: those of `identical_devices`, then each other one alone."""
    classes: list[list[int]] = []
    for device in range(arrays.device_count):
        for known in classes:
            if _swappable(arrays, known[0], device):
                known.append(device)
                break
        else:
            classes.append([device])
    return sorted(classes, key=lambda members: len(members) == 1)


def _swappable(arrays: Arrays, a: int, b: int) -> bool:
    if not np.array_equal(arrays.time[:, a], arrays.time[:, b]):
        return False
    if any(
        column[a] != column[b] for column in (arrays.capacity, arrays.slots, arrays.copy_engine)
    ):
        return False
    swap = np.arange(arrays.device_count)
    swap[a], swap[b] = b, a
    grid = np.ix_(swap, swap)
    if not (
        np.array_equal(arrays.latency, arrays.latency[grid])
        and np.array_equal(arrays.per_byte, arrays.per_byte[grid])
    ):
        return False
    via = arrays.via[grid]
    if not np.array_equal(arrays.via, np.where(via >= 0, swap[np.maximum(via, 0)], via)):
        return False
    if np.array_equal(arrays.channel, arrays.channel[grid]):
        return True
    # Channels are labels: swapping must map each one onto one.
    channels = (arrays.channel.ravel().tolist(), arrays.channel[grid].ravel().tolist())
    pairs = set(zip(*channels, strict=True))
    return len(pairs) == len({x for x, _ in pairs}) == len({y for _, y in pairs})


def canonical(classes: list[list[int]], group_device: Ints) -> Ints:
    """Relabel a placement so that devices of a class are first used in order of group number.

    Parameters
    ----------
    classes : list of list of int
        From `identical_devices`.
    group_device : (g,) int
        Device of each colocation group.

    Returns
    -------
    (m,) int
        New label of every device.
    """
    label = np.arange(int(max(group_device.max(initial=0), max(map(max, classes), default=0))) + 1)
    for members in classes:
        seen = [d for d in dict.fromkeys(group_device.tolist()) if d in members]
        order = seen + [d for d in members if d not in seen]
        for new, old in zip(members, order, strict=True):
            label[old] = new
    return label
