"""The time of a pipeline's step, for searches that try many placements (docs/pipelines.md)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from talos_opt.kernels.compiling import kernel, part

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

INF = np.inf
FORWARD, BACKWARD, UPDATE = 0, 1, 2
#: Entries of `Steps.rule`.
MICROBATCHES, ONE_F_ONE_B, ORDERED, USE_ALL, LOADS = 0, 1, 2, 3, 4


class Steps(NamedTuple):
    """What decides about a step: n ops in g groups, e edges, m devices.

    Parameters
    ----------
    group, phase : (n,) int
    load : (n, m) float
        Time of an op over the slots that it holds; infinite where it cannot run.
    held, stash : (n, m) int
        Bytes that a device holds for an op whatever is in flight, and for each micro-batch.
    src, dst : (e,) int
    size : (e,) float
        Bytes.
    latency, per_byte : (m, m) float
        Of whole routes; infinite where there is none.
    capacity : (m,) int
    rule : (5,) int
        Micro-batches; whether the order is 1F1B; whether stages keep the order of devices;
        whether all are used; whether loads count instead of the step.
    """

    group: Ints
    phase: Ints
    load: Floats
    held: Ints
    stash: Ints
    src: Ints
    dst: Ints
    size: Floats
    latency: Floats
    per_byte: Floats
    capacity: Ints
    rule: Ints


@part
def _block_at(spot, ahead, count, has, one_by_one):  # type: ignore[no-untyped-def]
    """Return phase and micro-batch of the block that a device runs at a spot of its order."""
    if not has[BACKWARD]:
        if has[FORWARD] and spot < count:
            return FORWARD, spot
        return UPDATE, 0
    if spot >= 2 * count:
        return UPDATE, 0
    if not one_by_one:
        if spot < count:
            return FORWARD, spot
        return BACKWARD, 2 * count - 1 - spot
    if spot < ahead:
        return FORWARD, spot
    turns = count - ahead
    after = spot - ahead
    if after >= 2 * turns:
        return BACKWARD, after - turns
    if after % 2 == 0:
        return FORWARD, ahead + after // 2
    return BACKWARD, after // 2


@part
def _stages_behind(delay, behind):  # type: ignore[no-untyped-def]
    """Fill in the stages on the longest way from each device; False if there is a cycle."""
    devices = len(behind)
    behind[:] = 0
    for _ in range(devices + 1):
        changed = False
        for a in range(devices - 1, -1, -1):  # one pass, where stages keep the order of devices
            for b in range(devices):
                if delay[FORWARD, FORWARD, a, b] >= 0 and behind[a] < behind[b] + 1:
                    behind[a] = behind[b] + 1
                    changed = True
        if not changed:
            return True
    return False


@part
def _ready(delay, done, ends, d, phase, k, count):  # type: ignore[no-untyped-def]
    """Return when all tensors of a block are there; -1 if one of them is not made yet."""
    when = 0.0
    for a in range(done.shape[0]):
        for made in range(phase + 1):
            late = delay[made, phase, a, d]
            if late < 0:
                continue
            first, last = k, k + 1
            if phase == UPDATE:
                first, last = 0, (1 if made == UPDATE else count)
            for b in range(first, last):
                if not done[a, made, b]:
                    return -1.0
                when = max(when, ends[a, made, b] + late)
    return when


@part
def _last_end(delay, length, has, behind, count, one_by_one):  # type: ignore[no-untyped-def]
    """Return the end of the last block; infinite if stages wait for each other for ever."""
    devices = len(behind)
    ends = np.zeros((devices, 3, count))
    done = np.zeros((devices, 3, count), dtype=np.bool_)
    spot = np.zeros(devices, dtype=np.int64)
    free = np.zeros(devices)
    total = np.zeros(devices, dtype=np.int64)
    for d in range(devices):
        if has[d, BACKWARD]:
            total[d] = 2 * count
        elif has[d, FORWARD]:
            total[d] = count
        if has[d, UPDATE]:
            total[d] += 1
    left = total.sum()
    while left > 0:
        moved = False
        for d in range(devices):
            ahead = min(behind[d], count - 1)
            while spot[d] < total[d]:
                phase, k = _block_at(spot[d], ahead, count, has[d], one_by_one)
                when = _ready(delay, done, ends, d, phase, k, count)
                if when < 0:
                    break
                free[d] = max(free[d], when) + length[d, phase]
                ends[d, phase, k] = free[d]
                done[d, phase, k] = True
                spot[d] += 1
                left -= 1
                moved = True
        if not moved:
            return INF
    return free.max()


@kernel
def step_value(x, home):  # type: ignore[no-untyped-def]
    """Return the value of a placement, infinite where it is none; links carry all at once.

    Parameters
    ----------
    x : Steps
    home : (g,) int
        Device of each group.

    Returns
    -------
    float
        The step's time, or the largest load.
    """
    devices, count = len(x.capacity), x.rule[MICROBATCHES]
    length = np.zeros((devices, 3))
    has = np.zeros((devices, 3), dtype=np.bool_)
    held = np.zeros(devices, dtype=np.int64)
    stash = np.zeros(devices, dtype=np.int64)
    for i in range(len(x.group)):
        d = home[x.group[i]]
        if x.load[i, d] == INF:
            return INF
        length[d, x.phase[i]] += x.load[i, d]
        has[d, x.phase[i]] = True
        held[d] += x.held[i, d]
        stash[d] += x.stash[i, d]
    delay = np.full((3, 3, devices, devices), -1.0)
    for e in range(len(x.src)):
        a, b = home[x.group[x.src[e]]], home[x.group[x.dst[e]]]
        if a == b:
            continue
        first, then = x.phase[x.src[e]], x.phase[x.dst[e]]
        if first == FORWARD and then == FORWARD and a > b and x.rule[ORDERED]:
            return INF
        late = x.latency[a, b] + x.per_byte[a, b] * x.size[e]
        if late == INF:
            return INF
        delay[first, then, a, b] = max(delay[first, then, a, b], late)
    behind = np.zeros(devices, dtype=np.int64)
    if not _stages_behind(delay, behind):
        return INF
    one_by_one = x.rule[ONE_F_ONE_B] != 0
    for d in range(devices):
        if x.rule[USE_ALL] and not has[d, FORWARD]:
            return INF
        flight = count
        if one_by_one and has[d, FORWARD] and has[d, BACKWARD]:
            flight = min(count, behind[d] + 1)
        room = x.capacity[d] - held[d]
        if room < 0 or stash[d] > room // flight:
            return INF
    end = _last_end(delay, length, has, behind, count, one_by_one)
    if end == INF or not x.rule[LOADS]:
        return end
    return length.sum(axis=1).max()
