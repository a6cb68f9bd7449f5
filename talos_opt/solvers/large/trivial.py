"""Placements that anybody would try first: one device for all, one for each model, in sequence.

A large answer is no worse than these. Each yields placements that keep to memory by the static
rule; under liveness they are tried all the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from talos_opt.core.problem import Bools, Floats, Ints
from talos_opt.solvers.large.passes import Candidate, Passes

#: Whole models are placed one by one, in Python.
_MOST_MODELS = 50_000


def trivial_candidates(passes: Passes) -> Iterator[Candidate | None]:
    """Yield the trivial placements of a problem."""
    order = model_by_model(passes)
    yield from _single(passes, order)
    if 1 < len(passes.hold) <= _MOST_MODELS:
        yield _whole_models(passes, order)
    cluster = passes.problem.cluster
    slow = np.array([device.kind == cluster.reference for device in cluster.devices])
    turn = np.argsort(slow, kind="stable")  # accelerators first, as device_map="auto" does
    yield passes.fill(order, turn, passes.usable, math.inf, order)


def model_by_model(passes: Passes) -> Ints:
    """Return the ops of the first model, by rank, then those of the next, shortest job first."""
    base, model = passes.arrays.order, passes.arrays.model
    return np.asarray(base[np.lexsort((-passes.rank[base], passes.hold[model[base]]))])


def _single(passes: Passes, order: Ints) -> Iterator[Candidate]:
    arrays = passes.arrays
    need = int(passes.size.sum()) + int(passes.instance.group[:, 1].max())
    for d in np.flatnonzero(passes.usable.all(axis=0) & (need <= arrays.capacity)).tolist():
        yield Candidate(math.inf, np.full(arrays.op_count, d, dtype=np.int64), order)


def _whole_models(passes: Passes, order: Ints) -> Candidate | None:
    """Place each model on the device that would be done with it first; None: one fits nowhere."""
    arrays = passes.arrays
    models, devices = len(passes.hold), arrays.device_count
    work, held, widest = _per_model(passes)
    able = np.ones((models, devices), dtype=bool)
    np.logical_and.at(able, arrays.model, passes.usable[arrays.group])
    home = np.empty(models, dtype=np.int64)
    load, used, most = np.zeros(devices), np.zeros(devices), np.zeros(devices)
    for j in np.argsort(passes.hold, kind="stable").tolist():
        room = used + held[j] + np.maximum(most, widest[j]) <= arrays.capacity
        done = np.where(able[j] & room, load + work[j], np.inf)
        d = int(done.argmin())
        if not math.isfinite(done[d]):
            return None
        home[j], load[d] = d, done[d]
        used[d] += held[j]
        most[d] = max(most[d], widest[j])
    device = home[arrays.model]
    if not _keeps_groups(passes, device):
        return None
    return Candidate(math.inf, device, order)


def _per_model(passes: Passes) -> tuple[Floats, Floats, Floats]:
    """Work of each model on each device (k, m), its bytes (k,) and its largest workspace (k,)."""
    arrays, models = passes.arrays, len(passes.hold)
    work = np.column_stack(
        [
            np.bincount(
                arrays.model,
                weights=np.where(np.isfinite(time), time, 0.0) * arrays.demand / slots,
                minlength=models,
            )
            for time, slots in zip(arrays.time.T, arrays.slots.tolist(), strict=True)
        ]
    )
    resident = (arrays.weights + arrays.output).astype(np.float64)
    held = np.bincount(arrays.model, weights=resident, minlength=models)
    widest = np.zeros(models)
    np.maximum.at(widest, arrays.model, arrays.workspace)
    return np.asarray(work, dtype=np.float64), np.asarray(held, dtype=np.float64), widest


def _keeps_groups(passes: Passes, device: Ints) -> bool:
    home: Ints = np.empty(passes.arrays.group_count, dtype=np.int64)
    home[passes.arrays.group] = device
    same: Bools = home[passes.arrays.group] == device
    return bool(same.all())
