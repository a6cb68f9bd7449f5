"""Steps of pipelines: the longest path through all blocks, and the best of all placements."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np

from talos_opt.core.feasibility import check
from talos_opt.core.metrics import objective_value
from talos_opt.core.problem import Problem
from talos_opt.core.simulator import MemoryDeadlockError, simulate
from talos_opt.core.transfers import NoRouteError


def best_step(problem: Problem) -> tuple[float, list[int]] | None:
    """Return the least value of all placements and one that has it, None if none is feasible.

    Under the rule ``peak`` a placement counts if one order of its ops fits.
    """
    arrays = problem.arrays
    best: tuple[float, list[int]] | None = None
    homes = [np.flatnonzero(row).tolist() for row in arrays.allowed]
    for choice in product(*homes):
        device = np.array(choice)[arrays.group]
        try:
            schedule = simulate(problem, device, arrays.rank)
        except (NoRouteError, MemoryDeadlockError):
            continue
        if check(problem, schedule):
            continue
        value = objective_value(problem, schedule)
        if best is None or value < best[0]:
            best = value, device.tolist()
    return best


def longest_path(given: Problem, place: np.ndarray, name: str, microbatches: int) -> float:
    """End of the last block, by raising starts until nothing changes."""
    arrays, phase = given.arrays, [o.phase for m in given.graph.models for o in m.ops]
    device_of = place.tolist()
    arcs = {
        (device_of[a], device_of[b])
        for a, b in zip(arrays.edge_src.tolist(), arrays.edge_dst.tolist(), strict=True)
        if phase[a] == phase[b] == "forward" and device_of[a] != device_of[b]
    }

    def behind(d: int) -> int:
        return max((1 + behind(b) for a, b in arcs if a == d), default=0)

    length: dict[tuple[int, str, int], float] = {}
    after: list[tuple[tuple[int, str, int], tuple[int, str, int], float]] = []
    for d in set(device_of):
        here: dict[str, list[int]] = {}
        for i, name_of in enumerate(phase):
            if device_of[i] == d:
                here.setdefault(name_of, []).append(i)
        both = bool(here.get("backward"))
        row: list[tuple[int, str, int]] = []
        if name == "gpipe" or not both:
            row += (
                [(d, "forward", k) for k in range(microbatches)]
                if both or here.get("forward")
                else []
            )
            row += [(d, "backward", k) for k in reversed(range(microbatches))] if both else []
        else:
            todo, done = 0, 0
            while todo < min(behind(d), microbatches - 1):
                row.append((d, "forward", todo))
                todo += 1
            while done < microbatches:
                if todo < microbatches:
                    row.append((d, "forward", todo))
                    todo += 1
                row.append((d, "backward", done))
                done += 1
        if here.get("update"):
            row.append((d, "update", 0))
        for block in row:
            length[block] = sum(float(arrays.time[i, d]) for i in here.get(block[1], []))
        after += [(a, b, 0.0) for a, b in pairwise(row)]
    sent: dict[tuple[int, int], int] = {}
    for k, u in enumerate(arrays.edge_tensor.tolist()):
        key = u, device_of[int(arrays.edge_dst[k])]
        sent[key] = max(sent.get(key, 0), int(arrays.edge_bytes[k]))
    for k, (a, b) in enumerate(
        zip(arrays.edge_src.tolist(), arrays.edge_dst.tolist(), strict=True)
    ):
        if device_of[a] == device_of[b]:
            continue
        size = sent[int(arrays.edge_tensor[k]), device_of[b]]
        hop = float(arrays.latency[device_of[a], device_of[b]])
        hop += size * float(arrays.per_byte[device_of[a], device_of[b]])
        for one in range(microbatches):
            source = (device_of[a], phase[a], one if phase[a] != "update" else 0)
            target = (device_of[b], phase[b], one if phase[b] != "update" else 0)
            after.append((source, target, hop))
    start = dict.fromkeys(length, 0.0)
    for _ in range(len(length) + 1):
        for a, b, gap in after:
            start[b] = max(start[b], start[a] + length[a] + gap)
    return max(start[block] + length[block] for block in length)
