"""What ONNX Runtime did by itself: the placement that it chose, as a schedule of our graph.

Reads the runtime's own profile; neither onnx nor onnxruntime is needed.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from talos_opt.core.errors import InputError
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.core.simulator import simulate
from talos_opt.frameworks.onnx.events import ProfiledRun

_CPU = "CPUExecutionProvider"


@dataclass(frozen=True)
class Ran:
    """What a profile says of a graph.

    Parameters
    ----------
    schedule : Schedule
        The runtime's placement and order, with the graph's times.
    measured_s : float
        Median time of the runs in the profile, the first one left out if there are several.
    ops : mapping of str to int
        Ops on each device, by its id.
    missing : tuple of str
        Ops that the profile lacks, as the runtime fused or folded them; they are where the first op
        that they read is.
    """

    schedule: Schedule
    measured_s: float
    ops: Mapping[str, int]
    missing: tuple[str, ...]


def what_ran(
    problem: Problem, runs: Sequence[ProfiledRun], names: Mapping[str, str] | None = None
) -> Ran:
    """Return the placement that a profile shows, under the times of a graph.

    Parameters
    ----------
    problem : Problem
        Of one model, whose ops have the names of nodes.
    runs : sequence of ProfiledRun
    names : mapping of str to str, optional
        Device of the graph for each provider; default: the first of kind cpu for the CPU's, and for
        any other one the first of another kind.

    Raises
    ------
    InputError
        If it is of another graph, a provider has no device, or an op ran where the graph has no
        time for it.
    """
    ids = [op.id for op in problem.ops]
    where, began = _seen(ids, runs)
    if 2 * len(where) < len(ids):
        raise InputError(
            f"the profile has {len(where)} of the graph's {len(ids)} ops: it is of another model, "
            "or of one that was optimised otherwise"
        )
    given = names or {}
    for provider in given:
        if provider not in where.values():
            ran = ", ".join(sorted({*where.values()}))
            raise InputError(f"--map names {provider!r}, where no op ran: there are {ran}")
    device_of = {provider: _device(problem, provider, given) for provider in {*where.values()}}
    device = np.zeros(len(ids), dtype=np.int64)
    order = np.zeros(len(ids))
    arrays = problem.arrays
    missing = []
    for k in arrays.order.tolist():
        if ids[k] in where:
            device[k], order[k] = device_of[where[ids[k]]], began[ids[k]]
        else:
            missing.append(ids[k])
            read = arrays.edge_src[arrays.edge_dst == k].tolist()
            if read:
                device[k], order[k] = device[read[0]], max(order[i] for i in read)
        if not np.isfinite(arrays.time[k, device[k]]):
            raise InputError(
                f"op {ids[k]!r} ran on {problem.device_ids[device[k]]}, where the graph has no "
                "time for it"
            )
    schedule = simulate(problem, device, order, insertion=False)
    counts = Counter(problem.device_ids[d] for d in device.tolist())
    spans = [run.end_s - run.start_s for run in runs]
    return Ran(schedule, statistics.median(spans[1:] or spans), dict(counts), tuple(missing))


def _seen(
    ids: Sequence[str], runs: Sequence[ProfiledRun]
) -> tuple[dict[str, str], dict[str, float]]:
    """Return the provider of each op, and when it began in a run, by the median."""
    known = set(ids)
    providers: dict[str, Counter[str]] = defaultdict(Counter)
    began: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        for event in run.nodes:
            if event.name in known:
                providers[event.name][event.provider] += 1
                began[event.name].append(event.start_s - run.start_s)
    where = {op: found.most_common(1)[0][0] for op, found in providers.items()}
    return where, {op: statistics.median(times) for op, times in began.items()}


def _device(problem: Problem, provider: str, names: Mapping[str, str]) -> int:
    devices = problem.cluster.devices
    given = names.get(provider)
    if given is not None:
        if given not in problem.cluster.index:
            raise InputError(f"{given!r} is not a device of the graph: {_ids(problem)}")
        return problem.cluster.index[given]
    for k, device in enumerate(devices):
        if (device.kind == "cpu") == (provider == _CPU):
            return k
    raise InputError(
        f"it is unclear which device {provider} is: name it with --map, such as "
        f"{provider}={devices[0].id}; there are {_ids(problem)}"
    )


def _ids(problem: Problem) -> str:
    return ", ".join(problem.device_ids)
