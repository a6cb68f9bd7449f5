"""Several devices in lockstep: one op at a time, each where memory then is least.

Nothing overlaps, and a tensor is sent just before it is read; so what is alive is known while ops
are placed. That is slow but needs little memory, and what can overlap within that memory is found
by others.
"""

from __future__ import annotations

import numpy as np

from talos_opt.core.problem import Ints, Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import Activity, retime
from talos_opt.core.transfers import NoRouteError, plan_transfers


def place(problem: Problem, order: Ints, units: list[int], thrift: float) -> Ints | None:
    """Return a device for each op, taken in an order; None if one fits nowhere.

    Parameters
    ----------
    problem : Problem
        Of the peak rule.
    order : (n,) int
        A topological order.
    units : list of int
        Bytes that are worth 1 on each device; 0: they are worth nothing.
    thrift : float
        How much sending a byte counts beside a byte of the peak.
    """
    arrays = problem.arrays
    devices = range(arrays.device_count)
    home = np.full(arrays.group_count, -1)
    device = np.full(len(order), -1, dtype=np.int64)
    own = (arrays.output + arrays.workspace)[:, None]
    own = np.where(arrays.time > 0, own, -1).tolist()
    tensors, made = arrays.tensor_size.tolist(), arrays.tensor_ptr.tolist()
    unread = np.diff(arrays.read_ptr).tolist()
    weights, live, top = ([0 for _ in devices] for _ in range(3))
    spots: list[dict[int, int]] = [{} for _ in tensors]  # device -> bytes there
    for i in order.tolist():
        group = int(arrays.group[i])
        edges = arrays.in_edge[arrays.in_ptr[i] : arrays.in_ptr[i + 1]].tolist()
        inputs = [(int(arrays.edge_tensor[e]), int(arrays.edge_bytes[e])) for e in edges]
        makers = arrays.edge_src[edges].tolist()
        best: tuple[float, float, int] | None = None
        for d in [int(home[group])] if home[group] >= 0 else devices:
            if not arrays.allowed[group, d]:
                continue
            sent = sum(b for u, b in inputs if d not in spots[u])
            more = int(arrays.group_weights[group]) if home[group] < 0 else 0
            need = weights[d] + more + max(top[d], _held(live[d], sent, own[i][d]))
            if need > arrays.capacity[d] or not _reaches(problem, device, makers, d):
                continue
            unit = units[d] or max(units)
            others = ((weights[k] + top[k]) / units[k] for k in devices if k != d and units[k])
            share = max([need / unit if units[d] else 0.0, *others])
            score = (share + thrift * sent / unit, need / unit, d)
            best = score if best is None or score < best else best
        if best is None:
            return None
        d = best[2]
        if home[group] < 0:
            home[group] = d
            weights[d] += int(arrays.group_weights[group])
        device[i] = d
        sent = sum(b for u, b in inputs if d not in spots[u])
        top[d] = max(top[d], _held(live[d], sent, own[i][d]))
        live[d] += sent
        for u, b in inputs:
            spots[u].setdefault(d, b)
        for u, _ in inputs:
            unread[u] -= 1
            if unread[u] == 0:
                for where, held in spots[u].items():
                    live[where] -= held
                spots[u] = {}
        for u in range(made[i], made[i + 1]):
            if unread[u]:
                spots[u][d] = tensors[u]
                live[d] += tensors[u]
    return device


def _held(live: int, sent: int, own: int) -> int:
    """Return the bytes on a device until an op has run, given what is sent to it before.

    `own` is its output and workspace, -1 if it takes no time: then only what is sent lasts.
    """
    if own < 0:
        return live + sent if sent else 0
    return live + sent + own


def _reaches(problem: Problem, device: Ints, makers: list[int], d: int) -> bool:
    return all(problem.arrays.path(int(device[i]), d) is not None for i in makers)


def in_lockstep(problem: Problem, device: Ints, order: Ints) -> Schedule | None:
    """Return the schedule that runs one op after another, each after what is sent to it."""
    try:
        plan = plan_transfers(problem, device)
    except NoRouteError:
        return None
    arrays = problem.arrays
    time = arrays.time[np.arange(len(device)), device]
    ops: list[Activity] = [Activity(0.0, 0.0)] * len(device)
    hops: dict[tuple[int, int], Activity] = {}
    now = 0.0
    for i in order.tolist():
        d = int(device[i])
        for e in arrays.in_edge[arrays.in_ptr[i] : arrays.in_ptr[i + 1]].tolist():
            u = int(arrays.edge_tensor[e])
            for _, target in arrays.path(int(device[arrays.edge_src[e]]), d) or ():
                if target in plan[u] and (u, target) not in hops:
                    length = float(plan[u][target].duration > 0)
                    hops[u, target] = Activity(now, now + length)
                    now += length
        length = float(time[i] > 0)
        ops[i] = Activity(now, now + length)
        now += length
    return retime(problem, device, ops, hops)
