"""Run a model under a schedule's placement; hold it against the plain model and the plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from talos_opt.core.errors import InputError
from talos_opt.core.machine import available_cores
from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.formats.schedule import ScheduleFile
from talos_opt.frameworks.common.comparing import Value, compare_outputs
from talos_opt.frameworks.common.disturbance import Others
from talos_opt.frameworks.common.running import (
    CapturedOp,
    RunReport,
    measured_schedule,
    op_times,
    read_plan,
)
from talos_opt.frameworks.common.statistics import summarise
from talos_opt.frameworks.tensorflow.captured import Captured, shapes_of
from talos_opt.frameworks.tensorflow.devices import CPU, device_strings, is_gpu, logical_cpus
from talos_opt.frameworks.tensorflow.execute import execute


def run_schedule(
    captured: Captured,
    inputs: Sequence[np.ndarray],
    schedule: Mapping[str, Any] | ScheduleFile,
    device_map: Mapping[str, str] | None = None,
    *,
    logical_devices: int | None = None,
    threads: int | None = None,
    repeats: int = 5,
) -> RunReport:
    """Run a captured model under a schedule.

    Parameters
    ----------
    captured : Captured
    inputs : sequence of np.ndarray
    schedule : mapping or ScheduleFile
        A talos-schedule/1 document, such as ``Result.to_dict()``, or a file.
    device_map : mapping of str to str, optional
        TensorFlow's device of each device of the schedule; default: see `device_strings`.
    logical_devices : int, optional
        Devices that the CPU is split into; default: as many as the schedule uses.
    threads : int, optional
        Intra-op threads of each CPU device; default: the cores shared out among them.
    repeats : int
        Runs that count.

    Raises
    ------
    InputError
        If the schedule is of another graph, or a device is not there.
    """
    plan = read_plan(captured_ops(captured), schedule, inputs=shapes_of(inputs))
    through = [device for hop in plan.hops for device in (hop.source, hop.target)]
    strings = device_strings([*plan.device.values(), *through], device_map)
    cpus = _logical(strings, logical_devices)
    threads = threads or max(1, available_cores() // cpus)
    order = sorted(captured.op_ids(), key=lambda op: plan.start_s[op])
    others = Others()
    found = execute(
        captured, inputs, plan.device, strings,
        order=order, hops=plan.hops, cpus=cpus, threads=threads, repeats=repeats,
    )  # fmt: skip
    share = others.share()
    expected = captured.reference(inputs)
    error, equal = compare_outputs(
        [_value(array) for array in expected], [_value(array) for array in found.outputs]
    )
    median = found.executions[len(found.executions) // 2]
    return RunReport(
        outputs_equal=equal,
        max_abs_error=error,
        predicted_s=plan.makespan_s,
        measured_s=found.measured_s,
        spread=summarise(found.wall_s).spread,
        others=share,
        single_device_s=time_single(captured, inputs, strings, threads, repeats),
        transfers=len(found.sends),
        moved_bytes=sum(move.bytes for move in median.transfers),
        ops=op_times(found.executions, plan),
        outputs=found.outputs,
        execution=median,
        devices=strings,
        notes=(*plan.notes, *captured.notes),
    )


def captured_ops(captured: Captured) -> list[CapturedOp]:
    """Return the ops of a captured model, as plans are held against them."""
    folded = captured.folded
    return [
        CapturedOp(
            op,
            folded.nodes[op].op,
            [(name, captured.output_name(name, port)) for name, port in captured.reads(op)],
            [name for name in captured.outputs_read[op].values() if name],
            captured.kept(op),
        )
        for op in captured.op_ids()
    ]


def _logical(strings: Mapping[str, str], asked: int | None) -> int:
    needed = logical_cpus(strings.values())
    if asked is not None and asked < needed:
        raise InputError(
            f"--logical-devices is {asked}, but the schedule needs {needed} of the CPU"
        )
    return asked or needed


def _value(array: np.ndarray) -> Value:
    name = str(array.dtype)
    return Value(array.astype(np.float32) if name == "bfloat16" else array, name)


def time_single(
    captured: Captured,
    inputs: Sequence[np.ndarray],
    strings: Mapping[str, str],
    threads: int | None,
    repeats: int,
) -> float:
    """Return the seconds of the same graph on one device alone, with as many threads.

    Logical devices of the CPU are alike; of several kinds of device the fastest counts, if it
    can run all ops.
    """
    times: list[float] = []
    for string in {CPU if not is_gpu(s) else s for s in strings.values()}:
        where = dict.fromkeys(captured.op_ids(), "alone")
        try:
            alone = execute(
                captured, inputs, where, {"alone": string}, threads=threads, repeats=repeats
            )
        except InputError:
            continue  # an op without a kernel there
        times.append(alone.measured_s)
    return min(times, default=float("inf"))


def measured(captured: Captured, report: RunReport, name: str) -> tuple[Problem, Schedule]:
    """Return what was measured as a schedule, in microseconds: for traces and metrics."""
    kinds = {d: "gpu" if is_gpu(where) else "cpu" for d, where in report.devices.items()}
    return measured_schedule(captured_ops(captured), report, kinds, name)
