"""Orders of ops and models that several baselines share."""

from __future__ import annotations

import numpy as np

from talos_opt.core.problem import Floats, Problem
from talos_opt.solvers.shared.paths import best_times


def average_speedups(problem: Problem) -> list[float]:
    """Average speedup of each model (k,): total time on the reference over total best time.

    Total over total, as in Talos' Fig. 1 (9/6 for model 1). The best time is that of the fastest
    device of another kind; a model that runs nowhere else has speedup 0, one with no time on the
    reference has an infinite one. A model that no single device runs is judged by the ops that
    have times on both sides; 1 if there are none.
    """
    arrays = problem.arrays
    kinds = [device.kind for device in problem.cluster.devices]
    others = [d for d, kind in enumerate(kinds) if kind != problem.cluster.reference]
    ptr = arrays.model_ptr.tolist()
    result = []
    for j, alone in enumerate(problem.reference_times.tolist()):
        time = arrays.time[ptr[j] : ptr[j + 1]]
        fastest = min((float(time[:, d].sum()) for d in others), default=np.inf)
        if alone == fastest == np.inf:
            here = time[:, problem.reference_device]
            there = time[:, others].min(axis=1, initial=np.inf)
            both = np.isfinite(here) & np.isfinite(there)
            alone, fastest = float(here[both].sum()), float(there[both].sum())
        if alone == fastest:  # also where nothing takes time
            result.append(1.0)
        else:
            result.append(alone / fastest if fastest > 0 else np.inf)
    return result


def mean_times(problem: Problem) -> Floats:
    """Mean time of each op over the devices that may run it (n,)."""
    arrays = problem.arrays
    finite = arrays.allowed[arrays.group] & np.isfinite(arrays.time)
    total = np.where(finite, arrays.time, 0.0).sum(axis=1)
    return np.asarray(total / np.maximum(1, finite.sum(axis=1)))


def upward_ranks(problem: Problem) -> Floats:
    """HEFT's upward rank of each op (n,): mean time plus the longest mean path below it.

    Topcuoglu, Hariri, Wu (2002), Eq. 5. The mean transfer time is taken over all ordered pairs
    of distinct devices with a route.
    """
    arrays = problem.arrays
    latency, per_byte = _mean_link(problem)
    comm = latency + per_byte * arrays.edge_bytes
    rank = mean_times(problem).tolist()
    readers, out, cost = arrays.edge_dst.tolist(), arrays.out_ptr.tolist(), comm.tolist()
    for i in reversed(arrays.order.tolist()):
        below = (cost[e] + rank[readers[e]] for e in range(out[i], out[i + 1]))
        rank[i] += max(below, default=0.0)
    return np.array(rank)


def _mean_link(problem: Problem) -> tuple[float, float]:
    arrays = problem.arrays
    count = arrays.device_count
    latency = per_byte = pairs = 0.0
    for source in range(count):
        for target in range(count):
            path = arrays.path(source, target) if source != target else None
            if path is None:
                continue
            pairs += 1
            latency += sum(float(arrays.latency[hop]) for hop in path)
            per_byte += sum(float(arrays.per_byte[hop]) for hop in path)
    # A mean over the staying-put pairs too would halve it on two devices; HEFT leaves them out.
    return (latency / pairs, per_byte / pairs) if pairs else (0.0, 0.0)


def shortest_first(problem: Problem, device: int) -> list[int]:
    """Models by weighted shortest processing time on one device (Smith's rule)."""
    arrays = problem.arrays
    time = np.where(np.isfinite(arrays.time[:, device]), arrays.time[:, device], best_times(arrays))
    total = np.bincount(arrays.model, weights=time, minlength=len(arrays.release))
    weight = arrays.model_weight

    def key(j: int) -> tuple[float, int]:
        return (float(total[j] / weight[j]) if weight[j] > 0 else np.inf, j)

    return sorted(range(len(total)), key=key)


def by_models(problem: Problem, models: list[int]) -> list[int]:
    """Ops model by model, each model in topological order."""
    arrays = problem.arrays
    position = np.empty(len(models), dtype=np.int64)
    position[models] = np.arange(len(models))
    return [int(i) for i in np.lexsort((arrays.rank, position[arrays.model]))]
