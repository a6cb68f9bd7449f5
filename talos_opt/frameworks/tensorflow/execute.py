"""Run a captured graph under a placement: once for its outputs, then for its times."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from talos_opt.frameworks.common.allocator import keep_freed_memory
from talos_opt.frameworks.common.running import Execution, Hop, Span
from talos_opt.frameworks.tensorflow.captured import Captured
from talos_opt.frameworks.tensorflow.devices import logical_cpus
from talos_opt.frameworks.tensorflow.placing import Placed, place
from talos_opt.frameworks.tensorflow.session import Session
from talos_opt.frameworks.tensorflow.stats import NodeRun, read_runs, read_sends

_WARM_UP = 2


@dataclass(frozen=True)
class Runs:
    """Repeated runs of one placement.

    Parameters
    ----------
    outputs : list of np.ndarray
        Of the first step, then the variables that it wrote.
    wall_s : list of float
        Of steps that nobody traced.
    executions : list of Execution
        Of steps that were traced, by wall time.
    sends : frozenset of Hop
        What went from one device to another, as the run's metadata tell it.
    """

    outputs: list[Any]
    wall_s: list[float]
    executions: list[Execution]
    sends: frozenset[Hop]

    @property
    def measured_s(self) -> float:
        """Median of the steps that nobody traced."""
        return statistics.median(self.wall_s)


def execute(
    captured: Captured,
    inputs: Sequence[np.ndarray],
    where: Mapping[str, str],
    strings: Mapping[str, str],
    *,
    order: Sequence[str] | None = None,
    hops: Iterable[Hop] = (),
    cpus: int | None = None,
    threads: int | None = None,
    repeats: int = 5,
) -> Runs:
    """Run a captured graph with each op on its device.

    Parameters
    ----------
    captured : Captured
    inputs : sequence of np.ndarray
    where : mapping of str to str
        Device of every op.
    strings : mapping of str to str
        TensorFlow's name of every device.
    order : sequence of str, optional
        Ops as each device runs them.
    hops : iterable of Hop, optional
        How tensors travel.
    cpus : int, optional
        Logical CPU devices; default: as many as `strings` needs.
    threads : int, optional
        Intra-op threads of each CPU device; default: all cores.
    repeats : int
        Steps that are timed, and as many that are traced.

    Raises
    ------
    InputError
        If TensorFlow refuses the placement.
    """
    hops = tuple(hops)
    keep_freed_memory()  # as while profiling
    placed = place(captured, where, strings, order, hops)
    values = captured.values(inputs)
    with Session(
        placed, values, cpus=max(logical_cpus(strings.values()), cpus or 0), threads=threads
    ) as session:
        session.run()
        outputs = session.outputs([given.node for given in captured.written()])
        for _ in range(_WARM_UP):
            session.run()
        if captured.mode == "training":
            session.reset()
        wall = [session.run() for _ in range(max(1, repeats))]
        traces = [session.trace(partitions=k == 0) for k in range(max(1, repeats))]
    names = {string: name for name, string in strings.items()}
    executions = [_execution(placed, read_runs(trace), where, outputs) for trace in traces]
    executions.sort(key=lambda execution: execution.wall_s)
    return Runs(outputs, wall, executions, _sends(captured, placed, traces[0], names, hops))


def _execution(
    placed: Placed, runs: Mapping[str, NodeRun], where: Mapping[str, str], outputs: list[Any]
) -> Execution:
    ops = [
        Span(op, device, runs[op].start_s, runs[op].end_s)
        for op, device in where.items()
        if op in runs
    ]
    origin = min((span.start_s for span in ops), default=0.0)
    ops = [Span(s.op, s.device, s.start_s - origin, s.end_s - origin) for s in ops]
    return Execution(
        outputs=outputs,
        wall_s=max((span.end_s for span in ops), default=0.0),
        ops=tuple(sorted(ops, key=lambda span: span.start_s)),
        transfers=tuple(_transfers(placed, runs, origin)),
    )


def _transfers(placed: Placed, runs: Mapping[str, NodeRun], origin: float) -> Iterable[Span]:
    """Yield every hop, from the end of what made the tensor to its arrival."""
    there: dict[tuple[str, int, str], NodeRun] = {}
    for name, (hop, port) in placed.hops.items():
        sender = there.get((hop.op, port, hop.source)) or runs.get(hop.op)
        arrival = runs.get(name)
        if sender is None or arrival is None:
            continue
        there[hop.op, port, hop.target] = arrival
        yield Span(
            hop.op,
            hop.source,
            sender.end_s - origin,
            max(arrival.start_s, sender.end_s) - origin,
            hop.target,
            sum(arrival.output_bytes.values()),
            hop.output,
        )


def _sends(
    captured: Captured,
    placed: Placed,
    metadata: Any,
    names: Mapping[str, str],
    hops: Iterable[Hop],
) -> frozenset[Hop]:
    """Return what was sent between devices, with the schedule's names for ops and devices.

    Empty tensors, which stand for control edges, count where the schedule has such a transfer.
    """
    planned = set(hops)
    found: set[Hop] = set()
    for send in read_sends(metadata):
        if send.node in placed.hops:
            op, output = placed.hops[send.node][0].op, placed.hops[send.node][0].output
        else:
            op = send.node
            output = captured.output_name(op, -1 if send.control else send.port)
        hop = Hop(op, names[_short(send.source)], names[_short(send.target)], output)
        if not send.control or hop in planned:
            found.add(hop)
    return frozenset(found)


def _short(string: str) -> str:
    """Return a device string without job and task."""
    return "/device:" + string.rpartition("/device:")[2]
