"""Run a model under a schedule's placement; hold it against the plain session and the plan."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from talos_opt.core.machine import available_cores
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.formats.schedule import ScheduleFile
from talos_opt.frameworks.common.allocator import keep_freed_memory
from talos_opt.frameworks.common.comparing import Value, compare_outputs
from talos_opt.frameworks.common.disturbance import Others
from talos_opt.frameworks.common.running import (
    RunReport,
    measured_schedule,
    op_times,
    read_plan,
)
from talos_opt.frameworks.common.statistics import summarise
from talos_opt.frameworks.onnx import dtypes
from talos_opt.frameworks.onnx.captured import Captured
from talos_opt.frameworks.onnx.devices import CPU, Provider, providers_of
from talos_opt.frameworks.onnx.execute import Executor
from talos_opt.frameworks.onnx.flattening import RANDOM
from talos_opt.frameworks.onnx.pieces import cut
from talos_opt.frameworks.onnx.sessions import Bound, options_of, session_of

_WARM_UP = 2


def run_schedule(
    captured: Captured,
    values: Mapping[str, np.ndarray],
    schedule: Mapping[str, Any] | ScheduleFile,
    device_map: Mapping[str, str] | None = None,
    *,
    threads: int | None = None,
    repeats: int = 5,
) -> RunReport:
    """Run a captured model under a schedule.

    Parameters
    ----------
    captured : Captured
    values : mapping of str to np.ndarray
        Inputs by name.
    schedule : mapping or ScheduleFile
        A talos-schedule/1 document, such as ``Result.to_dict()``, or a file.
    device_map : mapping of str to str, optional
        Device of this machine for each of the schedule; default: see `providers_of`.
    threads : int, optional
        Intra-op threads of each session on the CPU; default: the cores, shared out among the
        schedule's devices on the CPU, as `profile_model` does.
    repeats : int
        Runs that count.

    Raises
    ------
    InputError
        If the schedule is of another graph, or a device is not there.
    """
    plan = read_plan(captured.ops(), schedule, inputs=captured.inputs_text)
    through = [device for hop in plan.hops for device in (hop.source, hop.target)]
    providers = providers_of([*plan.device.values(), *through], device_map)
    if threads is None:
        cpus = sum((device_map or {}).get(d, d).startswith("cpu") for d in plan.devices)
        threads = max(1, available_cores() // max(1, cpus))
    times = {op: (plan.start_s[op], plan.end_s[op]) for op in plan.device}
    pieces = cut(captured, plan.device, times)
    keep_freed_memory()  # as while profiling

    def executor(*, watched: bool) -> Executor:
        return Executor(
            captured, pieces, providers, values, plan.hops, threads=threads, watched=watched
        )

    others = Others()
    plain = executor(watched=False)
    outputs = plain.run()[1]
    for _ in range(_WARM_UP):
        plain.run()
    whole = summarise(plain.run()[0] for _ in range(repeats))
    share = others.share()
    plain.close()
    del plain  # weights that were laid out for it
    watched = executor(watched=True)
    for _ in range(_WARM_UP + repeats):
        watched.run()
    executions = sorted(watched.executions()[_WARM_UP:], key=lambda found: found.wall_s)
    watched.close()
    del watched
    expected, single_s = _plain(captured, values, providers, threads, repeats)
    error, equal = compare_outputs(list(_values(expected)), list(_values(outputs)))
    median = executions[len(executions) // 2]
    random = [op for op, node in captured.nodes.items() if node.op_type in RANDOM]
    note = f"the outputs differ, since op {random[0]!r} draws random numbers" if random else ""
    return RunReport(
        outputs_equal=equal,
        max_abs_error=error,
        predicted_s=plan.makespan_s,
        measured_s=whole.median,
        spread=whole.spread,
        others=share,
        single_device_s=single_s,
        transfers=len(median.transfers),
        moved_bytes=sum(move.bytes for move in median.transfers),
        ops=op_times(executions, plan),
        outputs=outputs,
        execution=median,
        devices={name: str(provider) for name, provider in providers.items()},
        notes=(*plan.notes, *captured.notes, *([note] if note and not equal else [])),
    )


def _plain(
    captured: Captured,
    values: Mapping[str, np.ndarray],
    providers: Mapping[str, Provider],
    threads: int | None,
    repeats: int,
) -> tuple[list[Any], float]:
    """Return outputs and seconds of a session of the file itself, as the runtime optimises it.

    On one device with as many threads as each has; of several kinds of device the fastest counts.
    Outputs are those of a session that changes nothing, if the graph is as the file has it: what
    the runtime puts in place of ops may compute in fewer bits.
    """
    outputs: list[Any] = []
    times = []
    for provider in dict.fromkeys([CPU, *providers.values()]):
        options = options_of("all", threads if provider.is_cpu else None)
        session = session_of(captured.source.path, options, provider=provider)
        if provider.is_cpu:
            level = captured.level
            alike = session if level == "all" else session_of(captured.source.path, level=level)
            once = Bound(alike, provider, values)
            once.run()
            outputs = once.outputs()
        if provider in providers.values():
            bound = Bound(session, provider, values)
            for _ in range(_WARM_UP):
                bound.run()
            times.append(statistics.median(bound.run() for _ in range(repeats)))
    return outputs, min(times, default=float("inf"))


def _values(found: Any) -> Iterator[Value]:
    """Yield the tensors of outputs: of sequences each, of maps their keys and their values."""
    if isinstance(found, np.ndarray):
        yield Value(dtypes.widened(found), str(found.dtype))
    elif isinstance(found, dict):
        yield from _values([np.array(list(found)), np.array(list(found.values()))])
    elif isinstance(found, (list, tuple)):
        for item in found:
            yield from _values(item)
    else:
        yield from _values(np.asarray(found))


def measured(captured: Captured, report: RunReport, name: str) -> tuple[Problem, Schedule]:
    """Return what was measured as a schedule, in microseconds: for traces and metrics."""
    kinds = {d: "cpu" if where == "cpu" else "gpu" for d, where in report.devices.items()}
    return measured_schedule(captured.ops(), report, kinds, name)
