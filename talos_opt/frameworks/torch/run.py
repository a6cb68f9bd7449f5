"""Run a model under a schedule's placement; hold it against the plain model and the plan."""

from __future__ import annotations

import copy
import dataclasses
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from talos_opt.core.problem import Problem
from talos_opt.core.schedule import Schedule
from talos_opt.formats.schedule import ScheduleFile
from talos_opt.frameworks.common import running
from talos_opt.frameworks.common.allocator import keep_freed_memory
from talos_opt.frameworks.common.disturbance import Others
from talos_opt.frameworks.common.running import CapturedOp, RunReport, op_times, read_plan
from talos_opt.frameworks.common.statistics import summarise
from talos_opt.frameworks.common.threads import require_threads
from talos_opt.frameworks.torch.captured import Captured, Inputs
from talos_opt.frameworks.torch.checking import drawing, seeded, why_random
from talos_opt.frameworks.torch.comparing import compare_outputs, rounds_to_tf32
from talos_opt.frameworks.torch.devices import torch_devices
from talos_opt.frameworks.torch.execute import Executor
from talos_opt.frameworks.torch.tensors import is_pick, made_by
from talos_opt.frameworks.torch.threads import threads_each
from talos_opt.frameworks.torch.views import Views


def run_schedule(
    captured: Captured,
    inputs: Inputs,
    schedule: Mapping[str, Any] | ScheduleFile,
    device_map: Mapping[str, str] | None = None,
    *,
    repeats: int = 5,
    warmup: int = 1,
    threads: int | None = None,
) -> RunReport:
    """Run a captured model under a schedule.

    Parameters
    ----------
    captured : Captured
    inputs : sequence, mapping or Arguments
        As `capture` takes them; better others than those that the model was captured with.
    schedule : mapping or ScheduleFile
        A talos-schedule/1 document, such as ``Result.to_dict()``, or a file.
    device_map : mapping of str to str, optional
        Torch device of each device of the schedule; default: see `devices.torch_devices`.
    repeats, warmup : int
        Runs that count, and runs before them.
    threads : int, optional
        Intra-op threads of each CPU device; default: torch's, shared out among those of the
        schedule, as `profile_module` does. The plain model has torch's.

    Raises
    ------
    InputError
        If the schedule is of another graph, or a device is not there.
    """
    described = captured.given(inputs).describe()
    plan = read_plan(captured_ops(captured), schedule, captured_picks(captured), described)
    devices = torch_devices(plan.device.values(), device_map)
    for hop in plan.hops:  # a tensor may be staged on a device that runs no op
        if not {hop.source, hop.target} <= devices.keys():
            devices |= torch_devices((hop.source, hop.target), device_map)
    given = captured.given(inputs).tensors
    values = captured.flat_values(given)
    require_threads(threads)
    keep_freed_memory()  # as while profiling
    if threads is None:
        where = device_map or {}
        threads = threads_each(sum(where.get(d, d).startswith("cpu") for d in plan.devices))
    executor = Executor(captured, plan.device, devices, values, plan.start_s, plan.hops, threads)
    for _ in range(warmup):
        executor.run()
    others = Others()
    with seeded(given):
        runs = [executor.run()]
    outputs = runs[0].outputs
    for _ in range(repeats - 1):  # outputs of one run are enough to hold
        runs.append(dataclasses.replace(executor.run(), outputs=[]))
    share = others.share()
    del executor  # the plain model may need the memory
    runs.sort(key=lambda run: run.wall_s)
    median, whole = runs[len(runs) // 2], summarise(run.wall_s for run in runs)
    short = rounds_to_tf32(devices.values())
    with seeded(given):
        expected = captured.reference(given)
    error, equal = compare_outputs(expected, outputs, tf32=bool(short))
    random = [] if equal else drawing(captured)
    return RunReport(
        outputs_equal=equal,
        max_abs_error=error,
        predicted_s=plan.makespan_s,
        measured_s=whole.median,
        spread=whole.spread,
        others=share,
        single_device_s=time_plain(captured, given, devices.values(), repeats, warmup),
        transfers=len(median.transfers),
        moved_bytes=sum(move.bytes for move in median.transfers),
        ops=op_times(runs, plan),
        outputs=outputs,
        execution=median,
        devices={name: str(device) for name, device in devices.items()},
        notes=(
            *plan.notes,
            *captured.notes,
            *(f"{what} rounds float32 to 10 bits, TF32" for what in short),
            *([f"the outputs differ, since {why_random(random)}"] if random else []),
        ),
    )


def captured_ops(captured: Captured) -> list[CapturedOp]:
    """Return the ops of a captured model, as plans are held against them."""
    views = Views(captured)
    return [
        CapturedOp(
            captured.op_id(node),
            str(node.target),
            captured.reads(node),
            captured.tensors.outputs(node),
            views.kept(node),
        )
        for node in captured.ops()
    ]


def captured_picks(captured: Captured) -> dict[str, str]:
    """Return the ids that picks had as ops, with those of the ops that they pick from."""
    picks = [node for node in captured.graph_module.graph.nodes if is_pick(node)]
    return {pick.name: captured.op_id(made_by(pick).node) for pick in picks}


def time_plain(
    captured: Captured,
    inputs: Sequence[torch.Tensor],
    devices: Any,
    repeats: int = 5,
    warmup: int = 1,
) -> float:
    """Return the seconds of the plain model on the best of some torch devices.

    A device that the whole model does not fit is left out; infinite if none is left.
    """
    best = math.inf
    for device in dict.fromkeys(devices):
        try:
            best = min(best, _time_on(captured, inputs, device, repeats, warmup))
        except torch.OutOfMemoryError:
            continue
    return best


def _time_on(
    captured: Captured,
    inputs: Sequence[torch.Tensor],
    device: torch.device,
    repeats: int,
    warmup: int,
) -> float:
    here = device.type == "cpu"
    there = captured if here else _moved(captured, device)
    given = [value.to(device) for value in inputs]
    times = []
    for k in range(warmup + max(1, repeats)):
        began = time.perf_counter()
        if captured.mode == "inference":
            with torch.no_grad():
                there.given(given).call(there.module)
        else:
            there.reference(given)
        if not here:
            torch.cuda.synchronize(device)
        if k >= warmup:
            times.append(time.perf_counter() - began)
    return statistics.median(times)


def _moved(captured: Captured, device: torch.device) -> Captured:
    clone = copy.copy(captured)
    object.__setattr__(clone, "module", copy.deepcopy(captured.module).to(device))
    return clone


def measured_schedule(
    captured: Captured, report: RunReport, name: str = "measured"
) -> tuple[Problem, Schedule]:
    """Return what was measured as a schedule; see `common.running`."""
    kinds = {d: "gpu" if where.startswith("cuda") else "cpu" for d, where in report.devices.items()}
    return running.measured_schedule(captured_ops(captured), report, kinds, name)
